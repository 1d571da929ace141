/* signer.h -- the authority's key in a process of its own, which signs and never shows it.
 *
 * The process is forked at the start, before there are threads or connections, and reads the key
 * itself: the address space that parses what strangers send never holds it.  Should it die, another
 * takes its place and reads the keys anew.  What is asked here is for starting and reloading: a
 * call waits for the answer, at most three seconds, or half a minute where files are made;
 * thereafter calls fail at once until the process is heard of again.  Signatures are asked for over
 * signer_line.h, which does not wait.
 *
 * Thread: any, but sl_signer_start, which comes before all others.
 */
#ifndef SL_TLS_SIGNER_H
#define SL_TLS_SIGNER_H

#include "tls/cert_chain.h"
#include "tls/signing_key.h"

struct sl_signer;
struct sl_signer_key;

/** Of an authority's files. */
struct sl_signer_paths {
    const char *certificate, *key;
};

/** SL_LIMIT when there can be no further process or socket.
 *
 * @param rate  signatures a second, and as many at once; SL_LIMIT for what is asked above
 */
enum sl_err sl_signer_start(uint32_t rate, struct sl_signer **ret_signer,
                            struct sl_fault *fault) SL_MUST_USE;
struct sl_signer *sl_signer_ref(struct sl_signer *signer);
/** The last one ends the process. */
void sl_signer_unref(struct sl_signer **signer);

/** As sl_ca_create with its defaults, over there. */
enum sl_err sl_signer_make_ca(struct sl_signer *signer, const struct sl_signer_paths *paths,
                              struct sl_fault *fault) SL_MUST_USE;

/** As sl_cert_chain_read and sl_signing_key_read, over there. */
enum sl_err sl_signer_open(struct sl_signer *signer, const struct sl_signer_paths *paths,
                           struct sl_cert_chain *out, struct sl_signer_key **ret_key,
                           struct sl_fault *fault) SL_MUST_USE;
void sl_signer_close(struct sl_signer_key **key);

/** From now on, and for ever, nothing is made, and no files are read but these: what may be asked
 * by whoever has taken over this process. */
enum sl_err sl_signer_seal(struct sl_signer *signer, const struct sl_signer_paths *paths,
                           struct sl_fault *fault) SL_MUST_USE;

/** Becomes readable when the signer has died for good, which it does not by itself; -1: that is not
 * to be known here. */
int sl_signer_death_fd(const struct sl_signer *signer);

/** Borrowed; the public half alone. */
EVP_PKEY *sl_signer_key_public(const struct sl_signer_key *key);
struct sl_signer *sl_signer_of(const struct sl_signer_key *key); /**< borrowed */

#endif
