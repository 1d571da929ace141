/* test_encode.c -- bytes for other eyes; what a hostile peer sends must stay inside its quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"

typedef void add_fn(struct sl_buf *b, struct sl_str s);

struct pair {
    struct sl_str in, out;
};

#define PAIR(in_lit, out_lit)                                                                      \
    {                                                                                              \
        { "" in_lit, sizeof(in_lit) - 1 },                                                         \
        {                                                                                          \
            "" out_lit, sizeof(out_lit) - 1                                                        \
        }                                                                                          \
    }

static void check(add_fn *add, const struct pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sl_buf b = { 0 };

        add(&b, pairs[i].in);
        struct sl_str got = sl_buf_str(&b);

        if (!sl_str_eq(got, pairs[i].out))
            fail_msg("pair %zu: got %.*s", i, SL_FMT(got));
        sl_buf_fini(&b);
    }
}

static void base64(void **state)
{
    static const struct pair pairs[] = {
        PAIR("", ""),
        PAIR("f", "Zg=="),
        PAIR("fo", "Zm8="),
        PAIR("foo", "Zm9v"),
        PAIR("foob", "Zm9vYg=="),
        PAIR("fooba", "Zm9vYmE="),
        PAIR("foobar", "Zm9vYmFy"),
        PAIR("\xff\xfe\xfb\x00", "//77AA=="),
    };

    (void)state;
    check(sl_add_base64, pairs, SL_LEN(pairs));
}

static void hex(void **state)
{
    struct sl_buf b = { 0 };

    (void)state;
    sl_add_hex(&b, "\x00\x7f\xff", 3);
    sl_add_hex(&b, NULL, 0);
    assert_true(sl_str_eq(sl_buf_str(&b), SL_STR("007fff")));
    sl_buf_fini(&b);
}

static void json(void **state)
{
    static const struct pair pairs[] = {
        PAIR("", "\"\""),
        PAIR("plain", "\"plain\""),
        PAIR("a\"b\\c/", "\"a\\\"b\\\\c/\""),
        PAIR("\n\r\t\b\0\x1f\x7f", "\"\\n\\r\\t\\u0008\\u0000\\u001f\\u007f\""),
        PAIR("\xc2\x9b", "\"\\u009b\""),
        PAIR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""),
        PAIR("a\xff"
             "b",
             "\"a\xef\xbf\xbd"
             "b\""),
        PAIR("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""),
        PAIR("\xc2\"", "\"\xef\xbf\xbd\\\"\""),
    };

    (void)state;
    check(sl_add_json, pairs, SL_LEN(pairs));
}

static void json_bytes(void **state)
{
    static const struct pair pairs[] = {
        PAIR("a\n", "\"a\\n\""),
        PAIR("\xff", "{\"base64\":\"/w==\"}"),
    };

    (void)state;
    check(sl_add_json_bytes, pairs, SL_LEN(pairs));
}

static void html(void **state)
{
    static const struct pair pairs[] = {
        PAIR("<a href=\"x\">'&", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"),
        PAIR("a\x00\x1b[1m\n\x7f\xc2\x9b"
             "b",
             "a[1mb"),
        PAIR("\xc3\xa4\xc0\xbc", "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd"),
    };

    (void)state;
    check(sl_add_html, pairs, SL_LEN(pairs));
}

static void text(void **state)
{
    static const struct pair pairs[] = {
        PAIR("", "-"),
        PAIR("/a?b=1", "/a?b=1"),
        PAIR("a b", "\"a b\""),
        PAIR("\\\"", "\\x5c\\x22"),
        PAIR("\n\x7f\xc3\xa4", "\\x0a\\x7f\\xc3\\xa4"),
    };

    (void)state;
    check(sl_add_text, pairs, SL_LEN(pairs));
}

static void sf_string(void **state)
{
    static const struct pair pairs[] = {
        PAIR("", "\"\""),
        PAIR("a b", "\"a b\""),
        PAIR("\"\\", "\"\\\"\\\\\""),
        PAIR("\r\n\xc3\xa4", "\"????\""),
    };

    (void)state;
    check(sl_add_sf_string, pairs, SL_LEN(pairs));
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool is_ok;
    } cases[] = {
        { "", true },
        { "ascii", true },
        { "\xc2\x80", true },
        { "\xdf\xbf", true },
        { "\xe0\xa0\x80", true },
        { "\xed\x9f\xbf", true },
        { "\xef\xbf\xbf", true },
        { "\xf0\x90\x80\x80", true },
        { "\xf4\x8f\xbf\xbf", true },
        { "\x80", false },
        { "\xc0\x80", false },
        { "\xc1\xbf", false },
        { "\xc2", false },
        { "\xc2\x41", false },
        { "\xe0\x9f\xbf", false },
        { "\xed\xa0\x80", false },
        { "\xe2\x82", false },
        { "\xe2\x82\x41", false },
        { "\xf0\x8f\xbf\xbf", false },
        { "\xf4\x90\x80\x80", false },
        { "\xf5\x80\x80\x80", false },
        { "\xf0\x9f\x98", false },
        { "ok\xff", false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++)
        if (sl_is_utf8(sl_str_of(cases[i].text)) != cases[i].is_ok)
            fail_msg("case %zu", i);
}

/* A sequence cut by the end of the slice must not be read past it. */
static void utf8_stops_at_the_end(void **state)
{
    static const char euro[] = "\xe2\x82\xac";

    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        char *exact = sl_alloc(n);

        memcpy(exact, euro, n);
        assert_int_equal(sl_is_utf8(sl_str_make(exact, n)), n == 3);
        sl_free(exact);
    }
}

static void glob(void **state)
{
    static const struct {
        const char *glob, *text;
        bool is_match;
    } cases[] = {
        { "", "", true },
        { "", "a", false },
        { "*", "", true },
        { "*", "abc", true },
        { "**", "", true },
        { "?", "", false },
        { "?", "a", true },
        { "a*", "abc", true },
        { "a*", "b", false },
        { "*c", "abc", true },
        { "*c", "abcd", false },
        { "a*c", "ac", true },
        { "a*c", "abcbc", true },
        { "a*b*c", "aXbYbZc", true },
        { "a*b*c", "acb", false },
        { "*ab", "aab", true },
        { "*a?c", "aabcabc", true },
        { "a?*", "a", false },
        { "/track/*", "/track/", true },
        { "/track/*", "/track", false },
        { "abc*", "ab", false },
        { "abc", "abcd", false },
        { "*.*", "a.b", true },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++)
        if (sl_glob_match(sl_str_of(cases[i].glob), sl_str_of(cases[i].text)) != cases[i].is_match)
            fail_msg("%s on %s", cases[i].glob, cases[i].text);
}

/* Exponential in a matcher that takes up every star again. */
static void glob_does_not_explode(void **state)
{
    char text[5000];

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_false(
        sl_glob_match(SL_STR("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), sl_str_make(text, sizeof(text))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64),
        cmocka_unit_test(hex),
        cmocka_unit_test(json),
        cmocka_unit_test(json_bytes),
        cmocka_unit_test(html),
        cmocka_unit_test(text),
        cmocka_unit_test(sf_string),
        cmocka_unit_test(utf8),
        cmocka_unit_test(utf8_stops_at_the_end),
        cmocka_unit_test(glob),
        cmocka_unit_test(glob_does_not_explode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
