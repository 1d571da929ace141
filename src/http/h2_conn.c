/* h2_conn.c -- state: OPEN -> GOING -> LINGER -> ENDED, or ENDED at once when the transport fails.
 *
 * Invariants: no callback of the library calls anybody's owner; run() does, between two entries.
 * What the peer sends is taken from the connection's window at once and from its stream's when the
 * owner takes it: a slow reader holds up its own stream only.
 */
#include "http/h2_conn.h"

#include "base/mem.h"
#include "http/h2_events.h"
#include "http/h2_stream.h"
#include "io/stream.h"

#define READ_ROUNDS 16
/* Frames that may wait for a peer which does not read, and goes on talking. */
#define QUEUE_MAX 1000u
/* The connection's own window never holds a stream back that its own lets go on. */
#define CONNECTION_WINDOW (64 * 1024 * 1024)
#define LINGER_BYTES ((size_t)1024 * 1024)

/* -- life -- */

static sl_ready_fn on_stream_ready;
static void on_wake(void *arg);

static void say_settings(struct sl_h2_conn *c)
{
    const nghttp2_settings_entry of_server[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->conf.max_streams },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->conf.limits.header_bytes },
        { NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
    };
    const nghttp2_settings_entry of_client[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->conf.limits.header_bytes },
    };

    if (c->conf.role->is_server)
        nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, of_server, SL_LEN(of_server));
    else
        nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, of_client, SL_LEN(of_client));
}

static void receive(struct sl_h2_conn *c, struct sl_str in);

void sl_h2_conn_init(struct sl_h2_conn *c, const struct sl_h2_conn_conf *conf,
                     struct sl_stream *stream, struct sl_str preface)
{
    c->conf = *conf;
    c->stream = stream;
    c->frames.skip = conf->role->is_server ? SL_H2_PREFACE_LEN : 0;
    c->wake = c->again = (struct sl_task){ .fn = on_wake, .arg = c };
    sl_list_init(&c->streams);
    sl_list_init(&c->ready);
    sl_list_init(&c->incoming);
    c->ng = sl_h2_events_attach(c);
    say_settings(c);
    nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    sl_stream_on_ready(stream, on_stream_ready, c);
    sl_stream_want(stream, SL_READABLE);
    if (preface.n != 0)
        receive(c, preface);
    sl_h2_conn_kick(c);
}

static void lose_streams(struct sl_h2_conn *c)
{
    SL_LIST_FOREACH_SAFE (it, &c->streams)
        sl_h2_stream_lost(SL_CONTAINER(it, struct sl_h2_stream, in_conn), &c->fault);
}

static void end(struct sl_h2_conn *c)
{
    if (c->state == SL_H2_ENDED)
        return;
    c->state = SL_H2_ENDED;
    c->is_changed = true;
    sl_buf_fini(&c->out);
    sl_stream_close(&c->stream);
    lose_streams(c);
    sl_h2_conn_kick(c);
}

void sl_h2_conn_fail(struct sl_h2_conn *c, enum sl_err err, const char *text)
{
    if (c->fault.err == SL_OK)
        sl_fault_set(&c->fault, err, "%s", text);
    end(c);
}

/* Streams that owners still hold are on their own. */
void sl_h2_conn_close(struct sl_h2_conn *c)
{
    c->on_change = NULL;
    if (c->fault.err == SL_OK)
        sl_fault_set(&c->fault, SL_CANCELLED, "connection ended");
    end(c);
    SL_LIST_FOREACH_SAFE (it, &c->streams)
        sl_h2_stream_orphan(SL_CONTAINER(it, struct sl_h2_stream, in_conn));
    sl_task_cancel(c->conf.loop, &c->wake);
    sl_task_cancel(c->conf.loop, &c->again);
}

void sl_h2_conn_release(struct sl_h2_conn *c)
{
    nghttp2_session_del(c->ng);
    c->ng = NULL;
}

/* -- reading -- */

/* A client's fault is not an origin's. */
static enum sl_err peers_fault(const struct sl_h2_conn *c)
{
    return c->conf.role->is_server ? SL_PROTOCOL : SL_BAD_RESPONSE;
}

/* A peer that has stopped listening will not hear why. */
static void call_flood(struct sl_h2_conn *c)
{
    sl_fault_set(&c->fault, peers_fault(c), "too many frames that serve nobody");
    if (c->out.len == 0) {
        nghttp2_session_terminate_session(c->ng, NGHTTP2_ENHANCE_YOUR_CALM);
        return;
    }
    sl_h2_events_count_flood(c);
    end(c);
}

static void receive(struct sl_h2_conn *c, struct sl_str in)
{
    ssize_t used;

    sl_h2_events_pay(c, in);
    used = nghttp2_session_mem_recv(c->ng, (const uint8_t *)in.p, in.n);
    if (c->out.len != 0 && nghttp2_session_get_outbound_queue_size(c->ng) > QUEUE_MAX)
        c->is_flooded = true;
    if (used == NGHTTP2_ERR_FLOODED || used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        c->is_flooded = true;
    if (!c->is_flooded && used >= 0)
        return;
    c->is_deaf = true;
    if (c->is_flooded)
        call_flood(c);
    else
        nghttp2_session_terminate_session(c->ng, NGHTTP2_PROTOCOL_ERROR);
}

static void read_on(struct sl_h2_conn *c)
{
    char *chunk = sl_chunk_get();
    enum sl_err err = SL_OK;

    for (int i = 0; i < READ_ROUNDS && err == SL_OK && c->state < SL_H2_LINGER; i++) {
        size_t n = 0;

        err = sl_stream_read(c->stream, chunk, SL_CHUNK_SIZE, &n);
        if (err == SL_OK && c->conf.role->on_sign_of_life != NULL)
            c->conf.role->on_sign_of_life(c);
        if (err == SL_OK && !c->is_deaf)
            receive(c, sl_str_make(chunk, n));
    }
    sl_chunk_put(chunk);
    if (err == SL_EOF)
        sl_h2_conn_fail(c, SL_RESET, "connection closed");
    else if (err != SL_OK && err != SL_AGAIN)
        sl_h2_conn_fail(c, err, c->stream->fault.text);
}

/* Closing a socket with bytes unread resets it, and the peer may never see our last words. */
static void linger(struct sl_h2_conn *c)
{
    char *chunk = sl_chunk_get();
    enum sl_err err = SL_OK;

    while (err == SL_OK && c->lingered < LINGER_BYTES) {
        size_t n = 0;

        err = sl_stream_read(c->stream, chunk, SL_CHUNK_SIZE, &n);
        c->lingered += n;
    }
    sl_chunk_put(chunk);
    if (err != SL_AGAIN)
        end(c);
}

/* -- writing -- */

static void gather(struct sl_h2_conn *c)
{
    while (c->out.len < SL_CHUNK_SIZE) {
        const uint8_t *p;
        size_t before = c->out.len;
        ssize_t n = nghttp2_session_mem_send(c->ng, &p);

        if (n > 0)
            sl_buf_add(&c->out, p, (size_t)n);
        if (n < 0)
            sl_h2_conn_fail(c, SL_INTERNAL, nghttp2_strerror((int)n));
        if (n <= 0 && (c->state == SL_H2_ENDED || c->out.len == before))
            return;
    }
}

static enum sl_err write_out(struct sl_h2_conn *c)
{
    struct sl_str s = sl_buf_str(&c->out);
    size_t n = 0;
    enum sl_err err = sl_stream_write(c->stream, s.p, s.n, &n);

    if (err == SL_OK)
        sl_buf_consume(&c->out, n);
    return err;
}

/* Nothing more to read or to write, by the library's account. */
static void finish(struct sl_h2_conn *c)
{
    enum sl_err err = sl_stream_shutdown(c->stream);

    if (err == SL_AGAIN) {
        sl_stream_want(c->stream, SL_WRITABLE);
        return;
    }
    if (c->fault.err == SL_OK)
        sl_fault_set(&c->fault, peers_fault(c), "connection ended by a protocol error or GOAWAY");
    lose_streams(c);
    if (err != SL_OK) {
        end(c);
        return;
    }
    c->state = SL_H2_LINGER;
    c->is_changed = true;
    sl_stream_want(c->stream, SL_READABLE);
}

static bool is_finished(const struct sl_h2_conn *c)
{
    bool is_done = c->state == SL_H2_GOING && c->n_streams == 0;

    return !nghttp2_session_want_write(c->ng) && (is_done || !nghttp2_session_want_read(c->ng));
}

static void push(struct sl_h2_conn *c)
{
    enum sl_err err = SL_OK;

    if (c->stream == NULL)
        return;
    while (err == SL_OK && c->state < SL_H2_LINGER) {
        gather(c);
        if (c->state == SL_H2_ENDED || c->out.len == 0)
            break;
        err = write_out(c);
    }
    if (c->state >= SL_H2_LINGER)
        return;
    if (err != SL_OK && err != SL_AGAIN) {
        sl_h2_conn_fail(c, err, c->stream->fault.text);
        return;
    }
    if (c->out.len == 0)
        sl_buf_fini(&c->out);
    if (c->out.len == 0 && is_finished(c))
        finish(c);
    else
        sl_stream_want(c->stream, SL_READABLE | (c->out.len != 0 ? SL_WRITABLE : 0));
}

/* -- turns -- */

void sl_h2_conn_ready(struct sl_h2_conn *c, struct sl_h2_stream *s)
{
    if (sl_link_is_in(&s->in_ready))
        return;
    sl_list_add(&c->ready, &s->in_ready);
    if (!c->is_running)
        sl_task_post_next(c->conf.loop, &c->again);
}

void sl_h2_conn_changed(struct sl_h2_conn *c)
{
    c->is_changed = true;
    sl_h2_conn_kick(c);
}

/* Each once: who stays ready is told again when others had their turn. */
static void tell_ready(struct sl_h2_conn *c)
{
    struct sl_link told;

    sl_list_init(&told);
    for (struct sl_link *l; (l = sl_list_pop(&c->ready)) != NULL;)
        sl_list_add(&told, l);
    for (struct sl_link *l; (l = sl_list_pop(&told)) != NULL;) {
        struct sl_h2_stream *s = SL_CONTAINER(l, struct sl_h2_stream, in_ready);
        unsigned events = sl_h2_stream_events(s);

        s->is_told = s->base.is_gone;
        if (events != 0 && s->base.on_ready != NULL)
            s->base.on_ready(s->base.arg, events);
        sl_h2_stream_arm(s);
    }
}

static void tell_change(struct sl_h2_conn *c)
{
    if (!c->is_changed || c->on_change == NULL)
        return;
    c->is_changed = false;
    c->on_change(c->arg);
}

/* Twice, since what was sent makes room and ends streams; the rest has time until the next turn. */
static void run(struct sl_h2_conn *c)
{
    c->is_running = true;
    for (int i = 0; i < 2; i++) {
        tell_ready(c);
        tell_change(c);
        push(c);
    }
    c->is_running = false;
    if (!sl_list_is_empty(&c->ready) || (c->is_changed && c->on_change != NULL))
        sl_task_post_next(c->conf.loop, &c->again);
}

static void on_wake(void *arg)
{
    run(arg);
}

static void on_stream_ready(void *arg, unsigned events)
{
    struct sl_h2_conn *c = arg;

    (void)events;
    c->is_running = true;
    if (c->state == SL_H2_LINGER)
        linger(c);
    else if (c->state < SL_H2_LINGER)
        read_on(c);
    run(c);
}

void sl_h2_conn_kick(struct sl_h2_conn *c)
{
    if (!c->is_running)
        sl_task_post(c->conf.loop, &c->wake);
}

void sl_h2_conn_set_limits(struct sl_h2_conn *c, const struct sl_head_limits *limits,
                           uint32_t max_streams)
{
    bool is_news =
        max_streams != c->conf.max_streams || limits->header_bytes != c->conf.limits.header_bytes;

    c->conf.limits = *limits;
    c->conf.max_streams = max_streams;
    if (!is_news || c->state != SL_H2_OPEN)
        return;
    say_settings(c);
    sl_h2_conn_kick(c);
}

void sl_h2_conn_drain(struct sl_h2_conn *c)
{
    if (c->state != SL_H2_OPEN)
        return;
    c->state = SL_H2_GOING;
    nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->ng),
                          NGHTTP2_NO_ERROR, NULL, 0);
    sl_h2_conn_kick(c);
}
