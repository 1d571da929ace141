/* conn.c -- states: READ -> EXCHANGE -> READ ... , or READ -> DECIDE -> ANSWER -> INTERCEPT -> READ
 * ...
 *
 * connect.c has the way from DECIDE on.  Invariant: at most one of exchange, ask, dial, intercept,
 * multiplex and relay is non-NULL, and the state names it.
 */
#include "proxy/conn.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/http_stream.h"
#include "io/stream.h"
#include "proxy/conn_internal.h"
#include "proxy/snapshot.h"

static void on_wake(void *arg);
static void on_timer(void *arg);
static void on_exchanged(void *arg);
static sl_ready_fn on_ready;

void sl_conn_register(void)
{
    sl_state_register(&sl_conn_table);
    sl_exchange_register();
}

struct sl_conn *sl_conn_new(const struct sl_conn_conf *conf, sl_conn_fn *ended, void *arg)
{
    struct sl_conn *c = sl_zalloc(sizeof(*c));

    *c = (struct sl_conn){ .env = sl_env_ref(conf->env), .ended = ended, .arg = arg };
    c->client = (struct sl_client){
        .id = conf->id, .addr = conf->peer, .listener = conf->listener, .leaf = "none"
    };
    c->wake = (struct sl_task){ .fn = on_wake, .arg = c };
    sl_arena_init(&c->arena);
    sl_state_begin(&sl_conn_table, &c->state);
    sl_conn_serve(c, conf->stream, true);
    sl_task_post(c->env->loop, &c->wake);
    return c;
}

void sl_conn_free(struct sl_conn **conn)
{
    struct sl_conn *c = *conn;

    if (c == NULL)
        return;
    *conn = NULL;
    sl_conn_account_cut(c);
    sl_state_end(&sl_conn_table, &c->state);
    sl_timer_stop(&c->timer);
    sl_task_cancel(c->env->loop, &c->wake);
    sl_exchange_cancel(&c->exchange);
    sl_gate_ask_cancel(&c->ask);
    sl_connect_cancel(&c->dial);
    sl_intercept_cancel(&c->intercept);
    sl_multiplex_cancel(&c->multiplex);
    sl_relay_cancel(&c->relay);
    sl_http_stream_close(&c->connect);
    sl_h1_server_free(&c->server);
    sl_stream_close(&c->upstream);
    sl_stream_close(&c->stream);
    sl_ruling_fini(&c->ruling);
    sl_buf_fini(&c->preface);
    sl_arena_fini(&c->arena);
    sl_env_unref(&c->next_env);
    sl_env_unref(&c->env);
    sl_free(c);
}

const struct sl_addr *sl_conn_peer(const struct sl_conn *c)
{
    return &c->client.addr;
}

/* What was asked and answered at the CONNECT was another policy's. */
void sl_conn_take_env(struct sl_conn *c)
{
    const struct sl_limits *l;

    if (c->next_env == NULL)
        return;
    sl_env_unref(&c->env);
    c->env = c->next_env;
    c->next_env = NULL;
    c->client.connect_ruling = NULL;
    sl_ruling_fini(&c->ruling);
    c->ruling = (struct sl_ruling){ 0 };
    l = &c->env->conf->limits;
    if (c->server != NULL)
        sl_h1_server_set_limits(c->server, &l->head, l->body_bytes);
}

static bool is_undecided(const struct sl_conn *c)
{
    return c->state == ST_READ || c->state == ST_MULTIPLEX ||
           (c->intercept != NULL && sl_intercept_is_peeking(c->intercept));
}

void sl_conn_set_env(struct sl_conn *c, struct sl_env *env)
{
    sl_env_unref(&c->next_env);
    c->next_env = sl_env_ref(env);
    if (!is_undecided(c))
        return;
    sl_conn_take_env(c);
    if (c->intercept != NULL)
        sl_intercept_set_env(c->intercept, c->env);
    if (c->multiplex != NULL)
        sl_multiplex_set_env(c->multiplex, c->env);
}

void sl_conn_drain(struct sl_conn *c)
{
    c->is_draining = true;
    if (c->server != NULL)
        sl_h1_server_drain(c->server);
    if (c->multiplex != NULL)
        sl_multiplex_drain(c->multiplex);
    if (c->intercept != NULL)
        sl_intercept_hurry(c->intercept, DRAIN_MS);
    sl_task_post(c->env->loop, &c->wake);
}

void sl_conn_go(struct sl_conn *c, enum sl_conn_state to)
{
    sl_state_go(&sl_conn_table, &c->state, (uint8_t)to);
}

void sl_conn_run(struct sl_conn *c)
{
    sl_state_run(&sl_conn_table, &c->state, c);
    if (c->state == ST_ENDED)
        c->ended(c->arg, c);
}

static void on_wake(void *arg)
{
    sl_conn_run(arg);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    sl_conn_run(arg);
}

void sl_conn_serve(struct sl_conn *c, struct sl_stream *stream, bool is_proxy)
{
    const struct sl_limits *l = &c->env->conf->limits;
    struct sl_h1_server_conf conf = {
        .loop = c->env->loop,
        .limits = l->head,
        .origin = { .scheme = c->client.tls_version != NULL ? SL_STR("https") : SL_STR("http"),
                    .is_proxy = is_proxy },
        .tolerates_half_close = true,
        .body_bytes = l->body_bytes,
    };

    c->server = sl_h1_server_new(&conf, stream, sl_buf_str(&c->preface));
    sl_buf_fini(&c->preface);
    sl_h1_server_on_ready(c->server, on_ready, c);
    if (c->is_draining)
        sl_h1_server_drain(c->server);
}

void sl_conn_arm(struct sl_conn *c, uint32_t ms)
{
    sl_timer_start(c->env->loop, &c->timer, ms, on_timer, c);
}

/* -- READ -- */

/* Idle before the first byte of a request, then the head's own time. */
static void arm(struct sl_conn *c)
{
    const struct sl_limits *l = &c->env->conf->limits;
    enum sl_conn_timer is_for = sl_h1_server_is_idle(c->server) ? TIMER_IDLE : TIMER_HEAD;
    bool goes_on = sl_timer_is_armed(&c->timer) && c->timer_is_for == TIMER_HEAD;

    if (c->is_draining)
        sl_conn_arm(c, DRAIN_MS);
    else if (is_for == TIMER_IDLE)
        sl_conn_arm(c, l->idle_timeout_ms);
    else if (!goes_on)
        sl_conn_arm(c, l->header_timeout_ms);
    c->timer_is_for = is_for;
}

static void start_exchange(struct sl_conn *c, struct sl_http_stream *stream,
                           const struct sl_fault *fault)
{
    c->exchange = sl_exchange_start(
        &(struct sl_exchange_conf){
            .env = c->env, .client = &c->client, .stream = stream, .malformed = fault },
        on_exchanged, c);
    sl_conn_go(c, ST_EXCHANGE);
}

static void on_exchanged(void *arg)
{
    struct sl_conn *c = arg;

    c->exchange = NULL;
    c->has_served = true;
    sl_conn_go(c, ST_READ);
    sl_conn_run(c);
}

static void begin(struct sl_conn *c, struct sl_http_stream *stream)
{
    const struct sl_head *head;

    if (stream->ops->recv_head(stream, &head) != SL_OK || !head->is_connect ||
        c->client.connect_host.n != 0) {
        start_exchange(c, stream, NULL);
        return;
    }
    c->connect = stream;
    sl_conn_connect(c, head);
}

static void st_read(void *self)
{
    struct sl_conn *c = self;
    struct sl_http_stream *stream = NULL;
    struct sl_fault fault = { 0 };
    enum sl_err err;

    sl_conn_take_env(c);
    if (c->is_draining && c->has_served && sl_h1_server_is_idle(c->server)) {
        sl_conn_go(c, ST_ENDED);
        return;
    }
    err = sl_h1_server_next(c->server, &stream, &fault);
    if (err == SL_AGAIN) {
        arm(c);
        return;
    }
    sl_timer_stop(&c->timer);
    if (err == SL_OK)
        begin(c, stream);
    else if (stream != NULL)
        start_exchange(c, stream, &fault);
    else
        sl_conn_go(c, ST_ENDED);
}

/* A head that does not come to its end is answered; a connection that is only idle, or does not
 * take its answer, just ends. */
static void on_timer(void *arg)
{
    struct sl_conn *c = arg;
    struct sl_http_stream *stream = NULL;

    if (c->state == ST_READ)
        stream = sl_h1_server_give_up(c->server, SL_REQUEST_TIMEOUT);
    if (stream != NULL)
        start_exchange(c, stream, &stream->fault);
    else
        sl_conn_go(c, ST_ENDED);
    sl_conn_run(c);
}

/* Callbacks go on from here: of the exchange, the ask, the dial, the interception, the relay. */
static void st_wait(void *self)
{
    (void)self;
}

static struct sl_metric *gauges[ST_N];

#define AND_END SL_TO(ST_ENDED)

static const struct sl_state_row rows[ST_N] = {
    [ST_READ] = { "read", SL_TO(ST_EXCHANGE) | SL_TO(ST_DECIDE) | AND_END, st_read },
    [ST_EXCHANGE] = { "exchange", SL_TO(ST_READ) | AND_END, st_wait },
    [ST_DECIDE] = { "decide", SL_TO(ST_DIAL) | SL_TO(ST_ANSWER) | AND_END, st_wait },
    [ST_DIAL] = { "dial", SL_TO(ST_ANSWER) | SL_TO(ST_TUNNEL) | AND_END, st_wait },
    [ST_ANSWER] = { "answer", SL_TO(ST_INTERCEPT) | SL_TO(ST_TUNNEL) | SL_TO(ST_READ) | AND_END,
                    sl_conn_st_answer },
    [ST_INTERCEPT] = { "intercept",
                       SL_TO(ST_READ) | SL_TO(ST_MULTIPLEX) | SL_TO(ST_OPAQUE) | SL_TO(ST_DIAL) |
                           AND_END,
                       st_wait },
    [ST_MULTIPLEX] = { "multiplex", AND_END, st_wait },
    [ST_OPAQUE] = { "opaque", SL_TO(ST_DIAL) | AND_END, st_wait },
    [ST_TUNNEL] = { "tunnel", AND_END, st_wait },
    [ST_ENDED] = { "ended", 0, NULL },
};

const struct sl_state_table sl_conn_table = {
    .machine = "connection", .rows = rows, .n_rows = ST_N, .gauges = gauges
};
