/* cert_chain.h -- an authority's certificate and those above it: from a file, and as DER between
 * processes.
 *
 * Thread: the owner's.
 */
#ifndef SL_TLS_CERT_CHAIN_H
#define SL_TLS_CERT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define SL_CERT_CHAIN_MAX ((size_t)10)

typedef struct x509_st X509;

/** Zeroed memory is one without certificates. */
struct sl_cert_chain {
    X509 *v[SL_CERT_CHAIN_MAX];
    size_t n;
};

/** In the order of the file, 1 or more.  SL_CONFIG with one line that says what, where, what to do:
 * file missing, not PEM, too many. */
enum sl_err sl_cert_chain_read(const char *path, struct sl_cert_chain *out,
                               struct sl_fault *fault) SL_MUST_USE;
void sl_cert_chain_fini(struct sl_cert_chain *chain);

/** DER, one behind the other.  False: more than @a size bytes. */
bool sl_cert_chain_write(const struct sl_cert_chain *chain, uint8_t *to, size_t size,
                         size_t *ret_n) SL_MUST_USE;
/** False when @a der is anything else than what sl_cert_chain_write makes. */
bool sl_cert_chain_parse(struct sl_str der, struct sl_cert_chain *out) SL_MUST_USE;

#endif
