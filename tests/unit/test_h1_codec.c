/* test_h1_codec.c -- what passes and what does not; each vector also at every length and split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "h1_vectors.h"

/* One parse of a copy of exactly this size, so that reading past it is seen. */
struct run {
    struct sl_arena arena;
    struct sl_head head;
    struct sl_fault fault;
    enum sl_err err;
    size_t used;
    char text[256];
};

/* Parses a request from @a origin, or a response to @a request. */
static void run_parse(struct run *r, struct sl_str in, const struct sl_h1_origin *origin,
                      const struct sl_head *request)
{
    char *copy = sl_alloc(in.n + 1);
    struct sl_str exact = sl_str_make(copy + 1, in.n);

    if (in.n != 0)
        memcpy(copy + 1, in.p, in.n);
    *r = (struct run){ .used = 0 };
    r->head.arena = &r->arena;
    if (origin != NULL)
        r->err = sl_h1_parse_request(exact, &limits, origin, &r->head, &r->used, &r->fault);
    else
        r->err = sl_h1_parse_response(exact, &limits, request, &r->head, &r->used, &r->fault);
    sl_free(copy);
    if (r->err == SL_OK)
        h1_describe(&r->head, r->text, sizeof(r->text));
    else
        snprintf(r->text, sizeof(r->text), "%s", sl_err_name(r->err));
}

static void check_whole(const struct vector *v, const struct sl_h1_origin *origin,
                        const struct sl_head *request, size_t *ret_used)
{
    struct run r;

    run_parse(&r, v->bytes, origin, request);
    if (strcmp(r.text, v->want) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\" (%s)", v->name, r.text, v->want, r.fault.text);
    assert_true(r.err == SL_OK || r.fault.err == r.err);
    *ret_used = r.err == SL_OK ? r.used : v->bytes.n;
    sl_arena_fini(&r.arena);
}

/* Until the last byte needed is there: SL_AGAIN at no cost, or what it will come to anyway. */
static void check_prefixes(const struct vector *v, const struct sl_h1_origin *origin,
                           const struct sl_head *request, size_t used)
{
    struct run r;

    for (size_t n = 0; n < used; n++) {
        run_parse(&r, sl_str_head(v->bytes, n), origin, request);
        if (r.err != SL_AGAIN && strcmp(r.text, v->want) != 0)
            fail_msg("%s: \"%s\" after %zu bytes", v->name, r.text, n);
        if (r.err == SL_AGAIN)
            assert_int_equal(r.arena.total, 0);
        if (r.err == SL_OK)
            fail_msg("%s: complete after %zu bytes", v->name, n);
        sl_arena_fini(&r.arena);
    }
}

static void check_all(const struct vector *v, size_t n, const struct sl_h1_origin *origin,
                      const struct sl_head *request)
{
    size_t used;

    for (size_t i = 0; i < n; i++) {
        check_whole(&v[i], origin, request, &used);
        check_prefixes(&v[i], origin, request, used);
    }
}

static void test_requests_to_a_proxy(void **state)
{
    (void)state;
    check_all(proxy_requests, SL_LEN(proxy_requests), &proxy, NULL);
}

/* threat: smuggled-past-hooks */
static void test_requests_in_a_tunnel(void **state)
{
    (void)state;
    check_all(tunnel_requests, SL_LEN(tunnel_requests), &tunnel, NULL);
}

/* threat: 200-as-upgrade */
static void test_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(h1_asked); i++)
        check_all(h1_asked[i].responses, h1_asked[i].n, NULL, &h1_asked[i].request);
}

static void test_fields_and_rest(void **state)
{
    static const struct sl_str in =
        B("\r\nGET / HTTP/1.1\r\nHost: a\r\nX:  b c \t\r\nx:\r\n\r\nmore");
    struct run r;

    (void)state;
    run_parse(&r, in, &tunnel, NULL);
    assert_int_equal(r.err, SL_OK);
    assert_int_equal(r.used, in.n - 4);
    assert_int_equal(r.head.fields.n, 3);
    assert_int_equal(r.head.fields.v[0].id, SL_FIELD_HOST);
    assert_true(sl_str_eq(r.head.fields.v[1].name, SL_STR("X")));
    assert_true(sl_str_eq(r.head.fields.v[1].value, SL_STR("b c")));
    assert_true(sl_str_eq(r.head.fields.v[2].name, SL_STR("x")));
    assert_int_equal(r.head.fields.v[2].value.n, 0);
    sl_arena_fini(&r.arena);
}

/* It would travel on in a 1.1 request, and its 100 come back to a client that knows none. */
static void test_expectation_of_1_0_is_dropped(void **state)
{
    struct run r;

    (void)state;
    run_parse(&r, SL_STR("POST / HTTP/1.0\r\n" H "Expect: 100-continue\r\nA: b\r\n\r\n"), &tunnel,
              NULL);
    assert_int_equal(r.head.fields.n, 2);
    assert_null(sl_fields_find(&r.head.fields, SL_FIELD_EXPECT));
    sl_arena_fini(&r.arena);
}

static void test_not_a_proxy_request_says_so(void **state)
{
    struct run r;

    (void)state;
    run_parse(&r, SL_STR(GET "\r\n"), &proxy, NULL);
    assert_string_equal(r.fault.text, "not a proxy request");
    assert_true(sl_str_eq(r.head.method, SL_STR("GET")));
    sl_arena_fini(&r.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_to_a_proxy),
        cmocka_unit_test(test_requests_in_a_tunnel),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_fields_and_rest),
        cmocka_unit_test(test_expectation_of_1_0_is_dropped),
        cmocka_unit_test(test_not_a_proxy_request_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
