/* test_leaf_shape.c -- what a signer signs, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "leaf_kit.h"
#include "tls/leaf_shape.h"

static char dir[64], cert_path[96], key_path[96];
static int64_t now;

static int set_up(void **state)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_fault fault = { 0 };

    (void)state;
    now = (int64_t)time(NULL);
    (void)snprintf(dir, sizeof(dir), "/tmp/sluice-test-shape-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/ca.key", dir);
    return sl_ca_create(cert_path, key_path, &conf, &fault) == SL_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(cert_path);
    (void)unlink(key_path);
    return rmdir(dir);
}

static enum sl_err check(X509 *cert)
{
    struct sl_fault fault = { 0 };
    struct sl_str text = text_of(cert);
    enum sl_err err = sl_leaf_check_shape(text, now, &fault);

    OPENSSL_free((void *)(uintptr_t)text.p);
    X509_free(cert);
    return err;
}

static X509 *draft(void)
{
    return draft_of(cert_path, key_path, 7 * 86400);
}

static X509 *without(X509 *cert, int nid)
{
    X509_EXTENSION_free(X509_delete_ext(cert, X509_get_ext_by_NID(cert, nid, -1)));
    return cert;
}

static X509 *with(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
    return cert;
}

static X509 *with_empty(X509 *cert, int nid)
{
    ASN1_OCTET_STRING *none = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext = X509_EXTENSION_create_by_NID(NULL, nid, 1, none);

    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(none);
    return cert;
}

static void test_leaves_pass(void **state)
{
    (void)state;
    assert_int_equal(check(draft()), SL_OK);
    assert_int_equal(check(draft_of(cert_path, key_path, SL_LEAF_LIFETIME_MAX)), SL_OK);
}

static void test_an_authority_does_not(void **state)
{
    (void)state;
    assert_int_equal(check(with(without(draft(), NID_basic_constraints), NID_basic_constraints,
                                "critical,CA:TRUE")),
                     SL_INTERNAL);
    assert_int_equal(check(with(draft(), NID_basic_constraints, "critical,CA:TRUE")), SL_INTERNAL);
    assert_int_equal(
        check(with_empty(without(draft(), NID_basic_constraints), NID_basic_constraints)),
        SL_INTERNAL);
    assert_int_equal(check(without(draft(), NID_basic_constraints)), SL_INTERNAL);
    assert_int_equal(check(with(without(draft(), NID_key_usage), NID_key_usage,
                                "critical,digitalSignature,keyCertSign")),
                     SL_INTERNAL);
    assert_int_equal(check(with(without(draft(), NID_key_usage), NID_key_usage, "cRLSign")),
                     SL_INTERNAL);
}

static void test_nor_what_is_for_something_else(void **state)
{
    (void)state;
    assert_int_equal(
        check(with(without(draft(), NID_ext_key_usage), NID_ext_key_usage, "codeSigning")),
        SL_INTERNAL);
    assert_int_equal(
        check(with(without(draft(), NID_ext_key_usage), NID_ext_key_usage, "anyExtendedKeyUsage")),
        SL_INTERNAL);
    assert_int_equal(check(without(draft(), NID_ext_key_usage)), SL_INTERNAL);
    assert_int_equal(check(without(draft(), NID_subject_alt_name)), SL_INTERNAL);
    assert_int_equal(check(with(draft(), NID_subject_alt_name, "DNS:other.test")), SL_INTERNAL);
    assert_int_equal(check(with(draft(), NID_netscape_comment, "more")), SL_INTERNAL);
}

static void test_nor_what_lives_longer(void **state)
{
    X509 *cert = draft();

    (void)state;
    assert_int_equal(check(draft_of(cert_path, key_path, SL_LEAF_LIFETIME_MAX + 7200)),
                     SL_INTERNAL);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -400L * 86400));
    assert_int_equal(check(cert), SL_INTERNAL);
    cert = draft();
    assert_int_equal(X509_set_version(cert, X509_VERSION_1), 1);
    assert_int_equal(check(cert), SL_INTERNAL);
}

static X509 *named(const char *names)
{
    return with(without(draft(), NID_subject_alt_name), NID_subject_alt_name, names);
}

static void test_nor_what_has_more_than_one_name(void **state)
{
    (void)state;
    assert_int_equal(check(named("DNS:a.test")), SL_OK);
    assert_int_equal(check(named("IP:192.0.2.1")), SL_OK);
    assert_int_equal(check(named("DNS:a.test,DNS:b.test")), SL_INTERNAL);
    assert_int_equal(check(named("DNS:a.test,IP:192.0.2.1")), SL_INTERNAL);
    assert_int_equal(check(named("DNS:*.test")), SL_INTERNAL);
    assert_int_equal(check(named("email:a@a.test")), SL_INTERNAL);
}

static X509 *living(int64_t begin, int64_t end)
{
    X509 *cert = draft();

    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)begin));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)end));
    return cert;
}

static void test_nor_what_lives_at_another_time(void **state)
{
    const int64_t day = 86400, year = 365 * day;

    (void)state;
    assert_int_equal(check(living(now - day, now + year)), SL_OK);
    assert_int_equal(check(living(now + 9 * year, now + 10 * year)), SL_INTERNAL);
    assert_int_equal(check(living(now - 2 * day, now + year)), SL_INTERNAL);
    assert_int_equal(check(living(now, now - 10)), SL_INTERNAL);
    assert_int_equal(check(living(now, now + 398 * day)), SL_INTERNAL);
}

static void test_nor_what_is_no_certificate(void **state)
{
    static char zeros[0x10000];
    struct sl_fault fault = { 0 };
    X509 *cert = draft();
    struct sl_str text = text_of(cert);

    (void)state;
    assert_int_equal(sl_leaf_check_shape(SL_STR(""), now, &fault), SL_INTERNAL);
    assert_int_equal(sl_leaf_check_shape(SL_STR("what is to be signed"), now, &fault), SL_INTERNAL);
    assert_int_equal(sl_leaf_check_shape(sl_str_make(zeros, sizeof(zeros)), now, &fault),
                     SL_INTERNAL);
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(sl_leaf_check_shape(sl_str_head(text, n), now, &fault), SL_INTERNAL);
    assert_int_equal(sl_leaf_check_shape(text, now, &fault), SL_OK);
    OPENSSL_free((void *)(uintptr_t)text.p);
    X509_free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves_pass),
        cmocka_unit_test(test_an_authority_does_not),
        cmocka_unit_test(test_nor_what_is_for_something_else),
        cmocka_unit_test(test_nor_what_lives_longer),
        cmocka_unit_test(test_nor_what_has_more_than_one_name),
        cmocka_unit_test(test_nor_what_lives_at_another_time),
        cmocka_unit_test(test_nor_what_is_no_certificate),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
