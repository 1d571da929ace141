/* leaf.h -- forging: a certificate for one name, signed by the authority.
 *
 * See docs/facts in the README for what each call costs on OpenSSL 3.0: the shared key is held as a
 * legacy EC_KEY because X509_set_pubkey with a provider key takes forty times as long. Thread: any;
 * a leaf is immutable and reference-counted, keys are swapped under a lock.
 */
#ifndef SL_TLS_LEAF_H
#define SL_TLS_LEAF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct sl_ca;
struct sl_leaf;
struct sl_leaf_keys;
typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;

enum sl_leaf_kind { SL_LEAF_ECDSA_P256, SL_LEAF_RSA_2048 };

struct sl_leaf_conf {
    enum sl_leaf_kind kind;
    bool host_scope;     /**< a fresh key for every leaf, in place of the shared one */
    uint32_t lifetime_s; /**< from now; back-dated 24 h on top, cut at the CA's end */
};

/** The shared keys of both kinds, replaced when a day old (the RSA one made on first use). */
struct sl_leaf_keys *sl_leaf_keys_new(void);
/** For a forge that may outlast its owner; ended by sl_leaf_keys_free. */
struct sl_leaf_keys *sl_leaf_keys_ref(struct sl_leaf_keys *keys);
void sl_leaf_keys_free(struct sl_leaf_keys **keys);

/** Forges.  @a host is canonical: a name becomes a dNSName, a literal an iPAddress, either also the
 * CN when it has 64 bytes or fewer (else the subject is empty and the SAN critical).  Random
 * 128-bit serial, SKI of the leaf's key, AKI the octets of the CA's SKI, digitalSignature (and
 * keyEncipherment for RSA), serverAuth.  Takes a microsecond's tens, or 100-450 ms with RSA and
 * host_scope: then call it off the loop.  NULL with a fault on failure: SL_BAD_HOST for anything
 * but [a-z0-9._-]{1,253} without empty labels, or a literal; SL_CONFIG when the CA has expired. */
struct sl_leaf *sl_leaf_forge(struct sl_ca *ca, struct sl_leaf_keys *keys,
                              const struct sl_leaf_conf *conf, struct sl_str host,
                              struct sl_fault *fault) SL_MUST_USE;

/** The same but for the signature: for a CA whose key is elsewhere (sl_ca_sign_start).  Nobody else
 * may have the leaf before it has one. */
struct sl_leaf *sl_leaf_draft(struct sl_ca *ca, struct sl_leaf_keys *keys,
                              const struct sl_leaf_conf *conf, struct sl_str host,
                              struct sl_fault *fault) SL_MUST_USE;

/** Whether either would make an RSA key first. */
bool sl_leaf_is_slow(const struct sl_leaf_keys *keys, const struct sl_leaf_conf *conf);

struct sl_leaf *sl_leaf_ref(struct sl_leaf *leaf);
void sl_leaf_unref(struct sl_leaf **leaf);
X509 *sl_leaf_cert(const struct sl_leaf *leaf);       /**< borrowed */
EVP_PKEY *sl_leaf_key(const struct sl_leaf *leaf);    /**< borrowed */
struct sl_ca *sl_leaf_ca(const struct sl_leaf *leaf); /**< borrowed: its chain goes with the leaf */
/** Its key was shared, and is a day old. */
bool sl_leaf_has_old_key(const struct sl_leaf *leaf);
int64_t sl_leaf_expires(const struct sl_leaf *leaf); /**< seconds since the epoch */

#endif
