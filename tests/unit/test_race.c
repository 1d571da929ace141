/* test_race.c -- the first address to answer wins; staggering by a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/race.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tcp.h"

struct result {
    struct sl_race *race;
    struct sl_stream *stream;
    struct sl_addr peer;
    enum sl_err err;
    int n_calls;
};

static void on_raced(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                     const struct sl_fault *fault)
{
    struct result *res = arg;

    res->race = NULL;
    res->n_calls++;
    res->stream = stream;
    res->err = fault == NULL ? SL_OK : fault->err;
    if (peer != NULL)
        res->peer = *peer;
}

static struct sl_addr addr_of(const char *ip, uint16_t port)
{
    struct sl_addr a;

    assert_true(sl_addr_parse_ip(sl_str_of(ip), &a));
    sl_addr_set_port(&a, port);
    return a;
}

static int listen_at(const char *ip, uint16_t port, uint16_t *ret_port)
{
    struct sl_addr at = addr_of(ip, port), bound;
    struct sl_fault fault = { 0 };
    int fd = -1;

    assert_int_equal(sl_tcp_listen(&at, &fd, &bound, &fault), SL_OK);
    *ret_port = sl_addr_port(&bound);
    return fd;
}

static void run(struct sl_loop *loop, struct result *res)
{
    while (res->n_calls == 0)
        sl_loop_turn(loop, true);
}

static void failures_pass_on_to_the_next(void **state)
{
    static const struct {
        const char *ip[3];
        const char *winner; /* NULL: nobody listens there */
    } rows[] = {
        { { "127.0.0.1" }, "127.0.0.1" },
        { { "127.0.0.2", "127.0.0.3", "127.0.0.1" }, "127.0.0.1" },
        { { "127.0.0.2", "127.0.0.3" }, NULL },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_loop *loop = sl_loop_new_sim();
        struct sl_addrs addrs = { 0 };
        struct result res = { 0 };
        uint16_t port;
        int fd = listen_at("127.0.0.1", 0, &port);

        for (size_t k = 0; k < 3 && rows[i].ip[k] != NULL; k++)
            addrs.a[addrs.n++] = addr_of(rows[i].ip[k], 0);
        res.race = sl_race_start(loop, &addrs, port, on_raced, &res);
        assert_int_equal(res.n_calls, 0);
        run(loop, &res);
        assert_int_equal(res.err, rows[i].winner != NULL ? SL_OK : SL_REFUSED);
        if (rows[i].winner != NULL) {
            struct sl_addr want = addr_of(rows[i].winner, port);

            assert_true(sl_addr_eq(&res.peer, &want));
        }
        sl_stream_close(&res.stream);
        close(fd);
        sl_loop_free(&loop);
    }
}

/* Loopback drops what knocks at a full backlog, so that an attempt hangs. */
static int listen_deaf(uint16_t *ret_port, int ret_filler[2])
{
    int fd = listen_at("127.0.0.2", 0, ret_port);
    struct sl_addr to = addr_of("127.0.0.2", *ret_port);

    assert_int_equal(listen(fd, 0), 0);
    for (int i = 0; i < 2; i++) {
        ret_filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(ret_filler[i], &to.sa, to.len);
    }
    return fd;
}

static void a_slow_address_is_overtaken(void **state)
{
    struct sl_loop *loop = sl_loop_new_sim();
    struct result res = { 0 };
    struct sl_addrs addrs = { .n = 2 };
    uint16_t port;
    int filler[2];
    int deaf = listen_deaf(&port, filler);
    int fd = listen_at("127.0.0.77", port, &port);
    struct sl_addr want = addr_of("127.0.0.77", port);

    (void)state;
    addrs.a[0] = addr_of("127.0.0.2", 0);
    addrs.a[1] = addr_of("127.0.0.77", 0);
    res.race = sl_race_start(loop, &addrs, port, on_raced, &res);
    sl_loop_advance(loop, 249);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(loop, false);
    assert_int_equal(res.n_calls, 0);
    sl_loop_advance(loop, 1);
    run(loop, &res);
    assert_int_equal(res.err, SL_OK);
    assert_true(sl_addr_eq(&res.peer, &want));
    sl_stream_close(&res.stream);
    close(filler[0]);
    close(filler[1]);
    close(deaf);
    close(fd);
    sl_loop_free(&loop);
}

static void a_cancelled_race_is_silent(void **state)
{
    struct sl_loop *loop = sl_loop_new_sim();
    struct result res = { 0 };
    struct sl_addrs addrs = { .n = 2 };
    uint16_t port;
    int fd = listen_at("127.0.0.1", 0, &port);

    (void)state;
    addrs.a[0] = addr_of("127.0.0.1", 0);
    addrs.a[1] = addr_of("127.0.0.2", 0);
    res.race = sl_race_start(loop, &addrs, port, on_raced, &res);
    sl_loop_advance(loop, 250);
    sl_race_cancel(&res.race);
    sl_race_cancel(&res.race);
    sl_loop_advance(loop, 1000);
    sl_loop_turn(loop, false);
    assert_int_equal(res.n_calls, 0);
    close(fd);
    sl_loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_pass_on_to_the_next),
        cmocka_unit_test(a_slow_address_is_overtaken),
        cmocka_unit_test(a_cancelled_race_is_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
