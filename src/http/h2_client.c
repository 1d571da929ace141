/* h2_client.c -- requests into streams; what streams share is in h2_stream.c. */
#include "http/h2_client.h"

#include "base/mem.h"
#include "http/h2_stream.h"
#include "http/websocket.h"

/* No more are asked of any peer. */
#define STREAMS_MAX 100u

/* A peer of which nothing is heard for so long after a probe is gone, whatever TCP believes. */
#define PROBE_MS 5000u
/* Of whom something was heard by then need not prove that it lives. */
#define RECENT_MS 1000u

struct sl_h2_client {
    struct sl_h2_conn conn;
    uint64_t heard_ms;
    struct sl_timer probe; /* out since an exchange was given up without an answer */
};

static const struct sl_http_stream_ops call_ops;
static const struct sl_h2_role role;

struct sl_h2_client *sl_h2_client_new(const struct sl_h2_client_conf *conf,
                                      struct sl_stream *stream)
{
    struct sl_h2_client *c = sl_zalloc(sizeof(*c));

    c->conn.on_change = conf->on_change;
    c->conn.arg = conf->arg;
    sl_h2_conn_init(
        &c->conn,
        &(struct sl_h2_conn_conf){ .loop = conf->loop, .role = &role, .limits = conf->limits },
        stream, SL_STR(""));
    return c;
}

static void on_no_answer(void *arg)
{
    struct sl_h2_client *c = arg;

    sl_h2_conn_fail(&c->conn, SL_RESET, "peer does not answer");
}

/* SETTINGS have to be acknowledged as PINGs have, and no peer takes a few for a nuisance: servers
 * of gRPC end connections for PINGs. */
static void probe(struct sl_h2_client *c)
{
    bool is_recent = sl_loop_now_ms(c->conn.conf.loop) - c->heard_ms < RECENT_MS;

    if (is_recent || c->conn.state >= SL_H2_LINGER || sl_timer_is_armed(&c->probe))
        return;
    nghttp2_submit_settings(c->conn.ng, NGHTTP2_FLAG_NONE, NULL, 0);
    sl_timer_start(c->conn.conf.loop, &c->probe, PROBE_MS, on_no_answer, c);
}

static void on_sign_of_life(struct sl_h2_conn *conn)
{
    struct sl_h2_client *c = SL_CONTAINER(conn, struct sl_h2_client, conn);

    c->heard_ms = sl_loop_now_ms(conn->conf.loop);
    sl_timer_stop(&c->probe);
}

static void client_free(void *p)
{
    struct sl_h2_client *c = p;

    sl_h2_conn_release(&c->conn);
    sl_free(c);
}

void sl_h2_client_free(struct sl_h2_client **c)
{
    struct sl_h2_client *gone = *c;

    if (gone == NULL)
        return;
    *c = NULL;
    sl_timer_stop(&gone->probe);
    sl_h2_conn_close(&gone->conn);
    sl_loop_defer_free(gone->conn.conf.loop, gone, client_free);
}

bool sl_h2_client_is_settled(const struct sl_h2_client *c)
{
    return c->conn.is_settled;
}

/* The first request need not wait for the peer's SETTINGS; those behind it would be refused if they
 * were too many, and the wait is short. */
static uint32_t allowed(const struct sl_h2_client *c)
{
    uint32_t max =
        nghttp2_session_get_remote_settings(c->conn.ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    if (!c->conn.is_settled)
        return 1;
    return max < STREAMS_MAX ? max : STREAMS_MAX;
}

uint32_t sl_h2_client_capacity(const struct sl_h2_client *c)
{
    uint32_t n = allowed(c);

    return n != 0 ? n : 1;
}

bool sl_h2_client_has_room(const struct sl_h2_client *c)
{
    return c->conn.state == SL_H2_OPEN && c->conn.n_streams < allowed(c) &&
           nghttp2_session_check_request_allowed(c->conn.ng) != 0;
}

uint32_t sl_h2_client_n_streams(const struct sl_h2_client *c)
{
    return c->conn.n_streams;
}

bool sl_h2_client_is_dead(const struct sl_h2_client *c)
{
    return c->conn.state != SL_H2_OPEN || nghttp2_session_check_request_allowed(c->conn.ng) == 0;
}

struct sl_http_stream *sl_h2_client_open(struct sl_h2_client *c)
{
    struct sl_h2_stream *s = sl_h2_stream_new(&c->conn, &call_ops);

    sl_assert(c->conn.state == SL_H2_OPEN);
    s->is_owned = true;
    return &s->base;
}

/* -- sections -- */

static void keep_interim(struct sl_h2_stream *s, const struct sl_head *head)
{
    struct sl_h2_interim **at = &s->interim, *kept;

    if (sl_http_stream_count_interim(&s->base, s->reader.bytes, s->reader.limits) != SL_OK) {
        sl_h2_stream_fail(s, SL_BAD_RESPONSE, "");
        return;
    }
    while (*at != NULL)
        at = &(*at)->next;
    kept = *at = sl_arena_alloc(&s->arena, sizeof(*kept));
    kept->head = *head;
}

/* RFC 8441 section 5 backwards: to its owner the handshake is that of RFC 6455. */
static void read_as_switch(struct sl_h2_stream *s, struct sl_head *head)
{
    sl_fields_add(&head->fields, &s->arena, SL_STR("upgrade"), SL_STR("websocket"));
    sl_fields_set(&head->fields, &s->arena, SL_STR("sec-websocket-accept"),
                  sl_ws_accept(s->key, &s->arena));
    head->status = 101;
    head->wants_upgrade = true;
    head->framing = SL_FRAMING_RAW;
}

static void keep_final(struct sl_h2_stream *s, const struct sl_head *head)
{
    s->head = *head;
    if (s->is_held && head->status < 300)
        read_as_switch(s, &s->head);
    s->is_held = false;
    s->recv = SL_H2_RECV_BODY;
}

static void on_response(struct sl_h2_stream *s, bool ends)
{
    struct sl_fault fault = { 0 };
    struct sl_head head;

    if (sl_h2_read_response(&s->reader, s->method, ends, &head, &fault) != SL_OK) {
        sl_h2_stream_fail(s, fault.err, fault.text);
    } else if (head.status < 200) {
        keep_interim(s, &head);
    } else {
        keep_final(s, &head);
    }
    sl_h2_stream_arm(s);
}

static void on_section(struct sl_h2_stream *s, bool ends)
{
    s->base.has_response = true;
    if (!s->is_owned || s->recv == SL_H2_RECV_FAILED)
        return;
    if (s->recv == SL_H2_RECV_HEAD)
        on_response(s, ends);
    else
        sl_h2_stream_trailed(s);
}

static void on_malformed(struct sl_h2_stream *s)
{
    s->base.has_response = true;
    sl_h2_stream_fail(s, SL_BAD_RESPONSE, "malformed header section");
}

/* -- one request -- */

static enum sl_err call_recv_head(struct sl_http_stream *base, const struct sl_head **ret_head)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    if (s->interim != NULL) {
        *ret_head = &s->interim->head;
        s->interim = s->interim->next;
        return SL_OK;
    }
    if (s->head.status != 0) {
        *ret_head = &s->head;
        s->is_head_taken = true;
        return SL_OK;
    }
    return s->recv == SL_H2_RECV_FAILED ? base->fault.err : SL_AGAIN;
}

static enum sl_err submit(struct sl_h2_stream *s, const struct sl_h2_list *list, bool has_body)
{
    nghttp2_data_provider provider = sl_h2_stream_provider(s);
    int32_t id =
        nghttp2_submit_request(s->conn->ng, NULL, list->v, list->n, has_body ? &provider : NULL, s);

    if (id < 0)
        return sl_fault_set(&s->base.fault, SL_RESET, "%s", nghttp2_strerror(id));
    s->id = id;
    sl_h2_stream_sending(s, has_body);
    return SL_OK;
}

/* RFC 8441 section 3: only to a peer that has said it knows. */
static void submit_extended(struct sl_h2_stream *s)
{
    struct sl_h2_list list = s->waiting;

    s->waiting.n = 0;
    if (nghttp2_session_get_remote_settings(s->conn->ng,
                                            NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1) {
        if (submit(s, &list, true) != SL_OK)
            sl_h2_stream_fail(s, s->base.fault.err, "");
        return;
    }
    s->base.is_refused = s->base.wants_http1 = true;
    sl_h2_stream_fail(s, SL_UPGRADE_FAILED, "origin has no WebSocket over HTTP/2");
}

static void on_settings(struct sl_h2_conn *c)
{
    SL_LIST_FOREACH_SAFE (it, &c->streams) {
        struct sl_h2_stream *s = SL_CONTAINER(it, struct sl_h2_stream, in_conn);

        if (s->waiting.n != 0)
            submit_extended(s);
    }
}

static void send_extended(struct sl_h2_stream *s, const struct sl_head *head)
{
    const struct sl_field *key = sl_fields_find_name(&head->fields, SL_STR("sec-websocket-key"));

    s->key = key == NULL ? SL_STR("") : sl_arena_str(&s->arena, key->value);
    s->is_held = true;
    sl_h2_write_request(head, &s->waiting);
    if (s->conn->is_settled)
        submit_extended(s);
}

static enum sl_err call_send_head(struct sl_http_stream *base, const struct sl_head *head)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);
    struct sl_h2_list list;

    if (s->is_closed || s->conn == NULL)
        return base->fault.err != SL_OK ? base->fault.err : SL_RESET;
    if (s->send != SL_H2_SEND_HEAD || s->waiting.n != 0)
        return sl_fault_set(&base->fault, SL_INTERNAL, "a second request head");
    s->method = sl_arena_str(&s->arena, head->method);
    if (head->wants_upgrade) {
        send_extended(s, head);
        return SL_OK;
    }
    sl_h2_write_request(head, &list);
    return submit(s, &list, head->framing != SL_FRAMING_NONE);
}

/* The handshake has no content; what comes after it has an end of its own. */
static enum sl_err call_send_end(struct sl_http_stream *base, const struct sl_fields *trailers)
{
    return sl_h2_stream_of(base)->is_held ? SL_OK : sl_h2_stream_send_end(base, trailers);
}

/* What ends by itself needs no word; the library then has closed the stream already. */
static void call_close(struct sl_http_stream *base)
{
    struct sl_h2_stream *s = sl_h2_stream_of(base);

    if (s->conn != NULL && !s->is_closed && s->is_begun && !base->has_response)
        probe(SL_CONTAINER(s->conn, struct sl_h2_client, conn));
    sl_h2_stream_abandon(s, NGHTTP2_CANCEL);
}

static const struct sl_http_stream_ops call_ops = {
    .recv_head = call_recv_head,
    .recv_body = sl_h2_stream_recv_body,
    .trailers = sl_h2_stream_trailers,
    .send_head = call_send_head,
    .send_body = sl_h2_stream_send_body,
    .send_end = call_send_end,
    .flush = sl_h2_stream_flush,
    .want = sl_h2_stream_want,
    .close = call_close,
};

static const struct sl_h2_role role = {
    .ops = NULL, /* nobody opens streams towards us: push is off */
    .on_section = on_section,
    .on_malformed = on_malformed,
    .on_settings = on_settings,
    .on_sign_of_life = on_sign_of_life,
};
