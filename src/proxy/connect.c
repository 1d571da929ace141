/* connect.c -- from a CONNECT to what becomes of it.
 *
 * DECIDE: refuse, tunnel, or intercept (the rule).  Interception ends in requests again (READ), or
 * in bytes that cannot or shall not be opened: DIAL and TUNNEL, after OPAQUE has asked whether they
 * may pass.
 */
#include "base/log.h"
#include "base/mem.h"
#include "http/http_stream.h"
#include "http/uri.h"
#include "io/stream.h"
#include "proxy/account.h"
#include "proxy/conn_internal.h"
#include "proxy/snapshot.h"
#include "proxy/sni.h"

/* A fatal alert in a record of its own (RFC 8446 sections 5.1, 6). */
#define ALERT_UNRECOGNIZED_NAME "\x15\x03\x01\x00\x02\x02\x70"

static sl_gate_fn on_connect_ruling;
static sl_gate_fn on_opaque_ruling;
static sl_connect_fn on_dialled;
static sl_intercept_fn on_intercepted;
static sl_relay_fn on_relayed;

/* -- the log line of a CONNECT that did not end in exchanges -- */

struct outcome {
    const char *verdict;
    uint16_t status;
    uint64_t bytes_in, bytes_out;
    bool opaque;
};

static void account(struct sl_conn *c, const struct outcome *o)
{
    struct sl_record r = { .start_us = c->start_us,
                           .id = c->id,
                           .client = &c->client.addr,
                           .user = c->client.user,
                           .listener = c->client.listener,
                           .method = SL_STR("CONNECT"),
                           .host = c->client.connect_host,
                           .port = c->client.connect_port,
                           .http_major = 1,
                           .http_minor = 1,
                           .status = o->status,
                           .bytes_in = o->bytes_in,
                           .bytes_out = o->bytes_out,
                           .duration_us = sl_mono_us() - c->start_mono_us,
                           .verdict = o->verdict,
                           .leaf = c->client.leaf,
                           .opaque = o->opaque,
                           .error = c->fault.err,
                           .detail = c->fault.text };

    if (c->peer.addr.len != 0)
        r.upstream = &c->peer.addr;
    sl_account(c->env->conf->access_log, &r, &c->ruling, NULL);
    c->id[0] = '\0';
}

/* A handed-over tunnel was allowed either by a rule that says tunnel, or as something opaque, until
 * it turned out to be for another name. */
static const char *verdict_of_tunnel(enum sl_action action)
{
    if (action == SL_ACTION_TUNNEL)
        return "tunnel";
    return action == SL_ACTION_DENY ? "deny" : "allow";
}

static void account_tunnel(struct sl_conn *c, const struct sl_relay_result *moved)
{
    account(c, &(struct outcome){ .verdict = verdict_of_tunnel(c->ruling.action),
                                  .status = 200,
                                  .bytes_in = moved->bytes_in,
                                  .bytes_out = moved->bytes_out,
                                  .opaque = true });
}

void sl_conn_account_cut(struct sl_conn *c)
{
    struct sl_relay_result moved;

    if (c->id[0] == '\0')
        return;
    if (c->fault.err == SL_OK)
        sl_fault_set(&c->fault, SL_CANCELLED, "connection ended");
    if (c->relay == NULL) {
        account(c, &(struct outcome){ .verdict = "error", .status = c->connect == NULL ? 200 : 0 });
        return;
    }
    sl_relay_count(c->relay, &moved);
    account_tunnel(c, &moved);
}

/* -- answering the CONNECT -- */

static void answer(struct sl_conn *c, enum sl_conn_plan plan)
{
    c->plan = plan;
    if (c->connect->ops->send_head(c->connect, &c->reply.head) == SL_OK)
        sl_conn_go(c, ST_ANSWER);
    else
        sl_conn_go(c, ST_ENDED);
}

static void answer_established(struct sl_conn *c, enum sl_conn_plan plan)
{
    c->reply = (struct sl_reply){ .head = { .arena = &c->arena,
                                            .status = 200,
                                            .reason = SL_STR("Connection established"),
                                            .major = 1,
                                            .minor = 1,
                                            .keep_alive = true,
                                            .framing = SL_FRAMING_RAW } };
    answer(c, plan);
}

/* A reply of our own; the connection can carry another request afterwards. */
static void answer_refused(struct sl_conn *c, enum sl_err err)
{
    const struct sl_head *request = NULL;
    const struct sl_rule *rule = err == SL_DENIED ? c->ruling.rule : NULL;

    if (c->connect->ops->recv_head(c->connect, &request) != SL_OK)
        request = NULL;
    sl_reply_make(&(struct sl_reply_conf){ .arena = &c->arena,
                                           .request = request,
                                           .id = c->id,
                                           .err = err,
                                           .status = rule != NULL ? rule->status : 0,
                                           .reason = rule != NULL ? rule->reason : SL_STR(""),
                                           .detail = c->fault.text },
                  &c->reply);
    c->reply_sent = 0;
    answer(c, PLAN_READ);
}

static void start_intercept(struct sl_conn *c, struct sl_stream *stream)
{
    sl_conn_take_env(c);
    c->intercept = sl_intercept_start(&(struct sl_intercept_conf){ .env = c->env,
                                                                   .stream = stream,
                                                                   .preface = &c->preface,
                                                                   .facts = &c->facts,
                                                                   .arena = &c->arena },
                                      on_intercepted, c);
    if (c->is_draining)
        sl_intercept_hurry(c->intercept, DRAIN_MS);
    sl_conn_go(c, ST_INTERCEPT);
}

static enum sl_err on_first(void *arg, struct sl_str first)
{
    struct sl_conn *c = arg;

    return sl_sni_look(first, c->client.connect_host, c->ruling.rule, &c->arena, &c->fault);
}

/* What passes by a rule that says tunnel may be anything but TLS for another name, which the rule
 * has not seen yet if it decided at the CONNECT; by its name alone, anything but a request. */
static void start_relay(struct sl_conn *c, struct sl_stream *client)
{
    bool is_tunnel = c->ruling.action == SL_ACTION_TUNNEL;
    /* An address may be called by any name, unless its rule has some. */
    bool is_named = c->plan == PLAN_TUNNEL &&
                    (!sl_host_is_ip(c->client.connect_host) || c->ruling.rule->n_names > 0);

    c->relay = sl_relay_start(
        &(struct sl_relay_conf){ .loop = c->env->loop,
                                 .client = client,
                                 .upstream = c->upstream,
                                 .preface = sl_buf_str(&c->preface),
                                 .idle_timeout_ms = c->env->conf->limits.idle_timeout_ms,
                                 .line = is_tunnel ? NULL : &c->line,
                                 .first = is_named ? on_first : NULL,
                                 .refusal = SL_STR(ALERT_UNRECOGNIZED_NAME) },
        on_relayed, c);
    c->upstream = NULL;
    sl_buf_fini(&c->preface);
    sl_conn_go(c, ST_TUNNEL);
}

static enum sl_err send_answer(struct sl_conn *c)
{
    struct sl_http_stream *s = c->connect;

    if (c->plan != PLAN_READ)
        return s->ops->flush(s);
    while (c->reply_sent < c->reply.body.n) {
        size_t n = 0;
        enum sl_err err = s->ops->send_body(s, c->reply.body.p + c->reply_sent,
                                            c->reply.body.n - c->reply_sent, &n);

        if (err != SL_OK)
            return err;
        c->reply_sent += n;
    }
    return s->ops->send_end(s, NULL);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    sl_conn_run(arg);
}

/* The 200 is out: the bytes that follow are not HTTP of this connection any more. */
static void hand_over(struct sl_conn *c)
{
    struct sl_stream *stream = sl_h1_server_detach(&c->server, &c->preface);

    sl_stream_want(stream, 0);
    if (c->plan == PLAN_TUNNEL)
        start_relay(c, stream);
    else
        start_intercept(c, stream);
}

void sl_conn_st_answer(void *self)
{
    struct sl_conn *c = self;
    enum sl_err err;

    sl_timer_stop(&c->timer);
    c->connect->on_ready = on_ready;
    c->connect->arg = c;
    err = send_answer(c);
    if (err == SL_AGAIN) {
        c->connect->ops->want(c->connect, SL_WRITABLE);
        sl_conn_arm(c, c->env->conf->limits.idle_timeout_ms);
        return;
    }
    if (err != SL_OK) {
        sl_conn_go(c, ST_ENDED);
        return;
    }
    sl_http_stream_close(&c->connect);
    if (c->plan != PLAN_READ) {
        hand_over(c);
        return;
    }
    c->client.connect_host = SL_STR("");
    c->facts = (struct sl_facts){ 0 };
    sl_arena_fini(&c->arena);
    sl_ruling_fini(&c->ruling);
    sl_conn_go(c, ST_READ);
}

/* -- DIAL -- */

static void dial(struct sl_conn *c)
{
    struct sl_origin origin = { .host = c->client.connect_host, .port = c->client.connect_port };

    c->dial = sl_connect_start(&c->env->route, &origin, on_dialled, c);
    sl_conn_go(c, ST_DIAL);
}

static void set_ruling(struct sl_conn *c, const struct sl_ruling *r)
{
    sl_ruling_fini(&c->ruling);
    c->ruling = *r;
}

static void dial_failed(struct sl_conn *c, const struct sl_fault *fault)
{
    const char *verdict = fault->err == SL_BLOCKED_ADDRESS ? "deny" : "tunnel";
    uint16_t status = c->connect != NULL ? (uint16_t)sl_err_http(fault->err) : 200;

    c->fault = *fault;
    if (c->connect != NULL)
        answer_refused(c, fault->err);
    else
        sl_conn_go(c, ST_ENDED);
    if (fault->err == SL_BLOCKED_ADDRESS)
        set_ruling(c, &(struct sl_ruling){ .action = SL_ACTION_DENY });
    account(c, &(struct outcome){ .verdict = verdict, .status = status, .opaque = true });
}

static void on_dialled(void *arg, struct sl_stream *stream, const struct sl_peer *peer,
                       const struct sl_fault *fault)
{
    struct sl_conn *c = arg;

    c->dial = NULL;
    c->upstream = stream;
    if (stream == NULL) {
        dial_failed(c, fault);
    } else {
        c->peer = *peer;
        if (c->connect != NULL) {
            answer_established(c, PLAN_TUNNEL);
        } else {
            struct sl_stream *client = c->stream;

            c->stream = NULL;
            start_relay(c, client);
        }
    }
    sl_conn_run(c);
}

static void on_relayed(void *arg, const struct sl_relay_result *result)
{
    struct sl_conn *c = arg;

    c->relay = NULL;
    if (c->fault.err != SL_OK)
        set_ruling(c, &(struct sl_ruling){ .action = SL_ACTION_DENY });
    c->fault.err = result->err;
    account_tunnel(c, result);
    sl_conn_go(c, ST_ENDED);
    sl_conn_run(c);
}

/* -- DECIDE -- */

static void ask(struct sl_conn *c, bool is_opaque, sl_gate_fn *done)
{
    c->question = (struct sl_question){ .id = c->id,
                                        .facts = &c->facts,
                                        .connect_host = c->client.connect_host,
                                        .connect_port = c->client.connect_port };
    c->ask = sl_gate_ask_start(&(struct sl_gate_ask_conf){ .gate = c->env->gate,
                                                           .rule = c->decision.rule,
                                                           .question = &c->question,
                                                           .arena = &c->arena,
                                                           .phases = 1u << SL_PHASE_CONNECT,
                                                           .is_opaque = is_opaque },
                               done, c);
}

static void on_connect_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct sl_conn *c = arg;

    c->ask = NULL;
    set_ruling(c, ruling);
    c->client.connect_ruling = &c->ruling;
    answer_established(c, PLAN_INTERCEPT);
    sl_conn_run(c);
}

static void refuse(struct sl_conn *c)
{
    uint16_t status =
        c->ruling.rule->status != 0 ? c->ruling.rule->status : (uint16_t)sl_err_http(SL_DENIED);

    answer_refused(c, SL_DENIED);
    account(c, &(struct outcome){ .verdict = "refuse", .status = status });
}

static void decide(struct sl_conn *c)
{
    const struct sl_rule *rule;

    c->decision = sl_gate_rule(c->env->gate, &c->facts, SL_STAGE_EARLY);
    rule = c->decision.rule;
    c->ruling = (struct sl_ruling){ .rule = rule, .action = rule->action };
    if (c->decision.decided == SL_DECIDED_UNKNOWN || rule->action == SL_ACTION_ALLOW ||
        rule->action == SL_ACTION_DENY)
        answer_established(c, PLAN_INTERCEPT);
    else if (rule->action == SL_ACTION_REFUSE)
        refuse(c);
    else if (rule->action == SL_ACTION_TUNNEL)
        dial(c);
    else if (sl_gate_has_phase(c->env->gate, rule, SL_PHASE_CONNECT))
        ask(c, false, on_connect_ruling);
    else
        answer_established(c, PLAN_INTERCEPT);
}

void sl_conn_connect(struct sl_conn *c, const struct sl_head *head)
{
    static const enum sl_fact known[] = { SL_FACT_CLIENT, SL_FACT_USER, SL_FACT_HOST,
                                          SL_FACT_PORT };

    sl_id_make(c->id);
    c->start_us = sl_clock_us();
    c->start_mono_us = sl_mono_us();
    c->fault = (struct sl_fault){ 0 };
    c->client.connect_host = sl_arena_str(&c->arena, head->host);
    c->client.connect_port = head->port;
    c->facts = (struct sl_facts){ .client = &c->client.addr,
                                  .user = c->client.user,
                                  .host = c->client.connect_host,
                                  .port = head->port };
    for (size_t i = 0; i < SL_LEN(known); i++)
        sl_facts_learn(&c->facts, known[i]);
    sl_conn_go(c, ST_DECIDE);
    decide(c);
}

/* -- after INTERCEPT -- */

static void refuse_opaque(struct sl_conn *c)
{
    account(c, &(struct outcome){ .verdict = "deny", .status = 200, .opaque = true });
    sl_conn_go(c, ST_ENDED);
}

static void on_opaque_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct sl_conn *c = arg;

    c->ask = NULL;
    set_ruling(c, ruling);
    if (ruling->action == SL_ACTION_ALLOW)
        dial(c);
    else
        refuse_opaque(c);
    sl_conn_run(c);
}

/* Nothing more will ever be known of these bytes than the name they go to. */
static void decide_opaque(struct sl_conn *c)
{
    sl_conn_go(c, ST_OPAQUE);
    if (sl_client_is_denied(&c->client)) {
        refuse_opaque(c);
        return;
    }
    c->facts.scheme = SL_STR("tcp");
    sl_facts_learn(&c->facts, SL_FACT_SCHEME);
    c->decision = sl_gate_rule(c->env->gate, &c->facts, SL_STAGE_OPAQUE);
    set_ruling(c,
               &(struct sl_ruling){ .rule = c->decision.rule, .action = c->decision.rule->action });
    switch (c->ruling.action) {
    case SL_ACTION_CHECK:
        ask(c, true, on_opaque_ruling);
        break;
    case SL_ACTION_ALLOW:
    case SL_ACTION_TUNNEL:
        dial(c);
        break;
    case SL_ACTION_DENY:
    case SL_ACTION_REFUSE:
        refuse_opaque(c);
        break;
    }
}

static void intercept_failed(struct sl_conn *c, const struct sl_intercept_result *r)
{
    const struct sl_fault *fault = r->fault;

    c->fault = *fault;
    if (r->leaf != NULL)
        c->client.leaf = r->leaf;
    set_ruling(c, &(struct sl_ruling){ .action = SL_ACTION_DENY });
    if (fault->err == SL_TLS_ALERT)
        sl_log(SL_LOG_INFO, "client rejects our certificate for %.*s: %s",
               SL_FMT(c->client.connect_host), fault->text);
    account(c, &(struct outcome){ .verdict = "error", .status = 200 });
    sl_conn_go(c, ST_ENDED);
}

static void on_multiplexed(void *arg)
{
    struct sl_conn *c = arg;

    c->multiplex = NULL;
    sl_conn_go(c, ST_ENDED);
    sl_conn_run(c);
}

static void serve_streams(struct sl_conn *c, struct sl_stream *stream)
{
    sl_conn_take_env(c);
    c->multiplex =
        sl_multiplex_start(&(struct sl_multiplex_conf){ .env = c->env,
                                                        .client = &c->client,
                                                        .stream = stream,
                                                        .preface = sl_buf_str(&c->preface) },
                           on_multiplexed, c);
    sl_buf_fini(&c->preface);
    sl_conn_go(c, ST_MULTIPLEX);
    if (c->is_draining)
        sl_multiplex_drain(c->multiplex);
}

static void serve_inside(struct sl_conn *c, const struct sl_intercept_result *r)
{
    c->client.tls_version = r->tls_version;
    c->client.sni = c->facts.sni;
    c->client.alpn_offered = c->facts.alpn;
    if (c->facts.alpn.n != 0)
        c->client.alpn = r->http2 ? SL_STR("h2") : SL_STR("http/1.1");
    c->client.leaf = r->leaf != NULL ? r->leaf : "none";
    c->id[0] = '\0';
    if (r->http2) {
        serve_streams(c, r->stream);
        return;
    }
    sl_conn_serve(c, r->stream, false);
    sl_conn_go(c, ST_READ);
}

/* The rule that said so has seen the SNI by now. */
static void tunnel_unopened(struct sl_conn *c)
{
    c->decision = sl_gate_rule(c->env->gate, &c->facts, SL_STAGE_EARLY);
    set_ruling(c,
               &(struct sl_ruling){ .rule = c->decision.rule, .action = c->decision.rule->action });
    dial(c);
}

static void on_intercepted(void *arg, const struct sl_intercept_result *r)
{
    struct sl_conn *c = arg;

    c->intercept = NULL;
    switch (r->kind) {
    case SL_INTERCEPT_TLS:
    case SL_INTERCEPT_HTTP:
        serve_inside(c, r);
        break;
    case SL_INTERCEPT_TUNNEL:
        c->stream = r->stream;
        tunnel_unopened(c);
        break;
    case SL_INTERCEPT_OPAQUE:
        c->stream = r->stream;
        decide_opaque(c);
        break;
    case SL_INTERCEPT_FAILED:
        intercept_failed(c, r);
        break;
    }
    sl_conn_run(c);
}
