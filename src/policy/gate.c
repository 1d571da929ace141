/* gate.c -- an ask walks its rule's checks: cache, else question, then the next.
 *
 * Invariant: while an ask waits, checks before walk.at have allowed and their verdicts are in the
 * walk, which holds its references, and whose question has their edits.
 */
#include "policy/gate.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"

struct sl_policy {
    atomic_uint refs;
    struct sl_ruleset *ruleset;
    struct sl_check **checks;
    uint32_t n_checks;
};

struct sl_gate {
    struct sl_policy *policy;
    struct sl_loop *loop;
    struct sl_check_client **clients; /* one a check */
};

struct shadow {
    const struct sl_check *check;
    struct sl_verdict *verdict;
};

/* How far along its checks a rule has been followed. */
struct walk {
    struct sl_ruling ruling;
    struct sl_question *question; /* the asker's, or `edited` once a verdict has edits */
    struct sl_question edited;
    struct sl_facts facts; /* of `edited` */
    struct sl_head head;   /* of `edited` */
    uint32_t at;           /* the check being asked */
    uint32_t n_shadows;
    struct shadow shadows[SL_GATE_MAX_CHECKS]; /* what checks in shadow mode said */
};

struct sl_gate_ask {
    struct sl_gate_ask_conf conf;
    struct walk walk;
    struct sl_ask *ask;
    struct sl_task known; /* posted when the cache knew it all: the loop reports, as always */
    uint64_t started_us;
    sl_gate_fn *done;
    void *arg;
};

enum progress { WALK_ENDED, WALK_MUST_ASK };

static sl_ask_fn on_asked;
static void on_known(void *arg);

struct sl_policy *sl_policy_new(struct sl_ruleset *ruleset, struct sl_check **checks,
                                uint32_t n_checks)
{
    struct sl_policy *p = sl_zalloc(sizeof(*p));

    atomic_init(&p->refs, 1);
    p->ruleset = ruleset;
    p->checks = checks;
    p->n_checks = n_checks;
    return p;
}

struct sl_policy *sl_policy_ref(struct sl_policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void sl_policy_unref(struct sl_policy **policy)
{
    struct sl_policy *p = *policy;

    if (p == NULL)
        return;
    *policy = NULL;
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < p->n_checks; i++)
        sl_check_free(&p->checks[i]);
    sl_free(p->checks);
    sl_ruleset_unref(&p->ruleset);
    sl_free(p);
}

const struct sl_ruleset *sl_policy_ruleset(const struct sl_policy *p)
{
    return p->ruleset;
}

struct sl_check *sl_policy_check(const struct sl_policy *p, uint32_t index)
{
    return p->checks[index];
}

void sl_ruling_fini(struct sl_ruling *r)
{
    for (uint32_t i = 0; i < r->n_verdicts; i++)
        sl_verdict_unref(&r->verdicts[i]);
    r->n_verdicts = 0;
}

struct sl_gate *sl_gate_new(const struct sl_gate_conf *conf)
{
    struct sl_gate *g = sl_zalloc(sizeof(*g));

    *g = (struct sl_gate){ .policy = sl_policy_ref(conf->policy), .loop = conf->route.loop };
    g->clients = sl_zalloc((conf->policy->n_checks + 1) * sizeof(struct sl_check_client *));
    for (uint32_t i = 0; i < conf->policy->n_checks; i++)
        g->clients[i] = sl_check_client_new(&(struct sl_check_client_conf){
            .check = conf->policy->checks[i], .route = conf->route, .mailbox = conf->mailbox });
    return g;
}

void sl_gate_free(struct sl_gate **gate)
{
    struct sl_gate *g = *gate;

    if (g == NULL)
        return;
    *gate = NULL;
    for (uint32_t i = 0; i < g->policy->n_checks; i++)
        sl_check_client_free(&g->clients[i]);
    sl_free(g->clients);
    sl_policy_unref(&g->policy);
    sl_free(g);
}

struct sl_decision sl_gate_rule(const struct sl_gate *gate, const struct sl_facts *facts,
                                enum sl_stage stage)
{
    return sl_ruleset_decide(gate->policy->ruleset, facts, stage);
}

bool sl_gate_has_phase(const struct sl_gate *gate, const struct sl_rule *rule, enum sl_phase phase)
{
    for (uint32_t i = 0; i < rule->n_checks; i++) {
        if (sl_check_has_phase(gate->policy->checks[rule->checks[i]], phase))
            return true;
    }
    return false;
}

/* Writes the question in the phase in which @a check is due; false when it is not due. */
static bool phrase(const struct sl_gate_ask_conf *conf, const struct walk *w,
                   const struct sl_check *check)
{
    struct sl_question *q = w->question;
    enum sl_phase phase;

    if (conf->is_opaque)
        phase = SL_PHASE_CONNECT;
    else if ((conf->phases & 1u << SL_PHASE_REQUEST) != 0 &&
             sl_check_has_phase(check, SL_PHASE_REQUEST))
        phase = SL_PHASE_REQUEST;
    else if ((conf->phases & 1u << SL_PHASE_CONNECT) != 0 &&
             sl_check_has_phase(check, SL_PHASE_CONNECT))
        phase = SL_PHASE_CONNECT;
    else
        return false;
    if (q->text.n == 0 || q->phase != phase) {
        q->phase = phase;
        sl_question_write(q, conf->arena);
    }
    return true;
}

static struct sl_check *check_at(const struct sl_gate_ask_conf *conf, uint32_t at)
{
    return conf->gate->policy->checks[conf->rule->checks[at]];
}

/* The asker's question stays as it is: the walk may have to begin anew. */
static void begin_edit(struct walk *w, struct sl_arena *arena)
{
    const struct sl_question *q = w->question;
    const struct sl_fields *fields = &q->head->fields;

    if (q == &w->edited)
        return;
    w->edited = *q;
    w->facts = *q->facts;
    w->head = *q->head;
    w->head.fields = (struct sl_fields){ 0 };
    for (uint32_t i = 0; i < fields->n; i++)
        sl_fields_add(&w->head.fields, arena, fields->v[i].name, fields->v[i].value);
    w->facts.fields = &w->head.fields;
    w->edited.facts = &w->facts;
    w->edited.head = &w->head;
    w->question = &w->edited;
}

/* The next check is asked about what will be sent, not about what was. */
static void edit(struct walk *w, const struct sl_edit *change, struct sl_arena *arena)
{
    if (w->question->head == NULL || (change->set.n == 0 && change->remove.n == 0))
        return;
    begin_edit(w, arena);
    sl_edit_apply(change, &w->head.fields, arena);
    w->edited.text = SL_STR("");
}

/* Adds a verdict; false when it denies.  Of a check in shadow mode nothing takes effect. */
static bool add_verdict(const struct sl_gate_ask_conf *conf, struct walk *w, struct sl_verdict *v)
{
    const struct sl_check *check = check_at(conf, w->at);
    struct sl_ruling *r = &w->ruling;

    if (sl_check_is_shadow(check)) {
        w->shadows[w->n_shadows++] = (struct shadow){ .check = check, .verdict = v };
        return true;
    }
    r->checks[r->n_verdicts] = check;
    r->verdicts[r->n_verdicts++] = v;
    r->decider = check;
    r->action = v->allow ? SL_ACTION_ALLOW : SL_ACTION_DENY;
    if (v->allow)
        edit(w, &v->request, conf->arena);
    return v->allow;
}

/* Goes on as far as the cache answers. */
static enum progress walk_on(const struct sl_gate_ask_conf *conf, struct walk *w)
{
    const struct sl_gate *g = conf->gate;

    for (; w->at < conf->rule->n_checks; w->at++) {
        struct sl_check *check = check_at(conf, w->at);
        struct sl_verdict *v;

        if (!phrase(conf, w, check))
            continue;
        v = sl_check_cached(check, w->question, sl_loop_now_ms(g->loop));
        if (v == NULL)
            return WALK_MUST_ASK;
        if (w->ruling.cache == SL_CACHE_NONE)
            w->ruling.cache = SL_CACHE_HIT;
        if (!add_verdict(conf, w, v))
            return WALK_ENDED;
    }
    return WALK_ENDED;
}

static struct walk walk_of(const struct sl_gate_ask_conf *conf)
{
    sl_assert(conf->rule->n_checks <= SL_GATE_MAX_CHECKS);
    return (struct walk){ .ruling = { .action = SL_ACTION_ALLOW, .rule = conf->rule },
                          .question = conf->question };
}

static void walk_fini(struct walk *w)
{
    sl_ruling_fini(&w->ruling);
    for (; w->n_shadows > 0; w->n_shadows--)
        sl_verdict_unref(&w->shadows[w->n_shadows - 1].verdict);
}

/* The ruling is the caller's; only a walk that led to one is reported. */
static struct sl_ruling walk_end(struct walk *w)
{
    struct sl_ruling r = w->ruling;

    for (uint32_t i = 0; i < w->n_shadows; i++)
        sl_check_report_shadow(w->shadows[i].check, w->question, w->shadows[i].verdict);
    w->ruling.n_verdicts = 0;
    walk_fini(w);
    return r;
}

bool sl_gate_try(const struct sl_gate_ask_conf *conf, struct sl_ruling *ret_ruling)
{
    struct walk w = walk_of(conf);

    if (walk_on(conf, &w) == WALK_MUST_ASK) {
        walk_fini(&w);
        return false;
    }
    *ret_ruling = walk_end(&w);
    return true;
}

static void finish(struct sl_gate_ask *a)
{
    struct sl_ruling r = walk_end(&a->walk);
    sl_gate_fn *done = a->done;
    void *arg = a->arg;

    r.check_us = sl_mono_us() - a->started_us;
    sl_gate_ask_cancel(&a);
    done(arg, &r);
}

static void ask_at(struct sl_gate_ask *a)
{
    struct sl_gate *g = a->conf.gate;

    if (a->walk.ruling.cache != SL_CACHE_STALE)
        a->walk.ruling.cache = SL_CACHE_MISS;
    a->ask =
        sl_ask_start(g->clients[a->conf.rule->checks[a->walk.at]], a->walk.question, on_asked, a);
}

struct sl_gate_ask *sl_gate_ask_start(const struct sl_gate_ask_conf *conf, sl_gate_fn *done,
                                      void *arg)
{
    struct sl_gate_ask *a = sl_zalloc(sizeof(*a));

    *a = (struct sl_gate_ask){ .conf = *conf,
                               .walk = walk_of(conf),
                               .known = { .fn = on_known, .arg = a },
                               .started_us = sl_mono_us(),
                               .done = done,
                               .arg = arg };
    if (walk_on(conf, &a->walk) == WALK_MUST_ASK)
        ask_at(a);
    else
        sl_task_post(conf->gate->loop, &a->known);
    return a;
}

void sl_gate_ask_cancel(struct sl_gate_ask **ask)
{
    struct sl_gate_ask *a = *ask;

    if (a == NULL)
        return;
    *ask = NULL;
    sl_ask_cancel(&a->ask);
    sl_task_cancel(a->conf.gate->loop, &a->known);
    walk_fini(&a->walk);
    sl_free(a);
}

static void on_asked(void *arg, struct sl_verdict *verdict)
{
    struct sl_gate_ask *a = arg;

    a->ask = NULL;
    if (verdict->is_stale)
        a->walk.ruling.cache = SL_CACHE_STALE;
    if (!add_verdict(&a->conf, &a->walk, verdict)) {
        finish(a);
        return;
    }
    a->walk.at++;
    if (walk_on(&a->conf, &a->walk) == WALK_MUST_ASK)
        ask_at(a);
    else
        finish(a);
}

static void on_known(void *arg)
{
    finish(arg);
}
