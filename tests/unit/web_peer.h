/* web_peer.h -- for tests of what speaks to origins: a tiny HTTP server on the same loop that reads
 * whole requests and answers from a script, and what is needed to reach it.
 */
#ifndef SL_TEST_WEB_PEER_H
#define SL_TEST_WEB_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "upstream/origin.h"

#define OK_REPLY "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

struct web_reply {
    const char *text; /* NULL: says nothing */
    bool closes;      /* after it */
    bool is_hasty;    /* as soon as the head of the request is there, reading no further */
};

struct web {
    struct sl_loop *loop;
    const struct web_reply *replies; /* one a request; the last one again and again */
    size_t n_replies;
    int fd;
    struct sl_addr addr;
    struct sl_watch *watch;
    struct sl_link conns;
    size_t n_conns; /* ever accepted */
    size_t n_requests;
    bool holds; /* requests are read, and answered by web_release */
    struct sl_buf last;
};

struct web_conn {
    struct sl_link in_web;
    struct web *web;
    struct sl_stream *stream;
    struct sl_buf in, out;
    const struct web_reply *owed; /* NULL: nothing */
    bool closes;
};

static inline void web_conn_free(struct web_conn *c)
{
    sl_link_remove(&c->in_web);
    sl_stream_close(&c->stream);
    sl_buf_fini(&c->in);
    sl_buf_fini(&c->out);
    sl_free(c);
}

/* False when the connection is gone. */
static inline bool web_flush(struct web_conn *c)
{
    size_t n;

    while (c->out.len != 0) {
        struct sl_str s = sl_buf_str(&c->out);
        enum sl_err err = sl_stream_write(c->stream, s.p, s.n, &n);

        if (err == SL_AGAIN) {
            sl_stream_want(c->stream, SL_READABLE | SL_WRITABLE);
            return true;
        }
        if (err != SL_OK) {
            web_conn_free(c);
            return false;
        }
        sl_buf_consume(&c->out, n);
    }
    sl_stream_want(c->stream, SL_READABLE);
    if (c->closes)
        web_conn_free(c);
    return !c->closes;
}

static inline bool web_answer(struct web_conn *c)
{
    const struct web_reply *r = c->owed;

    c->owed = NULL;
    if (r->text != NULL)
        sl_buf_add_str(&c->out, sl_str_of(r->text));
    if (r->closes) {
        (void)web_flush(c);
        web_conn_free(c);
        return false;
    }
    return web_flush(c);
}

/* Bytes of a whole request at the front, 0 when it is not complete. */
static inline size_t web_request_len(struct sl_str in, bool is_hasty)
{
    const char *end = memmem(in.p, in.n, "\r\n\r\n", 4);
    const char *length = memmem(in.p, in.n, "Content-Length: ", 16);
    size_t body = 0, head;

    if (end == NULL)
        return 0;
    head = (size_t)(end - in.p) + 4;
    if (is_hasty)
        return in.n;
    if (length != NULL && length < end)
        body = (size_t)strtoul(length + 16, NULL, 10);
    return in.n >= head + body ? head + body : 0;
}

static inline void web_ready(void *arg, unsigned events)
{
    struct web_conn *c = arg;
    struct web *w = c->web;
    char piece[4096];
    enum sl_err err = SL_OK;
    size_t n;

    (void)events;
    if (c->out.len != 0 && !web_flush(c))
        return;
    while ((err = sl_stream_read(c->stream, piece, sizeof(piece), &n)) == SL_OK) {
        const struct web_reply *r =
            &w->replies[w->n_requests < w->n_replies ? w->n_requests : w->n_replies - 1];

        sl_buf_add(&c->in, piece, n);
        n = web_request_len(sl_buf_str(&c->in), r->is_hasty);
        if (n == 0)
            continue;
        w->n_requests++;
        sl_buf_reset(&w->last);
        sl_buf_add_str(&w->last, sl_str_head(sl_buf_str(&c->in), n));
        sl_buf_consume(&c->in, n);
        c->owed = r;
        if (!w->holds && !web_answer(c))
            return;
        if (r->is_hasty) {
            sl_stream_want(c->stream, 0);
            return;
        }
    }
    if (err != SL_AGAIN)
        web_conn_free(c);
}

static inline void web_accept(void *arg, unsigned events)
{
    struct web *w = arg;
    struct sl_addr peer;
    int fd;

    (void)events;
    while (sl_tcp_accept(w->fd, &fd, &peer) == SL_OK) {
        struct web_conn *c = sl_zalloc(sizeof(*c));

        w->n_conns++;
        *c = (struct web_conn){ .web = w, .stream = sl_tcp_stream_new(w->loop, fd) };
        sl_list_add(&w->conns, &c->in_web);
        sl_stream_on_ready(c->stream, web_ready, c);
        sl_stream_want(c->stream, SL_READABLE);
    }
}

/* @a at: NULL for a free port of loopback. */
static inline void web_begin(struct web *w, struct sl_loop *loop, const char *at,
                             const struct web_reply *replies, size_t n_replies)
{
    struct sl_fault fault = { 0 };
    struct sl_addr addr;

    *w = (struct web){ .loop = loop, .replies = replies, .n_replies = n_replies };
    sl_list_init(&w->conns);
    assert_true(sl_addr_parse(sl_str_of(at != NULL ? at : "127.0.0.1:0"), &addr));
    assert_int_equal(sl_tcp_listen(&addr, &w->fd, &w->addr, &fault), SL_OK);
    w->watch = sl_watch_new(loop, w->fd, web_accept, w);
    sl_watch_want(w->watch, SL_READABLE);
}

static inline void web_hang_up(struct web *w)
{
    while (!sl_list_is_empty(&w->conns))
        web_conn_free(SL_CONTAINER(w->conns.next, struct web_conn, in_web));
}

static inline void web_release(struct web *w)
{
    w->holds = false;
    SL_LIST_FOREACH_SAFE (it, &w->conns) {
        struct web_conn *c = SL_CONTAINER(it, struct web_conn, in_web);

        if (c->owed != NULL)
            (void)web_answer(c);
    }
}

/* Takes no more connections, in no time. */
static inline void web_refuse(struct web *w)
{
    sl_watch_free(&w->watch);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

static inline void web_end(struct web *w)
{
    web_hang_up(w);
    web_refuse(w);
    sl_buf_fini(&w->last);
}

static inline struct sl_origin web_origin(const struct web *w)
{
    return (struct sl_origin){ .host = SL_STR("127.0.0.1"), .port = sl_addr_port(&w->addr) };
}

/* A way to it without a guard. */
static inline struct sl_route web_route(struct sl_loop *loop)
{
    static const struct sl_resolver_conf conf = { .servers = "127.0.0.1:9", .max_entries = 4 };
    struct sl_resolver *r = sl_resolver_new(loop, &conf);

    assert_non_null(r);
    return (struct sl_route){ .loop = loop, .resolver = r, .connect_timeout_ms = 5000 };
}

static inline bool web_got(const struct web *w, const char *text)
{
    return memmem(sl_buf_str(&w->last).p, w->last.len, text, strlen(text)) != NULL;
}

/* A listener whose backlog is full: loopback drops what knocks there, so that a connect hangs. */
struct deaf {
    int fd, filler[2];
    uint16_t port;
};

static inline void deaf_begin(struct deaf *d)
{
    struct sl_fault fault = { 0 };
    struct sl_addr at, bound;

    assert_true(sl_addr_parse(SL_STR("127.0.0.1:0"), &at));
    assert_int_equal(sl_tcp_listen(&at, &d->fd, &bound, &fault), SL_OK);
    d->port = sl_addr_port(&bound);
    assert_int_equal(listen(d->fd, 0), 0);
    for (int i = 0; i < 2; i++) {
        d->filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(d->filler[i], &bound.sa, bound.len);
    }
}

static inline void deaf_end(struct deaf *d)
{
    close(d->filler[0]);
    close(d->filler[1]);
    close(d->fd);
}

#endif
