/* ca.h -- the authority: its certificate, chain and key; made, loaded, checked, exported.
 *
 * The key leaves its owner, a signer's process where there is one (signer.h), only as signatures
 * (sl_ca_sign, sl_ca_sign_start).  A loaded CA is immutable and reference-counted.  Thread: any,
 * once loaded.
 */
#ifndef SL_TLS_CA_H
#define SL_TLS_CA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct sl_ca;
struct sl_signer;
struct sl_signer_line;
typedef struct x509_st X509;

enum sl_ca_key { SL_CA_ECDSA_P256, SL_CA_ECDSA_P384, SL_CA_RSA_3072, SL_CA_RSA_4096 };

/** "ecdsa-p256" and so on; false for anything else. */
bool sl_ca_key_parse(struct sl_str s, enum sl_ca_key *ret_key) SL_MUST_USE;

struct sl_ca_new_conf {
    enum sl_ca_key key;
    const char *name; /**< subject CN, 1..64 bytes UTF-8; NULL: "sluice CA <8 random hex digits>" */
    uint32_t days;    /**< validity, 1..7300; 0: 3650 */
    bool force; /**< an existing CA is moved to <file>.<UTC time>.bak first, never overwritten */
};

/** Makes a CA and writes it: key 0600, certificate 0644, each to a temporary file, synced, then
 * renamed, the key first.  A missing directory is made, 0755 for the certificate, which is there to
 * be read, and 0700 for a key elsewhere.  SL_CONFIG with a message that names the file, and
 * os_errno EEXIST, when one exists and force is not set.  Whoever comes while another is at it
 * waits.  Never leaves one file without the other in a way that load would accept. */
enum sl_err sl_ca_create(const char *cert_path, const char *key_path,
                         const struct sl_ca_new_conf *conf, struct sl_fault *fault) SL_MUST_USE;

struct sl_ca_source {
    const char *certificate, *key; /**< paths */
    struct sl_signer *signer;      /**< holds the key; NULL: this process does */
};

/** Loads and checks.  The certificate's file holds the CA's certificate first, then its chain
 * towards the root, if any. Each of these is SL_CONFIG with one line that says what, where, what to
 * do: file missing, key readable by group or others, key encrypted, not PEM, a certificate expired
 * or not yet valid or not a CA (basicConstraints with its pathlen, keyUsage), one that did not
 * issue the one before it, key of another certificate, key type other than RSA >= 2048 or EC
 * P-256/P-384/P-521. */
enum sl_err sl_ca_load(const struct sl_ca_source *source, struct sl_ca **ret_ca,
                       struct sl_fault *fault) SL_MUST_USE;

struct sl_ca *sl_ca_ref(struct sl_ca *ca);
void sl_ca_unref(struct sl_ca **ca);

X509 *sl_ca_cert(const struct sl_ca *ca);       /**< borrowed */
size_t sl_ca_chain_len(const struct sl_ca *ca); /**< intermediates to send: the CA itself unless
                                                   self-signed, and its chain without the root */
X509 *sl_ca_chain_at(const struct sl_ca *ca, size_t i); /**< borrowed */
int64_t sl_ca_not_after(const struct sl_ca *ca);        /**< seconds since the epoch */

/** NULL: the key is held here. */
struct sl_signer *sl_ca_signer(const struct sl_ca *ca); /**< borrowed */

/** Signs a leaf's certificate in place; for a key that is held here. */
enum sl_err sl_ca_sign(struct sl_ca *ca, X509 *leaf, struct sl_fault *fault) SL_MUST_USE;

/** Exactly once; from inside start when nobody can be asked.  @a fault: NULL when it is signed. */
typedef void sl_ca_signed_fn(void *arg, const struct sl_fault *fault);
/** The same over @a line, to the signer of this CA; CA and leaf outlive the answer. */
void sl_ca_sign_start(struct sl_ca *ca, struct sl_signer_line *line, X509 *leaf,
                      sl_ca_signed_fn *done, void *arg);

/** PEM is the certificate with its chain.  The others hold one certificate: the root where the
 * chain ends in it, since clients trust nothing less, else the CA's own. */
enum sl_ca_format { SL_CA_PEM, SL_CA_DER, SL_CA_P12, SL_CA_ANCHOR_PEM };
/** Never the key. */
enum sl_err sl_ca_export(const struct sl_ca *ca, enum sl_ca_format format, struct sl_buf *out,
                         struct sl_fault *fault) SL_MUST_USE;
/** Subject, key, validity, SHA-256 fingerprint, one "name: value" a line. */
void sl_ca_describe(const struct sl_ca *ca, struct sl_buf *out);

#endif
