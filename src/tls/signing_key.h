/* signing_key.h -- the authority's private key: read, asked for its public half, made to sign.
 *
 * Which process holds it is signer.h's affair.  Thread: any, once read.
 */
#ifndef SL_TLS_SIGNING_KEY_H
#define SL_TLS_SIGNING_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct sl_signing_key;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_st EVP_MD;

#define SL_SIGNATURE_MAX 2048 /* RSA of 16,384 bits */

struct sl_signature {
    size_t n;
    uint8_t bytes[SL_SIGNATURE_MAX];
};

/** SL_CONFIG with one line that says what, where, what to do: file missing, readable by group or
 * others, encrypted, not PEM, a key of a type or length that is not taken. */
enum sl_err sl_signing_key_read(const char *path, struct sl_signing_key **ret_key,
                                struct sl_fault *fault) SL_MUST_USE;
void sl_signing_key_free(struct sl_signing_key **key);

/** Borrowed; holds the private half too. */
EVP_PKEY *sl_signing_key_pkey(const struct sl_signing_key *key);

/** The digest that goes with a key: SHA-256 for RSA, else as long as the curve; NULL when it is
 * neither RSA of 2048 to 16,384 bits nor EC P-256, P-384 or P-521. */
const EVP_MD *sl_signing_digest(EVP_PKEY *key);

/** Of the digest of @a text, as X.509 has it: ECDSA-Sig-Value or PKCS #1 v1.5. */
enum sl_err sl_signing_key_sign(const struct sl_signing_key *key, struct sl_str text,
                                struct sl_signature *ret_signature,
                                struct sl_fault *fault) SL_MUST_USE;

#endif
