/* test_reply.c -- which form a client gets, what stands in it, and that nothing reflected can break
 * out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "policy/verdict.h"
#include "proxy/reply.h"

#define ID "01JJZ0000000000000000000AA"

struct fixture {
    struct sl_arena arena;
    struct sl_head request;
    struct sl_reply reply;
};

static int set_up(void **state)
{
    struct fixture *f = sl_zalloc(sizeof(*f));

    f->request = (struct sl_head){ .arena = &f->arena,
                                   .method = SL_STR("GET"),
                                   .scheme = SL_STR("https"),
                                   .host = SL_STR("example.com"),
                                   .port = 443,
                                   .target = SL_STR("/private?token=hush") };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sl_arena_fini(&f->arena);
    sl_free(f);
    return 0;
}

static void add(struct fixture *f, const char *name, const char *value)
{
    sl_fields_add(&f->request.fields, &f->arena, sl_str_of(name), sl_str_of(value));
}

static void make(struct fixture *f, struct sl_reply_conf conf)
{
    conf.arena = &f->arena;
    conf.id = ID;
    sl_reply_make(&conf, &f->reply);
}

static const char *value(const struct fixture *f, const char *name)
{
    const struct sl_field *field = sl_fields_find_name(&f->reply.head.fields, sl_str_of(name));
    struct sl_str s = field == NULL ? SL_STR("(none)") : field->value;

    return sl_arena_str((struct sl_arena *)(uintptr_t)&f->arena, s).p;
}

static bool body_has(const struct fixture *f, const char *text)
{
    return memmem(f->reply.body.p, f->reply.body.n, text, strlen(text)) != NULL;
}

/* -- forms -- */

static void form_follows_the_request(void **state)
{
    static const struct {
        const char *accept, *content_type, *type;
    } cases[] = {
        { NULL, NULL, "application/problem+json" },
        { "*/*", NULL, "application/problem+json" },
        { "application/json", NULL, "application/problem+json" },
        { "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", NULL, "text/html; charset=utf-8" },
        { "image/png, TEXT/HTML ;q=0.5", NULL, "text/html; charset=utf-8" },
        { "text/html5", NULL, "application/problem+json" },
        { NULL, "application/grpc", "application/grpc" },
        { "text/html", "application/grpc+proto", "application/grpc" },
        { NULL, "application/grpc;x=y", "application/grpc" },
        { NULL, "application/grpc-web", "application/problem+json" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        f->request.fields = (struct sl_fields){ 0 };
        if (cases[i].accept != NULL)
            add(f, "Accept", cases[i].accept);
        if (cases[i].content_type != NULL)
            add(f, "Content-Type", cases[i].content_type);
        make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED });
        assert_string_equal(value(f, "content-type"), cases[i].type);
    }
}

/* threat: secrets-in-error-pages */
static void page_shows_what_is_needed_and_no_more(void **state)
{
    struct fixture *f = *state;

    add(f, "Accept", "text/html");
    add(f, "Cookie", "session=hush");
    make(f, (struct sl_reply_conf){ .request = &f->request,
                                    .err = SL_DENIED,
                                    .status = 451,
                                    .reason = SL_STR("not today") });
    assert_int_equal(f->reply.head.status, 451);
    assert_int_equal(f->reply.head.framing, SL_FRAMING_LENGTH);
    assert_int_equal(f->reply.head.content_length, f->reply.body.n);
    assert_true(f->reply.head.keep_alive);
    assert_true(f->reply.body.n < 10240);
    assert_true(body_has(f, "<html lang=\"en\">"));
    assert_true(body_has(f, "prefers-color-scheme:dark"));
    assert_true(body_has(f, "<dd>example.com</dd>"));
    assert_true(body_has(f, "not today"));
    assert_true(body_has(f, ID));
    assert_true(body_has(f, "<strong>sluice</strong>"));
    assert_false(body_has(f, "hush"));
    assert_false(body_has(f, "/private"));
    assert_false(body_has(f, "<script"));
    assert_false(body_has(f, "src="));
    assert_string_equal(value(f, "content-security-policy"),
                        "default-src 'none'; style-src 'unsafe-inline'");
    assert_string_equal(value(f, "x-content-type-options"), "nosniff");
    assert_string_equal(value(f, "cache-control"), "no-store");
    assert_int_equal(strlen(value(f, "date")), 29);
}

/* threat: secrets-in-error-pages */
static void page_escapes_what_is_reflected(void **state)
{
    struct fixture *f = *state;

    add(f, "Accept", "text/html");
    f->request.host = SL_STR("<script>x</script>");
    make(f, (struct sl_reply_conf){ .request = &f->request,
                                    .err = SL_NO_NAME,
                                    .reason = SL_STR("\"><img onerror='x'>"),
                                    .detail = "a&b<c\xff\x01" });
    assert_false(body_has(f, "<script"));
    assert_false(body_has(f, "<img"));
    assert_true(body_has(f, "&lt;script&gt;"));
    assert_true(body_has(f, "a&amp;b&lt;c\xef\xbf\xbd</dd>"));
}

static void page_tells_whose_fault_it_is(void **state)
{
    static const struct {
        enum sl_err err;
        const char *headline;
    } cases[] = {
        { SL_DENIED, "This request was blocked" },
        { SL_BLOCKED_ADDRESS, "This request was blocked" },
        { SL_CERT_EXPIRED, "This site cannot be trusted" },
        { SL_CERT_WRONG_HOST, "This site cannot be trusted" },
        { SL_REFUSED, "This site cannot be reached" },
        { SL_RESPONSE_TIMEOUT, "This site cannot be reached" },
        { SL_CHECK_FAILED, "This request cannot be served now" },
        { SL_TOO_MANY, "This request cannot be served now" },
        { SL_BODY_TOO_LARGE, "This request cannot be served<" },
        { SL_INTERNAL, "Something went wrong in the proxy" },
    };
    struct fixture *f = *state;

    add(f, "Accept", "text/html");
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        make(f, (struct sl_reply_conf){ .request = &f->request, .err = cases[i].err });
        assert_true(body_has(f, cases[i].headline));
        assert_true(body_has(f, sl_err_text(cases[i].err)));
    }
}

static void port_is_shown_when_it_says_something(void **state)
{
    struct fixture *f = *state;

    add(f, "Accept", "text/html");
    f->request.port = 8443;
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED });
    assert_true(body_has(f, "<dd>example.com:8443</dd>"));
}

static void problem_is_well_formed(void **state)
{
    struct fixture *f = *state;
    json_error_t error;

    make(f, (struct sl_reply_conf){
                .request = &f->request, .err = SL_CERT_EXPIRED, .detail = "on \"Monday\"\n" });
    json_t *doc = json_loadb(f->reply.body.p, f->reply.body.n, JSON_REJECT_DUPLICATES, &error);

    assert_non_null(doc);
    assert_string_equal(json_string_value(json_object_get(doc, "type")), "about:blank");
    assert_string_equal(json_string_value(json_object_get(doc, "title")), "Bad Gateway");
    assert_int_equal(json_integer_value(json_object_get(doc, "status")), 502);
    assert_string_equal(json_string_value(json_object_get(doc, "detail")),
                        "certificate has expired: on \"Monday\"\n");
    assert_string_equal(json_string_value(json_object_get(doc, "instance")),
                        "urn:sluice:exchange:" ID);
    assert_int_equal(json_object_size(doc), 5);
    json_decref(doc);
    assert_string_equal(value(f, "proxy-status"),
                        "sluice; error=tls_certificate_error; details=\"on \\\"Monday\\\"?\"");
}

static void without_a_request_it_is_plain(void **state)
{
    struct fixture *f = *state;

    make(f, (struct sl_reply_conf){ .err = SL_BAD_REQUEST, .detail = "bare CR" });
    assert_string_equal(value(f, "content-type"), "text/plain; charset=utf-8");
    assert_true(body_has(f, "400 Bad Request: malformed request: bare CR\n"));
    assert_true(body_has(f, ID));
    assert_false(f->reply.head.keep_alive);
}

static void grpc_gets_a_status_it_understands(void **state)
{
    static const struct {
        enum sl_err err;
        uint16_t status;
        const char *code;
    } cases[] = {
        { SL_DENIED, 0, "7" },         { SL_DENIED, 451, "7" }, { SL_BLOCKED_ADDRESS, 0, "7" },
        { SL_CHECK_FAILED, 0, "14" },  { SL_REFUSED, 0, "14" }, { SL_BAD_REQUEST, 0, "13" },
        { SL_BODY_TOO_LARGE, 0, "2" },
    };
    struct fixture *f = *state;

    add(f, "Content-Type", "application/grpc");
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        make(f, (struct sl_reply_conf){ .request = &f->request,
                                        .err = cases[i].err,
                                        .status = cases[i].status,
                                        .reason = SL_STR("50% of \xc3\xa4") });
        assert_int_equal(f->reply.head.status, 200);
        assert_string_equal(value(f, "grpc-status"), cases[i].code);
        assert_string_equal(value(f, "grpc-message"), "50%25 of %C3%A4");
        assert_int_equal(f->reply.head.framing, SL_FRAMING_NONE);
        assert_int_equal(f->reply.body.n, 0);
    }
}

static void grpc_message_keeps_its_outer_blanks(void **state)
{
    struct fixture *f = *state;

    add(f, "Content-Type", "application/grpc");
    make(f, (struct sl_reply_conf){
                .request = &f->request, .err = SL_DENIED, .reason = SL_STR(" not now ") });
    assert_string_equal(value(f, "grpc-message"), "%20not now%20");
}

/* -- what the error means -- */

static void every_error_makes_a_reply(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < SL_ERR_N; i++) {
        enum sl_err err = (enum sl_err)i;
        int http = sl_err_http(err);

        make(f, (struct sl_reply_conf){ .request = &f->request, .err = err });
        assert_int_equal(f->reply.head.status, http == 0 ? 500 : http);
        assert_memory_equal(value(f, "proxy-status"), "sluice; ", 8);
        assert_int_equal(strstr(value(f, "proxy-status"), "error=") != NULL,
                         sl_err_proxy_status(err)[0] != '\0');
    }
}

static void retry_after_where_a_retry_helps(void **state)
{
    struct fixture *f = *state;

    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_CHECK_FAILED });
    assert_string_equal(value(f, "retry-after"), "1");
    assert_true(body_has(f, "check unavailable"));
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_TOO_MANY });
    assert_string_equal(value(f, "retry-after"), "1");
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_LIMIT });
    assert_string_equal(value(f, "retry-after"), "1");
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED });
    assert_string_equal(value(f, "retry-after"), "(none)");
}

static void connection_ends_where_framing_is_lost(void **state)
{
    static const struct {
        enum sl_err err;
        bool keep_alive;
    } cases[] = {
        { SL_BAD_FRAMING, false },     { SL_BAD_HOST, false },       { SL_BAD_TARGET, false },
        { SL_BAD_VERSION, false },     { SL_URI_TOO_LONG, false },   { SL_HEADER_TOO_LARGE, false },
        { SL_REQUEST_TIMEOUT, false }, { SL_BODY_TOO_LARGE, false }, { SL_DENIED, true },
        { SL_REFUSED, true },          { SL_MISDIRECTED, true },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        make(f, (struct sl_reply_conf){ .request = &f->request, .err = cases[i].err });
        assert_int_equal(f->reply.head.keep_alive, cases[i].keep_alive);
    }
}

/* -- verdicts -- */

static void verdict_field(struct sl_verdict *v, const char *name, const char *text)
{
    sl_fields_add(&v->headers, &v->arena, sl_str_of(name), sl_str_of(text));
}

static void verdict_replaces_status_and_body(void **state)
{
    static const struct {
        struct sl_str body;
        const char *type;
    } cases[] = {
        { { "<p>no", 5 }, "text/html; charset=utf-8" },
        { { "no", 2 }, "text/plain; charset=utf-8" },
        { { "", 0 }, "text/plain; charset=utf-8" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_verdict *v = sl_verdict_new();

        v->status = 418;
        v->body = cases[i].body;
        make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED, .verdict = v });
        sl_verdict_unref(&v);
        assert_int_equal(f->reply.head.status, 418);
        assert_true(sl_str_eq(f->reply.body, cases[i].body));
        assert_int_equal(f->reply.head.content_length, cases[i].body.n);
        assert_string_equal(value(f, "content-type"), cases[i].type);
        assert_string_equal(value(f, "content-security-policy"), "(none)");
    }
}

static void verdict_fields_win(void **state)
{
    struct sl_verdict *v = sl_verdict_new();
    struct fixture *f = *state;

    v->status = 401;
    v->reason = SL_STR("who are you?");
    verdict_field(v, "content-type", "image/svg+xml");
    verdict_field(v, "WWW-Authenticate", "Basic realm=\"a\"");
    verdict_field(v, "WWW-Authenticate", "Negotiate");
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED, .verdict = v });
    sl_verdict_unref(&v);
    assert_int_equal(f->reply.head.status, 401);
    assert_string_equal(value(f, "content-type"), "image/svg+xml");
    assert_int_equal(sl_fields_count(&f->reply.head.fields, SL_FIELD_WWW_AUTHENTICATE), 2);
    assert_int_equal(sl_fields_count(&f->reply.head.fields, SL_FIELD_CONTENT_TYPE), 1);
    assert_true(body_has(f, "who are you?"));
}

static void verdict_without_content_has_none(void **state)
{
    static const uint16_t statuses[] = { 204, 205, 304 };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(statuses); i++) {
        struct sl_verdict *v = sl_verdict_new();

        v->status = statuses[i];
        make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED, .verdict = v });
        sl_verdict_unref(&v);
        assert_int_equal(f->reply.head.framing, SL_FRAMING_NONE);
        assert_int_equal(f->reply.body.n, 0);
    }
}

static void verdict_cannot_break_grpc(void **state)
{
    struct sl_verdict *v = sl_verdict_new();
    struct fixture *f = *state;

    add(f, "Content-Type", "application/grpc");
    v->status = 403;
    v->body = SL_STR("<p>no");
    verdict_field(v, "content-type", "text/html");
    verdict_field(v, "x-why", "because");
    make(f, (struct sl_reply_conf){ .request = &f->request, .err = SL_DENIED, .verdict = v });
    sl_verdict_unref(&v);
    assert_int_equal(f->reply.head.status, 200);
    assert_string_equal(value(f, "content-type"), "application/grpc");
    assert_string_equal(value(f, "x-why"), "because");
    assert_int_equal(f->reply.body.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(form_follows_the_request),
        TEST(page_shows_what_is_needed_and_no_more),
        TEST(page_escapes_what_is_reflected),
        TEST(page_tells_whose_fault_it_is),
        TEST(port_is_shown_when_it_says_something),
        TEST(problem_is_well_formed),
        TEST(without_a_request_it_is_plain),
        TEST(grpc_gets_a_status_it_understands),
        TEST(grpc_message_keeps_its_outer_blanks),
        TEST(every_error_makes_a_reply),
        TEST(retry_after_where_a_retry_helps),
        TEST(connection_ends_where_framing_is_lost),
        TEST(verdict_replaces_status_and_body),
        TEST(verdict_fields_win),
        TEST(verdict_without_content_has_none),
        TEST(verdict_cannot_break_grpc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
