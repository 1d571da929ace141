/* tcp.c -- streams over sockets.
 *
 * A stream has a watch from the first want on: short exchanges that never wait cost none.  One that
 * the kernel will not watch has failed: its owner is told that it is ready, and everything answers
 * the fault.
 * A connect is a stream from the start, waiting to become writable; what fails at once is kept in
 * its fault and reported by its task.
 */
#include "io/tcp.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/stream.h"

/* Broken connections skipped in one accept; more are left to the next turn. */
#define ACCEPT_SKIPS 64

struct tcp {
    struct sl_stream base;
    struct sl_loop *loop;
    struct sl_watch *watch; /* NULL before the first want */
    int fd;
    bool is_unwatchable;
    struct sl_task unwatchable; /* tells the owner */
};

struct sl_tcp_connect {
    struct sl_loop *loop;
    struct sl_stream *stream; /* NULL: failed, see fault */
    struct sl_task task;
    struct sl_fault fault;
    sl_tcp_connect_fn *done;
    void *arg;
};

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void set(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_on(int fd, int level, int option)
{
    set(fd, level, option, 1);
}

/* -- listen, accept -- */

/* A live server whose backlog is full answers EAGAIN, not ECONNREFUSED. */
static bool is_stale(const struct sl_addr *addr)
{
    struct stat st;
    bool is_refused;
    int fd;

    /* Connecting to a plain file is refused too, but that is not ours to remove. */
    if (lstat(addr->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = open_socket(AF_UNIX);
    if (fd < 0)
        return false;
    is_refused = connect(fd, &addr->sa, addr->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return is_refused;
}

static int bind_unix(int fd, const struct sl_addr *addr)
{
    /* On Linux the file inherits the mode of the socket, so there is no moment when others may
     * connect. */
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0)
        return -1;
    if (bind(fd, &addr->sa, addr->len) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -1;
    if (!is_stale(addr)) {
        errno = EADDRINUSE;
        return -1;
    }
    (void)unlink(addr->un.sun_path);
    return bind(fd, &addr->sa, addr->len);
}

static int bind_ip(int fd, const struct sl_addr *addr)
{
    set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    /* "[::]:80" and "0.0.0.0:80" are two listeners, whatever net.ipv6.bindv6only says. */
    if (addr->sa.sa_family == AF_INET6)
        set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    return bind(fd, &addr->sa, addr->len);
}

static int bind_and_listen(int fd, const struct sl_addr *addr, struct sl_addr *bound)
{
    bool is_unix = addr->sa.sa_family == AF_UNIX;

    if ((is_unix ? bind_unix(fd, addr) : bind_ip(fd, addr)) != 0 || listen(fd, SOMAXCONN) != 0)
        return -1;
    *bound = *addr;
    return is_unix ? 0 : getsockname(fd, &bound->sa, &bound->len);
}

static enum sl_err listen_failed(const struct sl_addr *addr, int os_errno, struct sl_fault *fault)
{
    char text[SL_ADDR_TEXT];

    sl_addr_text(addr, text);
    if (os_errno != EADDRINUSE)
        return sl_fault_errno(fault, os_errno, text);
    (void)sl_fault_set(fault, SL_IO, "%s: address already in use", text);
    fault->os_errno = os_errno;
    return SL_IO;
}

void sl_tcp_yield(int fd, bool yields)
{
    set(fd, SOL_SOCKET, SO_REUSEPORT, yields);
}

/* Takes over the new socket. */
static enum sl_err listen_on(int fd, const struct sl_addr *addr, int *ret_fd,
                             struct sl_addr *ret_bound, struct sl_fault *fault)
{
    struct sl_addr bound;

    if (bind_and_listen(fd, addr, &bound) != 0) {
        int os_errno = errno;

        close(fd);
        return listen_failed(addr, os_errno, fault);
    }
    *ret_fd = fd;
    *ret_bound = bound;
    return SL_OK;
}

enum sl_err sl_tcp_listen(const struct sl_addr *addr, int *ret_fd, struct sl_addr *ret_bound,
                          struct sl_fault *fault)
{
    int fd = open_socket(addr->sa.sa_family);

    return fd < 0 ? listen_failed(addr, errno, fault)
                  : listen_on(fd, addr, ret_fd, ret_bound, fault);
}

/* The kernel wants the option on both sockets, and looks at it in bind and listen only. */
enum sl_err sl_tcp_listen_over(const struct sl_addr *addr, int *ret_fd, struct sl_addr *ret_bound,
                               struct sl_fault *fault)
{
    int fd = open_socket(addr->sa.sa_family);
    enum sl_err err;

    if (fd < 0)
        return listen_failed(addr, errno, fault);
    sl_tcp_yield(fd, true);
    err = listen_on(fd, addr, ret_fd, ret_bound, fault);
    if (err == SL_OK)
        sl_tcp_yield(fd, false);
    return err;
}

/* accept(2): errors of the network and of the firewall are handed out with the connection. */
static enum sl_err accept_failed(int os_errno)
{
    switch (os_errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return SL_LIMIT;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EFAULT:
        return SL_IO;
    default:
        return SL_AGAIN;
    }
}

enum sl_err sl_tcp_accept(int listen_fd, int *ret_fd, struct sl_addr *ret_peer)
{
    for (int skipped = 0; skipped < ACCEPT_SKIPS; skipped++) {
        struct sl_addr peer = { .len = sizeof(peer.un) };
        enum sl_err err;
        int fd = accept4(listen_fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            *ret_fd = fd;
            *ret_peer = peer;
            return SL_OK;
        }
        err = accept_failed(errno);
        if (err != SL_AGAIN || errno == EAGAIN)
            return err;
    }
    return SL_AGAIN;
}

/* -- the stream -- */

static struct tcp *tcp_of(struct sl_stream *s)
{
    return SL_CONTAINER(s, struct tcp, base);
}

static enum sl_err tcp_read(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    ssize_t n;

    if (tcp_of(s)->is_unwatchable)
        return s->fault.err;
    do
        n = recv(tcp_of(s)->fd, buf, cap, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return SL_EOF;
    if (n < 0)
        return errno == EAGAIN ? SL_AGAIN : sl_fault_errno(&s->fault, errno, "read");
    *ret_n = (size_t)n;
    return SL_OK;
}

static enum sl_err tcp_writev(struct sl_stream *s, const struct iovec *iov, int n_iov,
                              size_t *ret_n)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov };
    ssize_t n;

    if (tcp_of(s)->is_unwatchable)
        return s->fault.err;
    msg.msg_iovlen = (size_t)(n_iov < IOV_MAX ? n_iov : IOV_MAX);
    do
        n = sendmsg(tcp_of(s)->fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? SL_AGAIN : sl_fault_errno(&s->fault, errno, "write");
    *ret_n = (size_t)n;
    return SL_OK;
}

static enum sl_err tcp_shutdown(struct sl_stream *s)
{
    if (tcp_of(s)->is_unwatchable)
        return s->fault.err;
    if (shutdown(tcp_of(s)->fd, SHUT_WR) == 0)
        return SL_OK;
    /* The kernel no longer counts a connection that was reset as connected. */
    return sl_fault_errno(&s->fault, errno == ENOTCONN ? ECONNRESET : errno, "shutdown");
}

static size_t tcp_pending(const struct sl_stream *s)
{
    (void)s;
    return 0;
}

static void on_watch(void *arg, unsigned events)
{
    struct tcp *t = arg;

    t->base.on_ready(t->base.arg, events);
}

static void on_unwatchable(void *arg)
{
    on_watch(arg, SL_READABLE | SL_WRITABLE);
}

static void begin_watch(struct tcp *t)
{
    t->watch = sl_watch_new(t->loop, t->fd, on_watch, t);
    if (t->watch != NULL)
        return;
    (void)sl_fault_errno(&t->base.fault, errno, "waiting for a connection (epoll)");
    t->is_unwatchable = true;
}

static void tcp_want(struct sl_stream *s, unsigned events)
{
    struct tcp *t = tcp_of(s);

    if (t->watch == NULL && events != 0 && !t->is_unwatchable)
        begin_watch(t);
    if (t->is_unwatchable && events != 0)
        sl_task_post_next(t->loop, &t->unwatchable);
    else
        sl_task_cancel(t->loop, &t->unwatchable);
    sl_watch_want(t->watch, events);
}

static void tcp_close(struct sl_stream *s)
{
    static const struct linger none = { .l_onoff = 1, .l_linger = 0 };
    struct tcp *t = tcp_of(s);

    if (s->fault.err != SL_OK)
        (void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    sl_watch_free(&t->watch);
    sl_task_cancel(t->loop, &t->unwatchable);
    close(t->fd);
    t->fd = -1;
    sl_loop_defer_free(t->loop, t, sl_free);
}

static const struct sl_stream_ops tcp_ops = {
    .read = tcp_read,
    .writev = tcp_writev,
    .shutdown = tcp_shutdown,
    .pending = tcp_pending,
    .want = tcp_want,
    .close = tcp_close,
};

void sl_tcp_dismiss(int fd, struct sl_str last)
{
    /* Nobody waits for the outcome: a peer that does not hear why sees the close. */
    if (send(fd, last.p, last.n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        (void)shutdown(fd, SHUT_WR);
    close(fd);
}

struct sl_stream *sl_tcp_stream_new(struct sl_loop *loop, int fd)
{
    struct tcp *t = sl_zalloc(sizeof(*t));

    t->base.ops = &tcp_ops;
    t->loop = loop;
    t->fd = fd;
    t->unwatchable = (struct sl_task){ .fn = on_unwatchable, .arg = t };
    /* Refused by unix sockets, which do not need it. */
    set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    return &t->base;
}

int sl_tcp_stream_fd(const struct sl_stream *s)
{
    return tcp_of((struct sl_stream *)(uintptr_t)s)->fd;
}

/* -- connect -- */

void sl_tcp_connect_cancel(struct sl_tcp_connect **c)
{
    struct sl_tcp_connect *gone = *c;

    if (gone == NULL)
        return;
    *c = NULL;
    sl_task_cancel(gone->loop, &gone->task);
    sl_stream_close(&gone->stream);
    sl_free(gone);
}

/* Reports last, after the connect is gone. */
static void finish(struct sl_tcp_connect *c, struct sl_stream *stream)
{
    struct sl_fault fault = c->fault;
    sl_tcp_connect_fn *done = c->done;
    void *arg = c->arg;

    sl_tcp_connect_cancel(&c);
    done(arg, stream, stream != NULL ? NULL : &fault);
}

static void on_failed(void *arg)
{
    finish(arg, NULL);
}

static void on_connected(void *arg, unsigned events)
{
    struct sl_tcp_connect *c = arg;
    struct sl_stream *stream = c->stream;
    int os_errno = 0;
    socklen_t len = sizeof(os_errno);

    (void)events;
    (void)getsockopt(tcp_of(stream)->fd, SOL_SOCKET, SO_ERROR, &os_errno, &len);
    if (os_errno != 0)
        (void)sl_fault_errno(&c->fault, os_errno, "connect");
    else
        c->fault = stream->fault;
    if (c->fault.err != SL_OK) {
        finish(c, NULL);
        return;
    }
    sl_stream_want(stream, 0);
    sl_stream_on_ready(stream, NULL, NULL);
    c->stream = NULL;
    finish(c, stream);
}

static bool is_under_way(int os_errno)
{
    return os_errno == EINPROGRESS || os_errno == EINTR;
}

/* 0, or the errno with which it failed at once. */
static int begin(struct sl_tcp_connect *c, const struct sl_addr *addr)
{
    int fd = open_socket(addr->sa.sa_family);

    if (fd < 0)
        return errno;
    c->stream = sl_tcp_stream_new(c->loop, fd);
    if (connect(fd, &addr->sa, addr->len) == 0 || is_under_way(errno))
        return 0;
    /* A unix socket whose backlog is full: nothing would wake us when it no longer is. */
    return errno == EAGAIN ? ECONNREFUSED : errno;
}

struct sl_tcp_connect *sl_tcp_connect_start(struct sl_loop *loop, const struct sl_addr *addr,
                                            sl_tcp_connect_fn *done, void *arg)
{
    struct sl_tcp_connect *c = sl_zalloc(sizeof(*c));
    int os_errno;

    c->loop = loop;
    c->done = done;
    c->arg = arg;
    c->task = (struct sl_task){ .fn = on_failed, .arg = c };
    os_errno = begin(c, addr);
    if (os_errno == 0) {
        sl_stream_on_ready(c->stream, on_connected, c);
        sl_stream_want(c->stream, SL_WRITABLE);
        return c;
    }
    (void)sl_fault_errno(&c->fault, os_errno, "connect");
    sl_task_post(loop, &c->task);
    return c;
}
