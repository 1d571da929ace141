/* leaf_kit.h -- drafts of leaves, and the texts that a signer is asked to sign. */
#ifndef LEAF_KIT_H
#define LEAF_KIT_H

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/str.h"
#include "tls/ca.h"
#include "tls/leaf.h"

/* As leaf.c makes them for the authority in these files; the caller's. */
static inline X509 *draft_of(const char *cert_path, const char *key_path, uint32_t lifetime_s)
{
    const struct sl_ca_source source = { .certificate = cert_path, .key = key_path };
    const struct sl_leaf_conf conf = { .kind = SL_LEAF_ECDSA_P256, .lifetime_s = lifetime_s };
    struct sl_leaf_keys *keys = sl_leaf_keys_new();
    struct sl_fault fault = { 0 };
    struct sl_ca *ca = NULL;
    struct sl_leaf *leaf;
    X509 *cert;

    assert_int_equal(sl_ca_load(&source, &ca, &fault), SL_OK);
    leaf = sl_leaf_draft(ca, keys, &conf, SL_STR("leaf.test"), &fault);
    assert_non_null(leaf);
    cert = sl_leaf_cert(leaf);
    assert_int_equal(X509_up_ref(cert), 1);
    sl_leaf_unref(&leaf);
    sl_leaf_keys_free(&keys);
    sl_ca_unref(&ca);
    return cert;
}

/* What is signed of a certificate; the caller's, by OPENSSL_free. */
static inline struct sl_str text_of(X509 *cert)
{
    EVP_PKEY *any = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    unsigned char *text = NULL;
    int n;

    /* For the algorithm's name, which stands in the text. */
    assert_true(X509_sign(cert, any, EVP_sha256()) > 0);
    n = i2d_re_X509_tbs(cert, &text);
    EVP_PKEY_free(any);
    assert_true(n > 0);
    return sl_str_make(text, (size_t)n);
}

#endif
