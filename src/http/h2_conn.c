/* h2_conn.c -- state: OPEN -> GOING -> LINGER -> ENDED, or ENDED at once when the transport fails.
 *
 * Invariants: no callback of the library calls anybody's owner; run() does, between two entries.
 * What the peer sends is taken from the connection's window at once and from its stream's when the
 * owner takes it: a slow reader holds up its own stream only.
 */
#include "http/h2_conn.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/metric.h"
#include "http/h2_stream.h"
#include "io/stream.h"

#define READ_ROUNDS 16
/* The connection's own window never holds a stream back that its own lets go on. */
#define CONNECTION_WINDOW (64 * 1024 * 1024)
#define LINGER_BYTES ((size_t)1024 * 1024)
/* Of one field section, whatever it is after decoding; the library's own limit is about as much. */
#define MAX_SEND_HEADER ((size_t)1024 * 1024)

static const char *side(const struct sl_h2_conn *c)
{
    return c->conf.role->is_server ? "client" : "upstream";
}

static void count_flood(const struct sl_h2_conn *c)
{
    const char *values[] = { side(c) };

    sl_metric_add(sl_metric_child(sl_metric_family(SL_METRIC_COUNTER, "sluice_http2_floods_total",
                                                   "HTTP/2 connections ended for frames that cost "
                                                   "work and served nobody.",
                                                   "side"),
                                  values),
                  1);
}

/* -- the library's callbacks -- */

static struct sl_h2_stream *stream_at(const struct sl_h2_conn *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->ng, id);
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct sl_h2_conn *c = arg;

    (void)ng;
    if (!sl_h2_guard_frame(&c->guard, sl_loop_now_ms(c->conf.loop), hd->type))
        c->is_flooded = true;
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    if (s != NULL) {
        sl_h2_stream_begin(s);
        return 0;
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    /* The library counts what is open on the wire; what counts here is what work is still at. */
    if (c->n_streams >= c->conf.max_streams || c->state != SL_H2_OPEN) {
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    s = sl_h2_stream_new(c, c->conf.role->ops);
    s->id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(ng, s->id, s);
    sl_h2_stream_begin(s);
    c->is_changed = true; /* half a head is something to wait for */
    return 0;
}

/* size: eight parameters are the library's choice. */
static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    (void)ng;
    (void)flags;
    if (s == NULL)
        return 0;
    sl_h2_reader_add(&s->reader, sl_str_make(name, name_len), sl_str_make(value, value_len));
    c->is_flooded = c->is_flooded || sl_h2_reader_is_bomb(&s->reader);
    return c->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* size: eight parameters are the library's choice. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *arg)
{
    struct sl_h2_stream *s = stream_at(arg, frame->hd.stream_id);

    (void)ng;
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    if (s != NULL)
        ((struct sl_h2_conn *)arg)->conf.role->on_malformed(s);
    /* Else the library would leave the field out, and the rest would pass. */
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    (void)ng;
    (void)code;
    if (s != NULL && frame->hd.type == NGHTTP2_HEADERS)
        c->conf.role->on_malformed(s);
    return 0;
}

/* Frames of types that we do not know come here only to be paid for. */
static int on_extension(nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd, void *arg)
{
    (void)ng;
    (void)payload;
    (void)hd;
    (void)arg;
    return NGHTTP2_ERR_CANCEL;
}

static bool ends(const nghttp2_frame *frame)
{
    return (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

static void on_stream_frame(struct sl_h2_conn *c, const nghttp2_frame *frame)
{
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    if (s == NULL)
        return;
    if (frame->hd.type == NGHTTP2_HEADERS)
        c->conf.role->on_section(s, ends(frame));
    else if (frame->hd.length > frame->data.padlen)
        sl_h2_guard_earn(&c->guard);
    else if (!sl_h2_guard_waste(&c->guard, sl_loop_now_ms(c->conf.loop)))
        c->is_flooded = true;
    if (ends(frame))
        sl_h2_stream_ended(s);
}

static void on_settings(struct sl_h2_conn *c)
{
    c->is_settled = c->is_changed = true;
    if (c->conf.role->on_settings != NULL)
        c->conf.role->on_settings(c);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct sl_h2_conn *c = arg;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        on_stream_frame(c, frame);
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
            on_settings(c);
        break;
    case NGHTTP2_GOAWAY:
        if (c->state == SL_H2_OPEN && !c->conf.role->is_server)
            c->state = SL_H2_GOING;
        c->is_changed = true;
        break;
    default:
        break;
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                         void *arg)
{
    struct sl_h2_stream *s = stream_at(arg, id);

    (void)flags;
    nghttp2_session_consume_connection(ng, n);
    if (s != NULL)
        sl_h2_stream_data(s, sl_str_make(p, n));
    return 0;
}

static bool is_for_peers_fault(const nghttp2_frame *frame)
{
    switch (frame->rst_stream.error_code) {
    case NGHTTP2_NO_ERROR:
    case NGHTTP2_CANCEL:
    case NGHTTP2_INTERNAL_ERROR:
        return false;
    default:
        return true;
    }
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);
    uint64_t now = sl_loop_now_ms(c->conf.loop);

    (void)ng;
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_for_peers_fault(frame) &&
        !sl_h2_guard_reset(&c->guard, now))
        c->is_flooded = true;
    /* The library has limits of its own, and the same word for them. */
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM)
        count_flood(c);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    sl_h2_guard_earn(&c->guard);
    if (s != NULL && ends(frame))
        sl_h2_stream_sent(s);
    return 0;
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd,
                        size_t length, nghttp2_data_source *source, void *arg)
{
    (void)ng;
    (void)frame;
    (void)arg;
    sl_h2_stream_write_data(source->ptr, framehd, length);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, id);

    (void)ng;
    if (s != NULL)
        sl_h2_stream_closed(s, code);
    return 0;
}

/* Built once: the tables are the same for every connection. */
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    sl_assert(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, on_extension);
    sl_assert(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_send_header_block_length(options, MAX_SEND_HEADER);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(options, (uint8_t)type);
}

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
    nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
}

static void receive(struct sl_h2_conn *c, struct sl_str in);

void sl_h2_conn_init(struct sl_h2_conn *c, const struct sl_h2_conn_conf *conf,
                     struct sl_stream *stream, struct sl_str preface)
{
    int failed;

    pthread_once(&tables_once, make_tables);
    c->conf = *conf;
    c->stream = stream;
    c->wake = c->again = (struct sl_task){ .fn = on_wake, .arg = c };
    sl_list_init(&c->streams);
    sl_list_init(&c->ready);
    sl_list_init(&c->incoming);
    failed = conf->role->is_server ? nghttp2_session_server_new2(&c->ng, callbacks, c, options)
                                   : nghttp2_session_client_new2(&c->ng, callbacks, c, options);
    sl_assert(failed == 0);
    say_settings(c);
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

static void call_flood(struct sl_h2_conn *c)
{
    sl_fault_set(&c->fault, SL_PROTOCOL, "too many frames that serve nobody");
    nghttp2_session_terminate_session(c->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void receive(struct sl_h2_conn *c, struct sl_str in)
{
    ssize_t used = nghttp2_session_mem_recv(c->ng, (const uint8_t *)in.p, in.n);

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
        sl_fault_set(&c->fault, SL_PROTOCOL, "connection ended by a protocol error or GOAWAY");
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
        if (c->state < SL_H2_LINGER)
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

void sl_h2_conn_drain(struct sl_h2_conn *c)
{
    if (c->state != SL_H2_OPEN)
        return;
    c->state = SL_H2_GOING;
    nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->ng),
                          NGHTTP2_NO_ERROR, NULL, 0);
    sl_h2_conn_kick(c);
}
