/* fuzz_leaf_shape.c -- texts that a signer is asked to sign.  Whatever is taken for a leaf, the
 * library, which clients may use, takes for no authority.
 */
#include <stddef.h>
#include <stdint.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/mem.h"
#include "tls/leaf_shape.h"

/* A signatureAlgorithm and an empty signatureValue. */
#define UNSIGNED SL_STR("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03\x01\x00")

/* 2026-01-01, as the leaves of the corpus. */
#define SEEDS_BEGIN 1767225600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static X509 *certificate_of(struct sl_str text)
{
    size_t n = text.n + UNSIGNED.n;
    struct sl_buf der = { 0 };
    const unsigned char *p;
    X509 *cert;

    sl_buf_add(&der,
               (const uint8_t[]){ 0x30, 0x83, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n },
               5);
    sl_buf_add_str(&der, text);
    sl_buf_add_str(&der, UNSIGNED);
    p = (const unsigned char *)sl_buf_str(&der).p;
    cert = d2i_X509(NULL, &p, (long)der.len);
    sl_buf_fini(&der);
    ERR_clear_error();
    return cert;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str text = sl_str_make(data, size);
    struct sl_fault fault = { 0 };
    X509 *cert;

    if (sl_leaf_check_shape(text, SEEDS_BEGIN + 86400, &fault) != SL_OK)
        return 0;
    cert = certificate_of(text);
    /* A signer does not look at the rest. */
    if (cert == NULL || (X509_get_extension_flags(cert) & EXFLAG_INVALID) != 0) {
        X509_free(cert);
        return 0;
    }
    sl_assert(X509_check_ca(cert) == 0);
    sl_assert((X509_get_key_usage(cert) & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) == 0);
    sl_assert(X509_get_extended_key_usage(cert) == XKU_SSL_SERVER);
    X509_free(cert);
    return 0;
}
