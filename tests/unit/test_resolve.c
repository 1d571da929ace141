/* test_resolve.c -- look-ups against a small name server on the same loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/resolve.h"

#define TYPE_A 1
#define TYPE_AAAA 28
#define RCODE_NXDOMAIN 3

/* What the server knows; other names do not exist.  NULL addresses: no such record. */
struct zone_row {
    const char *name;
    const char *v4[3], *v6[3];
    uint8_t ttl_s;
    bool is_mute;
};

static const struct zone_row zone[] = {
    { .name = "both.test",
      .v4 = { "192.0.2.1", "192.0.2.2" },
      .v6 = { "2001:db8::1" },
      .ttl_s = 60 },
    { .name = "four.test", .v4 = { "192.0.2.4" }, .ttl_s = 60 },
    { .name = "six.test", .v6 = { "2001:db8::6", "2001:db8::7" }, .ttl_s = 60 },
    { .name = "short.test", .v4 = { "192.0.2.5" }, .ttl_s = 2 },
    { .name = "zero.test", .v4 = { "192.0.2.6" }, .ttl_s = 0 },
    { .name = "twice.test", .v4 = { "192.0.2.7", "192.0.2.7" }, .ttl_s = 60 },
    { .name = "empty.test", .ttl_s = 60 },
    { .name = "mute.test", .is_mute = true },
};

struct server {
    int fd;
    struct sl_watch *watch;
    int n_asked; /* questions for A records */
    char address[32];
};

struct fixture {
    struct sl_loop *loop;
    struct sl_resolver *r;
    struct server server;
};

/* -- the server -- */

static const struct zone_row *find_row(const char *name)
{
    for (size_t i = 0; i < SL_LEN(zone); i++) {
        if (sl_str_ieq(sl_str_of(name), sl_str_of(zone[i].name)))
            return &zone[i];
    }
    return NULL;
}

/* Reads the one question; answers the length of header and question, 0 when it is cut. */
static size_t read_question(const uint8_t *msg, size_t n, char *ret_name, uint8_t *ret_type)
{
    size_t at = 12, out = 0;

    while (at < n && msg[at] != 0) {
        size_t label = msg[at++];

        if (at + label >= n || out + label + 2 > 256)
            return 0;
        if (out > 0)
            ret_name[out++] = '.';
        memcpy(ret_name + out, msg + at, label);
        out += label;
        at += label;
    }
    ret_name[out] = '\0';
    if (at + 5 > n)
        return 0;
    *ret_type = msg[at + 2];
    return at + 5;
}

static size_t add_record(uint8_t *msg, size_t at, const char *ip, uint8_t ttl_s)
{
    struct sl_addr a;
    bool is_v6;
    uint8_t len;

    assert_true(sl_addr_parse_ip(sl_str_of(ip), &a));
    is_v6 = a.sa.sa_family == AF_INET6;
    len = is_v6 ? 16 : 4;
    const uint8_t head[] = {
        0xc0, 12, 0, is_v6 ? TYPE_AAAA : TYPE_A, 0, 1, 0, 0, 0, ttl_s, 0, len
    };

    memcpy(msg + at, head, sizeof(head));
    memcpy(msg + at + sizeof(head),
           is_v6 ? (const void *)&a.v6.sin6_addr : (const void *)&a.v4.sin_addr, len);
    return at + sizeof(head) + len;
}

static size_t write_reply(uint8_t *msg, size_t at, const struct zone_row *row, uint8_t type)
{
    const char *const *ip = row == NULL ? NULL : type == TYPE_A ? row->v4 : row->v6;

    memset(msg + 6, 0, 6);
    msg[2] = 0x81;
    msg[3] = (uint8_t)(0x80 | (row == NULL ? RCODE_NXDOMAIN : 0));
    for (size_t i = 0; ip != NULL && i < 3 && ip[i] != NULL; i++) {
        at = add_record(msg, at, ip[i], row->ttl_s);
        msg[7]++;
    }
    return at;
}

static void on_question(void *arg, unsigned events)
{
    struct server *s = arg;
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    uint8_t msg[1024], type = 0;
    char name[256];
    ssize_t n = recvfrom(s->fd, msg, 512, 0, (struct sockaddr *)&from, &from_len);
    size_t len;

    assert_int_equal(events, SL_READABLE);
    assert_true(n > 12);
    len = read_question(msg, (size_t)n, name, &type);
    assert_int_not_equal(len, 0);
    s->n_asked += type == TYPE_A ? 1 : 0;
    if (find_row(name) != NULL && find_row(name)->is_mute)
        return;
    len = write_reply(msg, len, find_row(name), type);
    (void)sendto(s->fd, msg, len, 0, (struct sockaddr *)&from, from_len);
}

static void start_server(struct sl_loop *loop, struct server *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);

    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(at.sin_port));
    s->watch = sl_watch_new(loop, s->fd, on_question, s);
    sl_watch_want(s->watch, SL_READABLE);
}

static const struct sl_resolver_conf usual = { .max_entries = 10, .max_ttl_s = 30 };

static void open_fixture(struct fixture *f, struct sl_loop *loop,
                         const struct sl_resolver_conf *base)
{
    struct sl_resolver_conf conf = *base;

    *f = (struct fixture){ .loop = loop };
    start_server(loop, &f->server);
    conf.servers = f->server.address;
    f->r = sl_resolver_new(loop, &conf);
    assert_non_null(f->r);
}

static void close_fixture(struct fixture *f)
{
    sl_resolver_free(&f->r);
    sl_watch_free(&f->server.watch);
    close(f->server.fd);
    sl_loop_free(&f->loop);
}

/* -- a look-up -- */

struct result {
    struct sl_resolve *op;
    int n_calls;
    enum sl_err err;
    char text[256]; /* the addresses, comma-separated */
};

static void on_resolved(void *arg, const struct sl_addrs *addrs, const struct sl_fault *fault)
{
    struct result *res = arg;
    size_t len = 0;

    res->op = NULL;
    res->n_calls++;
    res->err = fault == NULL ? SL_OK : fault->err;
    for (size_t i = 0; addrs != NULL && i < addrs->n; i++) {
        char ip[SL_ADDR_TEXT];

        assert_int_equal(sl_addr_port(&addrs->a[i]), 0);
        sl_addr_ip_text(&addrs->a[i], ip);
        len += (size_t)snprintf(res->text + len, sizeof(res->text) - len, "%s%s", i == 0 ? "" : ",",
                                ip);
    }
}

static void start(struct fixture *f, const char *name, struct result *res)
{
    *res = (struct result){ 0 };
    res->op = sl_resolve_start(f->r, sl_str_of(name), on_resolved, res);
    assert_int_equal(res->n_calls, 0);
}

static void resolve(struct fixture *f, const char *name, struct result *res)
{
    start(f, name, res);
    while (res->n_calls == 0)
        sl_loop_turn(f->loop, true);
}

static void names_and_their_addresses(void **state)
{
    static const struct {
        const char *name, *text;
        enum sl_err err;
        int n_asked; /* at least */
    } rows[] = {
        { "both.test", "2001:db8::1,192.0.2.1,192.0.2.2", SL_OK, 1 },
        { "BOTH.test", "2001:db8::1,192.0.2.1,192.0.2.2", SL_OK, 1 },
        { "four.test", "192.0.2.4", SL_OK, 1 },
        { "four.test.", "192.0.2.4", SL_OK, 1 },
        { "six.test", "2001:db8::6,2001:db8::7", SL_OK, 1 },
        { "twice.test", "192.0.2.7", SL_OK, 1 },
        { "empty.test", "", SL_NO_ADDRESS, 1 },
        { "nowhere.test.", "", SL_NO_NAME, 1 },
        { "192.0.2.9", "192.0.2.9", SL_OK, 0 },
        { "2001:db8::9", "2001:db8::9", SL_OK, 0 },
        { "localhost", "::1,127.0.0.1", SL_OK, 0 },
        { "LocalHost.", "::1,127.0.0.1", SL_OK, 0 },
        { "a.b.localhost", "::1,127.0.0.1", SL_OK, 0 },
        { "", "", SL_NO_NAME, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct fixture f;
        struct result res;

        open_fixture(&f, sl_loop_new(), &usual);
        resolve(&f, rows[i].name, &res);
        assert_int_equal(res.err, rows[i].err);
        assert_string_equal(res.text, rows[i].text);
        if (rows[i].n_asked == 0)
            assert_int_equal(f.server.n_asked, 0);
        else
            assert_true(f.server.n_asked >= rows[i].n_asked);
        close_fixture(&f);
    }
}

static void names_are_not_completed(void **state)
{
    struct fixture f;
    struct result res;

    (void)state;
    assert_int_equal(setenv("LOCALDOMAIN", "test", 1), 0);
    open_fixture(&f, sl_loop_new(), &usual);
    assert_int_equal(unsetenv("LOCALDOMAIN"), 0);
    resolve(&f, "four", &res);
    assert_int_equal(res.err, SL_NO_NAME);
    close_fixture(&f);
}

static void malformed_names_are_not_asked_for(void **state)
{
    static const char nul[] = "both.test\0.evil";
    char long_name[300];
    struct sl_str names[] = { sl_str_make(nul, sizeof(nul) - 1),
                              sl_str_make(long_name, sizeof(long_name)) };

    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    for (size_t i = 0; i < SL_LEN(names); i++) {
        struct fixture f;
        struct result res = { 0 };

        open_fixture(&f, sl_loop_new(), &usual);
        res.op = sl_resolve_start(f.r, names[i], on_resolved, &res);
        assert_int_equal(res.n_calls, 0);
        sl_loop_turn(f.loop, true);
        assert_int_equal(res.err, SL_NO_NAME);
        assert_int_equal(f.server.n_asked, 0);
        close_fixture(&f);
    }
}

static void silence_times_out(void **state)
{
    struct fixture f;
    struct result res;

    (void)state;
    open_fixture(&f, sl_loop_new(), &(struct sl_resolver_conf){ .timeout_ms = 20 });
    resolve(&f, "mute.test", &res);
    assert_int_equal(res.err, SL_DNS_TIMEOUT);
    assert_true(f.server.n_asked >= 1);
    close_fixture(&f);
}

static void answers_are_kept_for_their_ttl(void **state)
{
    static const struct {
        const char *name;
        uint64_t known_ms; /* still known then, no longer a millisecond later */
    } rows[] = { { "short.test", 1999 }, { "four.test", 29999 } };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct fixture f;
        struct result res;

        open_fixture(&f, sl_loop_new_sim(), &usual);
        resolve(&f, rows[i].name, &res);
        sl_loop_advance(f.loop, rows[i].known_ms);
        resolve(&f, rows[i].name, &res);
        assert_int_equal(res.err, SL_OK);
        assert_int_equal(f.server.n_asked, 1);
        sl_loop_advance(f.loop, 1);
        resolve(&f, rows[i].name, &res);
        assert_int_equal(res.err, SL_OK);
        assert_int_equal(f.server.n_asked, 2);
        close_fixture(&f);
    }
}

static void a_ttl_of_zero_is_not_kept(void **state)
{
    struct fixture f;
    struct result res;

    (void)state;
    open_fixture(&f, sl_loop_new_sim(), &usual);
    resolve(&f, "zero.test", &res);
    resolve(&f, "zero.test", &res);
    assert_int_equal(f.server.n_asked, 2);
    close_fixture(&f);
}

static void the_least_recently_used_goes(void **state)
{
    struct fixture f;
    struct result res;

    (void)state;
    open_fixture(&f, sl_loop_new_sim(),
                 &(struct sl_resolver_conf){ .max_entries = 2, .max_ttl_s = 30 });
    resolve(&f, "four.test", &res);
    resolve(&f, "six.test", &res);
    resolve(&f, "four.test", &res);
    resolve(&f, "both.test", &res);
    assert_int_equal(f.server.n_asked, 3);
    resolve(&f, "four.test", &res);
    assert_int_equal(f.server.n_asked, 3);
    resolve(&f, "six.test", &res);
    assert_int_equal(f.server.n_asked, 4);
    close_fixture(&f);
}

static void identical_look_ups_are_made_once(void **state)
{
    struct fixture f;
    struct result res[4];

    (void)state;
    open_fixture(&f, sl_loop_new(), &(struct sl_resolver_conf){ 0 });
    for (size_t i = 0; i < SL_LEN(res); i++)
        start(&f, i % 2 == 0 ? "both.test" : "Both.Test", &res[i]);
    sl_resolve_cancel(&res[0].op);
    sl_resolve_cancel(&res[0].op);
    while (res[3].n_calls == 0)
        sl_loop_turn(f.loop, true);
    assert_int_equal(res[0].n_calls, 0);
    assert_int_equal(res[1].n_calls, 1);
    assert_string_equal(res[1].text, res[3].text);
    assert_int_equal(f.server.n_asked, 1);
    close_fixture(&f);
}

static void a_query_outlives_a_cancelled_resolve(void **state)
{
    struct fixture f;
    struct result res;

    (void)state;
    open_fixture(&f, sl_loop_new(), &usual);
    start(&f, "four.test", &res);
    sl_resolve_cancel(&res.op);
    resolve(&f, "four.test", &res);
    assert_string_equal(res.text, "192.0.2.4");
    assert_int_equal(f.server.n_asked, 1);
    start(&f, "six.test", &res);
    sl_resolve_cancel(&res.op);
    start(&f, "192.0.2.9", &res);
    sl_resolve_cancel(&res.op);
    close_fixture(&f);
}

struct last {
    struct sl_resolver **r;
    int n_calls;
};

static void on_last(void *arg, const struct sl_addrs *addrs, const struct sl_fault *fault)
{
    struct last *l = arg;

    (void)fault;
    assert_non_null(addrs);
    l->n_calls++;
    sl_resolver_free(l->r);
}

static void the_last_answer_may_end_the_resolver(void **state)
{
    struct fixture f;
    struct last l = { .r = &f.r };

    (void)state;
    open_fixture(&f, sl_loop_new(), &usual);
    assert_non_null(sl_resolve_start(f.r, SL_STR("both.test"), on_last, &l));
    while (l.n_calls == 0)
        sl_loop_turn(f.loop, true);
    close_fixture(&f);
}

static void servers_are_checked(void **state)
{
    static const struct {
        const char *servers;
        bool is_good;
    } rows[] = {
        { NULL, true },
        { "127.0.0.1:5353", true },
        { "127.0.0.1:5353,[::1]:53", true },
        { "dns.example", false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_loop *loop = sl_loop_new();
        struct sl_resolver_conf conf = { .servers = rows[i].servers };
        struct sl_resolver *r = sl_resolver_new(loop, &conf);

        assert_int_equal(r != NULL, rows[i].is_good);
        sl_resolver_free(&r);
        sl_loop_free(&loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_their_addresses),
        cmocka_unit_test(names_are_not_completed),
        cmocka_unit_test(malformed_names_are_not_asked_for),
        cmocka_unit_test(silence_times_out),
        cmocka_unit_test(answers_are_kept_for_their_ttl),
        cmocka_unit_test(a_ttl_of_zero_is_not_kept),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(identical_look_ups_are_made_once),
        cmocka_unit_test(a_query_outlives_a_cancelled_resolve),
        cmocka_unit_test(the_last_answer_may_end_the_resolver),
        cmocka_unit_test(servers_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
