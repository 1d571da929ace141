/* gate.h -- one worker's way to a verdict: rules first, then the checks a rule names.
 *
 * The policy (ruleset and checks) is an immutable snapshot shared by all workers; a gate is one
 * worker's access to it. Thread: a policy any; a gate the loop's.
 */
#ifndef SL_POLICY_GATE_H
#define SL_POLICY_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/check.h"
#include "policy/ruleset.h"

struct sl_gate;
struct sl_gate_ask;
struct sl_policy;

#define SL_GATE_MAX_CHECKS 8u /**< checks a rule may name; the configuration refuses more */

/** Takes over @a ruleset and the checks. */
struct sl_policy *sl_policy_new(struct sl_ruleset *ruleset, struct sl_check **checks,
                                uint32_t n_checks);
struct sl_policy *sl_policy_ref(struct sl_policy *p);
void sl_policy_unref(struct sl_policy **p);
const struct sl_ruleset *sl_policy_ruleset(const struct sl_policy *p);
struct sl_check *sl_policy_check(const struct sl_policy *p, uint32_t index);

enum sl_cache_use { SL_CACHE_NONE, SL_CACHE_HIT, SL_CACHE_MISS, SL_CACHE_STALE };

/** What was decided and by whom; holds references. */
struct sl_ruling {
    enum sl_action action;      /**< ALLOW, DENY, REFUSE or TUNNEL; CHECK: ask */
    const struct sl_rule *rule; /**< lives as the policy */
    struct sl_verdict
        *verdicts[SL_GATE_MAX_CHECKS]; /**< of the checks asked, but for those in shadow mode; the
                                          last one denies when DENY */
    const struct sl_check *checks[SL_GATE_MAX_CHECKS]; /**< who gave each of them */
    uint32_t n_verdicts;
    const struct sl_check *decider; /**< the check that decided; NULL: the rule did */
    enum sl_cache_use cache;
    uint64_t check_us; /**< waited for checks */
};

void sl_ruling_fini(struct sl_ruling *r);

struct sl_gate_conf {
    struct sl_policy *policy; /**< a reference is taken */
    struct sl_route route;
    struct sl_mailbox *mailbox;
};

struct sl_gate *sl_gate_new(const struct sl_gate_conf *conf);
/** Every ask must have ended. */
void sl_gate_free(struct sl_gate **gate);

/** What the rules say; nobody is asked. */
struct sl_decision sl_gate_rule(const struct sl_gate *gate, const struct sl_facts *facts,
                                enum sl_stage stage);

/** Whether any check of the rule has @a phase. */
bool sl_gate_has_phase(const struct sl_gate *gate, const struct sl_rule *rule, enum sl_phase phase);

/** Exactly once, from the loop, never from inside start; the ask is already gone.  @a ruling: ALLOW
 * or DENY, the callee's to fini. */
typedef void sl_gate_fn(void *arg, const struct sl_ruling *ruling);

struct sl_gate_ask_conf {
    struct sl_gate *gate;
    const struct sl_rule *rule;   /**< with action CHECK */
    struct sl_question *question; /**< borrowed until the end; phase and text are written here */
    struct sl_arena *arena;       /**< for the question's text; borrowed until the end */
    uint32_t phases; /**< bit set of the phases now due; a check with several of them is asked
                        in the last, one with none of them is passed over */
    bool is_opaque;  /**< nothing more will be known: every check is asked, in phase connect */
};

/** Goes through the rule's checks in order, as far as the cache answers.  True with *ret_ruling
 * filled when that was far enough; else false, *ret_ruling unchanged. */
bool sl_gate_try(const struct sl_gate_ask_conf *conf, struct sl_ruling *ret_ruling);

/** All must allow; the first that denies ends it.  Each check is asked about the request as those
 * before it have edited it; to the request itself the caller applies the verdicts' edits in order.
 */
struct sl_gate_ask *sl_gate_ask_start(const struct sl_gate_ask_conf *conf, sl_gate_fn *done,
                                      void *arg);
void sl_gate_ask_cancel(struct sl_gate_ask **ask);

#endif
