/* test_message.c -- lists of fields, and what may travel on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/chars.h"
#include "http/message.h"

static int set_up(void **state)
{
    *state = sl_zalloc(sizeof(struct sl_arena));
    return 0;
}

static int tear_down(void **state)
{
    sl_arena_fini(*state);
    sl_free(*state);
    return 0;
}

/* "Name: value|Name: value" */
static struct sl_fields fields_of(struct sl_arena *a, const char *text)
{
    struct sl_str rest = sl_str_of(text), line;
    struct sl_fields f = { .n = 0 };

    while (sl_str_next(&rest, '|', &line)) {
        size_t colon = sl_str_find(line, ':');

        sl_fields_add(&f, a, sl_str_head(line, colon), sl_str_trim(sl_str_skip(line, colon + 1)));
    }
    return f;
}

static void assert_fields(const struct sl_fields *f, const char *want)
{
    struct sl_buf got = { .len = 0 };

    for (uint32_t i = 0; i < f->n; i++)
        sl_buf_addf(&got, "%s%.*s: %.*s", i == 0 ? "" : "|", SL_FMT(f->v[i].name),
                    SL_FMT(f->v[i].value));
    sl_buf_add_char(&got, '\0');
    assert_string_equal(got.p + got.off, want);
    sl_buf_fini(&got);
}

static void test_every_known_name_is_found(void **state)
{
    static const char *const names[] = {
#define X(id, name) name,
        SL_FIELD_MAP(X)
#undef X
    };
    char upper[32];

    (void)state;
    for (size_t i = 0; i < SL_LEN(names); i++) {
        size_t n = strlen(names[i]);

        for (size_t j = 0; j < n; j++)
            upper[j] = (char)(names[i][j] >= 'a' ? names[i][j] - 32 : names[i][j]);
        assert_int_equal(sl_field_id(sl_str_of(names[i])), i + 1);
        assert_int_equal(sl_field_id(sl_str_make(upper, n)), i + 1);
        assert_int_equal(sl_field_id(sl_str_make(names[i], n - 1)), SL_FIELD_OTHER);
        upper[n - 1] = '_';
        assert_int_equal(sl_field_id(sl_str_make(upper, n)), SL_FIELD_OTHER);
    }
    assert_int_equal(sl_field_id(SL_STR("")), SL_FIELD_OTHER);
    assert_int_equal(sl_field_id(SL_STR("x-request-identifier-of-great-length")), SL_FIELD_OTHER);
}

static void test_lists(void **state)
{
    struct sl_arena *a = *state;
    struct sl_fields f = fields_of(a, "Host: a|X: 1|Via: p|x: 2|VIA: q");

    assert_int_equal(sl_fields_count(&f, SL_FIELD_VIA), 2);
    assert_int_equal(sl_fields_count(&f, SL_FIELD_DATE), 0);
    assert_ptr_equal(sl_fields_find(&f, SL_FIELD_VIA), &f.v[2]);
    assert_null(sl_fields_find(&f, SL_FIELD_DATE));
    assert_ptr_equal(sl_fields_find_name(&f, SL_STR("X")), &f.v[1]);
    assert_null(sl_fields_find_name(&f, SL_STR("y")));

    sl_fields_set(&f, a, SL_STR("x"), SL_STR("3"));
    assert_fields(&f, "Host: a|X: 3|Via: p|VIA: q");
    sl_fields_remove_name(&f, SL_STR("via"));
    assert_fields(&f, "Host: a|X: 3");
    sl_fields_set(&f, a, SL_STR("Date"), SL_STR("now"));
    assert_fields(&f, "Host: a|X: 3|Date: now");
    assert_int_equal(f.v[2].id, SL_FIELD_DATE);
    sl_fields_remove_name(&f, SL_STR("nothing"));
    assert_int_equal(f.n, 3);
}

static void test_lists_grow(void **state)
{
    struct sl_fields f = { .n = 0 };

    for (size_t i = 0; i < 1000; i++)
        sl_fields_add(&f, *state, SL_STR("n"), sl_arena_printf(*state, "%zu", i));
    assert_int_equal(f.n, 1000);
    assert_true(sl_str_eq(f.v[0].value, SL_STR("0")));
    assert_true(sl_str_eq(f.v[999].value, SL_STR("999")));
}

static void test_tokens_in_lists(void **state)
{
    struct sl_fields f =
        fields_of(*state, "Connection: , keep-alive ,Upgrade|Via: close|Connection: X-Odd");

    assert_true(sl_fields_has_token(&f, SL_FIELD_CONNECTION, SL_STR("upgrade")));
    assert_true(sl_fields_has_token(&f, SL_FIELD_CONNECTION, SL_STR("keep-alive")));
    assert_true(sl_fields_has_token(&f, SL_FIELD_CONNECTION, SL_STR("x-odd")));
    assert_false(sl_fields_has_token(&f, SL_FIELD_CONNECTION, SL_STR("close")));
    assert_false(sl_fields_has_token(&f, SL_FIELD_CONNECTION, SL_STR("keep")));
}

static void test_what_travels(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        { "Host: a|Accept: b|Cookie: c", "Accept: b|Cookie: c" },
        { "Connection: close|A: 1", "A: 1" },
        { "Connection: x-hop, close|X-Hop: 1|X-End: 2", "X-End: 2" },
        { "X-Hop: 1|Connection: keep-alive|Connection: , X-HOP", "" },
        { "Keep-Alive: timeout=5|Proxy-Connection: keep-alive|A: 1", "A: 1" },
        { "Proxy-Authorization: Basic x|Proxy-Authenticate: Basic|Proxy-Features: y", "" },
        { "TE: gzip, trailers;q=1|A: 1", "A: 1" },
        { "TE: gzip, Trailers|A: 1|TE: trailers|Connection: TE", "A: 1|TE: trailers" },
        { "Transfer-Encoding: chunked|Content-Length: 3|Trailer: X", "Trailer: X" },
        { "Upgrade: h2c|HTTP2-Settings: AA|Connection: Upgrade, HTTP2-Settings", "" },
        { "Proxy: http://evil|Proxying: 1", "Proxy: http://evil|Proxying: 1" },
        { "B: 2|A: 1|B: 1", "B: 2|A: 1|B: 1" },
    };

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_fields from = fields_of(*state, cases[i].from), to = { .n = 0 };

        sl_fields_copy_end_to_end(&to, *state, &from);
        if (to.n == 0)
            assert_string_equal(cases[i].to, "");
        else
            assert_fields(&to, cases[i].to);
    }
}

static void test_names_that_travel(void **state)
{
    static const char *const good[] = { "accept", "TE", "Upgrade", "Trailer", "proxying", "x" };
    static const char *const bad[] = { "Host",          "content-length",      "Transfer-Encoding",
                                       "connection",    "proxy-authorization", "Keep-Alive",
                                       "proxy-features" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(good); i++)
        assert_true(sl_field_may_travel(sl_str_of(good[i])));
    for (size_t i = 0; i < SL_LEN(bad); i++)
        assert_false(sl_field_may_travel(sl_str_of(bad[i])));
}

static void test_characters(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text = (char)c;
        bool visible = c > 0x20 && c < 0x7f;
        bool tchar = visible && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;

        assert_int_equal(sl_is_token(sl_str_make(&text, 1)), tchar);
        assert_int_equal(sl_is_field_value(sl_str_make(&text, 1)),
                         visible || c == ' ' || c == '\t' || c >= 0x80);
        assert_int_equal(sl_char_is(text, SL_CHAR_TARGET), visible && c != '#');
    }
    assert_false(sl_is_token(SL_STR("")));
    assert_true(sl_is_field_value(SL_STR("")));
    assert_false(sl_is_field_value(SL_STR("a\r\nb: c")));
    assert_false(sl_is_token(SL_STR("a b")));
}

static void test_methods_and_reasons(void **state)
{
    (void)state;
    assert_true(sl_method_is_idempotent(SL_STR("GET")));
    assert_true(sl_method_is_idempotent(SL_STR("DELETE")));
    assert_false(sl_method_is_idempotent(SL_STR("POST")));
    assert_false(sl_method_is_idempotent(SL_STR("get")));
    assert_false(sl_method_is_idempotent(SL_STR("")));
    assert_string_equal(sl_status_reason(200), "OK");
    assert_string_equal(sl_status_reason(511), "Network Authentication Required");
    assert_string_equal(sl_status_reason(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_known_name_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tokens_in_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_travels, set_up, tear_down),
        cmocka_unit_test(test_names_that_travel),
        cmocka_unit_test_setup_teardown(test_characters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_methods_and_reasons, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
