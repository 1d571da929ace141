/* h1_peer.h -- for tests of HTTP/1 connections: a peer that plays a script of bytes, a stream that
 * watches over the rules of io/stream.h, and the trickles in which every scenario is replayed.
 */
#ifndef SL_TEST_H1_PEER_H
#define SL_TEST_H1_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/memory.h"
#include "io/stream.h"

/* -- a stream over another that checks how it is used and balks at every other write -- */

struct watcher {
    struct sl_stream base;
    struct sl_stream *lower;
    struct sl_loop *loop;
    char *retry; /* what was offered when SL_AGAIN was answered */
    size_t n_retry;
    bool balks, balked;
    bool cuts; /* an end of the bytes is one without close_notify */
    size_t n_reads, n_writes;
};

static inline struct watcher *watcher_of(struct sl_stream *s)
{
    return SL_CONTAINER(s, struct watcher, base);
}

static inline enum sl_err watcher_read(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct watcher *w = watcher_of(s);
    enum sl_err err;

    assert_true(cap > 0);
    w->n_reads++;
    err = sl_stream_read(w->lower, buf, cap, ret_n);
    if (err == SL_EOF && w->cuts)
        sl_fault_set(&s->fault, SL_RESET, "no close_notify");
    else if (err != SL_OK)
        s->fault = w->lower->fault;
    return err;
}

static inline char *gather(const struct iovec *iov, int n_iov, size_t *ret_n)
{
    struct sl_buf all = { 0 };
    char *copy;

    for (int i = 0; i < n_iov; i++) {
        assert_true(iov[i].iov_len > 0);
        sl_buf_add(&all, iov[i].iov_base, iov[i].iov_len);
    }
    assert_true(all.len > 0);
    *ret_n = all.len;
    copy = sl_memdup(sl_buf_str(&all).p, all.len);
    sl_buf_fini(&all);
    return copy;
}

static inline enum sl_err watcher_writev(struct sl_stream *s, const struct iovec *iov, int n_iov,
                                         size_t *ret_n)
{
    struct watcher *w = watcher_of(s);
    size_t n;
    char *all = gather(iov, n_iov, &n);
    enum sl_err err = SL_AGAIN;

    if (w->retry != NULL) {
        assert_true(n >= w->n_retry);
        assert_memory_equal(all, w->retry, w->n_retry);
        sl_free(w->retry);
        w->retry = NULL;
    }
    w->n_writes++;
    w->balked = w->balks && !w->balked;
    if (!w->balked)
        err = sl_stream_writev(w->lower, iov, n_iov, ret_n);
    if (err != SL_AGAIN) {
        sl_free(all);
        s->fault = w->lower->fault;
        return err;
    }
    w->retry = all;
    w->n_retry = n;
    return err;
}

static inline enum sl_err watcher_shutdown(struct sl_stream *s)
{
    assert_null(watcher_of(s)->retry);
    return sl_stream_shutdown(watcher_of(s)->lower);
}

static inline size_t watcher_pending(const struct sl_stream *s)
{
    return sl_stream_pending(SL_CONTAINER(s, const struct watcher, base)->lower);
}

static inline void watcher_want(struct sl_stream *s, unsigned events)
{
    sl_stream_want(watcher_of(s)->lower, events);
}

static inline void watcher_free(void *p)
{
    sl_free(((struct watcher *)p)->retry);
    sl_free(p);
}

static inline void watcher_close(struct sl_stream *s)
{
    struct watcher *w = watcher_of(s);

    sl_stream_close(&w->lower);
    sl_loop_defer_free(w->loop, w, watcher_free);
}

static inline void watcher_on_ready(void *arg, unsigned events)
{
    struct watcher *w = arg;

    w->base.on_ready(w->base.arg, events);
}

static inline struct watcher *watcher_new(struct sl_loop *loop, struct sl_stream *lower)
{
    static const struct sl_stream_ops ops = {
        .read = watcher_read,
        .writev = watcher_writev,
        .shutdown = watcher_shutdown,
        .pending = watcher_pending,
        .want = watcher_want,
        .close = watcher_close,
    };
    struct watcher *w = sl_zalloc(sizeof(*w));

    w->base.ops = &ops;
    w->lower = lower;
    w->loop = loop;
    sl_stream_on_ready(lower, watcher_on_ready, w);
    return w;
}

/* -- a peer that plays a script -- */

struct line {
    const char *after; /* waits until this has come; NULL: goes on at once */
    const char *send;  /* NULL: ends its output, "" nothing */
};

struct peer {
    struct sl_stream *stream;
    const struct line *lines; /* up to one without after and send */
    bool is_playing;          /* what the line waits for has come */
    size_t n_sent;            /* of the line */
    size_t n_seen;            /* of got, by lines before */
    struct sl_buf got;
    bool saw_eof, saw_error;
    size_t n_moves;
};

static inline bool peer_has_seen(struct peer *p, const char *after)
{
    struct sl_str rest = sl_str_skip(sl_buf_str(&p->got), p->n_seen);
    const char *at;

    if (after == NULL)
        return true;
    at = memmem(rest.p, rest.n, after, strlen(after));
    if (at == NULL)
        return false;
    p->n_seen += (size_t)(at - rest.p) + strlen(after);
    return true;
}

/* One step of the script; false when it waits. */
static inline bool peer_play(struct peer *p)
{
    const struct line *l = p->lines;
    size_t n = 0, len = l->send == NULL ? 0 : strlen(l->send);

    if (l->after == NULL && l->send == NULL)
        return false;
    p->is_playing = p->is_playing || peer_has_seen(p, l->after);
    if (!p->is_playing)
        return false;
    if (l->send == NULL)
        (void)!sl_stream_shutdown(p->stream);
    while (p->n_sent < len) {
        if (sl_stream_write(p->stream, l->send + p->n_sent, len - p->n_sent, &n) != SL_OK)
            return false;
        p->n_sent += n;
        p->n_moves++;
    }
    p->lines++;
    p->n_sent = 0;
    p->is_playing = false;
    return true;
}

static inline void peer_ready(void *arg, unsigned events)
{
    struct peer *p = arg;
    char piece[4096];
    size_t n;
    enum sl_err err;

    (void)events;
    while ((err = sl_stream_read(p->stream, piece, sizeof(piece), &n)) == SL_OK) {
        sl_buf_add(&p->got, piece, n);
        p->n_moves++;
    }
    p->saw_eof |= err == SL_EOF;
    p->saw_error |= err != SL_EOF && err != SL_AGAIN;
    while (peer_play(p))
        ;
    sl_stream_want(p->stream, (p->saw_eof || p->saw_error ? 0 : SL_READABLE) |
                                  (p->is_playing ? SL_WRITABLE : 0));
}

static inline void peer_begin(struct peer *p, struct sl_stream *stream, const struct line *lines)
{
    *p = (struct peer){ .stream = stream, .lines = lines };
    sl_stream_on_ready(stream, peer_ready, p);
    peer_ready(p, 0);
}

static inline void peer_end(struct peer *p)
{
    sl_stream_close(&p->stream);
    sl_buf_fini(&p->got);
}

/* -- trickles -- */

struct trickle {
    struct sl_memory_conf conf;
    bool balks;
};

/* Calls play(arg, trickle) with each of a cross of limits; how many it were. */
static inline size_t each_trickle(void (*play)(const void *arg, const struct trickle *t),
                                  const void *arg)
{
    static const size_t reads[] = { 0, 1, 2, 3, 5, 9 };
    static const size_t writes[] = { 0, 1, 2, 3, 7 };
    static const size_t capacities[] = { 0, 1, 4, 60 };
    size_t n = 0;

    for (size_t i = 0; i < SL_LEN(reads) * SL_LEN(writes) * SL_LEN(capacities) * 2; i++) {
        size_t at = i / 2;
        struct trickle t = { .balks = i % 2 != 0 };

        t.conf.read_max = reads[at % SL_LEN(reads)];
        at /= SL_LEN(reads);
        t.conf.write_max = writes[at % SL_LEN(writes)];
        t.conf.capacity = capacities[at / SL_LEN(writes)];
        play(arg, &t);
        n++;
    }
    return n;
}

static inline void assert_text(struct sl_str got, const char *expected)
{
    char *text = sl_memdup(got.p, got.n);

    assert_string_equal(text, expected);
    sl_free(text);
}

#endif
