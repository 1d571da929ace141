/* h1_client.c -- state: IDLE -> OPEN -> BUSY -> IDLE, DEAD from any
 *
 * Invariant: current is not NULL in OPEN and BUSY, is NULL in IDLE; nothing was read ahead in IDLE
 * and OPEN.
 */
#include "http/h1_client.h"

#include "base/mem.h"
#include "http/h1_wire.h"

enum state {
    IDLE,
    OPEN, /* current has not begun its request, and may wait long before it does */
    BUSY,
    DEAD
};

struct call {
    struct sl_http_stream base;
    struct sl_h1_client *client; /* NULL once closed */
    struct sl_arena arena;
    struct sl_head request;      /* of it, what decides how the response is framed */
    const struct sl_head *final; /* NULL before the final head */
};

struct sl_h1_client {
    struct sl_h1_client_conf conf;
    struct sl_h1_wire wire;
    enum state state;
    bool is_retired; /* no request after the one under way */
    struct call *current;
};

static const struct sl_http_stream_ops call_ops;

static struct call *call_of(struct sl_http_stream *s)
{
    return SL_CONTAINER(s, struct call, base);
}

/* While nothing was asked: records that carry no content (TLS tickets) are read and forgotten;
 * anything else ends the connection. */
static void check_unasked(struct sl_h1_client *c)
{
    bool is_idle = c->state == IDLE;

    if (sl_h1_recv_fill(&c->wire.recv) == SL_AGAIN)
        return;
    c->state = DEAD;
    sl_h1_wire_want(&c->wire, 0);
    if (is_idle)
        c->conf.on_dead(c->conf.arg);
}

static void on_wire_ready(void *arg, unsigned events)
{
    struct sl_h1_client *c = arg;
    struct call *call = c->current;

    if (c->state == IDLE || c->state == OPEN)
        check_unasked(c);
    else if (call != NULL && call->base.on_ready != NULL)
        call->base.on_ready(call->base.arg, events);
}

struct sl_h1_client *sl_h1_client_new(const struct sl_h1_client_conf *conf,
                                      struct sl_stream *stream)
{
    struct sl_h1_client *c = sl_zalloc(sizeof(*c));

    c->conf = *conf;
    c->wire.on_ready = on_wire_ready;
    c->wire.arg = c;
    sl_h1_wire_init(&c->wire, conf->loop, stream, &c->conf.limits);
    c->wire.recv.is_response = true;
    sl_h1_wire_want(&c->wire, SL_READABLE);
    return c;
}

static void call_free(void *p)
{
    struct call *call = p;

    sl_arena_fini(&call->arena);
    sl_free(call);
}

static void forget(struct sl_h1_client *c)
{
    struct call *call = c->current;

    c->current = NULL;
    call->client = NULL;
    sl_loop_defer_free(c->conf.loop, call, call_free);
}

void sl_h1_client_free(struct sl_h1_client **c)
{
    struct sl_h1_client *gone = *c;

    if (gone == NULL)
        return;
    *c = NULL;
    if (gone->current != NULL)
        forget(gone);
    gone->state = DEAD;
    sl_h1_wire_close(&gone->wire);
    sl_loop_defer_free(gone->conf.loop, gone, sl_free);
}

struct sl_http_stream *sl_h1_client_open(struct sl_h1_client *c)
{
    struct call *call = sl_zalloc(sizeof(*call));

    sl_assert(c->state == IDLE);
    call->base.ops = &call_ops;
    call->client = c;
    c->current = call;
    c->state = OPEN;
    sl_h1_recv_reset(&c->wire.recv);
    sl_h1_send_reset(&c->wire.send);
    return &call->base;
}

void sl_h1_client_retire(struct sl_h1_client *c)
{
    c->is_retired = true;
}

/* -- one exchange -- */

/* The transport gave nothing while a head was awaited. */
static enum sl_err no_head(struct call *call, enum sl_err err)
{
    struct sl_h1_recv *r = &call->client->wire.recv;

    if (err == SL_AGAIN)
        return err;
    r->state = SL_H1_RECV_FAILED;
    if (err != SL_EOF)
        return sl_h1_recv_broken(r, err, &call->base.fault);
    if (call->base.has_response)
        return sl_fault_set(&call->base.fault, SL_RESPONSE_CUT,
                            "connection closed inside the response head");
    return SL_EOF;
}

static enum sl_err begin_body(struct call *call, const struct sl_head *head)
{
    struct sl_h1_wire *w = &call->client->wire;

    call->final = head;
    if (head->framing != SL_FRAMING_RAW) {
        sl_h1_recv_begin(&w->recv, head, 0);
        return SL_OK;
    }
    if (w->send.state != SL_H1_SEND_DONE)
        return sl_fault_set(&call->base.fault, SL_BAD_RESPONSE,
                            "protocol switched inside the request");
    sl_h1_send_begin(&w->send, SL_FRAMING_RAW, 0);
    sl_h1_recv_raw(&w->recv);
    return SL_OK;
}

/* A whole head of @a n bytes came: keeps it. */
static enum sl_err accept_head(struct call *call, const struct sl_head *head, size_t n,
                               const struct sl_head **ret_head)
{
    struct sl_head *kept = sl_arena_alloc(&call->arena, sizeof(*kept));
    enum sl_err err;

    *kept = *head;
    if (head->status >= 200 || head->status == 101)
        err = begin_body(call, kept);
    else
        err = sl_http_stream_count_interim(&call->base, n, call->client->wire.recv.limits);
    if (err == SL_OK)
        *ret_head = kept;
    return err;
}

/* Looks at what was read ahead.  SL_AGAIN: no whole head. */
static enum sl_err parse_head(struct call *call, const struct sl_head **ret_head)
{
    struct sl_h1_recv *r = &call->client->wire.recv;
    struct sl_head head = { .arena = &call->arena };
    size_t used = 0;
    enum sl_err err;

    if (r->len == 0)
        return SL_AGAIN;
    call->base.has_response = true;
    err = sl_h1_parse_response(sl_h1_recv_ahead(r), r->limits, &call->request, &head, &used,
                               &call->base.fault);
    if (err == SL_OK) {
        sl_h1_recv_consume(r, used);
        err = accept_head(call, &head, used, ret_head);
    }
    if (err != SL_OK && err != SL_AGAIN)
        r->state = SL_H1_RECV_FAILED;
    return err;
}

static enum sl_err call_recv_head(struct sl_http_stream *s, const struct sl_head **ret_head)
{
    struct call *call = call_of(s);
    enum sl_err err;

    if (call->final != NULL) {
        *ret_head = call->final;
        return SL_OK;
    }
    if (call->client->wire.recv.state == SL_H1_RECV_FAILED)
        return s->fault.err != SL_OK ? s->fault.err : SL_EOF;
    err = parse_head(call, ret_head);
    while (err == SL_AGAIN) {
        err = sl_h1_recv_fill(&call->client->wire.recv);
        if (err != SL_OK)
            return no_head(call, err);
        err = parse_head(call, ret_head);
    }
    return err;
}

/* A response that ends before the request does leaves the rest of the request on the connection. */
static enum sl_err call_recv_body(struct sl_http_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct sl_h1_client *c = call_of(s)->client;
    struct iovec iov = { .iov_base = buf, .iov_len = cap };
    enum sl_err err = sl_h1_wire_recv_body(&c->wire, s, iov, ret_n);

    if (err == SL_EOF && c->wire.send.state != SL_H1_SEND_DONE)
        c->is_retired = true;
    return err;
}

static struct sl_fields *call_trailers(struct sl_http_stream *s)
{
    return &SL_CONTAINER(s, struct call, base)->client->wire.recv.trailers;
}

/* The head itself is the caller's, and may be gone when the response comes. */
static void remember(struct call *call, const struct sl_head *head)
{
    const struct sl_field *to = sl_fields_find(&head->fields, SL_FIELD_UPGRADE);

    call->request = (struct sl_head){ .arena = &call->arena,
                                      .method = sl_arena_str(&call->arena, head->method),
                                      .is_connect = head->is_connect,
                                      .wants_upgrade = head->wants_upgrade };
    if (head->wants_upgrade && to != NULL)
        sl_fields_add(&call->request.fields, &call->arena, SL_STR("Upgrade"),
                      sl_arena_str(&call->arena, to->value));
}

static enum sl_err call_send_head(struct sl_http_stream *s, const struct sl_head *head)
{
    struct call *call = call_of(s);
    struct sl_h1_client *c = call->client;
    struct sl_h1_send *out = &c->wire.send;

    if (c->state == DEAD)
        return sl_fault_set(&s->fault, SL_RESET, "connection ended before the request");
    if (out->state != SL_H1_SEND_HEAD)
        return sl_fault_set(&s->fault, SL_INTERNAL, "a second request head");
    if (head->framing == SL_FRAMING_CLOSE || head->framing == SL_FRAMING_RAW)
        return sl_fault_set(&s->fault, SL_INTERNAL, "request without framing");
    remember(call, head);
    c->state = BUSY;
    sl_h1_wire_want(&c->wire, 0);
    sl_h1_write_request(&out->out, head, c->is_retired);
    sl_h1_send_begin(out, head->framing, head->content_length);
    return SL_OK;
}

static enum sl_err call_send_body(struct sl_http_stream *s, const void *p, size_t n, size_t *ret_n)
{
    return sl_h1_wire_send_body(&call_of(s)->client->wire, s, sl_str_make(p, n), ret_n);
}

static enum sl_err call_send_end(struct sl_http_stream *s, const struct sl_fields *trailers)
{
    return sl_h1_send_end(&call_of(s)->client->wire.send, trailers, &s->fault);
}

static enum sl_err call_flush(struct sl_http_stream *s)
{
    return sl_h1_send_flush(&call_of(s)->client->wire.send, &s->fault);
}

static void call_want(struct sl_http_stream *s, unsigned events)
{
    sl_h1_wire_want(&call_of(s)->client->wire, events);
}

/* Bytes behind the response are an answer that nobody asked for. */
static bool is_reusable(const struct sl_h1_client *c)
{
    const struct sl_h1_wire *w = &c->wire;
    const struct sl_head *final = c->current->final;

    if (c->is_retired || final == NULL || !final->keep_alive)
        return false;
    if (w->send.state != SL_H1_SEND_DONE || !sl_h1_recv_is_complete(&w->recv))
        return false;
    return w->recv.len == 0 && !w->recv.is_eof && w->recv.state != SL_H1_RECV_GONE;
}

static void call_close(struct sl_http_stream *s)
{
    struct sl_h1_client *c = call_of(s)->client;
    bool reusable;

    if (c == NULL)
        return;
    reusable = is_reusable(c);
    forget(c);
    c->state = reusable ? IDLE : DEAD;
    sl_h1_recv_reset(&c->wire.recv);
    sl_h1_send_reset(&c->wire.send);
    if (reusable)
        sl_h1_wire_want(&c->wire, SL_READABLE);
    else
        sl_h1_wire_close(&c->wire);
    c->conf.on_idle(c->conf.arg, reusable);
}

static const struct sl_http_stream_ops call_ops = {
    .recv_head = call_recv_head,
    .recv_body = call_recv_body,
    .trailers = call_trailers,
    .send_head = call_send_head,
    .send_body = call_send_body,
    .send_end = call_send_end,
    .flush = call_flush,
    .want = call_want,
    .close = call_close,
};
