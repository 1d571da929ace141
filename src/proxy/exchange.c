/* exchange.c -- the life of an exchange: start, wake, log, end.  What it does is in steps.c. */
#include "proxy/exchange.h"

#include "base/mem.h"
#include "http/uri.h"
#include "proxy/account.h"
#include "proxy/exchange_internal.h"
#include "proxy/snapshot.h"

static void on_wake(void *arg);

void sl_exchange_register(void)
{
    sl_state_register(&sl_exchange_table);
    sl_account_register();
    sl_websocket_register();
}

struct sl_exchange *sl_exchange_start(const struct sl_exchange_conf *conf, sl_exchange_fn *done,
                                      void *arg)
{
    struct sl_exchange *x = sl_zalloc(sizeof(*x));

    *x = (struct sl_exchange){ .env = sl_env_ref(conf->env),
                               .client = conf->client,
                               .stream = conf->stream,
                               .done = done,
                               .arg = arg,
                               .start_us = sl_clock_us(),
                               .start_mono_us = sl_mono_us(),
                               .verdict = "error" };
    if (conf->malformed != NULL)
        x->malformed = *conf->malformed;
    x->wake = (struct sl_task){ .fn = on_wake, .arg = x };
    sl_arena_init(&x->arena);
    sl_id_make(x->id);
    sl_state_begin(&sl_exchange_table, &x->state);
    sl_task_post(x->env->loop, &x->wake);
    return x;
}

static void describe_upstream(const struct sl_exchange *x, struct sl_record *r)
{
    if (x->lease.peer.addr.len == 0)
        return;
    r->upstream = &x->lease.peer.addr;
    r->upstream_reused = x->lease.reused;
    r->tls_upstream = x->lease.peer.tls_version;
}

static void describe_request(const struct sl_exchange *x, struct sl_record *r)
{
    /* Of a head that could not be parsed the tunnel still tells whom it was for. */
    r->host = x->client->connect_host;
    r->port = x->client->connect_port;
    if (x->request == NULL)
        return;
    if (x->request->host.n != 0) {
        r->host = x->request->host;
        r->port = x->forward.port != 0 ? x->forward.port : x->request->port;
    }
    if (!sl_str_eq(x->client->connect_host, r->host))
        r->connect = x->client->connect_host;
    if (!sl_str_eq(x->client->sni, r->host))
        r->sni = x->client->sni;
    r->method = x->request->method;
    r->scheme = x->facts.scheme.n != 0 ? x->facts.scheme : x->request->scheme;
    r->target = x->request->target;
    r->http_major = x->request->major;
    r->http_minor = x->request->minor;
}

bool sl_client_is_denied(const struct sl_client *client)
{
    return client->connect_ruling != NULL && client->connect_ruling->action != SL_ACTION_ALLOW;
}

static void account(struct sl_exchange *x)
{
    struct sl_record r = { .start_us = x->start_us,
                           .id = x->id,
                           .client = &x->client->addr,
                           .user = x->client->user,
                           .listener = x->client->listener,
                           .status = x->status,
                           .bytes_in = x->stream->n_received,
                           .bytes_out = x->stream->n_sent,
                           .duration_us = sl_mono_us() - x->start_mono_us,
                           .verdict = x->verdict,
                           .leaf = x->client->leaf,
                           .tls_client = x->client->tls_version,
                           .error = x->fault.err,
                           .detail = x->fault.text };

    if (x->websocket != NULL) {
        sl_websocket_account(x->websocket);
        r.close_code = sl_websocket_close_code(x->websocket);
    }
    describe_request(x, &r);
    describe_upstream(x, &r);
    sl_account(x->env->conf->access_log, &r, &x->ruling, x->client->connect_ruling);
    x->client->leaf = "none";
}

/* Bookkeeping that every end shares. */
static void end(struct sl_exchange *x)
{
    account(x);
    sl_state_end(&sl_exchange_table, &x->state);
    sl_timer_stop(&x->stall);
    sl_task_cancel(x->env->loop, &x->wake);
    sl_gate_ask_cancel(&x->ask);
    sl_acquire_cancel(&x->acquire);
    sl_pump_fini(&x->up);
    sl_pump_fini(&x->down);
    /* Upstream first: a connection that is handed back can serve the client's next request. */
    sl_http_stream_close(&x->lease.stream);
    sl_http_stream_close(&x->stream);
    sl_ruling_fini(&x->ruling);
    sl_arena_fini(&x->arena);
    sl_env_unref(&x->env);
}

void sl_exchange_cancel(struct sl_exchange **exchange)
{
    struct sl_exchange *x = *exchange;

    if (x == NULL)
        return;
    *exchange = NULL;
    if (x->fault.err == SL_OK)
        sl_fault_set(&x->fault, SL_CANCELLED, "connection ended");
    end(x);
    sl_free(x);
}

void sl_exchange_run(struct sl_exchange *x)
{
    sl_exchange_fn *done = x->done;
    void *arg = x->arg;

    sl_state_run(&sl_exchange_table, &x->state, x);
    if (x->state != ST_DONE)
        return;
    end(x);
    sl_free(x);
    done(arg);
}

static void on_wake(void *arg)
{
    sl_exchange_run(arg);
}
