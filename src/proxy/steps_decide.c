/* steps_decide.c -- BEGIN, DECIDE, ASK: from the request's head to a verdict.
 *
 * Nobody upstream has heard of the request yet, unless upstream.preconnect says so.
 */
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/admission.h"
#include "proxy/exchange_internal.h"
#include "proxy/forward.h"
#include "proxy/snapshot.h"

static sl_gate_fn on_ruling;

/* -- BEGIN, DECIDE, ASK -- */

void sl_exchange_st_begin(void *self)
{
    struct sl_exchange *x = self;
    enum sl_err err;

    x->stream->on_ready = sl_exchange_on_ready;
    x->stream->arg = x;
    err = x->stream->ops->recv_head(x->stream, &x->request);
    if (x->malformed.err != SL_OK || err != SL_OK) {
        x->fault = x->malformed.err != SL_OK ? x->malformed : x->stream->fault;
        sl_exchange_fail(x);
        return;
    }
    if (sl_admission_is_closed(x->env->conf->admission)) {
        sl_exchange_fail_with(x, SL_LIMIT, "limits.memory");
        return;
    }
    sl_forward_request(x->client, x->request, &x->arena, &x->forward);
    sl_forward_facts(x->client, &x->forward, &x->facts);
    sl_exchange_go(x, ST_DECIDE);
}

static void allowed(struct sl_exchange *x)
{
    x->verdict = "allow";
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++) {
        sl_edit_apply(&x->ruling.verdicts[i]->request, &x->forward.fields, &x->arena);
        sl_edit_names(&x->ruling.verdicts[i]->request, &x->edited_up, &x->arena);
    }
    sl_exchange_settle_origin(x);
    sl_exchange_go(x, ST_ACQUIRE);
}

static void ruled(struct sl_exchange *x)
{
    if (x->ruling.action == SL_ACTION_ALLOW)
        allowed(x);
    else
        sl_exchange_deny(x);
}

static void on_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct sl_exchange *x = arg;

    x->ask = NULL;
    x->ruling = *ruling;
    ruled(x);
    sl_exchange_run(x);
}

static void ask(struct sl_exchange *x)
{
    uint32_t phases = 1u << SL_PHASE_REQUEST;
    struct sl_gate_ask_conf conf;

    if (x->client->connect_ruling == NULL)
        phases |= 1u << SL_PHASE_CONNECT;
    x->question = (struct sl_question){ .id = x->id,
                                        .facts = &x->facts,
                                        .connect_host = x->client->connect_host,
                                        .connect_port = x->client->connect_port,
                                        .tls_version = x->client->tls_version,
                                        .alpn = x->client->alpn,
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
    sl_exchange_preconnect(x);
    sl_exchange_go(x, ST_ASK);
}

/* A copy of the connection's denial, with references of its own. */
static void deny_as_connect(struct sl_exchange *x)
{
    x->ruling = *x->client->connect_ruling;
    for (uint32_t i = 0; i < x->ruling.n_verdicts; i++)
        sl_verdict_ref(x->ruling.verdicts[i]);
    sl_exchange_deny(x);
}

void sl_exchange_st_decide(void *self)
{
    struct sl_exchange *x = self;

    x->decision = sl_gate_rule(x->env->gate, &x->facts, SL_STAGE_REQUEST);
    if (sl_forward_identity(x->client, x->request, x->decision.rule, &x->fault) != SL_OK) {
        x->verdict = "deny";
        sl_exchange_fail(x);
        return;
    }
    if (sl_client_is_denied(x->client)) {
        deny_as_connect(x);
        return;
    }
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
        sl_exchange_deny(x);
        break;
    }
}

/* on_ruling goes on. */
void sl_exchange_st_ask(void *self)
{
    struct sl_exchange *x = self;

    if (x->request->framing == SL_FRAMING_NONE)
        sl_exchange_watch_client(x);
}
