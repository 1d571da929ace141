/* h2_events.c -- what the library tells of a connection, noted where it belongs; nobody's owner is
 * called from here. */
#include "http/h2_events.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/metric.h"
#include "http/h2_stream.h"
#include "io/loop.h"

/* Above the largest section that there can be, 16 MiB by limits.header_bytes and 8 MiB that eight
 * checks have set.  It costs nothing: the library takes memory as it writes. */
#define MAX_SEND_HEADER ((size_t)32 * 1024 * 1024)

static const char *side(const struct sl_h2_conn *c)
{
    return c->conf.role->is_server ? "client" : "upstream";
}

void sl_h2_events_count_flood(const struct sl_h2_conn *c)
{
    const char *values[] = { side(c) };

    sl_metric_add(sl_metric_child(sl_metric_family(SL_METRIC_COUNTER, "sluice_http2_floods_total",
                                                   "HTTP/2 connections ended for frames that cost "
                                                   "work and served nobody.",
                                                   "side"),
                                  values),
                  1);
}

static struct sl_h2_stream *stream_at(const struct sl_h2_conn *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->ng, id);
}

/* The library drops these without a word. */
static bool is_late(const struct sl_h2_conn *c, const struct sl_h2_frame *f)
{
    if (f->type != NGHTTP2_DATA && f->type != NGHTTP2_HEADERS)
        return false;
    return stream_at(c, f->stream) == NULL &&
           (!c->conf.role->is_server || f->stream <= c->strict.last);
}

void sl_h2_events_pay(struct sl_h2_conn *c, struct sl_str in)
{
    uint64_t now = sl_loop_now_ms(c->conf.loop);
    struct sl_h2_frame f;

    while (sl_h2_frames_next(&c->frames, &in, &f)) {
        bool is_paid = is_late(c, &f) ? sl_h2_guard_late(&c->guard, now, f.length)
                                      : sl_h2_guard_frame(&c->guard, now, f.type);

        c->is_flooded = c->is_flooded || !is_paid;
    }
}

/* The library counts what is open on the wire; what counts here is what work is still at. */
static bool is_full(const struct sl_h2_conn *c)
{
    return c->n_streams >= c->conf.max_streams || c->state != SL_H2_OPEN;
}

/* Some of these the library refuses by itself. */
static bool is_refused(const struct sl_h2_conn *c, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_CONTINUATION)
        return c->is_refusing;
    return hd->type == NGHTTP2_HEADERS && c->conf.role->is_server &&
           hd->stream_id > c->strict.last && is_full(c);
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct sl_h2_conn *c = arg;

    (void)ng;
    c->is_refusing = is_refused(c, hd);
    if (c->is_refusing && !sl_h2_guard_refused(&c->guard, sl_loop_now_ms(c->conf.loop), hd->length))
        c->is_flooded = true;
    return sl_h2_strict_begin(c, hd) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct sl_h2_conn *c = arg;
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    if (s != NULL) {
        sl_h2_stream_begin(s);
        return 0;
    }
    c->refused = (struct sl_h2_reader){ .limits = &c->conf.limits };
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (is_full(c)) {
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
    struct sl_h2_reader *r = s != NULL ? &s->reader : &c->refused;

    (void)ng;
    (void)flags;
    if (s != NULL)
        sl_h2_reader_add(r, sl_str_make(name, name_len), sl_str_make(value, value_len));
    else
        sl_h2_reader_skip(r, sl_str_make(name, name_len), sl_str_make(value, value_len));
    c->is_flooded = c->is_flooded || sl_h2_reader_is_bomb(r);
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

static bool ends(const nghttp2_frame *frame)
{
    return (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

static void on_content(struct sl_h2_conn *c, size_t n)
{
    if (n >= SL_H2_GUARD_WORTHY)
        sl_h2_guard_earn(&c->guard, SL_H2_GUARD_EARNED);
    else if (n == 0 && !sl_h2_guard_waste(&c->guard, sl_loop_now_ms(c->conf.loop)))
        c->is_flooded = true;
}

static void on_stream_frame(struct sl_h2_conn *c, const nghttp2_frame *frame)
{
    struct sl_h2_stream *s = stream_at(c, frame->hd.stream_id);

    if (s == NULL)
        return;
    if (frame->hd.type == NGHTTP2_HEADERS)
        c->conf.role->on_section(s, ends(frame));
    else
        on_content(c, frame->hd.length - frame->data.padlen);
    if (ends(frame))
        sl_h2_stream_ended(s);
}

static int on_settings(struct sl_h2_conn *c, const nghttp2_settings *settings)
{
    if (!sl_h2_strict_settings(c, settings)) {
        nghttp2_session_terminate_session(c->ng, NGHTTP2_FLOW_CONTROL_ERROR);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    c->is_settled = c->is_changed = true;
    if (c->conf.role->on_settings != NULL)
        c->conf.role->on_settings(c);
    return 0;
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
            return on_settings(c, &frame->settings);
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
    case NGHTTP2_REFUSED_STREAM: /* was paid for when it came */
        return false;
    default:
        return true;
    }
}

/* What the peer may spend on a frame of ours. */
static void credit(struct sl_h2_conn *c, const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_HEADERS)
        sl_h2_guard_earn(&c->guard, SL_H2_GUARD_EARNED);
    else
        sl_h2_guard_expect(&c->guard,
                           frame->hd.length < SL_H2_GUARD_WORTHY ? 1 : SL_H2_GUARD_EARNED);
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
        sl_h2_events_count_flood(c);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    credit(c, frame);
    if (s != NULL)
        s->is_begun = true;
    if (s != NULL && ends(frame))
        sl_h2_stream_sent(s);
    return 0;
}

/* The stream, or all of them, ended before its turn came: other callbacks tell, and know why. */
static bool is_overtaken(int code)
{
    switch (code) {
    case NGHTTP2_ERR_SESSION_CLOSING:
    case NGHTTP2_ERR_START_STREAM_NOT_ALLOWED:
    case NGHTTP2_ERR_STREAM_CLOSED:
    case NGHTTP2_ERR_STREAM_CLOSING:
        return true;
    default:
        return false;
    }
}

/* Without this the library would drop the frame in silence. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *arg)
{
    struct sl_h2_stream *s = stream_at(arg, frame->hd.stream_id);
    const char *why = code == NGHTTP2_ERR_FRAME_SIZE_ERROR ? "too large" : nghttp2_strerror(code);

    (void)ng;
    if (s == NULL || frame->hd.type != NGHTTP2_HEADERS || is_overtaken(code))
        return 0;
    sl_h2_stream_unsent(s, frame->headers.cat == NGHTTP2_HCAT_REQUEST, why);
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
    sl_mem_need(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    sl_mem_need(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_send_header_block_length(options, MAX_SEND_HEADER);
}

nghttp2_session *sl_h2_events_attach(struct sl_h2_conn *c)
{
    nghttp2_session *ng = NULL;
    int failed;

    pthread_once(&tables_once, make_tables);
    failed = c->conf.role->is_server ? nghttp2_session_server_new2(&ng, callbacks, c, options)
                                     : nghttp2_session_client_new2(&ng, callbacks, c, options);
    sl_mem_need(failed == 0);
    return ng;
}
