/* steps.c -- the steps of an exchange, in the order of a life.
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

static void go(struct sl_exchange *x, enum sl_exchange_state to)
{
    sl_state_go(&sl_exchange_table, &x->state, (uint8_t)to);
}

/* -- failing -- */

/* Nobody will want the request's body any more.  What of it is there already is read, so that a short
 * one does not cost the connection; with more to come, the reply says `Connection: close`. */
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
        go(x, ST_REPLY);
    else
        go(x, ST_DONE);
}

/* Ends the exchange for the reason in x->fault: a page if one can still be sent, else a cut. */
static void fail(struct sl_exchange *x)
{
    if (x->status != 0 || x->fault.err == SL_CANCELLED) {
        go(x, ST_DONE);
        return;
    }
    start_reply(x, &(struct sl_reply_conf){ .arena = &x->arena,
                                            .request = x->request,
                                            .id = x->id,
                                            .err = x->fault.err,
                                            .detail = x->fault.text });
}

static void fail_with(struct sl_exchange *x, enum sl_err err, const char *text)
{
    sl_fault_set(&x->fault, err, "%s", text);
    fail(x);
}

/* The policy's no: by a rule, or by the last verdict of a check. */
static void deny(struct sl_exchange *x)
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

static void progress(struct sl_exchange *x)
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
    fail_with(x, stall_error(x), "");
    sl_exchange_run(x);
}

static sl_acquire_fn on_acquired;

/* With its request complete, all that can still come from the client is the news that it is gone.
 * True when it is. */
static bool watch_client(struct sl_exchange *x)
{
    char none;
    size_t n;
    enum sl_err err = x->stream->ops->recv_body(x->stream, &none, 1, &n);

    if (err == SL_EOF || err == SL_AGAIN) {
        x->stream->ops->want(x->stream, SL_READABLE);
        return false;
    }
    fail_with(x, SL_CANCELLED, "client went away");
    return true;
}

/* -- BEGIN, DECIDE, ASK -- */

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    sl_exchange_run(arg);
}

static void st_begin(void *self)
{
    struct sl_exchange *x = self;
    enum sl_err err;

    x->stream->on_ready = on_ready;
    x->stream->arg = x;
    err = x->stream->ops->recv_head(x->stream, &x->request);
    if (x->malformed.err != SL_OK || err != SL_OK) {
        x->fault = x->malformed.err != SL_OK ? x->malformed : x->stream->fault;
        fail(x);
        return;
    }
    if (sl_forward_identity(x->client, x->request, &x->fault) != SL_OK) {
        x->verdict = "deny";
        fail(x);
        return;
    }
    sl_forward_request(x->client, x->request, &x->arena, &x->forward);
    sl_forward_facts(x->client, &x->forward, &x->facts);
    go(x, ST_DECIDE);
}

static void set_origin(struct sl_exchange *x)
{
    const struct sl_rule *rule = x->decision.rule;

    x->origin = (struct sl_origin){ .host = x->forward.host,
                                    .port = x->forward.port,
                                    .tls = sl_str_eq(x->request->scheme, SL_STR("https")),
                                    .verify = x->env->conf->upstream.verify,
                                    .owner = x->client->is_pinned ? x->client->id : 0 };
    if (rule->verify != SL_INHERIT)
        x->origin.verify = rule->verify == SL_FORCE_ON;
}

static void allowed(struct sl_exchange *x)
{
    x->verdict = "allow";
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++)
        sl_edit_apply(&x->ruling.verdicts[i]->request, &x->forward.fields, &x->arena);
    set_origin(x);
    go(x, ST_ACQUIRE);
}

static void ruled(struct sl_exchange *x)
{
    if (x->ruling.action == SL_ACTION_ALLOW)
        allowed(x);
    else
        deny(x);
}

static void on_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct sl_exchange *x = arg;

    x->ask = NULL;
    x->ruling = *ruling;
    ruled(x);
    sl_exchange_run(x);
}

/* upstream.preconnect: the connection is made while the check is out; nothing is written to it. */
static void preconnect(struct sl_exchange *x)
{
    enum sl_override o = x->decision.rule->preconnect;

    if (o == SL_FORCE_OFF || (o == SL_INHERIT && !x->env->conf->upstream.preconnect))
        return;
    set_origin(x);
    if (!sl_pool_try(x->env->pool, &x->origin, &x->lease))
        x->acquire = sl_acquire_start(x->env->pool, &x->origin, false, on_acquired, x);
}

static void ask(struct sl_exchange *x)
{
    uint32_t phases = 1u << SL_PHASE_REQUEST;
    struct sl_gate_ask_conf conf;

    if (!x->client->connect_was_asked)
        phases |= 1u << SL_PHASE_CONNECT;
    x->question = (struct sl_question){ .id = x->id,
                                        .facts = &x->facts,
                                        .connect_host = x->client->connect_host,
                                        .connect_port = x->client->connect_port,
                                        .tls_version = x->client->tls_version,
                                        .head = &x->forward };
    conf = (struct sl_gate_ask_conf){ .gate = x->env->gate,
                                      .rule = x->decision.rule,
                                      .question = &x->question,
                                      .arena = &x->arena,
                                      .phases = phases };
    if (sl_gate_try(&conf, &x->ruling)) {
        ruled(x);
        return;
    }
    x->ask = sl_gate_ask_start(&conf, on_ruling, x);
    preconnect(x);
    go(x, ST_ASK);
}

/* A copy of the connection's denial, with references of its own. */
static void deny_as_connect(struct sl_exchange *x)
{
    x->ruling = *x->client->connect_denied;
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++)
        sl_verdict_ref(x->ruling.verdicts[i]);
    deny(x);
}

static void st_decide(void *self)
{
    struct sl_exchange *x = self;

    if (x->client->connect_denied != NULL) {
        deny_as_connect(x);
        return;
    }
    x->decision = sl_gate_rule(x->env->gate, &x->facts, SL_STAGE_REQUEST);
    x->ruling = (struct sl_ruling){ .rule = x->decision.rule, .action = x->decision.rule->action };
    switch (x->ruling.action) {
    case SL_ACTION_CHECK:
        ask(x);
        break;
    case SL_ACTION_ALLOW:
    case SL_ACTION_TUNNEL: /* open already: passing it on is what is left of a tunnel */
        allowed(x);
        break;
    case SL_ACTION_DENY:
    case SL_ACTION_REFUSE:
        deny(x);
        break;
    }
}

/* on_ruling goes on. */
static void st_ask(void *self)
{
    struct sl_exchange *x = self;

    if (x->request->framing == SL_FRAMING_NONE)
        watch_client(x);
}

/* -- ACQUIRE -- */

static void on_acquired(void *arg, const struct sl_lease *lease, const struct sl_fault *fault)
{
    struct sl_exchange *x = arg;

    x->acquire = NULL;
    if (lease != NULL) {
        x->lease = *lease;
    } else if (x->state ==
               ST_ACQUIRE) { /* a preconnect that failed is tried again after the verdict */
        x->fault = *fault;
        if (fault->err == SL_BLOCKED_ADDRESS)
            x->verdict = "deny";
        fail(x);
    }
    sl_exchange_run(x);
}

static void begin_upload(struct sl_exchange *x)
{
    x->up = (struct sl_pump){ .from = x->stream, .to = x->lease.stream };
    x->up_state = SL_PUMP_WAIT_READ;
}

static void begin_send(struct sl_exchange *x)
{
    struct sl_http_stream *up = x->lease.stream;

    sl_assert(up != NULL);
    up->on_ready = on_ready;
    up->arg = x;
    begin_upload(x);
    if (up->ops->send_head(up, &x->forward) == SL_OK) {
        go(x, ST_SEND);
        progress(x);
        return;
    }
    x->fault = up->fault;
    fail(x);
}

static void st_acquire(void *self)
{
    struct sl_exchange *x = self;

    if (x->request->framing == SL_FRAMING_NONE && watch_client(x))
        return;
    if (x->acquire != NULL)
        return;
    if (x->lease.stream == NULL &&
        (x->is_retry || !sl_pool_try(x->env->pool, &x->origin, &x->lease))) {
        x->acquire = sl_acquire_start(x->env->pool, &x->origin, x->is_retry, on_acquired, x);
        return;
    }
    begin_send(x);
}

/* -- SEND -- */

/* RFC 9110 section 9.2.2: only a request that may be sent twice, and of which the client's body is
 * untouched. */
static bool may_retry(const struct sl_exchange *x)
{
    return x->lease.reused && !x->is_retry && x->request->framing == SL_FRAMING_NONE &&
           sl_method_is_idempotent(x->request->method) &&
           sl_pool_is_unanswered(x->env->pool, x->lease.stream);
}

static void lost_upstream(struct sl_exchange *x, enum sl_err err)
{
    if (may_retry(x)) {
        x->is_retry = true;
        sl_pump_fini(&x->up);
        sl_http_stream_close(&x->lease.stream);
        go(x, ST_ACQUIRE);
        return;
    }
    x->fault = x->lease.stream->fault;
    if (x->fault.err == SL_OK)
        sl_fault_set(&x->fault, err == SL_EOF ? SL_RESET : err, "origin closed without a response");
    fail(x);
}

static void pass_interim(struct sl_exchange *x, const struct sl_head *interim)
{
    struct sl_head head;

    sl_forward_response(interim, x->request, &x->arena, &head);
    if (x->stream->ops->send_head(x->stream, &head) != SL_OK ||
        x->stream->ops->flush(x->stream) == SL_RESET)
        x->up_state = SL_PUMP_SOURCE_FAILED;
}

static bool names_connection_auth(const struct sl_fields *f, enum sl_field_id id)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct sl_str v = f->v[i].value;

        if (f->v[i].id == id && (sl_str_ieq(sl_str_head(v, 4), SL_STR("NTLM")) ||
                                 sl_str_ieq(sl_str_head(v, 9), SL_STR("Negotiate"))))
            return true;
    }
    return false;
}

/* NTLM and Negotiate authenticate the connection: from the first sign on it is this client's alone.
 */
static void pin_if_authenticated(struct sl_exchange *x)
{
    if (!names_connection_auth(&x->request->fields, SL_FIELD_AUTHORIZATION) &&
        !names_connection_auth(&x->response->fields, SL_FIELD_WWW_AUTHENTICATE))
        return;
    x->client->is_pinned = true;
    sl_pool_pin(x->env->pool, x->lease.stream, x->client->id);
}

/* Rules that look at the response have their say; true when one of them denies. */
static bool is_response_denied(struct sl_exchange *x)
{
    const struct sl_field *type = sl_fields_find(&x->response->fields, SL_FIELD_CONTENT_TYPE);
    struct sl_decision d;

    if (!x->decision.awaits_response)
        return false;
    x->facts.status = x->response->status;
    x->facts.type = type != NULL ? type->value : SL_STR("");
    x->facts.known |= SL_FACTS_OF_RESPONSE;
    d = sl_ruleset_decide_response(sl_policy_ruleset(x->env->conf->policy), &x->facts,
                                   &x->decision);
    if (d.rule->action != SL_ACTION_DENY && d.rule->action != SL_ACTION_REFUSE)
        return false;
    sl_ruling_fini(&x->ruling);
    x->decision = d;
    x->ruling = (struct sl_ruling){ .rule = d.rule, .action = SL_ACTION_DENY };
    return true;
}

static void on_response(struct sl_exchange *x, const struct sl_head *response)
{
    struct sl_head head;

    x->response = response;
    pin_if_authenticated(x);
    if (is_response_denied(x)) {
        deny(x);
        return;
    }
    sl_forward_response(response, x->request, &x->arena, &head);
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++)
        sl_edit_apply(&x->ruling.verdicts[i]->response, &head.fields, &x->arena);
    x->status = response->status;
    if (x->stream->ops->send_head(x->stream, &head) != SL_OK) {
        sl_fault_set(&x->fault, SL_CANCELLED, "client went away");
        go(x, ST_DONE);
        return;
    }
    x->down = (struct sl_pump){ .from = x->lease.stream, .to = x->stream };
    if (x->status == 101)
        begin_upload(x); /* the request has ended; what comes now is another protocol's */
    go(x, ST_RELAY);
    progress(x);
}

/* Reads heads until the final one; SL_OK when the state has changed. */
static enum sl_err await_response(struct sl_exchange *x)
{
    struct sl_http_stream *up = x->lease.stream;
    const struct sl_head *head;
    enum sl_err err;

    while ((err = up->ops->recv_head(up, &head)) == SL_OK) {
        if (head->status >= 200 || head->status == 101) {
            on_response(x, head);
            return SL_OK;
        }
        pass_interim(x, head);
    }
    return err;
}

static void run_up(struct sl_exchange *x)
{
    uint64_t before = x->stream->n_received;
    bool was_done = x->up_state == SL_PUMP_DONE;

    if (was_done || x->up_state == SL_PUMP_SINK_FAILED || x->up_state == SL_PUMP_SOURCE_FAILED)
        return;
    x->up_state = sl_pump_run(&x->up);
    if (x->stream->n_received != before || x->up_state == SL_PUMP_DONE)
        progress(x);
}

static unsigned up_interest(const struct sl_exchange *x, enum sl_pump_state waiting, unsigned event)
{
    return x->up_state == waiting ? event : 0;
}

static void st_send(void *self)
{
    struct sl_exchange *x = self;
    enum sl_err err;

    run_up(x);
    if (x->up_state == SL_PUMP_DONE && watch_client(x))
        return;
    if (x->up_state == SL_PUMP_SOURCE_FAILED) {
        x->fault = x->stream->fault;
        if (x->fault.err == SL_OK || x->fault.err == SL_RESET || x->fault.err == SL_EOF)
            sl_fault_set(&x->fault, SL_CANCELLED, "client went away");
        fail(x);
        return;
    }
    err = await_response(x);
    if (err == SL_OK)
        return;
    if (err != SL_AGAIN || x->up_state == SL_PUMP_SINK_FAILED) {
        lost_upstream(x, err == SL_AGAIN ? SL_RESET : err);
        return;
    }
    if (x->up_state == SL_PUMP_WAIT_READ)
        x->stream->ops->want(x->stream, SL_READABLE);
    x->lease.stream->ops->want(x->lease.stream,
                               SL_READABLE | up_interest(x, SL_PUMP_WAIT_WRITE, SL_WRITABLE));
}

/* -- RELAY -- */

static void cut(struct sl_exchange *x, const struct sl_fault *fault, enum sl_err otherwise)
{
    x->fault = *fault;
    if (x->fault.err == SL_OK)
        x->fault.err = otherwise;
    go(x, ST_DONE);
}

static void st_relay(void *self)
{
    struct sl_exchange *x = self;
    uint64_t before = x->stream->n_sent;
    bool is_raw = x->status == 101;
    enum sl_pump_state down;

    run_up(x);
    if (x->up_state == SL_PUMP_DONE && !is_raw && watch_client(x))
        return;
    down = sl_pump_run(&x->down);
    if (x->stream->n_sent != before)
        progress(x);
    if (down == SL_PUMP_SOURCE_FAILED) {
        cut(x, &x->lease.stream->fault, SL_RESPONSE_CUT);
        return;
    }
    if (down == SL_PUMP_SINK_FAILED || x->up_state == SL_PUMP_SOURCE_FAILED) {
        cut(x, &(struct sl_fault){ .err = SL_CANCELLED, .text = "client went away" }, SL_CANCELLED);
        return;
    }
    if (down == SL_PUMP_DONE &&
        (!is_raw || x->up_state == SL_PUMP_DONE || x->up_state == SL_PUMP_SINK_FAILED)) {
        go(x, ST_DONE);
        return;
    }
    x->stream->ops->want(x->stream, up_interest(x, SL_PUMP_WAIT_READ, SL_READABLE) |
                                        up_interest(x, SL_PUMP_DONE, SL_READABLE) |
                                        (down == SL_PUMP_WAIT_WRITE ? SL_WRITABLE : 0));
    x->lease.stream->ops->want(x->lease.stream, up_interest(x, SL_PUMP_WAIT_WRITE, SL_WRITABLE) |
                                                    (down == SL_PUMP_WAIT_READ ? SL_READABLE : 0));
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
        progress(x);
        return;
    }
    go(x, ST_DONE);
}

/* -- the table -- */

static struct sl_metric *gauges[ST_N];

static const struct sl_state_row rows[ST_N] = {
    [ST_BEGIN] = { "begin", SL_TO(ST_DECIDE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE), st_begin },
    [ST_DECIDE] = { "decide", SL_TO(ST_ASK) | SL_TO(ST_ACQUIRE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                    st_decide },
    [ST_ASK] = { "ask", SL_TO(ST_ACQUIRE) | SL_TO(ST_REPLY) | SL_TO(ST_DONE), st_ask },
    [ST_ACQUIRE] = { "acquire", SL_TO(ST_SEND) | SL_TO(ST_REPLY) | SL_TO(ST_DONE), st_acquire },
    [ST_SEND] = { "send", SL_TO(ST_ACQUIRE) | SL_TO(ST_RELAY) | SL_TO(ST_REPLY) | SL_TO(ST_DONE),
                  st_send },
    [ST_RELAY] = { "relay", SL_TO(ST_DONE), st_relay },
    [ST_REPLY] = { "reply", SL_TO(ST_DONE), st_reply },
    [ST_DONE] = { "done", 0, NULL },
};

const struct sl_state_table sl_exchange_table = {
    .machine = "exchange", .rows = rows, .n_rows = ST_N, .gauges = gauges
};
