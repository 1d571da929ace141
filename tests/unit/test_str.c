/* test_str.c -- slices: comparing, cutting, reading numbers; empty ones above all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

static const struct sl_str none = { 0 };

static void compares(void **state)
{
    (void)state;
    assert_true(sl_str_eq(none, SL_STR("")));
    assert_true(sl_str_eq(SL_STR("a\0b"), SL_STR("a\0b")));
    assert_false(sl_str_eq(SL_STR("a\0b"), SL_STR("a\0c")));
    assert_false(sl_str_eq(SL_STR("a"), SL_STR("ab")));
    assert_true(sl_str_ieq(SL_STR("HoSt"), SL_STR("hOsT")));
    assert_false(sl_str_ieq(SL_STR("[host]"), SL_STR("{HOST}")));
    assert_false(sl_str_ieq(SL_STR("\xc4"), SL_STR("\xe4")));
    assert_int_equal(sl_str_cmp(none, SL_STR("")), 0);
    assert_true(sl_str_cmp(SL_STR("ab"), SL_STR("abc")) < 0);
    assert_true(sl_str_cmp(SL_STR("b"), SL_STR("abc")) > 0);
    assert_true(sl_str_cmp(SL_STR("\xff"), SL_STR("a")) > 0);
}

static void finds_ends(void **state)
{
    (void)state;
    assert_true(sl_str_has_prefix(SL_STR("abc"), SL_STR("ab")));
    assert_true(sl_str_has_prefix(none, none));
    assert_false(sl_str_has_prefix(SL_STR("a"), SL_STR("ab")));
    assert_true(sl_str_has_suffix(SL_STR("abc"), SL_STR("bc")));
    assert_true(sl_str_has_suffix(SL_STR("abc"), none));
    assert_false(sl_str_has_suffix(SL_STR("c"), SL_STR("bc")));
    assert_int_equal(sl_str_find(SL_STR("abc"), 'c'), 2);
    assert_int_equal(sl_str_find(SL_STR("abc"), 'x'), 3);
    assert_int_equal(sl_str_find(none, 'x'), 0);
}

static void cuts_within_bounds(void **state)
{
    (void)state;
    assert_true(sl_str_eq(sl_str_skip(SL_STR("abc"), 1), SL_STR("bc")));
    assert_true(sl_str_eq(sl_str_skip(SL_STR("abc"), 9), none));
    assert_true(sl_str_eq(sl_str_skip(none, 9), none));
    assert_true(sl_str_eq(sl_str_head(SL_STR("abc"), 2), SL_STR("ab")));
    assert_true(sl_str_eq(sl_str_head(SL_STR("abc"), 9), SL_STR("abc")));
}

static void trims(void **state)
{
    static const char *const cases[][2] = {
        { "", "" }, { " \t ", "" }, { "a", "a" }, { " \ta b\t ", "a b" }, { "\r\na ", "\r\na" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++)
        assert_true(sl_str_eq(sl_str_trim(sl_str_of(cases[i][0])), sl_str_of(cases[i][1])));
}

static void walks_parts(void **state)
{
    static const struct {
        const char *text;
        const char *parts[4];
    } cases[] = {
        { "", { NULL } },
        { "a", { "a" } },
        { "a, b ,\tc", { "a", "b", "c" } },
        { "a,,b", { "a", "", "b" } },
        { ",a", { "", "a" } },
        { "a,", { "a" } },
        { ",", { "" } },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_str rest = sl_str_of(cases[i].text), part;
        size_t n = 0;

        for (; sl_str_next(&rest, ',', &part); n++)
            assert_true(sl_str_eq(part, sl_str_of(cases[i].parts[n])));
        assert_null(cases[i].parts[n]);
    }
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *text;
        bool is_ok;
        uint64_t value;
    } cases[] = {
        { "0", true, 0 },
        { "007", true, 7 },
        { "18446744073709551615", true, UINT64_MAX },
        { "18446744073709551616", false, 0 },
        { "99999999999999999999999", false, 0 },
        { "", false, 0 },
        { "-1", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "0x1", false, 0 },
        { "\xb2", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        uint64_t value = 42;

        assert_int_equal(sl_str_to_u64(sl_str_of(cases[i].text), &value), cases[i].is_ok);
        assert_true(value == (cases[i].is_ok ? cases[i].value : 42));
    }
}

static void copies(void **state)
{
    char *copy = sl_str_dup(sl_str_head(SL_STR("abc"), 2));
    char *empty = sl_str_dup(none);

    (void)state;
    assert_string_equal(copy, "ab");
    assert_string_equal(empty, "");
    sl_free(copy);
    sl_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(finds_ends),
        cmocka_unit_test(cuts_within_bounds),
        cmocka_unit_test(trims),
        cmocka_unit_test(walks_parts),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
