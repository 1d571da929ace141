/* test_admin.c -- the admin address over real sockets; the loop's clock is simulated, so that
 * time-outs and profiles take no time.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "admin/profile.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "tls/ca.h"

#define MAX_CLIENTS 20

struct client {
    struct sl_tcp_connect *op;
    struct sl_stream *stream;
    struct sl_buf got;
    bool is_ended;
};

struct fixture {
    struct sl_loop *loop;
    struct sl_admin *admin;
    struct sl_addr addr;
    struct client clients[MAX_CLIENTS];
};

static void on_connected(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct client *c = arg;

    assert_null(fault);
    c->op = NULL;
    c->stream = stream;
}

static void on_ready(void *arg, unsigned events)
{
    struct client *c = arg;
    enum sl_err err;
    size_t n = 0;

    (void)events;
    while ((err = sl_stream_read(c->stream, sl_buf_reserve(&c->got, 4096), 4096, &n)) == SL_OK)
        sl_buf_commit(&c->got, n);
    if (err == SL_AGAIN)
        return;
    c->is_ended = true;
    sl_stream_want(c->stream, 0);
}

static void send_text(struct client *c, const char *text)
{
    size_t n = 0;

    assert_int_equal(sl_stream_write(c->stream, text, strlen(text), &n), SL_OK);
    assert_int_equal(n, strlen(text));
}

static struct client *dial(struct fixture *f, size_t i)
{
    struct client *c = &f->clients[i];

    c->op = sl_tcp_connect_start(f->loop, &f->addr, on_connected, c);
    while (c->stream == NULL)
        sl_loop_turn(f->loop, true);
    sl_stream_on_ready(c->stream, on_ready, c);
    sl_stream_want(c->stream, SL_READABLE);
    return c;
}

static void hang_up(struct client *c)
{
    sl_stream_close(&c->stream);
    sl_buf_fini(&c->got);
    *c = (struct client){ 0 };
}

static void await_end(struct fixture *f, struct client *c)
{
    while (!c->is_ended)
        sl_loop_turn(f->loop, true);
    sl_buf_add_char(&c->got, '\0');
}

static bool got(struct client *c, const char *text)
{
    return memmem(sl_buf_str(&c->got).p, c->got.len, text, strlen(text)) != NULL;
}

static void await_text(struct fixture *f, struct client *c, const char *text)
{
    while (!got(c, text) && !c->is_ended)
        sl_loop_turn(f->loop, true);
    assert_true(got(c, text));
}

/* Lets what is under way happen; nothing is waited for. */
static void settle(struct fixture *f)
{
    for (int i = 0; i < 20; i++)
        sl_loop_turn(f->loop, false);
}

/* One request on a connection of its own; the answer is in client 0 until the next one. */
static struct client *ask(struct fixture *f, const char *request)
{
    struct client *c = &f->clients[0];

    hang_up(c);
    dial(f, 0);
    send_text(c, request);
    await_end(f, c);
    return c;
}

static struct client *get(struct fixture *f, const char *path)
{
    char request[256];

    (void)snprintf(request, sizeof(request),
                   "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    return ask(f, request);
}

static struct fixture *fixture_new(const char *at)
{
    struct fixture *f = sl_zalloc(sizeof(*f));
    struct sl_fault fault;
    struct sl_addr addr;
    int fd;

    assert_true(sl_addr_parse(sl_str_of(at), &addr));
    assert_int_equal(sl_tcp_listen(&addr, &fd, &f->addr, &fault), SL_OK);
    f->loop = sl_loop_new_sim();
    f->admin = sl_admin_new(f->loop, fd);
    return f;
}

static int set_up(void **state)
{
    *state = fixture_new("127.0.0.1:0");
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < MAX_CLIENTS; i++)
        hang_up(&f->clients[i]);
    sl_admin_free(&f->admin);
    sl_loop_free(&f->loop);
    sl_free(f);
    return 0;
}

/* -- pages -- */

static void health_and_readiness(void **state)
{
    struct fixture *f = *state;

    assert_true(got(get(f, "/healthz"), "HTTP/1.1 200 OK\r\n"));
    assert_true(got(get(f, "/readyz"), "HTTP/1.1 503 "));
    sl_admin_set_ready(f->admin, true);
    assert_true(got(get(f, "/readyz"), "HTTP/1.1 200 OK\r\n"));
    sl_admin_set_ready(f->admin, false);
    assert_true(got(get(f, "/readyz"), "HTTP/1.1 503 "));
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        { "GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404" },
        { "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421" },
        { "GET /healthz HTTP/1.1\r\nHost: evil.example:9901\r\nConnection: close\r\n\r\n", "421" },
        { "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: "
          "close\r\n\r\n",
          "421" },
        { "GET /healthz HTTP/1.1\r\nHost: LOCALHOST:9901\r\nConnection: close\r\n\r\n", "200" },
        { "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "200" },
        { "GET /healthz?x HTTP/1.1\r\nHost: [::1]:9901\r\nConnection: close\r\n\r\n", "200" },
        { "GET /healthz HTTP/1.0\r\n\r\n", "400" },
        { "GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", "200" },
        { "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: "
          "close\r\n\r\nab",
          "405" },
        { "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "405" },
        { "GET /debug/pprof/profile?seconds=0 HTTP/1.1\r\nHost: localhost\r\nConnection: "
          "close\r\n\r\n",
          "400" },
        { "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400" },
        { "nonsense\r\n\r\n", "400" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct client *c = ask(f, cases[i].request);

        assert_memory_equal(c->got.p, "HTTP/1.", 7);
        assert_memory_equal(c->got.p + 9, cases[i].status, 3);
    }
    assert_true(got(ask(f, cases[9].request), "Allow: GET, HEAD\r\n"));
}

static void head_has_a_length_and_no_body(void **state)
{
    struct fixture *f = *state;
    struct client *c =
        ask(f, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

    assert_true(got(c, "Content-Length: 3\r\n"));
    assert_memory_equal(c->got.p + c->got.len - 5, "\r\n\r\n", 5);
}

static void metrics_tell_of_the_process(void **state)
{
    static const char *const names[] = {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_threads",
    };
    struct fixture *f = *state;
    struct client *c = get(f, "/metrics");
    char line[128];

    assert_true(got(c, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_true(got(c, "sluice_build_info{version=\"" SL_VERSION "\",tls=\"OpenSSL "));
    for (size_t i = 0; i < SL_LEN(names); i++) {
        const char *value;

        (void)snprintf(line, sizeof(line), "# TYPE %s ", names[i]);
        assert_true(got(c, line));
        (void)snprintf(line, sizeof(line), "\n%s ", names[i]);
        value = strstr(c->got.p, line);
        assert_non_null(value);
        assert_true(strtod(value + strlen(line), NULL) > 0);
    }
    double started = strtod(strstr(c->got.p, "\nprocess_start_time_seconds ") + 28, NULL);

    assert_true(started <= (double)time(NULL) + 1 && started > (double)time(NULL) - 3600);
}

static void index_shows_states_and_links(void **state)
{
    struct sl_metric_family *g =
        sl_metric_family(SL_METRIC_GAUGE, "sluice_tests", "Tests.", "state");
    struct fixture *f = *state;

    sl_metric_set(sl_metric_child(g, (const char *const[]){ "<sleepy>" }), 42);
    struct client *c = get(f, "/");

    assert_true(got(c, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_true(got(c, "Content-Security-Policy: default-src 'none';"));
    assert_true(got(c, "<h1>sluice " SL_VERSION "</h1>"));
    assert_true(got(c, "&lt;sleepy&gt;"));
    assert_false(got(c, "<sleepy>"));
    assert_true(got(c, "<td>42</td>"));
    assert_true(got(c, "href=\"/metrics\""));
}

static void ca_is_offered(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/sluice-admin-XXXXXX", cert[64], key[64];
    struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_fault fault = { 0 };
    struct sl_ca *ca = NULL;

    assert_true(got(get(f, "/ca.pem"), " 404 "));
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert, sizeof(cert), "%s/ca.pem", dir);
    (void)snprintf(key, sizeof(key), "%s/ca.key", dir);
    assert_int_equal(sl_ca_create(cert, key, &conf, &fault), SL_OK);
    assert_int_equal(
        sl_ca_load(&(struct sl_ca_source){ .certificate = cert, .key = key }, &ca, &fault), SL_OK);
    sl_admin_set_ca(f->admin, ca);
    sl_admin_set_ca(f->admin, ca);
    sl_ca_unref(&ca);
    struct client *c = get(f, "/ca.pem");

    assert_true(got(c, "Content-Type: application/x-x509-ca-cert\r\n"));
    assert_true(got(c, "-----BEGIN CERTIFICATE-----\n"));
    assert_false(got(c, "PRIVATE"));
    unlink(cert);
    unlink(key);
    assert_int_equal(rmdir(dir), 0);
}

static void unix_socket_takes_any_host(void **state)
{
    char dir[] = "/tmp/sluice-admin-XXXXXX", at[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(at, sizeof(at), "unix:%s/socket", dir);
    struct fixture *f = fixture_new(at);

    assert_true(
        got(ask(f, "GET /healthz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n"),
            " 200 "));
    void *own = f;

    tear_down(&own);
    unlink(at + 5);
    assert_int_equal(rmdir(dir), 0);
}

/* -- connections -- */

static void connection_is_kept(void **state)
{
    struct fixture *f = *state;
    struct client *c = dial(f, 0);

    send_text(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HTTP/1.1\r\n");
    await_text(f, c, "\r\n\r\nok\n");
    send_text(c, "Host: localhost\r\n\r\n");
    await_text(f, c, "not ready\n");
    assert_false(c->is_ended);
}

static void silence_ends_a_connection(void **state)
{
    static const char *const starts[] = {
        "",
        "GET /healthz HTTP/1.1\r\nHo",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < SL_LEN(starts); i++) {
        struct client *c = dial(f, i);

        settle(f);
        if (starts[i][0] != '\0')
            send_text(c, starts[i]);
        settle(f);
        sl_loop_advance(f->loop, 9999);
        settle(f);
        assert_false(c->is_ended);
        sl_loop_advance(f->loop, 1);
        await_end(f, c);
    }
}

static void ask_health(struct fixture *f, size_t i)
{
    send_text(&f->clients[i], "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await_text(f, &f->clients[i], "\r\n\r\nok\n");
}

static void one_too_many_takes_the_place_of_the_most_silent(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 16; i++)
        dial(f, i);
    send_text(&f->clients[2], "GET /heal");
    ask_health(f, 0);
    dial(f, 16);
    ask_health(f, 16);
    await_end(f, &f->clients[1]);
    dial(f, 17);
    ask_health(f, 17);
    await_end(f, &f->clients[2]);
    ask_health(f, 15);
    assert_false(f->clients[0].is_ended);
}

static void free_closes_what_is_open(void **state)
{
    struct fixture *f = *state;
    struct client *c = dial(f, 0);

    settle(f);
    sl_admin_free(&f->admin);
    await_end(f, c);
}

/* -- profiles -- */

static void seconds_are_read_from_the_query(void **state)
{
    static const struct {
        const char *query;
        bool ok;
        uint64_t seconds;
    } cases[] = {
        { "", true, 30 },
        { "seconds=1", true, 1 },
        { "a=b&seconds=300", true, 300 },
        { "seconds=0", false, 0 },
        { "seconds=301", false, 0 },
        { "seconds=", false, 0 },
        { "seconds=-1", false, 0 },
        { "seconds=1.5", false, 0 },
        { "second=1", true, 30 },
        { "seconds=99999999999999999999", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        uint64_t seconds = 0;

        assert_int_equal(sl_profile_parse_seconds(sl_str_of(cases[i].query), &seconds),
                         cases[i].ok);
        assert_int_equal(seconds, cases[i].seconds);
    }
}

#define PROFILE(n)                                                                                 \
    "GET /debug/pprof/profile?seconds=" n                                                          \
    " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

#if SL_HAVE_PROFILER

static void profile_is_taken_while_others_are_served(void **state)
{
    struct fixture *f = *state;
    struct client *c = dial(f, 1);

    send_text(c, PROFILE("60"));
    settle(f);
    assert_true(got(ask(f, PROFILE("1")), "HTTP/1.1 409 "));
    assert_true(got(get(f, "/healthz"), " 200 "));
    for (size_t i = 2; i < MAX_CLIENTS; i++)
        dial(f, i);
    sl_loop_advance(f->loop, 59999);
    settle(f);
    assert_int_equal(c->got.len, 0);
    sl_loop_advance(f->loop, 1);
    await_end(f, c);
    assert_true(got(c, "HTTP/1.1 200 OK\r\n"));
    assert_true(got(c, "Content-Type: application/octet-stream\r\n"));
    const char *body = strstr(c->got.p, "\r\n\r\n") + 4;

    /* The format's header is five words: 0, 3, 0, the period in us, 0. */
    assert_memory_equal(body, "\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    assert_true(got(c, "test_admin\n"));
}

static void head_of_a_profile_takes_none(void **state)
{
    static const char head[] = "HEAD /debug/pprof/profile?seconds=1 HTTP/1.1\r\n"
                               "Host: localhost\r\n\r\n";
    struct fixture *f = *state;
    struct client *c = dial(f, 1);

    send_text(c, head);
    await_text(f, c, "\r\n\r\n");
    assert_true(got(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"));
    assert_false(got(c, "Content-Length"));
    assert_false(got(c, "Transfer-Encoding"));
    send_text(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await_text(f, c, "\r\n\r\nok\n");
    assert_true(got(ask(f, "HEAD /debug/pprof/profile?seconds=0 HTTP/1.1\r\nHost: localhost\r\n"
                           "Connection: close\r\n\r\n"),
                    " 400 "));
}

static void profile_ends_with_its_client(void **state)
{
    struct fixture *f = *state;

    send_text(dial(f, 1), PROFILE("60"));
    settle(f);
    assert_true(got(ask(f, PROFILE("1")), " 409 "));
    hang_up(&f->clients[1]);
    settle(f);
    struct client *c = dial(f, 2);

    send_text(c, PROFILE("1"));
    settle(f);
    sl_loop_advance(f->loop, 1000);
    await_end(f, c);
    assert_true(got(c, " 200 "));
}

static void profile_ends_with_the_admin(void **state)
{
    struct fixture *f = *state;

    send_text(dial(f, 1), PROFILE("60"));
    settle(f);
    sl_admin_free(&f->admin);
    await_end(f, &f->clients[1]);
}

#else

static void profile_is_not_implemented(void **state)
{
    assert_true(got(ask(*state, PROFILE("1")), "HTTP/1.1 501 "));
}

#endif

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(health_and_readiness),
        TEST(what_is_refused),
        TEST(head_has_a_length_and_no_body),
        TEST(metrics_tell_of_the_process),
        TEST(index_shows_states_and_links),
        TEST(ca_is_offered),
        cmocka_unit_test(unix_socket_takes_any_host),
        TEST(connection_is_kept),
        TEST(silence_ends_a_connection),
        TEST(one_too_many_takes_the_place_of_the_most_silent),
        TEST(free_closes_what_is_open),
        cmocka_unit_test(seconds_are_read_from_the_query),
#if SL_HAVE_PROFILER
        TEST(profile_is_taken_while_others_are_served),
        TEST(head_of_a_profile_takes_none),
        TEST(profile_ends_with_its_client),
        TEST(profile_ends_with_the_admin),
#else
        TEST(profile_is_not_implemented),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
