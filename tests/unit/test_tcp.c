/* test_tcp.c -- listening, accepting, connecting and streaming over loopback and unix sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"

static char dir[] = "/tmp/sluice-tcp-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static struct sl_addr addr_of(const char *text)
{
    struct sl_addr a;

    assert_true(sl_addr_parse(sl_str_of(text), &a));
    return a;
}

static struct sl_addr unix_addr(void)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "unix:%s/socket", dir);
    return addr_of(text);
}

static int listen_on(struct sl_addr at, struct sl_addr *ret_bound)
{
    struct sl_fault fault = { 0 };
    int fd = -1;

    assert_int_equal(sl_tcp_listen(&at, &fd, ret_bound, &fault), SL_OK);
    return fd;
}

/* A finished connect, and a wish to be one. */
struct dial {
    struct sl_tcp_connect *op;
    struct sl_stream *stream;
    enum sl_err err;
    int n_calls;
};

static void on_dialed(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct dial *d = arg;

    d->op = NULL;
    d->n_calls++;
    d->stream = stream;
    d->err = fault == NULL ? SL_OK : fault->err;
}

static void dial(struct sl_loop *loop, struct sl_addr to, struct dial *d)
{
    *d = (struct dial){ 0 };
    d->op = sl_tcp_connect_start(loop, &to, on_dialed, d);
    assert_int_equal(d->n_calls, 0);
    while (d->n_calls == 0)
        sl_loop_turn(loop, true);
}

struct link {
    struct sl_loop *loop;
    struct sl_stream *client, *server;
};

static void open_link(struct link *l, struct sl_addr at)
{
    struct sl_addr bound, peer;
    struct dial d;
    int fd, listen_fd;

    *l = (struct link){ .loop = sl_loop_new() };
    listen_fd = listen_on(at, &bound);
    assert_int_equal(sl_tcp_accept(listen_fd, &fd, &peer), SL_AGAIN);
    dial(l->loop, bound, &d);
    assert_int_equal(d.err, SL_OK);
    l->client = d.stream;
    assert_int_equal(sl_tcp_accept(listen_fd, &fd, &peer), SL_OK);
    assert_int_equal(peer.sa.sa_family, at.sa.sa_family);
    l->server = sl_tcp_stream_new(l->loop, fd);
    close(listen_fd);
    if (at.sa.sa_family == AF_UNIX)
        unlink(at.un.sun_path);
}

static void close_link(struct link *l)
{
    sl_stream_close(&l->client);
    sl_stream_close(&l->server);
    sl_loop_free(&l->loop);
}

struct ear {
    unsigned seen;
};

static void on_ready(void *arg, unsigned events)
{
    ((struct ear *)arg)->seen |= events;
}

/* Waits for @a events on @a s alone. */
static void wait_for(struct sl_loop *loop, struct sl_stream *s, unsigned events)
{
    struct ear ear = { 0 };

    sl_stream_on_ready(s, on_ready, &ear);
    sl_stream_want(s, events);
    while (ear.seen == 0)
        sl_loop_turn(loop, true);
    assert_int_equal(ear.seen & ~events, 0);
}

static void talk(struct link *l)
{
    struct iovec iov[2] = { { .iov_base = (char[]){ "he" }, .iov_len = 2 },
                            { .iov_base = (char[]){ "llo" }, .iov_len = 3 } };
    char buf[16];
    size_t n;

    assert_int_equal(sl_stream_read(l->server, buf, sizeof(buf), &n), SL_AGAIN);
    assert_int_equal(sl_stream_writev(l->client, iov, 2, &n), SL_OK);
    assert_int_equal(n, 5);
    wait_for(l->loop, l->server, SL_READABLE);
    assert_int_equal(sl_stream_pending(l->server), 0);
    assert_int_equal(sl_stream_read(l->server, buf, sizeof(buf), &n), SL_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(buf, "hello", 5);
    sl_stream_want(l->server, 0);
    assert_int_equal(sl_stream_shutdown(l->client), SL_OK);
    wait_for(l->loop, l->server, SL_READABLE);
    assert_int_equal(sl_stream_read(l->server, buf, sizeof(buf), &n), SL_EOF);
    assert_int_equal(sl_stream_write(l->server, "bye", 3, &n), SL_OK);
    sl_stream_close(&l->server);
    wait_for(l->loop, l->client, SL_READABLE);
    assert_int_equal(sl_stream_read(l->client, buf, sizeof(buf), &n), SL_OK);
    assert_int_equal(sl_stream_read(l->client, buf, sizeof(buf), &n), SL_EOF);
}

static void both_ends_talk(void **state)
{
    struct sl_addr at[] = { addr_of("127.0.0.1:0"), addr_of("[::1]:0"), unix_addr() };

    (void)state;
    for (size_t i = 0; i < SL_LEN(at); i++) {
        struct link l;

        open_link(&l, at[i]);
        talk(&l);
        close_link(&l);
    }
}

static void a_peer_that_stops_reading_blocks_writes(void **state)
{
    static char block[65536];
    struct link l;
    enum sl_err err;
    size_t n, written = 0, got = 0;

    (void)state;
    open_link(&l, addr_of("127.0.0.1:0"));
    while ((err = sl_stream_write(l.client, block, sizeof(block), &n)) == SL_OK)
        written += n;
    assert_int_equal(err, SL_AGAIN);
    while (got < written) {
        wait_for(l.loop, l.server, SL_READABLE);
        assert_int_equal(sl_stream_read(l.server, block, sizeof(block), &n), SL_OK);
        got += n;
    }
    sl_stream_want(l.server, 0);
    wait_for(l.loop, l.client, SL_WRITABLE);
    close_link(&l);
}

static void a_reset_is_a_reset(void **state)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    struct link l;
    char c;
    size_t n;

    (void)state;
    open_link(&l, addr_of("127.0.0.1:0"));
    assert_int_equal(
        setsockopt(sl_tcp_stream_fd(l.server), SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    sl_stream_close(&l.server);
    wait_for(l.loop, l.client, SL_READABLE | SL_WRITABLE);
    assert_int_equal(sl_stream_read(l.client, &c, 1, &n), SL_RESET);
    assert_int_equal(l.client->fault.err, SL_RESET);
    assert_int_equal(sl_stream_write(l.client, "x", 1, &n), SL_RESET);
    assert_int_equal(sl_stream_shutdown(l.client), SL_RESET);
    close_link(&l);
}

static void nobody_listens(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_addr bound, path = unix_addr();
    struct dial d;

    (void)state;
    close(listen_on(addr_of("127.0.0.1:0"), &bound));
    dial(loop, bound, &d);
    assert_null(d.stream);
    assert_int_equal(d.err, SL_REFUSED);
    close(listen_on(path, &bound));
    dial(loop, path, &d);
    assert_int_equal(d.err, SL_REFUSED);
    unlink(path.un.sun_path);
    dial(loop, path, &d);
    assert_int_not_equal(d.err, SL_OK);
    sl_loop_free(&loop);
}

static bool is_full;

/* In place of the library's: when the user's limit of watches is reached. */
__attribute__((visibility("default"))) int epoll_ctl(int epfd, int op, int fd,
                                                     struct epoll_event *event)
{
    if (!is_full || op != EPOLL_CTL_ADD)
        return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
    errno = ENOSPC;
    return -1;
}

static void what_cannot_be_watched_fails_alone(void **state)
{
    struct link l;
    struct ear ear = { 0 };
    char buf[8];
    size_t n;

    (void)state;
    open_link(&l, addr_of("127.0.0.1:0"));
    assert_int_equal(sl_stream_write(l.client, "here", 4, &n), SL_OK);
    sl_stream_on_ready(l.server, on_ready, &ear);
    is_full = true;
    sl_stream_want(l.server, SL_READABLE);
    is_full = false;
    assert_int_equal(ear.seen, 0);
    while (ear.seen == 0)
        sl_loop_turn(l.loop, true);
    assert_int_equal(sl_stream_read(l.server, buf, sizeof(buf), &n), SL_LIMIT);
    assert_int_equal(sl_stream_write(l.server, "no", 2, &n), SL_LIMIT);
    assert_int_equal(sl_stream_shutdown(l.server), SL_LIMIT);
    assert_int_equal(l.server->fault.os_errno, ENOSPC);
    wait_for(l.loop, l.client, SL_WRITABLE);
    sl_stream_want(l.server, SL_READABLE);
    close_link(&l);
}

static void a_connect_that_cannot_be_watched_fails(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct dial d = { 0 };
    struct sl_addr bound;
    int fd = listen_on(addr_of("127.0.0.1:0"), &bound);

    (void)state;
    is_full = true;
    d.op = sl_tcp_connect_start(loop, &bound, on_dialed, &d);
    is_full = false;
    while (d.n_calls == 0)
        sl_loop_turn(loop, true);
    assert_null(d.stream);
    assert_int_equal(d.err, SL_LIMIT);
    close(fd);
    sl_loop_free(&loop);
}

static void a_cancelled_connect_is_silent(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_addr bound;
    int fd = listen_on(addr_of("127.0.0.1:0"), &bound);
    struct sl_addr to[] = { bound, unix_addr() };

    (void)state;
    for (size_t i = 0; i < SL_LEN(to); i++) {
        struct dial d = { 0 };

        d.op = sl_tcp_connect_start(loop, &to[i], on_dialed, &d);
        sl_tcp_connect_cancel(&d.op);
        sl_tcp_connect_cancel(&d.op);
        for (int k = 0; k < 3; k++)
            sl_loop_turn(loop, false);
        assert_int_equal(d.n_calls, 0);
    }
    close(fd);
    sl_loop_free(&loop);
}

static void a_unix_socket_is_ours_alone(void **state)
{
    struct sl_addr at = unix_addr(), bound;
    mode_t masks[] = { 0, 022, 077 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(masks); i++) {
        mode_t old = umask(masks[i]);
        struct stat st;
        int fd = listen_on(at, &bound);

        umask(old);
        assert_int_equal(stat(at.un.sun_path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_true(sl_addr_eq(&at, &bound));
        close(fd);
    }
    unlink(at.un.sun_path);
}

static void addresses_in_use(void **state)
{
    struct sl_addr at[] = { addr_of("127.0.0.1:0"), unix_addr() };

    (void)state;
    for (size_t i = 0; i < SL_LEN(at); i++) {
        struct sl_fault fault = { 0 };
        struct sl_addr bound, again;
        char want[SL_ADDR_TEXT + 32], text[SL_ADDR_TEXT];
        int fd = listen_on(at[i], &bound), other = -1;

        assert_int_equal(sl_tcp_listen(&bound, &other, &again, &fault), SL_IO);
        sl_addr_text(&bound, text);
        (void)snprintf(want, sizeof(want), "%s: address already in use", text);
        assert_string_equal(fault.text, want);
        assert_int_equal(other, -1);
        close(fd);
    }
    unlink(at[1].un.sun_path);
}

static void a_plain_file_is_not_replaced(void **state)
{
    struct sl_addr at = unix_addr(), bound;
    struct sl_fault fault = { 0 };
    int fd = open(at.un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    (void)state;
    close(fd);
    assert_int_equal(sl_tcp_listen(&at, &fd, &bound, &fault), SL_IO);
    assert_int_equal(access(at.un.sun_path, F_OK), 0);
    unlink(at.un.sun_path);
}

/* Run it under strace: after the first rounds there are no calls of epoll_ctl. */
static void ping_pong(void **state)
{
    struct link l;
    struct ear client = { 0 }, server = { 0 };
    char buf[8];
    size_t n;

    (void)state;
    open_link(&l, addr_of("127.0.0.1:0"));
    sl_stream_on_ready(l.client, on_ready, &client);
    sl_stream_on_ready(l.server, on_ready, &server);
    for (int i = 0; i < 200; i++) {
        client = server = (struct ear){ 0 };
        sl_stream_want(l.server, SL_READABLE);
        assert_int_equal(sl_stream_write(l.client, "ping", 4, &n), SL_OK);
        while (server.seen == 0)
            sl_loop_turn(l.loop, true);
        assert_int_equal(sl_stream_read(l.server, buf, sizeof(buf), &n), SL_OK);
        sl_stream_want(l.server, 0);
        sl_stream_want(l.client, SL_READABLE);
        assert_int_equal(sl_stream_write(l.server, "pong", 4, &n), SL_OK);
        while (client.seen == 0)
            sl_loop_turn(l.loop, true);
        assert_int_equal(sl_stream_read(l.client, buf, sizeof(buf), &n), SL_OK);
        sl_stream_want(l.client, 0);
    }
    close_link(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_talk),
        cmocka_unit_test(a_peer_that_stops_reading_blocks_writes),
        cmocka_unit_test(a_reset_is_a_reset),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(what_cannot_be_watched_fails_alone),
        cmocka_unit_test(a_connect_that_cannot_be_watched_fails),
        cmocka_unit_test(a_cancelled_connect_is_silent),
        cmocka_unit_test(a_unix_socket_is_ours_alone),
        cmocka_unit_test(addresses_in_use),
        cmocka_unit_test(a_plain_file_is_not_replaced),
        cmocka_unit_test(ping_pong),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
