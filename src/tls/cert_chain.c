/* cert_chain.c -- no state. */
#include "tls/cert_chain.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "tls/crypto_fault.h"
#include "tls/pem_file.h"

/* Adds the next certificate; SL_EOF after the last. */
static enum sl_err read_next(struct sl_cert_chain *chain, BIO *bio, const char *path,
                             struct sl_fault *fault)
{
    X509 *cert = PEM_read_bio_X509(bio, NULL, sl_pem_refuse_passphrase, NULL);

    if (cert == NULL && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return SL_EOF;
    }
    if (cert == NULL)
        return sl_crypto_fault_set(fault, SL_CONFIG, path);
    if (chain->n == SL_CERT_CHAIN_MAX) {
        X509_free(cert);
        return sl_fault_set(fault, SL_CONFIG, "%s: more than %zu certificates", path,
                            SL_CERT_CHAIN_MAX);
    }
    chain->v[chain->n++] = cert;
    return SL_OK;
}

static enum sl_err read_all(struct sl_cert_chain *chain, struct sl_str pem, const char *path,
                            struct sl_fault *fault)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    enum sl_err err;

    do
        err = read_next(chain, bio, path, fault);
    while (err == SL_OK);
    BIO_free(bio);
    if (err != SL_EOF)
        return err;
    if (chain->n == 0)
        return sl_fault_set(fault, SL_CONFIG, "%s: holds no certificate in PEM form", path);
    return SL_OK;
}

enum sl_err sl_cert_chain_read(const char *path, struct sl_cert_chain *out, struct sl_fault *fault)
{
    struct sl_buf pem = { 0 };
    enum sl_err err = sl_pem_read(path, 0, &pem, fault);

    if (err == SL_OK)
        err = read_all(out, sl_buf_str(&pem), path, fault);
    sl_buf_fini(&pem);
    if (err != SL_OK)
        sl_cert_chain_fini(out);
    return err;
}

void sl_cert_chain_fini(struct sl_cert_chain *chain)
{
    while (chain->n > 0)
        X509_free(chain->v[--chain->n]);
}

bool sl_cert_chain_write(const struct sl_cert_chain *chain, uint8_t *to, size_t size, size_t *ret_n)
{
    unsigned char *p = to;

    for (size_t i = 0; i < chain->n; i++) {
        int n = i2d_X509(chain->v[i], NULL);

        if (n <= 0 || (size_t)n > size - (size_t)(p - to))
            return false;
        (void)i2d_X509(chain->v[i], &p);
    }
    *ret_n = (size_t)(p - to);
    return true;
}

bool sl_cert_chain_parse(struct sl_str der, struct sl_cert_chain *out)
{
    const unsigned char *p = (const unsigned char *)der.p, *end = p + der.n;

    while (p < end && out->n < SL_CERT_CHAIN_MAX) {
        X509 *cert = d2i_X509(NULL, &p, end - p);

        if (cert == NULL)
            break;
        out->v[out->n++] = cert;
    }
    if (p == end && out->n > 0)
        return true;
    ERR_clear_error();
    sl_cert_chain_fini(out);
    return false;
}
