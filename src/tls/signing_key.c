/* signing_key.c -- an EVP_PKEY, and a context ready to sign with it.
 *
 * Invariant: everything is checked in read, so that signing has nothing left to refuse.
 */
#include "tls/signing_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "tls/crypto_fault.h"
#include "tls/pem_file.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX (SL_SIGNATURE_MAX * 8)

struct sl_signing_key {
    EVP_PKEY *pkey;
    EVP_MD_CTX *ready; /* copied for each signature, so that nothing is fetched */
};

static EVP_PKEY *parse(struct sl_str pem, bool *ret_is_encrypted)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *pkey;

    *ret_is_encrypted = false;
    pkey = PEM_read_bio_PrivateKey(bio, NULL, sl_pem_refuse_passphrase, ret_is_encrypted);
    BIO_free(bio);
    ERR_clear_error();
    return pkey;
}

static enum sl_err read_pkey(const char *path, EVP_PKEY **ret_pkey, struct sl_fault *fault)
{
    struct sl_buf pem = { 0 };
    bool is_encrypted = false;
    enum sl_err err = sl_pem_read(path, S_IRWXG | S_IRWXO, &pem, fault);

    if (err == SL_OK)
        *ret_pkey = parse(sl_buf_str(&pem), &is_encrypted);
    sl_pem_wipe(&pem);
    if (err != SL_OK || *ret_pkey != NULL)
        return err;
    return sl_fault_set(fault, SL_CONFIG,
                        is_encrypted ? "%s: the key is encrypted; decrypt it with `openssl pkey`"
                                     : "%s: holds no private key in PEM form",
                        path);
}

static const EVP_MD *digest_for_curve(EVP_PKEY *key)
{
    char group[32] = "";

    if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
        return NULL;
    if (strcmp(group, "prime256v1") == 0)
        return EVP_sha256();
    if (strcmp(group, "secp384r1") == 0)
        return EVP_sha384();
    return strcmp(group, "secp521r1") == 0 ? EVP_sha512() : NULL;
}

const EVP_MD *sl_signing_digest(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX ? EVP_sha256() : NULL;
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC ? digest_for_curve(key) : NULL;
}

static enum sl_err make_ready(struct sl_signing_key *key, const char *path, struct sl_fault *fault)
{
    const EVP_MD *digest = sl_signing_digest(key->pkey);

    if (digest == NULL)
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: the key must be RSA of 2048 bits or more, or EC P-256/384/521",
                            path);
    key->ready = EVP_MD_CTX_new();
    if (key->ready == NULL || EVP_DigestSignInit(key->ready, NULL, digest, NULL, key->pkey) != 1)
        return sl_crypto_fault_set(fault, SL_CONFIG, path);
    return SL_OK;
}

enum sl_err sl_signing_key_read(const char *path, struct sl_signing_key **ret_key,
                                struct sl_fault *fault)
{
    struct sl_signing_key *key = sl_zalloc(sizeof(*key));
    enum sl_err err = read_pkey(path, &key->pkey, fault);

    if (err == SL_OK)
        err = make_ready(key, path, fault);
    if (err != SL_OK)
        sl_signing_key_free(&key);
    *ret_key = key;
    return err;
}

void sl_signing_key_free(struct sl_signing_key **key)
{
    struct sl_signing_key *gone = *key;

    *key = NULL;
    if (gone == NULL)
        return;
    EVP_MD_CTX_free(gone->ready);
    EVP_PKEY_free(gone->pkey);
    sl_free(gone);
}

EVP_PKEY *sl_signing_key_pkey(const struct sl_signing_key *key)
{
    return key->pkey;
}

enum sl_err sl_signing_key_sign(const struct sl_signing_key *key, struct sl_str text,
                                struct sl_signature *ret_signature, struct sl_fault *fault)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_MD_CTX_copy_ex(ctx, key->ready) == 1;

    /* The copy signs once: without the flag OpenSSL would copy it again. */
    if (ok)
        EVP_MD_CTX_set_flags(ctx, EVP_MD_CTX_FLAG_FINALISE);
    ret_signature->n = sizeof(ret_signature->bytes);
    ok = ok && EVP_DigestSign(ctx, ret_signature->bytes, &ret_signature->n,
                              (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    /* Without memory, OpenSSL 3.0 calls an ECDSA signature of -1 bytes a success. */
    ok = ok && ret_signature->n <= sizeof(ret_signature->bytes);
    return ok ? SL_OK : sl_crypto_fault_set(fault, SL_INTERNAL, "signing a certificate");
}
