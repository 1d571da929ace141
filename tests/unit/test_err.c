/* test_err.c -- the error table and the faults made from it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static void names_are_lower_case_and_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < SL_ERR_N; i++) {
        const char *name = sl_err_name((enum sl_err)i);

        assert_int_not_equal(name[0], '\0');
        for (const char *p = name; *p != '\0'; p++)
            assert_int_equal(*p, sl_lower(*p));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name, sl_err_name((enum sl_err)k));
    }
    assert_string_equal(sl_err_name(SL_CERT_EXPIRED), "cert_expired");
}

static void rows_are_whole(void **state)
{
    (void)state;
    for (int i = 0; i < SL_ERR_N; i++) {
        enum sl_err err = (enum sl_err)i;
        int http = sl_err_http(err);

        assert_int_not_equal(sl_err_text(err)[0], '\0');
        assert_true(http == 0 || (http >= 400 && http < 600));
        if (http != 0)
            assert_int_not_equal(sl_err_proxy_status(err)[0], '\0');
    }
    assert_int_equal(sl_err_http(SL_DENIED), 403);
    assert_string_equal(sl_err_proxy_status(SL_NO_NAME), "dns_error");
    assert_true(sl_err_is_retryable(SL_REFUSED));
    assert_false(sl_err_is_retryable(SL_BLOCKED_ADDRESS));
}

static void fault_replaces_what_was_there(void **state)
{
    struct sl_fault f = { .err = SL_IO, .os_errno = EIO, .tls = 7, .text = "old" };

    (void)state;
    assert_int_equal(sl_fault_set(&f, SL_DENIED, "rule %d after %s", 3, f.text), SL_DENIED);
    assert_int_equal(f.err, SL_DENIED);
    assert_int_equal(f.os_errno, 0);
    assert_int_equal(f.tls, 0);
    assert_string_equal(f.text, "rule 3 after old");
}

static void fault_text_is_cut(void **state)
{
    char text[400];
    struct sl_fault f = { 0 };

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    sl_fault_set(&f, SL_INTERNAL, "%s", text);
    assert_int_equal(strlen(f.text), sizeof(f.text) - 1);
}

static void errno_becomes_a_code(void **state)
{
    static const struct {
        int os_errno;
        enum sl_err err;
    } cases[] = {
        { EAGAIN, SL_AGAIN },
        { ECONNREFUSED, SL_REFUSED },
        { ENETUNREACH, SL_UNREACHABLE },
        { EHOSTUNREACH, SL_UNREACHABLE },
        { ECONNRESET, SL_RESET },
        { EPIPE, SL_RESET },
        { ETIMEDOUT, SL_CONNECT_TIMEOUT },
        { EMFILE, SL_LIMIT },
        { ENOENT, SL_IO },
        { 12345, SL_IO },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_fault f = { 0 };

        assert_int_equal(sl_fault_errno(&f, cases[i].os_errno, "connect"), cases[i].err);
        assert_int_equal(f.err, cases[i].err);
        assert_int_equal(f.os_errno, cases[i].os_errno);
        assert_memory_equal(f.text, "connect: ", 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_lower_case_and_distinct),
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(fault_replaces_what_was_there),
        cmocka_unit_test(fault_text_is_cut),
        cmocka_unit_test(errno_becomes_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
