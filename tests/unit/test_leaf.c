/* test_leaf.c -- forged leaves as a client verifies them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "tls/ca.h"
#include "tls/leaf.h"

#define WEEK_S 604800u

static const struct sl_leaf_conf ec_conf = { .kind = SL_LEAF_ECDSA_P256, .lifetime_s = WEEK_S };
static const struct sl_leaf_conf rsa_conf = { .kind = SL_LEAF_RSA_2048, .lifetime_s = WEEK_S };

static struct sl_ca *ca;
static struct sl_leaf_keys *keys;

static struct sl_ca *make_ca(enum sl_ca_key key, uint32_t days)
{
    const struct sl_ca_new_conf conf = { .key = key, .days = days };
    char dir[] = "/tmp/sluice-test-leaf-XXXXXX", cert_path[64], key_path[64];
    struct sl_fault fault = { 0 };
    struct sl_ca *made = NULL;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/ca.key", dir);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    assert_int_equal(sl_ca_load(&(struct sl_ca_source){ .certificate = cert_path, .key = key_path },
                                &made, &fault),
                     SL_OK);
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(rmdir(dir), 0);
    return made;
}

static int set_up(void **state)
{
    (void)state;
    ca = make_ca(SL_CA_ECDSA_P256, 0);
    keys = sl_leaf_keys_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sl_leaf_keys_free(&keys);
    sl_ca_unref(&ca);
    return 0;
}

static struct sl_leaf *forge(const struct sl_leaf_conf *conf, struct sl_str host)
{
    struct sl_fault fault = { 0 };
    struct sl_leaf *leaf = sl_leaf_forge(ca, keys, conf, host, &fault);

    assert_non_null(leaf);
    assert_int_equal(ERR_peek_error(), 0);
    return leaf;
}

static void assert_verifies(const struct sl_leaf *leaf)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;

    assert_int_equal(X509_STORE_add_cert(store, sl_ca_cert(sl_leaf_ca(leaf))), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, sl_leaf_cert(leaf), NULL), 1);
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    assert_int_equal(X509_verify_cert(ctx), 1);
    assert_int_equal(X509_check_private_key(sl_leaf_cert(leaf), sl_leaf_key(leaf)), 1);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
}

static bool is_critical(X509 *cert, int nid)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);

    assert_true(at >= 0);
    return X509_EXTENSION_get_critical(X509_get_ext(cert, at)) == 1;
}

/* The only name in the SAN. */
static GENERAL_NAMES *names_of(X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    assert_non_null(names);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    return names;
}

static void assert_is_for_name(const struct sl_leaf *leaf, struct sl_str host)
{
    X509 *cert = sl_leaf_cert(leaf);
    GENERAL_NAMES *names = names_of(cert);
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
    int entries = X509_NAME_entry_count(X509_get_subject_name(cert));
    char cn[80] = "";

    assert_verifies(leaf);
    assert_int_equal(X509_check_host(cert, host.p, host.n, 0, NULL), 1);
    assert_int_equal(name->type, GEN_DNS);
    assert_int_equal(ASN1_STRING_length(name->d.dNSName), (int)host.n);
    assert_int_equal(entries, host.n <= 64 ? 1 : 0);
    assert_int_equal(is_critical(cert, NID_subject_alt_name), host.n > 64);
    if (entries == 1)
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
                                        sizeof(cn));
    assert_true(entries == 0 || sl_str_eq(sl_str_of(cn), host));
    GENERAL_NAMES_free(names);
}

/* threat: long-common-name */
static void test_names_of_every_length(void **state)
{
    char text[254];

    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t i = 60; i < sizeof(text); i += 61)
        text[i] = '.';
    text[252] = 'z';
    for (size_t n = 1; n <= 253; n++) {
        struct sl_str host = sl_str_make(text, n);
        struct sl_leaf *leaf;

        if (text[n - 1] == '.')
            continue;
        leaf = forge(&ec_conf, host);
        assert_is_for_name(leaf, host);
        sl_leaf_unref(&leaf);
        assert_null(leaf);
    }
}

static void test_odd_names(void **state)
{
    static const char *const hosts[] = { "a_b.example.com", "_dmarc.example.com",
                                         "xn--mnchen-3ya.example", "1.2.3", "-x.example" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(hosts); i++) {
        struct sl_leaf *leaf = forge(&ec_conf, sl_str_of(hosts[i]));

        assert_is_for_name(leaf, sl_str_of(hosts[i]));
        assert_int_equal(X509_check_host(sl_leaf_cert(leaf), "other.example", 0, 0, NULL), 0);
        sl_leaf_unref(&leaf);
    }
}

static void test_addresses(void **state)
{
    static const struct {
        const char *host;
        int len;
    } rows[] = { { "192.0.2.1", 4 }, { "2001:db8::1", 16 }, { "::ffff:192.0.2.1", 16 } };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_leaf *leaf = forge(&ec_conf, sl_str_of(rows[i].host));
        GENERAL_NAMES *names = names_of(sl_leaf_cert(leaf));
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);

        assert_verifies(leaf);
        assert_int_equal(name->type, GEN_IPADD);
        assert_int_equal(ASN1_STRING_length(name->d.iPAddress), rows[i].len);
        assert_int_equal(X509_check_ip_asc(sl_leaf_cert(leaf), rows[i].host, 0), 1);
        assert_int_equal(X509_check_ip_asc(sl_leaf_cert(leaf), "192.0.2.9", 0), 0);
        GENERAL_NAMES_free(names);
        sl_leaf_unref(&leaf);
    }
}

/* HAProxy 85a833feb: the second name was signed, too. */
/* threat: sni-into-san */
static void test_refused_hosts(void **state)
{
#define LIT(s)                                                                                     \
    {                                                                                              \
        .p = "" s, .n = sizeof(s) - 1                                                              \
    }
    static const struct sl_str rows[] = {
        LIT(""),      LIT("a,DNS:bank.com"), LIT("*.example.com"),
        LIT("*"),     LIT("Example.com"),    LIT("a b"),
        LIT("a\0b"),  LIT("b\xc3\xbc"),      LIT(".a"),
        LIT("a."),    LIT("a..b"),           LIT("."),
        LIT("[::1]"), LIT("fe80::1%eth0"),   LIT("a/b"),
        LIT("a\n"),
    };
    struct sl_fault fault = { 0 };
    char long_name[254];

    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        assert_null(sl_leaf_forge(ca, keys, &ec_conf, rows[i], &fault));
        assert_int_equal(fault.err, SL_BAD_HOST);
        fault.err = SL_OK;
    }
    assert_null(sl_leaf_forge(ca, keys, &ec_conf, sl_str_make(long_name, 254), &fault));
    assert_int_equal(fault.err, SL_BAD_HOST);
}

static void assert_extensions(const struct sl_leaf *leaf, uint32_t usage)
{
    X509 *cert = sl_leaf_cert(leaf);
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(cert);
    const ASN1_OCTET_STRING *issuers = X509_get0_subject_key_id(sl_ca_cert(ca));

    assert_int_equal(X509_get_ext_count(cert), 6);
    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_int_equal(X509_check_ca(cert), 0);
    assert_true(is_critical(cert, NID_basic_constraints));
    assert_true(is_critical(cert, NID_key_usage));
    assert_false(is_critical(cert, NID_ext_key_usage));
    assert_int_equal(X509_get_key_usage(cert), usage);
    assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
    assert_int_equal(ASN1_STRING_length(ski), 20);
    assert_int_not_equal(ASN1_OCTET_STRING_cmp(ski, issuers), 0);
    assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert), issuers), 0);
    assert_null(X509_get0_authority_serial(cert));
}

/* threat: key-identifiers */
static void test_extensions(void **state)
{
    struct sl_leaf *ec = forge(&ec_conf, SL_STR("example.com"));
    struct sl_leaf *rsa = forge(&rsa_conf, SL_STR("example.com"));

    (void)state;
    assert_extensions(ec, KU_DIGITAL_SIGNATURE);
    assert_extensions(rsa, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    assert_int_equal(EVP_PKEY_get_bits(sl_leaf_key(ec)), 256);
    assert_int_equal(EVP_PKEY_get_bits(sl_leaf_key(rsa)), 2048);
    assert_is_for_name(ec, SL_STR("example.com"));
    assert_is_for_name(rsa, SL_STR("example.com"));
    sl_leaf_unref(&ec);
    sl_leaf_unref(&rsa);
}

/* A certificate that clients decode again is the one that was built. */
static void test_der_is_canonical(void **state)
{
    struct sl_leaf *leaf = forge(&ec_conf, SL_STR("example.com"));
    unsigned char *der = NULL, *again = NULL;
    int n = i2d_X509(sl_leaf_cert(leaf), &der);
    const unsigned char *p = der;
    X509 *decoded = d2i_X509(NULL, &p, n);

    (void)state;
    assert_non_null(decoded);
    assert_int_equal(i2d_re_X509_tbs(decoded, &again), i2d_re_X509_tbs(sl_leaf_cert(leaf), NULL));
    assert_int_equal(X509_verify(decoded, X509_get0_pubkey(sl_ca_cert(ca))), 1);
    OPENSSL_free(der);
    OPENSSL_free(again);
    X509_free(decoded);
    sl_leaf_unref(&leaf);
}

/* threat: serials-reused */
static void test_serials_differ(void **state)
{
    enum { N = 64 };
    struct sl_leaf *leaves[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        const ASN1_INTEGER *serial;

        leaves[i] = forge(&ec_conf, SL_STR("example.com"));
        serial = X509_get0_serialNumber(sl_leaf_cert(leaves[i]));
        assert_int_equal(ASN1_STRING_length(serial), 16);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(
                ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(sl_leaf_cert(leaves[k]))), 0);
    }
    for (int i = 0; i < N; i++)
        sl_leaf_unref(&leaves[i]);
}

static void test_times(void **state)
{
    struct sl_leaf *leaf = forge(&ec_conf, SL_STR("example.com"));
    X509 *cert = sl_leaf_cert(leaf);
    time_t expires = (time_t)sl_leaf_expires(leaf);
    int days, seconds;

    (void)state;
    assert_int_equal(
        ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert)), 1);
    assert_int_equal(days, 8);
    assert_int_equal(seconds, 0);
    assert_int_equal(ASN1_TIME_cmp_time_t(X509_get0_notAfter(cert), expires), 0);
    assert_in_range(expires - time(NULL), WEEK_S - 60, WEEK_S);
    sl_leaf_unref(&leaf);
}

static void test_never_outlives_its_ca(void **state)
{
    struct sl_ca *whole = ca;
    struct sl_leaf *leaf;

    (void)state;
    ca = make_ca(SL_CA_ECDSA_P256, 2);
    leaf = forge(&ec_conf, SL_STR("example.com"));
    assert_int_equal(sl_leaf_expires(leaf), sl_ca_not_after(ca));
    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(sl_leaf_cert(leaf)),
                                       X509_get0_notAfter(sl_ca_cert(ca))),
                     0);
    assert_verifies(leaf);
    sl_leaf_unref(&leaf);
    sl_ca_unref(&ca);
    ca = whole;
}

static void test_other_authorities(void **state)
{
    static const enum sl_ca_key kinds[] = { SL_CA_ECDSA_P384, SL_CA_RSA_3072 };
    struct sl_ca *first = ca;

    (void)state;
    for (size_t i = 0; i < SL_LEN(kinds); i++) {
        struct sl_leaf *leaf;

        ca = make_ca(kinds[i], 0);
        leaf = forge(&ec_conf, SL_STR("example.com"));
        sl_ca_unref(&ca);
        assert_verifies(leaf);
        sl_leaf_unref(&leaf);
    }
    ca = first;
}

static void test_key_scope(void **state)
{
    static const struct sl_leaf_conf own = { .kind = SL_LEAF_ECDSA_P256,
                                             .host_scope = true,
                                             .lifetime_s = WEEK_S };
    struct sl_leaf *leaves[] = { forge(&ec_conf, SL_STR("a")), forge(&ec_conf, SL_STR("b")),
                                 forge(&own, SL_STR("c")), forge(&own, SL_STR("d")) };

    (void)state;
    assert_int_equal(EVP_PKEY_eq(sl_leaf_key(leaves[0]), sl_leaf_key(leaves[1])), 1);
    assert_int_equal(EVP_PKEY_eq(sl_leaf_key(leaves[1]), sl_leaf_key(leaves[2])), 0);
    assert_int_equal(EVP_PKEY_eq(sl_leaf_key(leaves[2]), sl_leaf_key(leaves[3])), 0);
    for (size_t i = 0; i < SL_LEN(leaves); i++) {
        assert_verifies(leaves[i]);
        sl_leaf_unref(&leaves[i]);
    }
}

static void test_slow_only_before_an_rsa_key(void **state)
{
    struct sl_leaf_conf own = rsa_conf;
    struct sl_leaf *leaf;

    (void)state;
    own.host_scope = true;
    assert_false(sl_leaf_is_slow(keys, &ec_conf));
    assert_true(sl_leaf_is_slow(keys, &rsa_conf));
    leaf = forge(&rsa_conf, SL_STR("example.com"));
    assert_false(sl_leaf_is_slow(keys, &rsa_conf));
    assert_true(sl_leaf_is_slow(keys, &own));
    sl_leaf_unref(&leaf);
}

/* A leaf outlives the keys and the authority's owner. */
static void test_leaf_keeps_what_it_needs(void **state)
{
    struct sl_leaf *leaf = forge(&ec_conf, SL_STR("example.com"));
    struct sl_leaf *same = sl_leaf_ref(leaf);

    (void)state;
    (void)tear_down(NULL);
    sl_leaf_unref(&leaf);
    assert_verifies(same);
    sl_leaf_unref(&same);
    (void)set_up(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_names_of_every_length),
        CASE(test_odd_names),
        CASE(test_addresses),
        CASE(test_refused_hosts),
        CASE(test_extensions),
        CASE(test_der_is_canonical),
        CASE(test_serials_differ),
        CASE(test_times),
        CASE(test_never_outlives_its_ca),
        CASE(test_other_authorities),
        CASE(test_key_scope),
        CASE(test_slow_only_before_an_rsa_key),
        CASE(test_leaf_keeps_what_it_needs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
