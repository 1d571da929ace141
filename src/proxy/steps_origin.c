/* steps_origin.c -- ACQUIRE, SEND, RELAY: an allowed request goes up, its response comes down. */
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/exchange_internal.h"
#include "proxy/forward.h"
#include "proxy/snapshot.h"

static sl_acquire_fn on_acquired;

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

/* Without TLS there is nothing to agree on, and the client knows.  A connection that is to be one
 * client's alone has to be of HTTP/1. */
static enum sl_http_choice http_for(const struct sl_exchange *x)
{
    enum sl_override o = x->decision.rule->http2;
    bool is_on = o == SL_INHERIT ? x->env->conf->upstream.http2 : o == SL_FORCE_ON;

    if (!is_on || x->client->is_pinned)
        return SL_HTTP_1;
    if (x->origin.tls)
        return SL_HTTP_ANY;
    return x->request->major >= 2 ? SL_HTTP_2 : SL_HTTP_1;
}

/* The CONNECT's host is connected to under the name that the client wants of it. */
static void set_name(struct sl_exchange *x)
{
    struct sl_str sni = x->client->sni;

    if (x->origin.tls && !sl_str_eq(sni, x->origin.host))
        x->origin.name = sni;
}

static void set_origin(struct sl_exchange *x)
{
    const struct sl_rule *rule = x->decision.rule;

    if (names_connection_auth(&x->forward.fields, SL_FIELD_AUTHORIZATION))
        x->client->is_pinned = true;
    x->origin = (struct sl_origin){ .host = x->facts.host,
                                    .port = x->forward.port,
                                    .tls = sl_str_eq(x->request->scheme, SL_STR("https")),
                                    .verify = x->env->conf->upstream.verify,
                                    .owner = x->client->is_pinned ? x->client->id : 0 };
    if (rule->verify != SL_INHERIT)
        x->origin.verify = rule->verify == SL_FORCE_ON;
    set_name(x);
    x->origin.http = http_for(x);
}

/* What was connected ahead may not fit what the verdict has made of the request. */
void sl_exchange_settle_origin(struct sl_exchange *x)
{
    struct sl_origin before = x->origin;

    set_origin(x);
    if (before.owner == x->origin.owner && before.http == x->origin.http)
        return;
    sl_http_stream_close(&x->lease.stream);
    sl_acquire_cancel(&x->acquire);
}

/* upstream.preconnect: the connection is made while the check is out; nothing is written to it. */
void sl_exchange_preconnect(struct sl_exchange *x)
{
    enum sl_override o = x->decision.rule->preconnect;

    if (o == SL_FORCE_OFF || (o == SL_INHERIT && !x->env->conf->upstream.preconnect))
        return;
    set_origin(x);
    x->attempt = SL_ATTEMPT_WAITED;
    if (!sl_pool_try(x->env->pool, &x->origin, &x->lease))
        x->acquire = sl_acquire_start(x->env->pool, &x->origin, false, on_acquired, x);
}

/* -- ACQUIRE -- */

/* The guard's no stands above whoever allowed. */
static void overrule(struct sl_exchange *x)
{
    sl_ruling_fini(&x->ruling);
    x->ruling = (struct sl_ruling){ .action = SL_ACTION_DENY, .check_us = x->ruling.check_us };
    x->verdict = "deny";
}

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
            overrule(x);
        sl_exchange_fail(x);
    }
    sl_exchange_run(x);
}

/* Trailers come after the verdict: none may stand for a field that rules or the check have decided
 * about. */
static void begin_upload(struct sl_exchange *x)
{
    uint32_t needs = sl_ruleset_needs(sl_policy_ruleset(x->env->conf->policy));

    sl_assert(x->up.chunk == NULL);
    x->up = (struct sl_pump){ .from = x->stream,
                              .to = x->lease.stream,
                              .no_trailers = &x->edited_up,
                              .drops_trailers = (needs & SL_FACT_BIT(SL_FACT_HEADERS)) != 0 };
    x->up_state = SL_PUMP_WAIT_READ;
}

/* SL_OK when the head is on its way. */
static enum sl_err begin_send(struct sl_exchange *x)
{
    struct sl_http_stream *up = x->lease.stream;
    enum sl_err err;

    sl_assert(up != NULL);
    up->on_ready = sl_exchange_on_ready;
    up->arg = x;
    begin_upload(x);
    err = up->ops->send_head(up, &x->forward);
    if (err == SL_OK) {
        sl_exchange_go(x, ST_SEND);
        sl_exchange_progress(x);
    }
    return err;
}

/* A connection that died before anything was written to it has cost nothing but time. */
static bool may_replace(struct sl_exchange *x)
{
    if (x->attempt >= SL_ATTEMPT_AGAIN)
        return false;
    x->attempt = SL_ATTEMPT_AGAIN;
    sl_http_stream_close(&x->lease.stream);
    return true;
}

void sl_exchange_st_acquire(void *self)
{
    struct sl_exchange *x = self;
    bool is_fresh = x->attempt == SL_ATTEMPT_AGAIN;

    if (x->request->framing == SL_FRAMING_NONE && sl_exchange_watch_client(x))
        return;
    if (x->acquire != NULL)
        return;
    if (x->lease.stream == NULL &&
        (is_fresh || !sl_pool_try(x->env->pool, &x->origin, &x->lease))) {
        if (x->attempt == SL_ATTEMPT_WAITED)
            x->attempt = SL_ATTEMPT_FIRST;
        x->acquire = sl_acquire_start(x->env->pool, &x->origin, is_fresh, on_acquired, x);
        return;
    }
    if (begin_send(x) == SL_OK)
        return;
    if (may_replace(x)) {
        sl_exchange_st_acquire(x);
        return;
    }
    x->fault = x->lease.stream->fault;
    sl_exchange_fail(x);
}

/* -- SEND -- */

/* The peer wants HTTP/1.1, and has not been asked in it yet. */
static bool is_other_version(const struct sl_exchange *x)
{
    return x->lease.stream->wants_http1 && x->origin.http != SL_HTTP_1;
}

/* RFC 9110 section 9.2.2, RFC 9113 section 8.7: only a request that may be sent twice or that the
 * peer has refused unseen, and of which the client's body is untouched. */
static bool may_retry(const struct sl_exchange *x)
{
    const struct sl_http_stream *up = x->lease.stream;
    bool was_idle;

    if (up->is_refused && (x->attempt < SL_ATTEMPT_AGAIN || is_other_version(x)))
        return x->stream->n_received == 0;
    if (x->attempt >= SL_ATTEMPT_AGAIN)
        return false;
    was_idle = x->lease.reused || x->attempt == SL_ATTEMPT_WAITED;
    return was_idle && x->request->framing == SL_FRAMING_NONE &&
           sl_method_is_idempotent(x->request->method) && !up->has_response;
}

static void lost_upstream(struct sl_exchange *x, enum sl_err err)
{
    if (x->lease.stream->wants_http1 && !x->forward.wants_upgrade)
        sl_pool_want_http1(&x->lease);
    if (may_retry(x)) {
        x->attempt = x->lease.stream->is_refused ? SL_ATTEMPT_ELSEWHERE : SL_ATTEMPT_AGAIN;
        if (x->lease.stream->wants_http1)
            x->origin.http = SL_HTTP_1;
        sl_pump_fini(&x->up);
        sl_http_stream_close(&x->lease.stream);
        sl_exchange_go(x, ST_ACQUIRE);
        return;
    }
    x->fault = x->lease.stream->fault;
    if (x->fault.err == SL_OK || x->fault.err == SL_EOF)
        sl_fault_set(&x->fault, err == SL_EOF ? SL_RESET : err, "origin closed without a response");
    sl_exchange_fail(x);
}

static void pass_interim(struct sl_exchange *x, const struct sl_head *interim)
{
    struct sl_head head;

    sl_forward_response(interim, x->request, x->env->conf->upstream.keeps_alt_svc, &x->arena,
                        &head);
    if (x->stream->ops->send_head(x->stream, &head) != SL_OK ||
        x->stream->ops->flush(x->stream) == SL_RESET)
        x->up_state = SL_PUMP_SOURCE_FAILED;
}

/* NTLM and Negotiate authenticate the connection: from the first sign on it is this client's alone.
 */
static void pin_if_authenticated(struct sl_exchange *x)
{
    if (!names_connection_auth(&x->forward.fields, SL_FIELD_AUTHORIZATION) &&
        !names_connection_auth(&x->response->fields, SL_FIELD_WWW_AUTHENTICATE))
        return;
    x->client->is_pinned = true;
    sl_pool_pin(x->env->pool, &x->lease, x->client->id);
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
    /* Which of several the client will believe is anybody's guess: then it is not known. */
    if (sl_fields_count(&x->response->fields, SL_FIELD_CONTENT_TYPE) > 1)
        x->facts.known &= ~SL_FACT_BIT(SL_FACT_TYPE);
    d = sl_ruleset_decide_response(sl_policy_ruleset(x->env->conf->policy), &x->facts,
                                   &x->decision);
    if (d.rule->action != SL_ACTION_DENY && d.rule->action != SL_ACTION_REFUSE)
        return false;
    sl_ruling_fini(&x->ruling);
    x->decision = d;
    x->ruling = (struct sl_ruling){ .rule = d.rule, .action = SL_ACTION_DENY };
    return true;
}

/* A WebSocket is open when the origin has answered the key.  No other success is one: rules and
 * checks have allowed a WebSocket, not the content that an ordinary request would get, and to a
 * client of HTTP/2 a 2xx would open one as well. */
static bool is_switch_sound(struct sl_exchange *x)
{
    if (x->response->status == 101)
        return sl_ws_is_accepted(&x->forward.fields, &x->response->fields, &x->arena);
    return !x->forward.wants_upgrade || x->response->status / 100 != 2;
}

static void on_response(struct sl_exchange *x, const struct sl_head *response)
{
    struct sl_head head;

    x->response = response;
    if (!is_switch_sound(x)) {
        sl_exchange_fail_with(x, SL_UPGRADE_FAILED, "origin did not switch to WebSocket");
        return;
    }
    pin_if_authenticated(x);
    if (is_response_denied(x)) {
        sl_exchange_deny(x);
        return;
    }
    sl_forward_response(response, x->request, x->env->conf->upstream.keeps_alt_svc, &x->arena,
                        &head);
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++) {
        sl_edit_apply(&x->ruling.verdicts[i]->response, &head.fields, &x->arena);
        sl_edit_names(&x->ruling.verdicts[i]->response, &x->edited_down, &x->arena);
    }
    x->status = response->status;
    if (x->stream->ops->send_head(x->stream, &head) != SL_OK) {
        sl_exchange_blame_client(x);
        sl_exchange_go(x, ST_DONE);
        return;
    }
    x->down = (struct sl_pump){ .from = x->lease.stream,
                                .to = x->stream,
                                .no_trailers = &x->edited_down };
    if (x->status == 101) {
        begin_upload(x); /* the request has ended; what comes now is another protocol's */
        x->websocket = sl_websocket_attach(&x->arena, &x->up, &x->down);
    }
    sl_exchange_go(x, ST_RELAY);
    sl_exchange_progress(x);
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

    if (was_done || x->up_state > SL_PUMP_DONE)
        return;
    x->up_state = sl_pump_run(&x->up);
    if (x->stream->n_received != before || x->up_state == SL_PUMP_DONE)
        sl_exchange_progress(x);
}

static unsigned up_interest(const struct sl_exchange *x, enum sl_pump_state waiting, unsigned event)
{
    return x->up_state == waiting ? event : 0;
}

/* An interim response may not have gone out at once, and the client may be waiting for it. */
static unsigned client_interest(struct sl_exchange *x)
{
    unsigned events =
        up_interest(x, SL_PUMP_WAIT_READ, SL_READABLE) | up_interest(x, SL_PUMP_DONE, SL_READABLE);

    return x->stream->ops->flush(x->stream) == SL_AGAIN ? events | SL_WRITABLE : events;
}

void sl_exchange_st_send(void *self)
{
    struct sl_exchange *x = self;
    enum sl_err err;

    run_up(x);
    if (x->up_state == SL_PUMP_DONE && sl_exchange_watch_client(x))
        return;
    if (x->up_state == SL_PUMP_SOURCE_FAILED) {
        x->fault = x->stream->fault;
        if (x->fault.err == SL_OK || x->fault.err == SL_RESET || x->fault.err == SL_EOF)
            sl_fault_set(&x->fault, SL_CANCELLED, "client went away");
        sl_exchange_fail(x);
        return;
    }
    err = await_response(x);
    if (err == SL_OK)
        return;
    if (err != SL_AGAIN || x->up_state == SL_PUMP_SINK_FAILED) {
        lost_upstream(x, err == SL_AGAIN ? SL_RESET : err);
        return;
    }
    x->stream->ops->want(x->stream, client_interest(x));
    x->lease.stream->ops->want(x->lease.stream,
                               SL_READABLE | up_interest(x, SL_PUMP_WAIT_WRITE, SL_WRITABLE));
}

/* -- RELAY -- */

static void cut(struct sl_exchange *x, const struct sl_fault *fault, enum sl_err otherwise)
{
    x->fault = *fault;
    if (x->fault.err == SL_OK)
        x->fault.err = otherwise;
    sl_exchange_go(x, ST_DONE);
}

/* An upgrade was allowed to WebSocket: nobody has opened what is none, so nobody has allowed it. */
static bool is_refused(struct sl_exchange *x, enum sl_pump_state down)
{
    if (x->up_state == SL_PUMP_REFUSED)
        sl_fault_set(&x->fault, SL_PROTOCOL, "client sent what is no WebSocket frame");
    else if (down == SL_PUMP_REFUSED)
        sl_fault_set(&x->fault, SL_BAD_RESPONSE, "origin sent what is no WebSocket frame");
    else
        return false;
    sl_exchange_go(x, ST_DONE);
    return true;
}

void sl_exchange_st_relay(void *self)
{
    struct sl_exchange *x = self;
    uint64_t before = x->stream->n_sent;
    bool is_raw = x->status == 101;
    enum sl_pump_state down;

    run_up(x);
    if (x->up_state == SL_PUMP_DONE && !is_raw && sl_exchange_watch_client(x))
        return;
    down = sl_pump_run(&x->down);
    if (x->stream->n_sent != before)
        sl_exchange_progress(x);
    if (is_refused(x, down))
        return;
    if (down == SL_PUMP_SOURCE_FAILED) {
        /* The head, and what came behind it, may still be queued: a client that gets nothing at all
         * could not tell this from a proxy that died. */
        if (x->stream->ops->flush(x->stream) == SL_AGAIN) {
            x->stream->ops->want(x->stream, SL_WRITABLE);
            x->lease.stream->ops->want(x->lease.stream, 0);
            return;
        }
        cut(x, &x->lease.stream->fault, SL_RESPONSE_CUT);
        return;
    }
    if (down == SL_PUMP_SINK_FAILED || x->up_state == SL_PUMP_SOURCE_FAILED) {
        sl_exchange_blame_client(x);
        sl_exchange_go(x, ST_DONE);
        return;
    }
    if (down == SL_PUMP_DONE &&
        (!is_raw || x->up_state == SL_PUMP_DONE || x->up_state == SL_PUMP_SINK_FAILED)) {
        sl_exchange_go(x, ST_DONE);
        return;
    }
    x->stream->ops->want(x->stream, up_interest(x, SL_PUMP_WAIT_READ, SL_READABLE) |
                                        up_interest(x, SL_PUMP_DONE, SL_READABLE) |
                                        (down == SL_PUMP_WAIT_WRITE ? SL_WRITABLE : 0));
    x->lease.stream->ops->want(x->lease.stream, up_interest(x, SL_PUMP_WAIT_WRITE, SL_WRITABLE) |
                                                    (down == SL_PUMP_WAIT_READ ? SL_READABLE : 0));
}
