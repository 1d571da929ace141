/* steps.c -- an exchange's table of steps, and what the steps share: failing, denying, waiting.
 *
 * Invariants: nothing is written to lease.stream before ST_SEND, and only ST_DECIDE and ST_ASK lead
 * there, through an allowing verdict.  Once status is set a final head is on its way to the client,
 * and what fails later can only cut the connection.
 */
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/exchange_internal.h"
#include "proxy/forward.h"
#include "proxy/snapshot.h"

#define DROP_BYTES ((size_t)64 * 1024)

void sl_exchange_go(struct sl_exchange *x, enum sl_exchange_state to)
{
    sl_state_go(&sl_exchange_table, &x->state, (uint8_t)to);
}

/* -- failing -- */

/* Nobody will want the request's body any more.  What of it is there already is read, so that a
 * short one does not cost the connection; with more to come, the reply says `Connection: close`. */
static void drop_body(struct sl_exchange *x)
{
    char *chunk = sl_chunk_get();
    size_t n, total = 0;

    while (x->malformed.err == SL_OK && total < DROP_BYTES &&
           x->stream->ops->recv_body(x->stream, chunk, SL_CHUNK_SIZE, &n) == SL_OK)
        total += n;
    sl_chunk_put(chunk);
}

static void start_reply(struct sl_exchange *x, const struct sl_reply_conf *conf)
{
    drop_body(x);
    sl_acquire_cancel(&x->acquire);
    sl_http_stream_close(&x->lease.stream);
    sl_reply_make(conf, &x->reply);
    x->status = x->reply.head.status;
    if (x->stream->ops->send_head(x->stream, &x->reply.head) == SL_OK)
        sl_exchange_go(x, ST_REPLY);
    else
        sl_exchange_go(x, ST_DONE);
}

/* Ends the exchange for the reason in x->fault: a page if one can still be sent, else a cut. */
void sl_exchange_fail(struct sl_exchange *x)
{
    if (x->status != 0 || x->fault.err == SL_CANCELLED) {
        sl_exchange_go(x, ST_DONE);
        return;
    }
    start_reply(x, &(struct sl_reply_conf){ .arena = &x->arena,
                                            .request = x->request,
                                            .id = x->id,
                                            .err = x->fault.err,
                                            .detail = x->fault.text });
}

void sl_exchange_fail_with(struct sl_exchange *x, enum sl_err err, const char *text)
{
    sl_fault_set(&x->fault, err, "%s", text);
    sl_exchange_fail(x);
}

void sl_exchange_blame_client(struct sl_exchange *x)
{
    if (x->stream->fault.err == SL_INTERNAL)
        x->fault = x->stream->fault;
    else
        sl_fault_set(&x->fault, SL_CANCELLED, "client went away");
}

/* The policy's no: by a rule, or by the last verdict of a check. */
void sl_exchange_deny(struct sl_exchange *x)
{
    const struct sl_ruling *r = &x->ruling;
    const struct sl_verdict *v = r->n_verdicts != 0 ? r->verdicts[r->n_verdicts - 1] : NULL;
    bool failed = v != NULL && v->is_failure;

    x->verdict = "deny";
    if (failed)
        sl_fault_set(&x->fault, SL_CHECK_FAILED, "%s", sl_check_name(r->decider));
    start_reply(x, &(struct sl_reply_conf){ .arena = &x->arena,
                                            .request = x->request,
                                            .id = x->id,
                                            .err = failed ? SL_CHECK_FAILED : SL_DENIED,
                                            .status = v != NULL ? v->status : r->rule->status,
                                            .reason = v != NULL ? v->reason : r->rule->reason,
                                            .verdict = failed ? NULL : v });
}

/* -- the stall timer -- */

static void on_stall(void *arg);

/* How long the present state may see no byte; 0: for ever. */
static uint32_t patience_ms(const struct sl_exchange *x)
{
    const struct sl_snapshot_conf *c = x->env->conf;

    return x->state == ST_SEND && x->up_state == SL_PUMP_DONE ? c->upstream.response_timeout_ms
                                                              : c->limits.idle_timeout_ms;
}

void sl_exchange_progress(struct sl_exchange *x)
{
    uint32_t ms = patience_ms(x);

    x->progress_ms = sl_loop_now_ms(x->env->loop);
    if (ms == 0)
        sl_timer_stop(&x->stall);
    else if (!sl_timer_is_armed(&x->stall) || x->stall.due_ms > x->progress_ms + ms)
        sl_timer_start(x->env->loop, &x->stall, ms, on_stall, x);
}

static enum sl_err stall_error(const struct sl_exchange *x)
{
    if (x->state != ST_SEND)
        return SL_READ_TIMEOUT;
    if (x->up_state == SL_PUMP_WAIT_READ)
        return SL_REQUEST_TIMEOUT;
    return x->up_state == SL_PUMP_WAIT_WRITE ? SL_WRITE_TIMEOUT : SL_RESPONSE_TIMEOUT;
}

static void on_stall(void *arg)
{
    struct sl_exchange *x = arg;
    uint64_t quiet = sl_loop_now_ms(x->env->loop) - x->progress_ms;
    uint32_t ms = patience_ms(x);

    if (ms == 0)
        return;
    if (quiet < ms) {
        sl_timer_start(x->env->loop, &x->stall, ms - quiet, on_stall, x);
        return;
    }
    sl_exchange_fail_with(x, stall_error(x), "");
    sl_exchange_run(x);
}

/* With its request complete, all that can still come from the client is the news that it is gone.
 * True when it is. */
bool sl_exchange_watch_client(struct sl_exchange *x)
{
    char none;
    size_t n;
    enum sl_err err = x->stream->ops->recv_body(x->stream, &none, 1, &n);

    if (err == SL_EOF || err == SL_AGAIN) {
        x->stream->ops->want(x->stream, SL_READABLE);
        return false;
    }
    sl_exchange_blame_client(x);
    sl_exchange_fail(x);
    return true;
}

void sl_exchange_on_ready(void *arg, unsigned events)
{
    struct sl_exchange *x = arg;

    (void)events;
    if (x->stream->is_gone) {
        sl_exchange_blame_client(x);
        sl_exchange_fail(x);
    }
    sl_exchange_run(x);
}

/* -- REPLY -- */

static enum sl_err send_reply(struct sl_exchange *x)
{
    struct sl_str body = x->reply.body;

    if (x->request != NULL && sl_str_eq(x->request->method, SL_STR("HEAD")))
        body.n = 0;
    while (x->reply_sent < body.n) {
        size_t n = 0;
        enum sl_err err = x->stream->ops->send_body(x->stream, body.p + x->reply_sent,
                                                    body.n - x->reply_sent, &n);

        if (err != SL_OK)
            return err;
        x->reply_sent += n;
    }
    return x->stream->ops->send_end(x->stream, NULL);
}

static void st_reply(void *self)
{
    struct sl_exchange *x = self;
    enum sl_err err = send_reply(x);

    if (err == SL_AGAIN) {
        x->stream->ops->want(x->stream, SL_WRITABLE);
        sl_exchange_progress(x);
        return;
    }
    sl_exchange_go(x, ST_DONE);
}

/* -- the table -- */

static struct sl_metric *gauges[ST_N];

static const struct sl_state_row rows[ST_N] = {
    [ST_BEGIN] = { "begin", SL_TO(ST_DECIDE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                   sl_exchange_st_begin },
    [ST_DECIDE] = { "decide", SL_TO(ST_ASK) | SL_TO(ST_ACQUIRE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                    sl_exchange_st_decide },
    [ST_ASK] = { "ask", SL_TO(ST_ACQUIRE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE), sl_exchange_st_ask },
    [ST_ACQUIRE] = { "acquire", SL_TO(ST_SEND) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                     sl_exchange_st_acquire },
    [ST_SEND] = { "send", SL_TO(ST_ACQUIRE) | SL_TO(ST_RELAY) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                  sl_exchange_st_send },
    [ST_RELAY] = { "relay", SL_TO(ST_DONE), sl_exchange_st_relay },
    [ST_REPLY] = { "reply", SL_TO(ST_DONE), st_reply },
    [ST_DONE] = { "done", 0, NULL },
};

const struct sl_state_table sl_exchange_table = {
    .machine = "exchange", .rows = rows, .n_rows = ST_N, .gauges = gauges
};
