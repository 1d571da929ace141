/* test_check_json.c -- replies of check services: what they mean and what makes them bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/check_json.h"

/* NULL when it is bad. */
static struct sl_verdict *parse_str(struct sl_str text)
{
    struct sl_verdict *v = NULL;
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_check_json_parse(text, &v, &fault);

    if (err == SL_OK) {
        assert_non_null(v);
        assert_int_equal(fault.err, SL_OK);
        return v;
    }
    assert_int_equal(err, SL_PROTOCOL);
    assert_int_equal(fault.err, SL_PROTOCOL);
    assert_true(fault.text[0] != '\0');
    assert_null(v);
    return NULL;
}

static struct sl_verdict *parse(const char *text)
{
    return parse_str(sl_str_of(text));
}

static void assert_str(struct sl_str got, const char *expected)
{
    assert_true(sl_str_eq(got, sl_str_of(expected)));
}

static void good_replies(void **state)
{
    static const struct {
        const char *text;
        bool allow;
        uint16_t status;
        const char *reason;
    } rows[] = {
        { "{\"action\":\"allow\"}", true, 0, "" },
        { " {\"action\":\"allow\"}\r\n", true, 0, "" },
        { "{\"action\":\"deny\"}", false, 403, "" },
        { "{\"action\":\"deny\",\"status\":451,\"reason\":\"no\"}", false, 451, "no" },
        { "{\"action\":\"deny\",\"status\":200}", false, 200, "" },
        { "{\"action\":\"deny\",\"status\":599}", false, 599, "" },
        { "{\"action\":\"deny\",\"status\":null,\"reason\":null,\"headers\":null,\"body\":null}",
          false, 403, "" },
        { "{\"action\":\"allow\",\"cache\":null,\"request\":null,\"response\":null}", true, 0, "" },
        { "{\"action\":\"allow\",\"request\":{\"set\":null,\"remove\":null}}", true, 0, "" },
        { "{\"action\":\"allow\",\"more\":{\"than\":[\"we\",\"know\"]}}", true, 0, "" },
        { "{\"action\":\"allow\",\"status\":\"of no interest\"}", true, 0, "" },
        { "{\"action\":\"deny\",\"request\":7}", false, 403, "" },
        { "{\"reason\":\"\\u00fc\",\"action\":\"deny\"}", false, 403, "\xc3\xbc" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_verdict *v = parse(rows[i].text);

        if (v == NULL)
            fail_msg("%s", rows[i].text);
        assert_int_equal(v->allow, rows[i].allow);
        assert_int_equal(v->status, rows[i].status);
        assert_false(v->is_failure);
        assert_str(v->reason, rows[i].reason);
        assert_true(v->vary.all);
        assert_false(v->has_ttl);
        sl_verdict_unref(&v);
    }
}

static const char *const bad_replies[] = {
    "",
    " ",
    "null",
    "true",
    "\"allow\"",
    "[]",
    "{}",
    "{\"action\":\"allow\"",
    "{\"action\":\"allow\"}x",
    "{\"action\":\"allow\"}{}",
    "{\"action\":\"Allow\"}",
    "{\"action\":\"allow \"}",
    "{\"action\":\"\"}",
    "{\"action\":null}",
    "{\"action\":true}",
    "{\"action\":[\"allow\"]}",
    "{\"action\":\"allow\",\"action\":\"deny\"}",
    "{\"action\":\"deny\",\"action\":\"allow\"}",
    "{\"action\":\"allow\\u0000\"}",
    "{'action':'allow'}",
    "{\"action\":\"allow\",}",
    "{\"action\":\"deny\",\"reason\":\"\xff\"}",
    "{\"action\":\"deny\",\"reason\":7}",
    "{\"action\":\"deny\",\"body\":{}}",
    "{\"action\":\"deny\",\"status\":199}",
    "{\"action\":\"deny\",\"status\":600}",
    "{\"action\":\"deny\",\"status\":66039}",
    "{\"action\":\"deny\",\"status\":-403}",
    "{\"action\":\"deny\",\"status\":403.5}",
    "{\"action\":\"deny\",\"status\":\"403\"}",
    "{\"action\":\"deny\",\"headers\":[]}",
    "{\"action\":\"deny\",\"headers\":{\"x\":1}}",
    "{\"action\":\"deny\",\"headers\":{\"x\":null}}",
    "{\"action\":\"deny\",\"headers\":{\"x\":[\"a\",1]}}",
    "{\"action\":\"deny\",\"headers\":{\"x\":\"a\\r\\nb: c\"}}",
    "{\"action\":\"deny\",\"headers\":{\"x\":\"a\\nb\"}}",
    "{\"action\":\"deny\",\"headers\":{\"\":\"a\"}}",
    "{\"action\":\"deny\",\"headers\":{\"x y\":\"a\"}}",
    "{\"action\":\"deny\",\"headers\":{\"x:\":\"a\"}}",
    "{\"action\":\"deny\",\"headers\":{\"x\\r\\ny\":\"a\"}}",
    "{\"action\":\"deny\",\"headers\":{\"Content-Length\":\"1\"}}",
    "{\"action\":\"deny\",\"headers\":{\"transfer-encoding\":\"chunked\"}}",
    "{\"action\":\"deny\",\"headers\":{\"CONNECTION\":\"close\"}}",
    "{\"action\":\"allow\",\"request\":[]}",
    "{\"action\":\"allow\",\"request\":{\"set\":[]}}",
    "{\"action\":\"allow\",\"request\":{\"set\":{\"host\":\"evil.example\"}}}",
    "{\"action\":\"allow\",\"request\":{\"set\":{\"upgrade\":\"h2c\"}}}",
    "{\"action\":\"allow\",\"request\":{\"set\":{\"http2-settings\":\"x\"}}}",
    "{\"action\":\"allow\",\"request\":{\"set\":{\"expect\":\"100-continue\"}}}",
    "{\"action\":\"allow\",\"request\":{\"remove\":{}}}",
    "{\"action\":\"allow\",\"request\":{\"remove\":[1]}}",
    "{\"action\":\"allow\",\"request\":{\"remove\":[\"a b\"]}}",
    "{\"action\":\"allow\",\"request\":{\"remove\":[\"host\"]}}",
    "{\"action\":\"allow\",\"response\":{\"set\":{\"x\":\"\\u007f\"}}}",
    "{\"action\":\"allow\",\"cache\":[]}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":\"60\"}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":-1}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":1e300}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":60,\"vary\":\"host\"}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":60,\"vary\":[\"hosts\"]}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":60,\"vary\":[7]}}",
    "{\"action\":\"allow\",\"cache\":{\"ttl\":60,\"vary\":[\"header:\"]}}",
};

static void bad_replies_say_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(bad_replies); i++)
        if (parse(bad_replies[i]) != NULL)
            fail_msg("%s", bad_replies[i]);
    assert_null(parse_str((struct sl_str){ 0 }));
}

/* Cut anywhere, a reply is bad: there is no allowing half of one. */
static void no_part_of_a_reply_counts(void **state)
{
    const struct sl_str whole =
        SL_STR("{\"action\":\"allow\",\"cache\":{\"ttl\":60,\"vary\":[\"host\",\"header:x\"]},"
               "\"request\":{\"set\":{\"x-user\":\"a\"},\"remove\":[\"cookie\"]}}");
    struct sl_verdict *v;

    (void)state;
    for (size_t n = 0; n < whole.n; n++)
        assert_null(parse_str(sl_str_head(whole, n)));
    v = parse_str(whole);
    assert_non_null(v);
    assert_true(v->has_ttl);
    assert_int_equal(v->ttl_s, 60);
    assert_false(v->vary.all);
    assert_int_equal(v->vary.parts, 1u << SL_VARY_HOST);
    assert_string_equal(v->vary.headers[0], "x");
    assert_int_equal(v->request.set.n, 1);
    assert_str(v->request.set.v[0].name, "x-user");
    assert_str(v->request.set.v[0].value, "a");
    assert_int_equal(v->request.remove.n, 1);
    sl_verdict_unref(&v);
}

static void what_the_cache_is_told(void **state)
{
    static const struct {
        const char *cache;
        bool has_ttl;
        uint32_t ttl_s;
        bool all;
        uint32_t parts;
    } rows[] = {
        { "{}", false, 0, true, 0 },
        { "{\"ttl\":0}", true, 0, true, 0 },
        { "{\"ttl\":1.9}", true, 1, true, 0 },
        { "{\"ttl\":null,\"vary\":null}", false, 0, true, 0 },
        { "{\"ttl\":1000000000}", true, 1000000000, true, 0 },
        { "{\"vary\":[]}", false, 0, false, 0 },
        { "{\"vary\":[\"user\",\"client\",\"user\"]}", false, 0, false,
          1u << SL_VARY_USER | 1u << SL_VARY_CLIENT },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        char text[200];
        struct sl_verdict *v;

        snprintf(text, sizeof(text), "{\"action\":\"deny\",\"cache\":%s}", rows[i].cache);
        v = parse(text);
        assert_non_null(v);
        assert_int_equal(v->has_ttl, rows[i].has_ttl);
        assert_int_equal(v->ttl_s, rows[i].ttl_s);
        assert_int_equal(v->vary.all, rows[i].all);
        assert_int_equal(v->vary.parts, rows[i].parts);
        sl_verdict_unref(&v);
    }
}

static void denials_bring_fields_and_a_body(void **state)
{
    struct sl_verdict *v =
        parse("{\"action\":\"deny\",\"headers\":{\"x-a\":[\"1\",\"2\"],\"x-b\":[]},\"body\":\"\"}");

    (void)state;
    assert_non_null(v);
    assert_int_equal(v->headers.n, 2);
    assert_str(v->headers.v[1].value, "2");
    assert_non_null(v->body.p);
    assert_int_equal(v->body.n, 0);
    sl_verdict_unref(&v);
    v = parse("{\"action\":\"deny\"}");
    assert_null(v->body.p);
    sl_verdict_unref(&v);
}

/* RFC 9110 section 5.5: blanks around a value are no part of it. */
static void values_lose_their_outer_blanks(void **state)
{
    static const struct {
        const char *value, *kept;
    } rows[] = {
        { "Smith ", "Smith" },
        { " Smith", "Smith" },
        { "\\t Smith \\t", "Smith" },
        { "a b", "a b" },
        { "a \\t b ", "a \t b" },
        { " ", "" },
        { "\\t \\t", "" },
        { "", "" },
    };
    static const char *const places[] = { "\"allow\",\"request\":{\"set\":",
                                          "\"allow\",\"response\":{\"set\":",
                                          "\"deny\",\"headers\":" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows) * SL_LEN(places); i++) {
        size_t place = i % SL_LEN(places);
        const char *value = rows[i / SL_LEN(places)].value;
        char text[200];
        struct sl_verdict *v;
        const struct sl_fields *of[3];

        snprintf(text, sizeof(text), "{\"action\":%s{\"x\":\"%s\",\"y\":[\"%s\"]}%s}",
                 places[place], value, value, place < 2 ? "}" : "");
        v = parse(text);
        assert_non_null(v);
        of[0] = &v->request.set;
        of[1] = &v->response.set;
        of[2] = &v->headers;
        assert_int_equal(of[place]->n, 2);
        for (uint32_t k = 0; k < 2; k++)
            assert_str(of[place]->v[k].value, rows[i / SL_LEN(places)].kept);
        sl_verdict_unref(&v);
    }
}

static void sizes_are_bounded(void **state)
{
    struct sl_buf b = { 0 };
    struct sl_verdict *v;

    (void)state;
    sl_buf_addf(&b, "{\"action\":\"deny\",\"reason\":\"x");
    for (int i = 0; i < 400; i++)
        sl_buf_addf(&b, "\xc3\xbc");
    sl_buf_addf(&b, "\"}");
    v = parse_str(sl_buf_str(&b));
    assert_non_null(v);
    assert_int_equal(v->reason.n, 511); /* and not inside a character */
    sl_verdict_unref(&v);
    sl_buf_reset(&b);
    sl_buf_addf(&b, "{\"action\":\"deny\",\"headers\":{\"x\":[\"1\"");
    for (int i = 0; i < 256; i++)
        sl_buf_addf(&b, ",\"1\"");
    sl_buf_addf(&b, "]}}");
    assert_null(parse_str(sl_buf_str(&b)));
    sl_buf_reset(&b);
    sl_buf_addf(&b, "{\"action\":\"allow\"}");
    while (b.len <= SL_CHECK_JSON_MAX)
        sl_buf_add_char(&b, ' ');
    assert_null(parse_str(sl_buf_str(&b)));
    v = parse_str(sl_str_head(sl_buf_str(&b), SL_CHECK_JSON_MAX));
    assert_non_null(v);
    sl_verdict_unref(&v);
    sl_buf_reset(&b);
    for (int i = 0; i < 100000; i++)
        sl_buf_addf(&b, "{\"a\":");
    assert_null(parse_str(sl_buf_str(&b)));
    sl_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_replies),
        cmocka_unit_test(bad_replies_say_why),
        cmocka_unit_test(no_part_of_a_reply_counts),
        cmocka_unit_test(what_the_cache_is_told),
        cmocka_unit_test(denials_bring_fields_and_a_body),
        cmocka_unit_test(values_lose_their_outer_blanks),
        cmocka_unit_test(sizes_are_bounded),
    };

    return cmocka_run_group_tests_name("check_json", tests, NULL, NULL);
}
