/* test_ticket_keys.c -- tickets sealed by one SSL_CTX and shown to another, over rotations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "tls/ticket_keys.h"
#include "tls/tls_internal.h"

static EVP_PKEY *key;
static X509 *cert;

static SSL_CTX *server_new(struct sl_ticket_keys *keys, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_use_certificate(ctx, cert);
    SSL_CTX_use_PrivateKey(ctx, key);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    sl_ticket_keys_attach(keys, ctx);
    return ctx;
}

/* One connection; answers the session it ends with. */
static SSL_SESSION *converse(SSL_CTX *server_ctx, SSL_SESSION *offered, bool *ret_resumed)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a, *b;
    SSL_SESSION *session;
    char byte;

    assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    if (offered != NULL)
        assert_int_equal(SSL_set_session(client, offered), 1);
    for (int i = 0; i < 4; i++) {
        (void)SSL_connect(client);
        (void)SSL_accept(server);
    }
    assert_int_equal(SSL_write(server, "x", 1), 1);
    assert_int_equal(SSL_read(client, &byte, 1), 1);
    *ret_resumed = SSL_session_reused(client) == 1;
    session = SSL_get1_session(client);
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    return session;
}

static bool same_ticket(const SSL_SESSION *a, const SSL_SESSION *b)
{
    const unsigned char *pa, *pb;
    size_t na, nb;

    SSL_SESSION_get0_ticket(a, &pa, &na);
    SSL_SESSION_get0_ticket(b, &pb, &nb);
    assert_true(na > 0 && nb > 0);
    return sl_str_eq(sl_str_make(pa, na), sl_str_make(pb, nb));
}

static void test_rotation(void **state)
{
    static const struct {
        int version;
        int rotations;
        bool resumed, renewed;
    } rows[] = {
        { TLS1_2_VERSION, 0, true, false }, { TLS1_2_VERSION, 1, true, true },
        { TLS1_2_VERSION, 2, true, true },  { TLS1_2_VERSION, 3, false, true },
        { TLS1_3_VERSION, 0, true, true },  { TLS1_3_VERSION, 1, true, true },
        { TLS1_3_VERSION, 2, true, true },  { TLS1_3_VERSION, 3, false, true },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_ticket_keys *keys = sl_ticket_keys_new(3600);
        SSL_CTX *one = server_new(keys, rows[i].version), *two = server_new(keys, rows[i].version);
        bool resumed;
        SSL_SESSION *first = converse(one, NULL, &resumed), *second;

        assert_false(resumed);
        for (int k = 0; k < rows[i].rotations; k++)
            sl_ticket_keys_rotate(keys);
        second = converse(two, first, &resumed);
        assert_int_equal(resumed, rows[i].resumed);
        assert_int_equal(!same_ticket(first, second), rows[i].renewed);
        SSL_SESSION_free(first);
        SSL_SESSION_free(second);
        SSL_CTX_free(one);
        SSL_CTX_free(two);
        sl_ticket_keys_free(&keys);
        assert_null(keys);
    }
}

static void test_stranger(void **state)
{
    struct sl_ticket_keys *ours = sl_ticket_keys_new(3600), *theirs = sl_ticket_keys_new(3600);
    SSL_CTX *one = server_new(ours, TLS1_3_VERSION), *two = server_new(theirs, TLS1_3_VERSION);
    bool resumed;
    SSL_SESSION *first = converse(one, NULL, &resumed), *second = converse(two, first, &resumed);

    (void)state;
    assert_false(resumed);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(one);
    SSL_CTX_free(two);
    sl_ticket_keys_free(&ours);
    sl_ticket_keys_free(&theirs);
}

/* Seconds between keys 0: every ticket has a key of its own, and two more are issued before it
 * stops being good. */
static void test_rotates_by_itself(void **state)
{
    struct sl_ticket_keys *keys = sl_ticket_keys_new(0);
    SSL_CTX *ctx = server_new(keys, TLS1_2_VERSION);
    bool resumed;
    SSL_SESSION *first = converse(ctx, NULL, &resumed);

    (void)state;
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(converse(ctx, NULL, &resumed));
    SSL_SESSION_free(converse(ctx, first, &resumed));
    assert_false(resumed);
    SSL_SESSION_free(first);
    SSL_CTX_free(ctx);
    sl_ticket_keys_free(&keys);
    sl_ticket_keys_free(&keys);
}

static int setup(void **state)
{
    (void)state;
    key = EVP_EC_gen("P-256");
    cert = X509_new();
    X509_set_pubkey(cert, key);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_rotates_by_itself),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
