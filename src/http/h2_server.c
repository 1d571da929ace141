/* h2_server.c -- requests out of streams; what streams share is in h2_stream.c. */
#include "http/h2_server.h"

#include "base/mem.h"
#include "http/h2_stream.h"

struct sl_h2_server {
    struct sl_h2_conn conn;
};

static const struct sl_h2_role role;

struct sl_h2_server *sl_h2_server_new(const struct sl_h2_server_conf *conf,
                                      struct sl_stream *stream, struct sl_str preface)
{
    struct sl_h2_server *srv = sl_zalloc(sizeof(*srv));

    srv->conn.on_change = conf->on_change;
    srv->conn.arg = conf->arg;
    sl_h2_conn_init(&srv->conn,
                    &(struct sl_h2_conn_conf){ .loop = conf->loop,
                                               .role = &role,
                                               .limits = conf->limits,
                                               .max_streams = conf->max_streams,
                                               .body_bytes = conf->body_bytes },
                    stream, preface);
    return srv;
}

static void server_free(void *p)
{
    struct sl_h2_server *srv = p;

    sl_h2_conn_release(&srv->conn);
    sl_free(srv);
}

void sl_h2_server_free(struct sl_h2_server **srv)
{
    struct sl_h2_server *gone = *srv;

    if (gone == NULL)
        return;
    *srv = NULL;
    sl_h2_conn_close(&gone->conn);
    sl_loop_defer_free(gone->conn.conf.loop, gone, server_free);
}

enum sl_err sl_h2_server_next(struct sl_h2_server *srv, struct sl_http_stream **ret_stream,
                              struct sl_fault *ret_fault)
{
    struct sl_link *l = sl_list_pop(&srv->conn.incoming);
    struct sl_h2_stream *s;

    *ret_stream = NULL;
    if (l == NULL && srv->conn.state == SL_H2_ENDED) {
        *ret_fault = srv->conn.fault;
        return SL_EOF;
    }
    if (l == NULL)
        return SL_AGAIN;
    s = SL_CONTAINER(l, struct sl_h2_stream, in_incoming);
    s->is_owned = true;
    *ret_stream = &s->base;
    *ret_fault = s->base.fault;
    return s->base.fault.err;
}

uint32_t sl_h2_server_n_streams(const struct sl_h2_server *srv)
{
    return srv->conn.n_streams;
}

bool sl_h2_server_is_new(const struct sl_h2_server *srv)
{
    return !srv->conn.is_settled;
}

bool sl_h2_server_is_over(const struct sl_h2_server *srv)
{
    return srv->conn.state >= SL_H2_LINGER;
}

void sl_h2_server_set_limits(struct sl_h2_server *srv, const struct sl_head_limits *limits,
                             uint32_t max_streams, uint64_t body_bytes)
{
    srv->conn.conf.body_bytes = body_bytes;
    sl_h2_conn_set_limits(&srv->conn, limits, max_streams);
}

void sl_h2_server_drain(struct sl_h2_server *srv)
{
    sl_h2_conn_drain(&srv->conn);
}

/* -- sections -- */

static void hand_out(struct sl_h2_stream *s)
{
    sl_list_add(&s->conn->incoming, &s->in_incoming);
    sl_h2_conn_changed(s->conn);
}

/* A refused head is answered, and nothing that follows it is kept. */
static void on_request(struct sl_h2_stream *s, bool ends)
{
    uint64_t max = s->conn->conf.body_bytes;
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_h2_read_request(&s->reader, ends, &s->head, &fault);

    if (err == SL_OK && max != 0 && s->head.framing == SL_FRAMING_LENGTH &&
        s->head.content_length > max)
        err = sl_fault_set(&fault, SL_BODY_TOO_LARGE, "%llu bytes of request body",
                           (unsigned long long)s->head.content_length);
    s->recv = SL_H2_RECV_BODY;
    s->is_held = s->head.is_extended;
    if (err != SL_OK)
        sl_h2_stream_fail(s, err, fault.text);
    hand_out(s);
}

static void on_section(struct sl_h2_stream *s, bool ends)
{
    if (s->recv == SL_H2_RECV_HEAD)
        on_request(s, ends);
    else
        sl_h2_stream_trailed(s);
}

/* It was reset, but somebody has tried something, and the log shall tell. */
static void on_malformed(struct sl_h2_stream *s)
{
    bool is_head = s->recv == SL_H2_RECV_HEAD;

    sl_h2_stream_fail(s, SL_BAD_REQUEST, "malformed header section");
    if (is_head)
        hand_out(s);
}

/* -- one request -- */

static enum sl_err request_recv_head(struct sl_http_stream *base, const struct sl_head **ret_head)
{
    *ret_head = &sl_h2_stream_of(base)->head;
    return SL_OK;
}

static bool is_bodiless(const struct sl_h2_stream *s, const struct sl_head *head)
{
    return sl_str_eq(s->head.method, SL_STR("HEAD")) || head->status == 204 || head->status == 304;
}

static enum sl_err submitted(struct sl_h2_stream *s, int failed)
{
    if (failed == 0)
        return SL_OK;
    return sl_fault_set(&s->base.fault, SL_INTERNAL, "%s", nghttp2_strerror(failed));
}

static enum sl_err send_interim(struct sl_h2_stream *s, const struct sl_head *head)
{
    struct sl_h2_list list;

    sl_h2_write_response(head, true, &list);
    sl_h2_conn_kick(s->conn);
    return submitted(s, nghttp2_submit_headers(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, NULL, list.v,
                                               list.n, NULL) < 0);
}

static enum sl_err send_final(struct sl_h2_stream *s, const struct sl_head *head)
{
    bool bodiless = is_bodiless(s, head);
    bool has_body = !bodiless && head->framing != SL_FRAMING_NONE;
    nghttp2_data_provider provider = sl_h2_stream_provider(s);
    struct sl_h2_list list;
    int failed;

    sl_h2_write_response(head, bodiless, &list);
    failed =
        nghttp2_submit_response(s->conn->ng, s->id, list.v, list.n, has_body ? &provider : NULL);
    if (failed == 0)
        sl_h2_stream_sending(s, has_body);
    return submitted(s, failed);
}

/* RFC 8441 section 5: what accepts the handshake here is a 200, without the key's answer. */
static enum sl_err send_switch(struct sl_h2_stream *s, const struct sl_head *head)
{
    struct sl_head said = *head;

    if (!s->head.is_extended)
        return sl_fault_set(&s->base.fault, SL_INTERNAL, "HTTP/2 cannot switch protocols");
    sl_fields_remove_name(&said.fields, SL_STR("sec-websocket-accept"));
    said.status = 200;
    said.framing = SL_FRAMING_RAW;
    s->is_held = false;
    sl_h2_stream_arm(s);
    return send_final(s, &said);
}

static enum sl_err request_send_head(struct sl_http_stream *base, const struct sl_head *head)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    if (s->is_closed || s->conn == NULL)
        return s->base.fault.err != SL_OK ? s->base.fault.err : SL_RESET;
    if (s->send != SL_H2_SEND_HEAD)
        return sl_fault_set(&base->fault, SL_INTERNAL, "a second final response");
    if (head->status == 101)
        return send_switch(s, head);
    return head->status < 200 ? send_interim(s, head) : send_final(s, head);
}

/* A response that is whole ends the stream well even where the request has not ended (RFC 9113
 * section 8.1); one that is not must not look whole. */
static void request_close(struct sl_http_stream *base)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    sl_h2_stream_abandon(s, s->send == SL_H2_SEND_DONE ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
}

static const struct sl_http_stream_ops request_ops = {
    .recv_head = request_recv_head,
    .recv_body = sl_h2_stream_recv_body,
    .trailers = sl_h2_stream_trailers,
    .send_head = request_send_head,
    .send_body = sl_h2_stream_send_body,
    .send_end = sl_h2_stream_send_end,
    .flush = sl_h2_stream_flush,
    .want = sl_h2_stream_want,
    .close = request_close,
};

static const struct sl_h2_role role = {
    .is_server = true,
    .ops = &request_ops,
    .on_section = on_section,
    .on_malformed = on_malformed,
};
