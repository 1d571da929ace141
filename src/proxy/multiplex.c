/* multiplex.c -- state: SERVING -> ENDING (GOAWAY was said, the client gets a moment to see it)
 *
 * The timer means what the connection waits for: its first frame, the rest of a head, anything at
 * all, or its end; exchanges have time-outs of their own.
 */
#include "proxy/multiplex.h"

#include "base/list.h"
#include "base/mem.h"
#include "http/h2_server.h"
#include "io/loop.h"
#include "proxy/exchange.h"
#include "proxy/snapshot.h"

/* For the client to see GOAWAY and close. */
#define END_MS 1000u

struct sl_multiplex {
    struct sl_env *env;
    struct sl_client *client;
    struct sl_h2_server *server;
    struct sl_link running; /* exchanges */
    uint32_t n_running;
    bool is_ending; /* ENDING */
    struct sl_timer timer;
    uint32_t wait_ms; /* what it measures; 0: nothing */
    sl_multiplex_fn *done;
    void *arg;
};

struct running {
    struct sl_link in_mux;
    struct sl_multiplex *mux;
    struct sl_exchange *exchange;
};

static void on_change(void *arg);
static void on_timer(void *arg);
static void on_exchanged(void *arg);

/* Half a head is waited for whenever the connection has more streams than exchanges. */
static uint32_t patience_ms(const struct sl_multiplex *m)
{
    const struct sl_limits *l = &m->env->conf->limits;
    uint32_t n_streams = sl_h2_server_n_streams(m->server);

    if (sl_h2_server_is_over(m->server) || (m->is_ending && n_streams == 0))
        return END_MS;
    if (n_streams > m->n_running || sl_h2_server_is_new(m->server))
        return l->header_timeout_ms;
    return n_streams == 0 ? l->idle_timeout_ms : 0;
}

/* Starting over only when something else is waited for keeps a flood of streams from being what
 * holds a head open. */
static void arm(struct sl_multiplex *m)
{
    uint32_t ms = patience_ms(m);

    if (ms == 0)
        sl_timer_stop(&m->timer);
    else if (ms != m->wait_ms || !sl_timer_is_armed(&m->timer))
        sl_timer_start(m->env->loop, &m->timer, ms, on_timer, m);
    m->wait_ms = ms;
}

struct sl_multiplex *sl_multiplex_start(const struct sl_multiplex_conf *conf, sl_multiplex_fn *done,
                                        void *arg)
{
    struct sl_multiplex *m = sl_zalloc(sizeof(*m));
    const struct sl_limits *l = &conf->env->conf->limits;

    *m = (struct sl_multiplex){
        .env = sl_env_ref(conf->env), .client = conf->client, .done = done, .arg = arg
    };
    sl_list_init(&m->running);
    m->server = sl_h2_server_new(&(struct sl_h2_server_conf){ .loop = m->env->loop,
                                                              .limits = l->head,
                                                              .max_streams = l->streams,
                                                              .body_bytes = l->body_bytes,
                                                              .on_change = on_change,
                                                              .arg = m },
                                 conf->stream, conf->preface);
    arm(m);
    return m;
}

void sl_multiplex_cancel(struct sl_multiplex **mux)
{
    struct sl_multiplex *m = *mux;

    if (m == NULL)
        return;
    *mux = NULL;
    for (struct sl_link *link; (link = sl_list_pop(&m->running)) != NULL;) {
        struct running *r = SL_CONTAINER(link, struct running, in_mux);

        sl_exchange_cancel(&r->exchange);
        sl_free(r);
    }
    sl_timer_stop(&m->timer);
    sl_h2_server_free(&m->server);
    sl_env_unref(&m->env);
    sl_free(m);
}

static void finish(struct sl_multiplex *m)
{
    sl_multiplex_fn *done = m->done;
    void *arg = m->arg;

    sl_multiplex_cancel(&m);
    done(arg);
}

void sl_multiplex_set_env(struct sl_multiplex *m, struct sl_env *env)
{
    const struct sl_limits *l = &env->conf->limits;

    sl_env_ref(env);
    sl_env_unref(&m->env);
    m->env = env;
    sl_h2_server_set_limits(m->server, &l->head, l->streams, l->body_bytes);
}

void sl_multiplex_drain(struct sl_multiplex *m)
{
    m->is_ending = true;
    sl_h2_server_drain(m->server);
    arm(m);
}

static void begin(struct sl_multiplex *m, struct sl_http_stream *stream,
                  const struct sl_fault *malformed)
{
    struct running *r = sl_zalloc(sizeof(*r));

    r->mux = m;
    sl_list_add(&m->running, &r->in_mux);
    m->n_running++;
    r->exchange = sl_exchange_start(
        &(struct sl_exchange_conf){
            .env = m->env, .client = m->client, .stream = stream, .malformed = malformed },
        on_exchanged, r);
}

static void on_exchanged(void *arg)
{
    struct running *r = arg;
    struct sl_multiplex *m = r->mux;

    sl_link_remove(&r->in_mux);
    m->n_running--;
    sl_free(r);
    arm(m);
}

static void on_change(void *arg)
{
    struct sl_multiplex *m = arg;
    struct sl_http_stream *stream;
    struct sl_fault fault = { 0 };
    enum sl_err err;

    for (;;) {
        err = sl_h2_server_next(m->server, &stream, &fault);
        if (stream == NULL)
            break;
        begin(m, stream, err == SL_OK ? NULL : &fault);
    }
    if (err == SL_EOF)
        finish(m);
    else
        arm(m);
}

static void on_timer(void *arg)
{
    struct sl_multiplex *m = arg;

    if (m->is_ending || sl_h2_server_is_over(m->server))
        finish(m);
    else
        sl_multiplex_drain(m);
}
