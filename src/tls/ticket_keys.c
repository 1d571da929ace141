/* ticket_keys.c -- a ring of three keys, newest first, behind a mutex held for a copy only.
 *
 * Invariants: the ring is always full (keys that never sealed anything open nothing); a key leaves
 * this module only into the library's cipher and MAC contexts.
 */
#include "tls/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tls/tls_internal.h"

#define N_KEYS 3
#define NAME_LEN 16
#define IV_LEN 16

struct ticket_key {
    uint8_t name[NAME_LEN];
    uint8_t cipher[32];
    uint8_t mac[32];
};

struct sl_ticket_keys {
    pthread_mutex_t lock;
    struct ticket_key ring[N_KEYS];
    uint64_t newest_us; /* when ring[0] was made */
    uint64_t rotate_us;
    EVP_CIPHER *cipher; /* fetched once: a fetch takes a process-wide lock */
};

enum ticket_answer { TICKET_ERROR = -1, TICKET_UNKNOWN = 0, TICKET_GOOD = 1, TICKET_RENEW = 2 };

struct sl_ticket_keys *sl_ticket_keys_new(uint32_t rotate_s)
{
    struct sl_ticket_keys *keys = sl_zalloc(sizeof(*keys));

    pthread_mutex_init(&keys->lock, NULL);
    keys->rotate_us = (uint64_t)rotate_s * 1000000;
    keys->newest_us = sl_mono_us();
    keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    sl_random(keys->ring, sizeof(keys->ring));
    return keys;
}

void sl_ticket_keys_free(struct sl_ticket_keys **keys)
{
    struct sl_ticket_keys *k = *keys;

    if (k == NULL)
        return;
    *keys = NULL;
    OPENSSL_cleanse(k->ring, sizeof(k->ring));
    EVP_CIPHER_free(k->cipher);
    pthread_mutex_destroy(&k->lock);
    sl_free(k);
}

static void rotate_locked(struct sl_ticket_keys *keys)
{
    memmove(&keys->ring[1], &keys->ring[0], sizeof(keys->ring[0]) * (N_KEYS - 1));
    sl_random(&keys->ring[0], sizeof(keys->ring[0]));
    keys->newest_us = sl_mono_us();
}

void sl_ticket_keys_rotate(struct sl_ticket_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    rotate_locked(keys);
    pthread_mutex_unlock(&keys->lock);
}

static void newest_key(struct sl_ticket_keys *keys, struct ticket_key *ret_key)
{
    pthread_mutex_lock(&keys->lock);
    if (sl_mono_us() - keys->newest_us >= keys->rotate_us)
        rotate_locked(keys);
    *ret_key = keys->ring[0];
    pthread_mutex_unlock(&keys->lock);
}

static enum ticket_answer key_by_name(struct sl_ticket_keys *keys, const uint8_t *name,
                                      struct ticket_key *ret_key)
{
    enum ticket_answer answer = TICKET_UNKNOWN;

    pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < N_KEYS && answer == TICKET_UNKNOWN; i++) {
        if (memcmp(keys->ring[i].name, name, NAME_LEN) != 0)
            continue;
        *ret_key = keys->ring[i];
        answer = i == 0 ? TICKET_GOOD : TICKET_RENEW;
    }
    pthread_mutex_unlock(&keys->lock);
    return answer;
}

static bool init_mac(EVP_MAC_CTX *mac, const struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_init(mac, key->mac, sizeof(key->mac), params) == 1;
}

static enum ticket_answer seal(struct sl_ticket_keys *keys, uint8_t *ret_name, uint8_t *ret_iv,
                               EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct ticket_key key;
    bool ok;

    newest_key(keys, &key);
    memcpy(ret_name, key.name, NAME_LEN);
    sl_random(ret_iv, IV_LEN);
    ok = EVP_EncryptInit_ex(cipher, keys->cipher, NULL, key.cipher, ret_iv) == 1 &&
         init_mac(mac, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    return ok ? TICKET_GOOD : TICKET_ERROR;
}

static enum ticket_answer unseal(struct sl_ticket_keys *keys, const uint8_t *name,
                                 const uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct ticket_key key;
    enum ticket_answer answer = key_by_name(keys, name, &key);

    if (answer == TICKET_UNKNOWN)
        return answer;
    if (EVP_DecryptInit_ex(cipher, keys->cipher, NULL, key.cipher, iv) != 1 || !init_mac(mac, &key))
        answer = TICKET_ERROR;
    OPENSSL_cleanse(&key, sizeof(key));
    return answer;
}

/* size: six parameters are the library's choice. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int enc)
{
    struct sl_ticket_keys *keys = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    enum ticket_answer answer;

    if (enc == 1)
        return seal(keys, name, iv, cipher, mac);
    answer = unseal(keys, name, iv, cipher, mac);
    /* A TLS 1.3 client uses a ticket once (RFC 8446 appendix C.4): without a new one, every other
     * connection would be a full handshake. */
    if (answer == TICKET_GOOD && SSL_version(ssl) >= TLS1_3_VERSION)
        return TICKET_RENEW;
    return answer;
}

void sl_ticket_keys_attach(struct sl_ticket_keys *keys, SSL_CTX *ctx)
{
    SSL_CTX_set_app_data(ctx, keys);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}
