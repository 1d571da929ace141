/* h2_stream.c -- recv: HEAD -> BODY -> END -> TOLD, send: HEAD -> BODY -> LAST -> DONE; either may
 * skip ahead, and is_closed ends both.
 *
 * Invariant: the library is called for a stream only while it is not is_closed.
 */
#include "http/h2_stream.h"

#include "base/mem.h"

/* A window covers what its owner takes in twice this time, so that it follows the owner, not the
 * peer.  Half a window is measured, since the library gives back no less, and the time begins when
 * content is there: how long the way is does not count. */
#define HALF_WINDOW_MS 250u
#define OUT_MAX SL_CHUNK_SIZE

/* -- life -- */

struct sl_h2_stream *sl_h2_stream_new(struct sl_h2_conn *c, const struct sl_http_stream_ops *ops)
{
    struct sl_h2_stream *s = sl_zalloc(sizeof(*s));

    s->base.ops = ops;
    s->loop = c->conf.loop;
    s->conn = c;
    s->id = -1;
    s->window = SL_H2_WINDOW_MIN;
    s->body_left = c->conf.body_bytes != 0 ? c->conf.body_bytes : UINT64_MAX;
    sl_list_add(&c->streams, &s->in_conn);
    s->is_counted = true;
    c->n_streams++;
    return s;
}

static void uncount(struct sl_h2_stream *s)
{
    s->conn->n_streams -= s->is_counted;
    s->is_counted = false;
    sl_h2_conn_changed(s->conn);
}

static void stream_free(void *p)
{
    struct sl_h2_stream *s = p;

    sl_buf_fini(&s->in);
    sl_buf_fini(&s->out);
    sl_arena_fini(&s->arena);
    sl_free(s);
}

static void leave(struct sl_h2_stream *s)
{
    struct sl_h2_conn *c = s->conn;

    sl_link_remove(&s->in_conn);
    sl_link_remove(&s->in_ready);
    sl_link_remove(&s->in_incoming);
    c->extra -= s->window - SL_H2_WINDOW_MIN;
    uncount(s);
    s->conn = NULL;
}

/* Has an owner, or will have. */
static bool is_wanted(const struct sl_h2_stream *s)
{
    return s->is_owned || sl_link_is_in(&s->in_incoming);
}

static void release(struct sl_h2_stream *s)
{
    if (is_wanted(s) || !s->is_closed)
        return;
    leave(s);
    sl_loop_defer_free(s->loop, s, stream_free);
}

static bool is_server(const struct sl_h2_stream *s)
{
    return s->conn->conf.role->is_server;
}

void sl_h2_stream_fail(struct sl_h2_stream *s, enum sl_err err, const char *text)
{
    if (s->base.fault.err == SL_OK)
        sl_fault_set(&s->base.fault, err, "%s", text);
    s->recv = SL_H2_RECV_FAILED;
    sl_h2_stream_arm(s);
}

/* Nothing more goes either way.  A server's stream without its whole response has failed, whatever
 * came of the request. */
static void stop(struct sl_h2_stream *s, enum sl_err err, const char *text)
{
    s->is_closed = true;
    s->base.is_gone = is_server(s) && s->send != SL_H2_SEND_DONE;
    if (s->recv < SL_H2_RECV_END || (is_server(s) && s->send != SL_H2_SEND_DONE))
        sl_h2_stream_fail(s, err, text);
    else if (s->send != SL_H2_SEND_DONE && s->base.fault.err == SL_OK)
        sl_fault_set(&s->base.fault, err, "%s", text);
    sl_h2_stream_arm(s);
    release(s);
}

static enum sl_err error_of(const struct sl_h2_stream *s, uint32_t code)
{
    if (code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR)
        return is_server(s) ? SL_PROTOCOL : SL_BAD_RESPONSE;
    return is_server(s) ? SL_CANCELLED : SL_RESET;
}

void sl_h2_stream_closed(struct sl_h2_stream *s, uint32_t code)
{
    struct sl_fault text;

    sl_fault_set(&text, SL_RESET, "stream ended: %s", nghttp2_http2_strerror(code));
    s->base.wants_http1 = code == NGHTTP2_HTTP_1_1_REQUIRED;
    /* It is also the library's word for a request that it cannot send. */
    s->base.is_refused =
        (code == NGHTTP2_REFUSED_STREAM && s->base.fault.err != SL_INTERNAL) || s->base.wants_http1;
    if (s->recv >= SL_H2_RECV_END && s->send == SL_H2_SEND_DONE)
        sl_h2_guard_earn(&s->conn->guard, SL_H2_GUARD_EARNED);
    stop(s, error_of(s, code), text.text);
}

void sl_h2_stream_lost(struct sl_h2_stream *s, const struct sl_fault *why)
{
    if (!s->is_closed)
        stop(s, why->err, why->text);
}

void sl_h2_stream_orphan(struct sl_h2_stream *s)
{
    s->is_closed = true;
    leave(s);
    if (!s->is_owned)
        sl_loop_defer_free(s->loop, s, stream_free);
}

void sl_h2_stream_abandon(struct sl_h2_stream *s, uint32_t code)
{
    struct sl_h2_conn *c = s->conn;

    s->base.on_ready = NULL;
    s->is_owned = false;
    if (c == NULL) {
        sl_loop_defer_free(s->loop, s, stream_free);
        return;
    }
    if (!s->is_closed && s->id >= 0) {
        nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, s->id, code);
        sl_h2_conn_kick(c);
    }
    if (s->id < 0)
        s->is_closed = true;
    /* A request that waits for the peer's leave may never come to its end. */
    if (!is_server(s) && !s->is_begun)
        uncount(s);
    sl_buf_fini(&s->in);
    release(s);
}

/* -- readiness -- */

static bool is_readable(const struct sl_h2_stream *s)
{
    if (s->recv == SL_H2_RECV_FAILED)
        return true;
    if (s->interim != NULL || (s->head.status != 0 && !s->is_head_taken))
        return true;
    return !s->is_held && (s->in.len != 0 || s->recv == SL_H2_RECV_END);
}

static bool is_writable(const struct sl_h2_stream *s)
{
    if (s->is_closed || s->send == SL_H2_SEND_DONE)
        return true;
    return s->send == SL_H2_SEND_BODY && s->out.len <= OUT_MAX / 2;
}

unsigned sl_h2_stream_events(const struct sl_h2_stream *s)
{
    unsigned events = (is_readable(s) ? SL_READABLE : 0) | (is_writable(s) ? SL_WRITABLE : 0);

    return s->base.is_gone && !s->is_told ? SL_READABLE : events & s->wanted;
}

void sl_h2_stream_arm(struct sl_h2_stream *s)
{
    if (s->conn != NULL && s->is_owned && sl_h2_stream_events(s) != 0)
        sl_h2_conn_ready(s->conn, s);
}

void sl_h2_stream_want(struct sl_http_stream *base, unsigned events)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    s->wanted = events;
    sl_h2_stream_arm(s);
}

/* -- receiving -- */

void sl_h2_stream_begin(struct sl_h2_stream *s)
{
    s->reader = (struct sl_h2_reader){ .arena = &s->arena, .limits = &s->conn->conf.limits };
}

static void reset(struct sl_h2_stream *s, uint32_t code)
{
    nghttp2_submit_rst_stream(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, code);
}

/* A stream that was never opened cannot be reset, and the library closes it by itself. */
void sl_h2_stream_unsent(struct sl_h2_stream *s, bool is_first, const char *why)
{
    struct sl_fault text;

    sl_fault_set(&text, SL_INTERNAL, "header section not sent: %s", why);
    sl_h2_stream_fail(s, SL_INTERNAL, text.text);
    if (!is_first)
        reset(s, NGHTTP2_INTERNAL_ERROR);
}

void sl_h2_stream_trailed(struct sl_h2_stream *s)
{
    struct sl_fault fault = { 0 };

    if (!is_wanted(s) || sl_h2_read_trailers(&s->reader, &s->trailers, &fault) == SL_OK)
        return;
    sl_h2_stream_fail(s, fault.err, fault.text);
    reset(s, NGHTTP2_PROTOCOL_ERROR);
}

/* What comes after an accepted handshake is no body. */
static bool is_limited(const struct sl_h2_stream *s)
{
    return !s->head.is_extended;
}

/* A measure that spans a pause of the peer, which waits for leave that is on its way, would tell of
 * the way; and begin and end inside what comes at once ever after. */
static void measure_anew_after_pause(struct sl_h2_stream *s)
{
    uint64_t now = sl_loop_now_ms(s->loop);

    if (s->taken_ms == 0 || (s->in.len == 0 && now - s->came_ms > HALF_WINDOW_MS)) {
        s->taken = 0;
        s->taken_ms = now;
    }
    s->came_ms = now;
}

void sl_h2_stream_data(struct sl_h2_stream *s, struct sl_str content)
{
    if (!is_wanted(s) || s->recv == SL_H2_RECV_FAILED)
        return;
    if (is_limited(s) && content.n > s->body_left) {
        sl_h2_stream_fail(s, SL_BODY_TOO_LARGE, "");
        return;
    }
    s->body_left -= is_limited(s) ? content.n : 0;
    measure_anew_after_pause(s);
    sl_buf_add_str(&s->in, content);
    sl_h2_stream_arm(s);
}

void sl_h2_stream_ended(struct sl_h2_stream *s)
{
    if (s->recv < SL_H2_RECV_END)
        s->recv = SL_H2_RECV_END;
    sl_h2_stream_arm(s);
}

/* An owner that takes half a window in no time is not what the transfer waits for: the way is
 * long, and more of it can be under way.  Half of what a connection has left stays there for
 * others. */
static void widen(struct sl_h2_stream *s)
{
    struct sl_h2_conn *c = s->conn;
    int32_t more = s->window, share = (SL_H2_WINDOW_EXTRA - c->extra) / 2;

    if (s->window + more > SL_H2_WINDOW_MAX)
        more = SL_H2_WINDOW_MAX - s->window;
    more = more < share ? more : share;
    if (more == 0)
        return;
    if (nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, s->id, s->window + more) !=
        0)
        return;
    s->window += more;
    c->extra += more;
}

static void give_window(struct sl_h2_stream *s, size_t n)
{
    uint64_t now;

    if (s->conn == NULL || s->is_closed || s->recv != SL_H2_RECV_BODY)
        return;
    now = sl_loop_now_ms(s->loop);
    nghttp2_session_consume_stream(s->conn->ng, s->id, n);
    s->taken += (int32_t)n;
    if (s->taken >= s->window / 2) {
        if (now - s->taken_ms <= HALF_WINDOW_MS)
            widen(s);
        s->taken = 0;
        s->taken_ms = s->in.len != 0 ? now : 0;
    }
    sl_h2_conn_kick(s->conn);
}

enum sl_err sl_h2_stream_recv_body(struct sl_http_stream *base, void *buf, size_t cap,
                                   size_t *ret_n)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);
    size_t n = s->in.len < cap ? s->in.len : cap;

    if (s->recv == SL_H2_RECV_FAILED && (n == 0 || s->base.is_gone))
        return s->base.fault.err;
    if (s->is_held)
        return SL_EOF;
    if (n != 0) {
        memcpy(buf, s->in.p + s->in.off, n);
        sl_buf_consume(&s->in, n);
        if (s->in.len == 0)
            sl_buf_fini(&s->in);
        s->base.n_received += n;
        give_window(s, n);
        *ret_n = n;
        return SL_OK;
    }
    if (s->recv < SL_H2_RECV_END)
        return s->is_closed ? SL_RESET : SL_AGAIN;
    s->recv = SL_H2_RECV_TOLD;
    return SL_EOF;
}

struct sl_fields *sl_h2_stream_trailers(struct sl_http_stream *base)
{
    return &sl_h2_stream_of(base)->trailers;
}

/* -- sending -- */

static ssize_t on_content_wanted(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t cap,
                                 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct sl_h2_stream *s = source->ptr;
    size_t n = s->out.len < cap ? s->out.len : cap;
    bool is_last = s->send == SL_H2_SEND_LAST && n == s->out.len;

    (void)buf;
    (void)arg;
    if (n == 0 && !is_last) {
        s->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!is_last)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->end_list.n != 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(ng, id, s->end_list.v, s->end_list.n);
    }
    return (ssize_t)n;
}

nghttp2_data_provider sl_h2_stream_provider(struct sl_h2_stream *s)
{
    return (nghttp2_data_provider){ .source = { .ptr = s }, .read_callback = on_content_wanted };
}

void sl_h2_stream_write_data(struct sl_h2_stream *s, const uint8_t head[9], size_t n)
{
    sl_buf_add(&s->conn->out, head, 9);
    sl_buf_add(&s->conn->out, sl_buf_str(&s->out).p, n);
    sl_buf_consume(&s->out, n);
    if (s->out.len == 0)
        sl_buf_fini(&s->out);
    sl_h2_stream_arm(s);
}

void sl_h2_stream_sending(struct sl_h2_stream *s, bool has_body)
{
    s->send = has_body ? SL_H2_SEND_BODY : SL_H2_SEND_LAST;
    sl_h2_conn_kick(s->conn);
}

void sl_h2_stream_sent(struct sl_h2_stream *s)
{
    s->send = SL_H2_SEND_DONE;
    sl_h2_stream_arm(s);
}

static enum sl_err broken(struct sl_h2_stream *s)
{
    if (s->base.fault.err == SL_OK)
        sl_fault_set(&s->base.fault, SL_RESET, "stream has ended");
    return s->base.fault.err;
}

static void resume(struct sl_h2_stream *s)
{
    if (s->is_deferred) {
        s->is_deferred = false;
        nghttp2_session_resume_data(s->conn->ng, s->id);
    }
    sl_h2_conn_kick(s->conn);
}

enum sl_err sl_h2_stream_send_body(struct sl_http_stream *base, const void *p, size_t n,
                                   size_t *ret_n)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);
    size_t room = OUT_MAX - s->out.len;

    if (s->is_closed || s->conn == NULL)
        return broken(s);
    if (s->send != SL_H2_SEND_BODY)
        return sl_fault_set(&base->fault, SL_INTERNAL, "content without a head");
    if (room == 0)
        return SL_AGAIN;
    n = n < room ? n : room;
    sl_buf_add(&s->out, p, n);
    base->n_sent += n;
    resume(s);
    *ret_n = n;
    return SL_OK;
}

enum sl_err sl_h2_stream_send_end(struct sl_http_stream *base, const struct sl_fields *trailers)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    if (s->send == SL_H2_SEND_DONE)
        return SL_OK;
    if (s->is_closed || s->conn == NULL)
        return broken(s);
    if (s->send == SL_H2_SEND_BODY) {
        s->send = SL_H2_SEND_LAST;
        if (trailers != NULL)
            sl_h2_write_trailers(trailers, &s->arena, &s->end_list);
        resume(s);
    }
    return SL_AGAIN;
}

/* The connection pushes by itself, at the end of this turn. */
enum sl_err sl_h2_stream_flush(struct sl_http_stream *base)
{
    (void)base;
    return SL_OK;
}
