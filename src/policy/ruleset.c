/* ruleset.c -- state: filled while it has one owner, then constant but for its reference count.
 *
 * rules[n] does not exist; the default stands apart and answers to index n.
 */
#include "policy/ruleset.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/mem.h"

struct sl_ruleset {
    atomic_uint refs;
    struct sl_arena arena; /* names, reasons, checks */
    struct sl_rule *rules;
    uint32_t n, cap;
    struct sl_rule fallback;
    uint32_t needs;
};

struct sl_ruleset *sl_ruleset_new(enum sl_action fallback)
{
    struct sl_ruleset *set = sl_zalloc(sizeof(*set));

    atomic_init(&set->refs, 1);
    set->fallback = (struct sl_rule){ .action = fallback, .name = SL_STR("default") };
    return set;
}

static uint32_t needs_of(const struct sl_rule *rule)
{
    return rule->when != NULL ? sl_expression_needs(rule->when) : 0;
}

static struct sl_rule *append(struct sl_ruleset *set)
{
    if (set->n == set->cap) {
        set->cap = set->cap > 0 ? set->cap * 2 : 16;
        set->rules = sl_realloc(set->rules, set->cap * sizeof(*set->rules));
    }
    return &set->rules[set->n++];
}

static const struct sl_host_pattern *copy_names(struct sl_arena *a, const struct sl_rule *rule)
{
    struct sl_host_pattern *names = sl_arena_alloc(a, (rule->n_names + 1) * sizeof(*names));

    for (uint32_t i = 0; i < rule->n_names; i++) {
        names[i] = rule->names[i];
        names[i].name = sl_arena_str(a, rule->names[i].name);
    }
    return names;
}

void sl_ruleset_add(struct sl_ruleset *set, struct sl_rule *rule)
{
    struct sl_rule *mine = append(set);
    uint32_t *checks = sl_arena_alloc(&set->arena, (rule->n_checks + 1) * sizeof(*checks));

    *mine = *rule;
    if (rule->n_checks > 0)
        memcpy(checks, rule->checks, rule->n_checks * sizeof(*checks));
    mine->checks = checks;
    mine->names = copy_names(&set->arena, rule);
    mine->reason = sl_arena_str(&set->arena, rule->reason);
    mine->name = rule->name.n > 0 ? sl_arena_str(&set->arena, rule->name)
                                  : sl_arena_printf(&set->arena, "rule-%u", set->n);
    set->needs |= needs_of(rule);
    rule->when = NULL;
}

struct sl_ruleset *sl_ruleset_ref(struct sl_ruleset *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void sl_ruleset_unref(struct sl_ruleset **set)
{
    struct sl_ruleset *s = *set;

    *set = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        sl_expression_free(&s->rules[i].when);
    sl_arena_fini(&s->arena);
    sl_free(s->rules);
    sl_free(s);
}

uint32_t sl_ruleset_len(const struct sl_ruleset *set)
{
    return set->n;
}

const struct sl_rule *sl_ruleset_rule(const struct sl_ruleset *set, uint32_t index)
{
    return index < set->n ? &set->rules[index] : &set->fallback;
}

uint32_t sl_ruleset_needs(const struct sl_ruleset *set)
{
    return set->needs;
}

void sl_ruleset_each_file(const struct sl_ruleset *set, sl_file_fn *fn, void *arg)
{
    for (uint32_t i = 0; i < sl_ruleset_len(set); i++)
        if (sl_ruleset_rule(set, i)->when != NULL)
            sl_expression_each_file(sl_ruleset_rule(set, i)->when, fn, arg);
}

static enum sl_truth ask(const struct sl_rule *rule, const struct sl_facts *facts)
{
    return rule->when != NULL ? sl_expression_eval(rule->when, facts) : SL_TRUE;
}

static bool looks_at_response(const struct sl_rule *rule)
{
    return (needs_of(rule) & SL_FACTS_OF_RESPONSE) != 0;
}

/* Doubt never opens. */
static bool counts_in_doubt(enum sl_action action)
{
    switch (action) {
    case SL_ACTION_DENY:
    case SL_ACTION_REFUSE:
    case SL_ACTION_CHECK:
        return true;
    case SL_ACTION_ALLOW:
    case SL_ACTION_TUNNEL:
        return false;
    }
    return true;
}

static bool decides(const struct sl_rule *rule, enum sl_truth truth)
{
    return truth == SL_TRUE || (truth == SL_UNKNOWN && counts_in_doubt(rule->action));
}

struct sl_decision sl_ruleset_decide(const struct sl_ruleset *set, const struct sl_facts *facts,
                                     enum sl_stage stage)
{
    struct sl_decision d = { .decided = SL_DECIDED_RULE };

    for (; d.index < set->n; d.index++) {
        enum sl_truth truth = ask(&set->rules[d.index], facts);

        d.rule = &set->rules[d.index];
        d.in_doubt = truth == SL_UNKNOWN;
        if (d.in_doubt && stage == SL_STAGE_EARLY) {
            d.decided = SL_DECIDED_UNKNOWN;
            return d;
        }
        if (d.in_doubt && stage == SL_STAGE_REQUEST && looks_at_response(d.rule))
            d.awaits_response = true;
        else if (decides(d.rule, truth))
            return d;
    }
    d.decided = SL_DECIDED_DEFAULT;
    d.rule = &set->fallback;
    d.in_doubt = false;
    return d;
}

struct sl_decision sl_ruleset_decide_response(const struct sl_ruleset *set,
                                              const struct sl_facts *facts,
                                              const struct sl_decision *request)
{
    for (uint32_t i = 0; i < request->index; i++) {
        const struct sl_rule *rule = &set->rules[i];
        enum sl_truth truth = looks_at_response(rule) ? ask(rule, facts) : SL_FALSE;

        if (decides(rule, truth))
            return (struct sl_decision){ .decided = SL_DECIDED_RULE,
                                         .rule = rule,
                                         .index = i,
                                         .in_doubt = truth == SL_UNKNOWN };
    }
    return *request;
}

bool sl_rule_permits_name(const struct sl_rule *rule, struct sl_str host, struct sl_str name)
{
    if (sl_str_eq(name, host))
        return true;
    for (uint32_t i = 0; i < rule->n_names; i++)
        if (sl_host_pattern_match(&rule->names[i], name))
            return true;
    return false;
}

const char *sl_action_name(enum sl_action action)
{
    static const char *const names[] = {
        [SL_ACTION_ALLOW] = "allow",   [SL_ACTION_DENY] = "deny",   [SL_ACTION_REFUSE] = "refuse",
        [SL_ACTION_TUNNEL] = "tunnel", [SL_ACTION_CHECK] = "check",
    };

    return names[action];
}
