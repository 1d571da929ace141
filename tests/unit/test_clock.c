/* test_clock.c -- dates as text, and identities in the order of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

static void iso8601(void **state)
{
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000000Z" },
        { 1769903999123456, "2026-01-31T23:59:59.123456Z" },
        { 951782400000001, "2000-02-29T00:00:00.000001Z" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        char text[28];

        sl_clock_iso8601(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void http_date(void **state)
{
    char text[30];

    (void)state;
    sl_clock_http_date(784111777, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    sl_clock_http_date(0, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void ids_are_ulids(void **state)
{
    char id[SL_ID_LEN + 1], other[SL_ID_LEN + 1];

    (void)state;
    sl_id_make(id);
    sl_id_make(other);
    assert_int_equal(strlen(id), SL_ID_LEN);
    assert_int_equal(strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), SL_ID_LEN);
    assert_string_not_equal(id + 10, other + 10);
    assert_true(strncmp(id, "01", 2) >= 0);
    assert_true(memcmp(id, other, 10) <= 0);
}

static void clocks_tell_time(void **state)
{
    uint64_t before = sl_mono_us();

    (void)state;
    assert_true(sl_mono_us() >= before);
    assert_true(sl_clock_us() > 1700000000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iso8601),
        cmocka_unit_test(http_date),
        cmocka_unit_test(ids_are_ulids),
        cmocka_unit_test(clocks_tell_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
