/* h1_server.c -- state: IDLE -> BUSY -> IDLE ..., BUSY -> TUNNEL (2xx to CONNECT, for detach), and
 * at the end CLOSING -> LINGER -> ENDED, or ENDED at once when a message was cut short.
 *
 * Invariant: current is not NULL exactly in BUSY, and in TUNNEL until the CONNECT's stream is
 * closed; the byte stream is closed by then only when the server was freed.
 */
#include "http/h1_server.h"

#include "base/mem.h"
#include "http/h1_wire.h"

/* What is read after the last response, so that the peer gets to see it: closing a socket with
 * bytes unread resets the connection (RFC 9112 section 9.6). */
#define LINGER_BYTES ((size_t)1024 * 1024)

enum state { IDLE, BUSY, TUNNEL, CLOSING, LINGER, ENDED };

struct request {
    struct sl_http_stream base;
    struct sl_h1_server *srv; /* NULL once closed */
    struct sl_arena arena;
    struct sl_head head;
    uint8_t minor; /* of the peer's version, for the responses */
    bool is_last;  /* the connection ends after it */
};

struct sl_h1_server {
    struct sl_h1_server_conf conf;
    struct sl_h1_wire wire;
    enum state state;
    bool is_draining;
    struct request *current;
    size_t lingered; /* bytes read in LINGER */
    sl_ready_fn *on_ready;
    void *arg;
};

static const struct sl_http_stream_ops request_ops;

static struct request *request_of(struct sl_http_stream *s)
{
    return SL_CONTAINER(s, struct request, base);
}

static void on_wire_ready(void *arg, unsigned events)
{
    struct sl_h1_server *srv = arg;
    struct request *rq = srv->current;

    if (rq != NULL && rq->base.on_ready != NULL)
        rq->base.on_ready(rq->base.arg, events);
    else if (rq == NULL && srv->on_ready != NULL)
        srv->on_ready(srv->arg, events);
}

struct sl_h1_server *sl_h1_server_new(const struct sl_h1_server_conf *conf,
                                      struct sl_stream *stream, struct sl_str preface)
{
    struct sl_h1_server *srv = sl_zalloc(sizeof(*srv));

    srv->conf = *conf;
    srv->wire.on_ready = on_wire_ready;
    srv->wire.arg = srv;
    sl_h1_wire_init(&srv->wire, conf->loop, stream, &srv->conf.limits);
    srv->wire.recv.tolerates_half_close = conf->tolerates_half_close;
    sl_h1_recv_stash(&srv->wire.recv, preface);
    return srv;
}

static void request_free(void *p)
{
    struct request *rq = p;

    sl_arena_fini(&rq->arena);
    sl_free(rq);
}

/* The request's memory stays until the end of the turn: its owner may be below on the stack. */
static void forget(struct sl_h1_server *srv)
{
    struct request *rq = srv->current;

    srv->current = NULL;
    rq->srv = NULL;
    sl_loop_defer_free(srv->conf.loop, rq, request_free);
}

void sl_h1_server_free(struct sl_h1_server **srv)
{
    struct sl_h1_server *gone = *srv;

    if (gone == NULL)
        return;
    *srv = NULL;
    if (gone->current != NULL)
        forget(gone);
    gone->state = ENDED;
    sl_h1_wire_close(&gone->wire);
    sl_loop_defer_free(gone->conf.loop, gone, sl_free);
}

struct sl_stream *sl_h1_server_detach(struct sl_h1_server **srv, struct sl_buf *ret_preface)
{
    struct sl_stream *stream;

    sl_buf_add_str(ret_preface, sl_h1_recv_ahead(&(*srv)->wire.recv));
    stream = sl_h1_wire_release(&(*srv)->wire);
    sl_h1_server_free(srv);
    return stream;
}

void sl_h1_server_on_ready(struct sl_h1_server *srv, sl_ready_fn *fn, void *arg)
{
    srv->on_ready = fn;
    srv->arg = arg;
    if (srv->state == IDLE)
        sl_h1_wire_want(&srv->wire, SL_READABLE);
}

bool sl_h1_server_is_idle(const struct sl_h1_server *srv)
{
    return srv->state == IDLE && srv->wire.recv.len == 0;
}

void sl_h1_server_set_limits(struct sl_h1_server *srv, const struct sl_head_limits *limits,
                             uint64_t body_bytes)
{
    srv->conf.limits = *limits;
    srv->conf.body_bytes = body_bytes;
}

void sl_h1_server_drain(struct sl_h1_server *srv)
{
    srv->is_draining = true;
}

/* -- between requests -- */

/* Answers SL_EOF: nothing more will come of this connection. */
static enum sl_err end(struct sl_h1_server *srv)
{
    srv->state = ENDED;
    sl_h1_wire_want(&srv->wire, 0);
    return SL_EOF;
}

static enum sl_err await(struct sl_h1_server *srv, unsigned events)
{
    sl_h1_wire_want(&srv->wire, events);
    return SL_AGAIN;
}

static enum sl_err linger(struct sl_h1_server *srv)
{
    struct sl_h1_recv *r = &srv->wire.recv;
    enum sl_err err = SL_OK;

    while (err == SL_OK && srv->lingered < LINGER_BYTES) {
        srv->lingered += r->len;
        sl_h1_recv_consume(r, r->len);
        err = sl_h1_recv_fill(r);
    }
    return err == SL_AGAIN ? await(srv, SL_READABLE) : end(srv);
}

/* Bytes read in vain are a sign of more to come; a peer that sent one whole request hears of the
 * end without that. */
static enum sl_err finish_output(struct sl_h1_server *srv)
{
    const struct sl_h1_recv *r = &srv->wire.recv;
    enum sl_err err = sl_stream_shutdown(srv->wire.stream);

    if (err == SL_AGAIN)
        return await(srv, SL_WRITABLE);
    if (err != SL_OK || (sl_h1_recv_is_complete(r) && r->len == 0))
        return end(srv);
    sl_h1_recv_reset(&srv->wire.recv);
    srv->state = LINGER;
    return linger(srv);
}

static struct request *request_new(struct sl_h1_server *srv)
{
    struct request *rq = sl_zalloc(sizeof(*rq));

    rq->base.ops = &request_ops;
    rq->srv = srv;
    rq->head.arena = &rq->arena;
    return rq;
}

/* Hands the request out; @a err SL_OK, or why it only gets a response. */
static enum sl_err hand_out(struct sl_h1_server *srv, struct request *rq, enum sl_err err)
{
    struct sl_h1_recv *r = &srv->wire.recv;

    rq->minor = rq->head.major == 1 ? rq->head.minor : 1;
    rq->is_last = err != SL_OK;
    if (err == SL_OK)
        sl_h1_recv_begin(r, &rq->head, srv->conf.body_bytes);
    else
        r->state = SL_H1_RECV_FAILED;
    srv->current = rq;
    srv->state = BUSY;
    sl_h1_wire_want(&srv->wire, 0);
    return err;
}

static enum sl_err check_size(const struct sl_h1_server *srv, struct request *rq)
{
    if (srv->conf.body_bytes == 0 || rq->head.framing != SL_FRAMING_LENGTH ||
        rq->head.content_length <= srv->conf.body_bytes)
        return SL_OK;
    return sl_fault_set(&rq->base.fault, SL_BODY_TOO_LARGE, "%llu bytes of request body",
                        (unsigned long long)rq->head.content_length);
}

/* Looks at what was read ahead.  SL_AGAIN: no whole head. */
static enum sl_err parse(struct sl_h1_server *srv, struct request **ret_rq)
{
    struct sl_h1_recv *r = &srv->wire.recv;
    struct request *rq;
    size_t used = 0;
    enum sl_err err;

    if (r->len == 0)
        return SL_AGAIN;
    rq = request_new(srv);
    err = sl_h1_parse_request(sl_h1_recv_ahead(r), &srv->conf.limits, &srv->conf.origin, &rq->head,
                              &used, &rq->base.fault);
    if (err == SL_AGAIN) {
        request_free(rq);
        return err;
    }
    sl_h1_recv_consume(r, used);
    if (err == SL_OK)
        err = check_size(srv, rq);
    *ret_rq = rq;
    return hand_out(srv, rq, err);
}

/* The transport gave nothing while a head was awaited. */
static enum sl_err no_request(struct sl_h1_server *srv, enum sl_err err, struct sl_fault *ret_fault)
{
    if (err == SL_AGAIN)
        return await(srv, SL_READABLE);
    (void)end(srv);
    if (err != SL_EOF)
        return sl_h1_recv_broken(&srv->wire.recv, err, ret_fault);
    /* Some old clients send an empty line behind a body. */
    if (srv->wire.recv.len > 2)
        return sl_fault_set(ret_fault, SL_RESET, "connection closed inside a request head");
    return SL_EOF;
}

static enum sl_err next_request(struct sl_h1_server *srv, struct sl_http_stream **ret_stream,
                                struct sl_fault *ret_fault)
{
    struct request *rq = NULL;
    enum sl_err err = parse(srv, &rq);

    if (rq == NULL && srv->is_draining && srv->wire.recv.len == 0)
        return end(srv);
    while (rq == NULL) {
        err = sl_h1_recv_fill(&srv->wire.recv);
        if (err != SL_OK)
            return no_request(srv, err, ret_fault);
        err = parse(srv, &rq);
    }
    *ret_stream = &rq->base;
    if (err != SL_OK)
        *ret_fault = rq->base.fault;
    return err;
}

struct sl_http_stream *sl_h1_server_give_up(struct sl_h1_server *srv, enum sl_err err)
{
    struct request *rq;

    if (srv->state != IDLE || srv->wire.recv.len == 0)
        return NULL;
    rq = request_new(srv);
    sl_fault_set(&rq->base.fault, err, "request head not complete");
    (void)hand_out(srv, rq, err);
    return &rq->base;
}

enum sl_err sl_h1_server_next(struct sl_h1_server *srv, struct sl_http_stream **ret_stream,
                              struct sl_fault *ret_fault)
{
    *ret_stream = NULL;
    switch (srv->state) {
    case IDLE:
        return next_request(srv, ret_stream, ret_fault);
    case BUSY:
        return SL_AGAIN;
    case CLOSING:
        return finish_output(srv);
    case LINGER:
        return linger(srv);
    case TUNNEL:
    case ENDED:
        return SL_EOF;
    }
    return SL_EOF;
}

/* -- one request -- */

static enum sl_err request_recv_head(struct sl_http_stream *s, const struct sl_head **ret_head)
{
    *ret_head = &request_of(s)->head;
    return SL_OK;
}

static enum sl_err request_recv_body(struct sl_http_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct iovec iov = { .iov_base = buf, .iov_len = cap };

    return sl_h1_wire_recv_body(&request_of(s)->srv->wire, s, iov, ret_n);
}

static struct sl_fields *request_trailers(struct sl_http_stream *s)
{
    return &request_of(s)->srv->wire.recv.trailers;
}

/* What a client says behind a CONNECT before it is answered is for the target, not for us. */
static bool has_more(struct sl_h1_recv *r)
{
    return r->len != 0 || sl_h1_recv_look(r) || r->len != 0;
}

/* With the request's body still to come, what follows on the connection could not be told apart
 * from it once the response has ended (a client that waits for 100 may even leave it out). */
static bool is_last(const struct request *rq)
{
    struct sl_h1_recv *r = &rq->srv->wire.recv;

    if (rq->is_last || !rq->head.keep_alive || rq->srv->is_draining)
        return true;
    return !sl_h1_recv_is_complete(r) || (rq->head.is_connect && has_more(r));
}

static bool is_bodiless(const struct request *rq, const struct sl_head *head)
{
    return sl_str_eq(rq->head.method, SL_STR("HEAD")) || head->status == 204 || head->status == 304;
}

/* What the head says of a body that is not sent: its length where it is known, else nothing. */
static enum sl_framing announced(const struct sl_head *head)
{
    if (head->framing != SL_FRAMING_NONE)
        return head->framing;
    return head->content_length != 0 ? SL_FRAMING_LENGTH : SL_FRAMING_RAW;
}

/* Framing as this peer can read it. */
static enum sl_framing framing_for(const struct request *rq, enum sl_framing framing)
{
    if (framing != SL_FRAMING_CHUNKED && framing != SL_FRAMING_CLOSE)
        return framing;
    return rq->minor == 0 ? SL_FRAMING_CLOSE : SL_FRAMING_CHUNKED;
}

static enum sl_err send_interim(struct request *rq, const struct sl_head *head)
{
    /* RFC 9110 section 15.2: never to a 1.0 client. */
    if (rq->minor == 0)
        return SL_OK;
    sl_h1_write_response(&rq->srv->wire.send.out, head, rq->minor, false);
    return SL_OK;
}

static enum sl_err send_switch(struct request *rq, const struct sl_head *head)
{
    struct sl_h1_wire *w = &rq->srv->wire;

    if (!sl_h1_recv_is_complete(&w->recv))
        return sl_fault_set(&rq->base.fault, SL_INTERNAL, "switching protocols inside a body");
    rq->is_last = true;
    sl_h1_write_response(&w->send.out, head, rq->minor, false);
    sl_h1_send_begin(&w->send, SL_FRAMING_RAW, 0);
    sl_h1_recv_raw(&w->recv);
    return SL_OK;
}

/* The byte stream is detached afterwards: its end is not this message's. */
static enum sl_err send_accepted(struct request *rq, const struct sl_head *head)
{
    struct sl_head said = *head;

    said.framing = SL_FRAMING_RAW;
    sl_h1_write_response(&rq->srv->wire.send.out, &said, rq->minor, false);
    sl_h1_send_begin(&rq->srv->wire.send, SL_FRAMING_NONE, 0);
    rq->srv->state = TUNNEL;
    return SL_OK;
}

/* A 1.0 peer is told to keep the connection only where the head itself says where the body ends, so
 * as not to depend on what it believes of HEAD, 204 and 304; one that is not told has to close. */
static bool shows_end(const struct request *rq, const struct sl_head *said)
{
    return rq->minor != 0 || said->framing == SL_FRAMING_NONE || said->framing == SL_FRAMING_LENGTH;
}

static enum sl_err send_final(struct request *rq, const struct sl_head *head)
{
    struct sl_head said = *head;
    bool has_body = !is_bodiless(rq, head);
    enum sl_framing sent;

    said.framing = framing_for(rq, has_body ? head->framing : announced(head));
    sent = has_body ? said.framing : SL_FRAMING_NONE;
    rq->is_last = is_last(rq) || !shows_end(rq, &said);
    sl_h1_write_response(&rq->srv->wire.send.out, &said, rq->minor, rq->is_last);
    sl_h1_send_begin(&rq->srv->wire.send, sent, said.content_length);
    return SL_OK;
}

static enum sl_err request_send_head(struct sl_http_stream *s, const struct sl_head *head)
{
    struct request *rq = request_of(s);

    if (rq->srv->wire.send.state != SL_H1_SEND_HEAD)
        return sl_fault_set(&s->fault, SL_INTERNAL, "a second final response");
    if (head->status == 101)
        return send_switch(rq, head);
    if (head->status < 200)
        return send_interim(rq, head);
    if (rq->head.is_connect && head->status < 300)
        return send_accepted(rq, head);
    return send_final(rq, head);
}

static enum sl_err request_send_body(struct sl_http_stream *s, const void *p, size_t n,
                                     size_t *ret_n)
{
    return sl_h1_wire_send_body(&request_of(s)->srv->wire, s, sl_str_make(p, n), ret_n);
}

static enum sl_err request_send_end(struct sl_http_stream *s, const struct sl_fields *trailers)
{
    return sl_h1_send_end(&request_of(s)->srv->wire.send, trailers, &s->fault);
}

static enum sl_err request_flush(struct sl_http_stream *s)
{
    return sl_h1_send_flush(&request_of(s)->srv->wire.send, &s->fault);
}

static void request_want(struct sl_http_stream *s, unsigned events)
{
    sl_h1_wire_want(&request_of(s)->srv->wire, events);
}

/* Where the connection goes when the request's stream is closed. */
static enum state after(const struct sl_h1_server *srv)
{
    const struct sl_h1_wire *w = &srv->wire;

    if (srv->state == TUNNEL)
        return w->send.out.len == 0 ? TUNNEL : ENDED;
    if (w->send.state != SL_H1_SEND_DONE || w->send.framing == SL_FRAMING_RAW)
        return ENDED;
    return CLOSING;
}

static bool is_reusable(const struct sl_h1_server *srv, const struct request *rq)
{
    const struct sl_h1_recv *r = &srv->wire.recv;

    if (srv->wire.send.state != SL_H1_SEND_DONE || rq->is_last || srv->state != BUSY)
        return false;
    return sl_h1_recv_is_complete(r);
}

static void request_close(struct sl_http_stream *s)
{
    struct request *rq = request_of(s);
    struct sl_h1_server *srv = rq->srv;

    if (srv == NULL)
        return;
    if (is_reusable(srv, rq)) {
        srv->state = IDLE;
        sl_h1_recv_reset(&srv->wire.recv);
        sl_h1_send_reset(&srv->wire.send);
    } else {
        srv->state = after(srv);
    }
    forget(srv);
    if (srv->state == ENDED)
        sl_h1_wire_abandon(&srv->wire);
    else if (srv->state != TUNNEL)
        sl_h1_wire_want(&srv->wire, srv->state == IDLE ? SL_READABLE : SL_WRITABLE);
}

static const struct sl_http_stream_ops request_ops = {
    .recv_head = request_recv_head,
    .recv_body = request_recv_body,
    .trailers = request_trailers,
    .send_head = request_send_head,
    .send_body = request_send_body,
    .send_end = request_send_end,
    .flush = request_flush,
    .want = request_want,
    .close = request_close,
};
