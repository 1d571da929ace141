/* test_forward.c -- who a request may speak to, what goes on and what stays here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/h1_codec.h"
#include "policy/ruleset.h"
#include "proxy/exchange.h"
#include "proxy/forward.h"

static const struct sl_head_limits limits = { .uri_bytes = 8192,
                                              .header_bytes = 16384,
                                              .header_count = 100 };

static struct sl_head request_of(struct sl_arena *a, const char *text, const char *scheme,
                                 bool is_proxy)
{
    struct sl_h1_origin origin = { .scheme = sl_str_of(scheme), .is_proxy = is_proxy };
    struct sl_head head = { .arena = a };
    struct sl_fault fault = { 0 };
    size_t used;

    if (sl_h1_parse_request(sl_str_of(text), &limits, &origin, &head, &used, &fault) != SL_OK)
        fail_msg("%s: %s", fault.text, text);
    return head;
}

static struct sl_head response_of(struct sl_arena *a, const char *text,
                                  const struct sl_head *request)
{
    struct sl_head head = { .arena = a };
    struct sl_fault fault = { 0 };
    size_t used;

    if (sl_h1_parse_response(sl_str_of(text), &limits, request, &head, &used, &fault) != SL_OK)
        fail_msg("%s: %s", fault.text, text);
    return head;
}

static struct sl_client tunnel(const char *host, uint16_t port, bool tls)
{
    return (struct sl_client){ .connect_host = sl_str_of(host),
                               .connect_port = port,
                               .tls_version = tls ? "TLSv1.3" : NULL };
}

/* threat: absolute-form-inside, one-name */
static void one_name_per_exchange(void **state)
{
    static const struct {
        const char *host; /* of the CONNECT, "" for none */
        uint16_t port;
        bool tls;
        const char *line, *field; /* target and Host of the request */
        enum sl_err err;
        uint16_t goes_to;
    } rows[] = {
        { "a.example", 443, true, "/", "a.example", SL_OK, 443 },
        { "a.example", 443, true, "/", "A.Example.", SL_OK, 443 },
        { "a.example", 443, true, "/", "a.example:443", SL_OK, 443 },
        { "a.example", 443, true, "/", "a.example:8443", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "/", "a.example:80", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "/", "b.example", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "/", "www.a.example", SL_MISDIRECTED, 0 },
        { "a.example", 8443, true, "/", "a.example:8443", SL_OK, 8443 },
        { "a.example", 8443, true, "/", "a.example", SL_OK, 8443 },
        { "a.example", 8443, true, "/", "a.example:443", SL_MISDIRECTED, 0 },
        { "2001:db8::1", 8443, true, "/", "[2001:db8::1]", SL_OK, 8443 },
        { "2001:db8::1", 8443, true, "/", "[2001:db8::1]:8443", SL_OK, 8443 },
        { "2001:db8::1", 8443, true, "/", "[2001:db8::1]:443", SL_MISDIRECTED, 0 },
        { "2001:db8::1", 443, true, "/", "[2001:db8::2]", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "https://a.example/", "b.example", SL_OK, 443 },
        { "a.example", 443, true, "https://b.example/", "a.example", SL_MISDIRECTED, 0 },
        { "a.example", 8443, true, "https://a.example:8443/", "x", SL_OK, 8443 },
        { "a.example", 8443, true, "https://a.example:9443/", "x", SL_MISDIRECTED, 0 },
        { "a.example", 8443, true, "https://a.example:443/", "x", SL_MISDIRECTED, 0 },
        { "a.example", 8443, true, "https://a.example/", "a.example:443", SL_OK, 8443 },
        { "a.example", 443, true, "https://a.example:443/", "x", SL_OK, 443 },
        { "2001:db8::1", 8443, true, "https://[2001:db8::1]:443/", "x", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "http://a.example/", "a.example", SL_MISDIRECTED, 0 },
        { "a.example", 443, true, "http://a.example:443/", "a.example", SL_MISDIRECTED, 0 },
        { "a.example", 80, false, "/", "a.example", SL_OK, 80 },
        { "a.example", 80, false, "https://a.example:80/", "a.example", SL_MISDIRECTED, 0 },
        { "a.example", 8080, false, "/", "a.example", SL_OK, 8080 },
        { "a.example", 8080, false, "/", "a.example:80", SL_MISDIRECTED, 0 },
        { "a.example", 8080, false, "http://a.example:80/", "x", SL_MISDIRECTED, 0 },
        { "a.example", 8080, false, "http://a.example/", "x", SL_OK, 8080 },
        { "", 0, false, "http://a.example/", "b.example", SL_OK, 80 },
        { "", 0, false, "http://a.example:8080/", "a.example", SL_OK, 8080 },
        { "", 0, false, "https://a.example/", "a.example", SL_OK, 443 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_client client = tunnel(rows[i].host, rows[i].port, rows[i].tls);
        struct sl_fault fault = { 0 };
        struct sl_arena a = { 0 };
        struct sl_head request, forward;
        char text[256];
        enum sl_err err;

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i].line,
                 rows[i].field);
        request = request_of(&a, text, rows[i].tls ? "https" : "http", rows[i].host[0] == '\0');
        err = sl_forward_identity(&client, &request, &(struct sl_rule){ 0 }, &fault);
        if (err != rows[i].err)
            fail_msg("row %zu: %s", i, sl_err_name(err));
        assert_int_equal(err != SL_OK, fault.text[0] != '\0');
        sl_forward_request(&client, &request, &a, &forward);
        assert_false(forward.is_absolute);
        if (err == SL_OK)
            assert_int_equal(forward.port, rows[i].goes_to);
        sl_arena_fini(&a);
    }
}

/* threat: one-name */
static void but_for_names_of_the_rule(void **state)
{
    static const struct {
        const char *host, *sni; /* of the tunnel */
        const char *field;
        enum sl_err err;
        const char *both[2]; /* in the fault */
    } rows[] = {
        { "lb.example", "lb.example", "a.example", SL_OK, { 0 } },
        { "lb.example", "lb.example", "A.Example.", SL_OK, { 0 } },
        { "lb.example", "lb.example", "a.example:8443", SL_OK, { 0 } },
        { "lb.example", "", "a.example", SL_OK, { 0 } },
        { "lb.example", "a.example", "a.example", SL_OK, { 0 } },
        { "lb.example", "a.example", "lb.example", SL_OK, { 0 } },
        { "lb.example", "a.example", "x.b.example", SL_OK, { 0 } },
        { "192.0.2.7", "a.example", "192.0.2.7", SL_OK, { 0 } },
        { "192.0.2.7", "a.example", "a.example", SL_OK, { 0 } },
        { "lb.example",
          "lb.example",
          "a.example:443",
          SL_MISDIRECTED,
          { "a.example:443", ":8443" } },
        { "lb.example", "lb.example", "b.example", SL_MISDIRECTED, { "b.example", "lb.example" } },
        { "lb.example", "b.example", "a.example", SL_MISDIRECTED, { "b.example", "lb.example" } },
        { "lb.example", "b.example", "b.example", SL_MISDIRECTED, { "b.example", "lb.example" } },
        { "lb.example", "a.example", "www.a.example", SL_MISDIRECTED, { "www.", "lb.example" } },
        { "192.0.2.7", "a.example", "192.0.2.8", SL_MISDIRECTED, { "192.0.2.8", "192.0.2.7" } },
    };
    static const struct sl_host_pattern names[] = {
        { .kind = SL_HOST_NAME, .name = { "a.example", 9 } },
        { .kind = SL_HOST_BELOW, .name = { "b.example", 9 } },
    };
    const struct sl_rule rule = { .names = names, .n_names = SL_LEN(names) };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_client client = tunnel(rows[i].host, 8443, true);
        struct sl_fault fault = { 0 };
        struct sl_arena a = { 0 };
        struct sl_head request, forward;
        struct sl_facts facts;
        char text[256];

        client.sni = sl_str_of(rows[i].sni);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i].field);
        request = request_of(&a, text, "https", false);
        if (sl_forward_identity(&client, &request, &rule, &fault) != rows[i].err)
            fail_msg("row %zu: %s", i, fault.text);
        for (size_t k = 0; k < 2 && rows[i].both[k] != NULL; k++)
            assert_non_null(strstr(fault.text, rows[i].both[k]));
        sl_forward_request(&client, &request, &a, &forward);
        sl_forward_facts(&client, &forward, &facts);
        assert_true(sl_str_eq(forward.host, request.host));
        assert_true(sl_str_eq(facts.host, client.connect_host));
        sl_arena_fini(&a);
    }
}

static void no_connect_inside_a_tunnel(void **state)
{
    struct sl_client client = tunnel("a.example", 443, true);
    struct sl_fault fault = { 0 };
    struct sl_arena a = { 0 };
    struct sl_head request = request_of(
        &a, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "https", true);

    (void)state;
    assert_int_equal(sl_forward_identity(&client, &request, &(struct sl_rule){ 0 }, &fault),
                     SL_NOT_IMPLEMENTED);
    sl_arena_fini(&a);
}

/* Names and values, "\n" between them. */
static void assert_fields(const struct sl_fields *f, const char *expected)
{
    struct sl_buf b = { 0 };

    for (uint32_t i = 0; i < f->n; i++)
        sl_buf_addf(&b, "%.*s: %.*s\n", SL_FMT(f->v[i].name), SL_FMT(f->v[i].value));
    sl_buf_add_char(&b, '\0');
    assert_string_equal(sl_buf_str(&b).p, expected);
    sl_buf_fini(&b);
}

static void requests_leave_hop_by_hop_fields_here(void **state)
{
    static const struct {
        const char *fields, *expected;
    } rows[] = {
        { "", "Via: 1.1 sluice\n" },
        { "Accept: */*\r\nCookie: a=1\r\nCookie: b=2\r\n",
          "Accept: */*\nCookie: a=1\nCookie: b=2\nVia: 1.1 sluice\n" },
        { "Connection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n", "X-End: 2\nVia: 1.1 sluice\n" },
        { "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n", "Via: 1.1 sluice\n" },
        { "Proxy-Authorization: Basic c2VjcmV0\r\nAuthorization: Basic eA==\r\n",
          "Authorization: Basic eA==\nVia: 1.1 sluice\n" },
        { "TE: trailers, deflate\r\n", "TE: trailers\nVia: 1.1 sluice\n" },
        { "TE: deflate\r\nTrailer: x\r\n", "Trailer: x\nVia: 1.1 sluice\n" },
        { "Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
          "Via: 1.1 sluice\n" },
        { "Via: 1.0 fred\r\n", "Via: 1.0 fred\nVia: 1.1 sluice\n" },
        { "Content-Length: 3\r\n", "Via: 1.1 sluice\n" },
        { "Alt-Svc: x\r\n", "Alt-Svc: x\nVia: 1.1 sluice\n" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_client client = tunnel("a.example", 443, true);
        struct sl_arena a = { 0 };
        struct sl_head request, forward;
        char text[512];

        snprintf(text, sizeof(text), "POST /p?q HTTP/1.1\r\nHost: a.example\r\n%s\r\n",
                 rows[i].fields);
        request = request_of(&a, text, "https", false);
        sl_forward_request(&client, &request, &a, &forward);
        assert_fields(&forward.fields, rows[i].expected);
        assert_true(forward.keep_alive);
        assert_true(sl_str_eq(forward.method, SL_STR("POST")));
        assert_true(sl_str_eq(forward.target, SL_STR("/p?q")));
        assert_int_equal(forward.framing, request.framing);
        assert_int_equal(forward.content_length, request.content_length);
        sl_arena_fini(&a);
    }
}

#define KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define WEBSOCKET "Upgrade: websocket\r\n" KEY

static void only_websocket_upgrades_go_on(void **state)
{
    static const struct {
        const char *line, *fields;
        bool goes_on;
    } rows[] = {
        { "GET / HTTP/1.1", "Connection: Upgrade\r\n" WEBSOCKET, true },
        { "GET / HTTP/1.1", "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n" KEY, true },
        { "GET / HTTP/1.1", WEBSOCKET, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\n", false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n" KEY, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" KEY, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n" WEBSOCKET, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n" KEY, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: tls/1.0\r\n", false },
        { "GET / HTTP/1.0", "Connection: Upgrade\r\n" WEBSOCKET, false },
        { "POST / HTTP/1.1", "Connection: Upgrade\r\n" WEBSOCKET, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nContent-Length: 0\r\n" WEBSOCKET, true },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nContent-Length: 5\r\n" WEBSOCKET, false },
        { "GET / HTTP/1.1", "Connection: Upgrade\r\nTransfer-Encoding: chunked\r\n" WEBSOCKET,
          false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_client client = tunnel("a.example", 443, true);
        const struct sl_field *upgrade;
        struct sl_arena a = { 0 };
        struct sl_head request, forward;
        struct sl_facts facts;
        char text[512];

        snprintf(text, sizeof(text), "%s\r\nHost: a.example\r\n%s\r\n", rows[i].line,
                 rows[i].fields);
        request = request_of(&a, text, "https", false);
        sl_forward_request(&client, &request, &a, &forward);
        upgrade = sl_fields_find(&forward.fields, SL_FIELD_UPGRADE);
        if (forward.wants_upgrade != rows[i].goes_on || (upgrade != NULL) != rows[i].goes_on)
            fail_msg("row %zu", i);
        assert_null(sl_fields_find(&forward.fields, SL_FIELD_CONNECTION));
        if (upgrade != NULL)
            assert_true(sl_str_eq(upgrade->value, SL_STR("websocket")));
        sl_forward_facts(&client, &forward, &facts);
        assert_true(sl_str_eq(facts.scheme, rows[i].goes_on ? SL_STR("wss") : SL_STR("https")));
        sl_arena_fini(&a);
    }
}

static void alt_svc_stays_where_it_may(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_head request = request_of(&a, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "https", false);
    struct sl_head response =
        response_of(&a, "HTTP/1.1 200 OK\r\nAlt-Svc: h3\r\nContent-Length: 0\r\n\r\n", &request);
    struct sl_head forward;

    (void)state;
    sl_forward_response(&response, &request, true, &a, &forward);
    assert_fields(&forward.fields, "Alt-Svc: h3\nVia: 1.1 sluice\n");
    sl_arena_fini(&a);
}

static void responses_go_back_without_what_leads_past_us(void **state)
{
    static const struct {
        const char *response, *expected;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nalt-svc: clear\r\nServer: s\r\n"
          "Content-Length: 0\r\n\r\n",
          "Server: s\nVia: 1.1 sluice\n" },
        { "HTTP/1.0 200 OK\r\nConnection: close, Link\r\nLink: x\r\nSet-Cookie: a=1\r\n"
          "Set-Cookie: b=2\r\n\r\n",
          "Set-Cookie: a=1\nSet-Cookie: b=2\nVia: 1.0 sluice\n" },
        { "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
          "Proxy-Status: x\r\nContent-Length: 0\r\n\r\n",
          "Via: 1.1 sluice\n" },
        { "HTTP/1.1 103 Early Hints\r\nLink: x\r\nAlt-Svc: y\r\n\r\n", "Link: x\n" },
        { "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", "Via: 1.1 sluice\n" },
        { "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Accept: k\r\n\r\n",
          "Sec-WebSocket-Accept: k\nUpgrade: websocket\n" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_arena a = { 0 };
        struct sl_head request = request_of(&a,
                                            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: "
                                            "upgrade\r\n" WEBSOCKET "\r\n",
                                            "https", false);
        struct sl_head response = response_of(&a, rows[i].response, &request), forward;

        sl_forward_response(&response, &request, false, &a, &forward);
        assert_fields(&forward.fields, rows[i].expected);
        assert_int_equal(forward.status, response.status);
        assert_int_equal(forward.wants_upgrade, response.status == 101);
        sl_arena_fini(&a);
    }
}

static void facts_of_a_request(void **state)
{
    static const struct {
        const char *fields;
        bool has_size;
        uint64_t size;
    } rows[] = {
        { "", true, 0 },
        { "Content-Length: 7\r\n", true, 7 },
        { "Transfer-Encoding: chunked\r\n", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_client client = tunnel("a.example", 8443, true);
        struct sl_arena a = { 0 };
        struct sl_head request, forward;
        struct sl_facts f;
        char text[256];

        client.user = SL_STR("eve");
        client.sni = SL_STR("a.example");
        snprintf(text, sizeof(text), "PUT /p/a?q=1?2 HTTP/1.1\r\nHost: a.example\r\n%s\r\n",
                 rows[i].fields);
        request = request_of(&a, text, "https", false);
        sl_forward_request(&client, &request, &a, &forward);
        sl_forward_facts(&client, &forward, &f);
        assert_true(sl_str_eq(f.host, SL_STR("a.example")));
        assert_int_equal(f.port, 8443);
        assert_true(sl_str_eq(f.path, SL_STR("/p/a")));
        assert_true(sl_str_eq(f.query, SL_STR("q=1?2")));
        assert_true(sl_str_eq(f.user, SL_STR("eve")));
        assert_true(sl_str_eq(f.scheme, SL_STR("https")));
        assert_ptr_equal(f.fields, &forward.fields);
        assert_int_equal(sl_facts_know(&f, SL_FACT_SIZE), rows[i].has_size);
        assert_int_equal(f.size, rows[i].size);
        assert_false(sl_facts_know(&f, SL_FACT_STATUS));
        assert_false(sl_facts_know(&f, SL_FACT_DST));
        sl_arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_per_exchange),
        cmocka_unit_test(but_for_names_of_the_rule),
        cmocka_unit_test(no_connect_inside_a_tunnel),
        cmocka_unit_test(requests_leave_hop_by_hop_fields_here),
        cmocka_unit_test(only_websocket_upgrades_go_on),
        cmocka_unit_test(responses_go_back_without_what_leads_past_us),
        cmocka_unit_test(alt_svc_stays_where_it_may),
        cmocka_unit_test(facts_of_a_request),
    };

    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
