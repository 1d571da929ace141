/* fetch.c -- states: ACQUIRE -> SEND -> HEAD -> BODY -> (reported and freed), or SEND -> BODY when
 * the response comes early.
 *
 * ACQUIRE follows SEND or HEAD again, once, when a reused connection died unanswered.
 */
#include "upstream/fetch.h"

#include "base/mem.h"
#include "http/http_stream.h"
#include "io/loop.h"
#include "upstream/pool.h"

enum state { ST_ACQUIRE, ST_SEND, ST_HEAD, ST_BODY };

struct sl_fetch {
    struct sl_loop *loop;
    struct sl_fetch_conf conf;
    enum state state;
    struct sl_timer deadline;
    struct sl_task begin;       /* runs the first step from the loop */
    struct sl_acquire *acquire; /* while ST_ACQUIRE */
    struct sl_lease lease;      /* after it */
    struct sl_arena arena;
    struct sl_head request;
    size_t sent; /* of the body */
    const struct sl_head *response;
    struct sl_buf body;
    sl_fetch_fn *done;
    void *arg;
};

static void on_begin(void *arg);
static void on_deadline(void *arg);
static sl_acquire_fn on_acquired;
static sl_ready_fn on_ready;

static void build_request(struct sl_fetch *f)
{
    const struct sl_fetch_conf *c = &f->conf;

    f->request =
        (struct sl_head){ .arena = &f->arena,
                          .method = c->method,
                          .scheme = c->origin->tls ? SL_STR("https") : SL_STR("http"),
                          .host = c->origin->is_unix ? SL_STR("localhost") : c->origin->host,
                          .port = c->origin->is_unix ? 80 : c->origin->port,
                          .target = c->target,
                          .major = 1,
                          .minor = 1,
                          .keep_alive = true,
                          .framing = SL_FRAMING_LENGTH,
                          .content_length = c->body.n };
    if (c->fields != NULL)
        f->request.fields = *c->fields;
}

struct sl_fetch *sl_fetch_start(const struct sl_fetch_conf *conf, sl_fetch_fn *done, void *arg)
{
    struct sl_fetch *f = sl_zalloc(sizeof(*f));

    *f = (struct sl_fetch){
        .loop = sl_pool_loop(conf->pool), .conf = *conf, .done = done, .arg = arg
    };
    f->begin = (struct sl_task){ .fn = on_begin, .arg = f };
    sl_arena_init(&f->arena);
    build_request(f);
    sl_timer_start(f->loop, &f->deadline, conf->timeout_ms, on_deadline, f);
    sl_task_post(f->loop, &f->begin);
    return f;
}

void sl_fetch_cancel(struct sl_fetch **fetch)
{
    struct sl_fetch *f = *fetch;

    if (f == NULL)
        return;
    *fetch = NULL;
    sl_timer_stop(&f->deadline);
    sl_task_cancel(f->loop, &f->begin);
    sl_acquire_cancel(&f->acquire);
    sl_http_stream_close(&f->lease.stream);
    sl_buf_fini(&f->body);
    sl_arena_fini(&f->arena);
    sl_free(f);
}

static void fail(struct sl_fetch *f, const struct sl_fault *fault)
{
    sl_fetch_fn *done = f->done;
    void *arg = f->arg;
    struct sl_fault copy = *fault;

    sl_fetch_cancel(&f);
    done(arg, NULL, &copy);
}

/* The connection goes back first, so that whoever hears of the reply can use it; the reply's slices
 * live in f, which goes last. */
static void succeed(struct sl_fetch *f)
{
    struct sl_arena arena = { 0 };
    struct sl_fetch_reply reply = { .status = f->response->status, .body = sl_buf_str(&f->body) };
    struct sl_fields fields = { 0 };
    struct sl_buf body = f->body;
    sl_fetch_fn *done = f->done;
    void *arg = f->arg;

    for (uint32_t i = 0; i < f->response->fields.n; i++) {
        const struct sl_field *x = &f->response->fields.v[i];

        sl_fields_add(&fields, &arena, sl_arena_str(&arena, x->name),
                      sl_arena_str(&arena, x->value));
    }
    reply.fields = &fields;
    f->body = (struct sl_buf){ 0 };
    sl_fetch_cancel(&f);
    done(arg, &reply, NULL);
    sl_buf_fini(&body);
    sl_arena_fini(&arena);
}

static void acquire(struct sl_fetch *f, bool fresh)
{
    f->state = ST_ACQUIRE;
    f->sent = 0;
    f->acquire = sl_acquire_start(f->conf.pool, f->conf.origin, fresh, on_acquired, f);
}

/* A failure of the connection: retried once if it was an old one that never answered. */
static void lost(struct sl_fetch *f, enum sl_err err)
{
    struct sl_fault fault = f->lease.stream->fault;
    bool retry = f->lease.reused && !f->lease.stream->has_response;

    if (fault.err == SL_OK)
        sl_fault_set(&fault, err == SL_EOF ? SL_RESET : err, "connection ended without a response");
    if (!retry) {
        fail(f, &fault);
        return;
    }
    sl_http_stream_close(&f->lease.stream);
    acquire(f, true);
}

static enum sl_err send_all(struct sl_fetch *f)
{
    struct sl_str body = f->conf.body;

    while (f->sent < body.n) {
        size_t n = 0;
        enum sl_err err = f->lease.stream->ops->send_body(f->lease.stream, body.p + f->sent,
                                                          body.n - f->sent, &n);

        if (err != SL_OK)
            return err;
        f->sent += n;
    }
    return f->lease.stream->ops->send_end(f->lease.stream, NULL);
}

static enum sl_err recv_head(struct sl_fetch *f)
{
    enum sl_err err;

    do {
        err = f->lease.stream->ops->recv_head(f->lease.stream, &f->response);
    } while (err == SL_OK && f->response->status < 200);
    return err;
}

static enum sl_err recv_all(struct sl_fetch *f)
{
    for (;;) {
        size_t n = 0;
        char *room = sl_buf_reserve(&f->body, 4096);
        enum sl_err err = f->lease.stream->ops->recv_body(f->lease.stream, room, 4096, &n);

        if (err != SL_OK)
            return err;
        sl_buf_commit(&f->body, n);
        if (f->body.len > f->conf.max_body)
            return sl_fault_set(&f->lease.stream->fault, SL_LIMIT, "reply over %zu bytes",
                                f->conf.max_body);
    }
}

/* A response may come, and end the sending, before all of the request was taken; it counts even
 * when the peer has stopped to listen by then. */
static enum sl_err send_and_listen(struct sl_fetch *f)
{
    struct sl_http_stream *s = f->lease.stream;
    enum sl_err sent = send_all(f), err = recv_head(f);

    if (sent == SL_OK)
        f->state = ST_HEAD;
    s->ops->want(s, sent == SL_AGAIN && err == SL_AGAIN ? SL_WRITABLE | SL_READABLE : SL_READABLE);
    return err == SL_AGAIN && sent != SL_OK ? sent : err;
}

/* Runs the steps that can be run; sets what to wait for. */
static void run(struct sl_fetch *f)
{
    enum sl_err err = SL_OK;

    if (f->state == ST_SEND)
        err = send_and_listen(f);
    else if (f->state == ST_HEAD)
        err = recv_head(f);
    if (err == SL_OK) {
        f->state = ST_BODY;
        err = recv_all(f);
    }
    if (err == SL_AGAIN)
        return;
    if (f->state == ST_BODY && err == SL_EOF)
        succeed(f);
    else
        lost(f, err);
}

static void begin(struct sl_fetch *f, const struct sl_lease *lease)
{
    struct sl_http_stream *s = lease->stream;
    enum sl_err err;

    f->lease = *lease;
    f->state = ST_SEND;
    s->on_ready = on_ready;
    s->arg = f;
    err = s->ops->send_head(s, &f->request);
    if (err != SL_OK)
        lost(f, err);
    else
        run(f);
}

static void on_begin(void *arg)
{
    struct sl_fetch *f = arg;
    struct sl_lease lease;

    if (sl_pool_try(f->conf.pool, f->conf.origin, &lease))
        begin(f, &lease);
    else
        acquire(f, false);
}

static void on_acquired(void *arg, const struct sl_lease *lease, const struct sl_fault *fault)
{
    struct sl_fetch *f = arg;

    f->acquire = NULL;
    if (lease == NULL)
        fail(f, fault);
    else
        begin(f, lease);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    run(arg);
}

static void on_deadline(void *arg)
{
    struct sl_fetch *f = arg;
    struct sl_fault fault = { 0 };

    sl_fault_set(&fault, f->state == ST_ACQUIRE ? SL_CONNECT_TIMEOUT : SL_RESPONSE_TIMEOUT,
                 "no complete reply in %u ms", f->conf.timeout_ms);
    fail(f, &fault);
}
