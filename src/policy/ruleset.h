/* ruleset.h -- rules in order; the first that is true decides.
 *
 * A ruleset is built once (new, add...), then shared as a snapshot: ref and unref from any thread,
 * decide from any thread without locks.
 */
#ifndef SL_POLICY_RULESET_H
#define SL_POLICY_RULESET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "policy/expression.h"
#include "policy/facts.h"
#include "policy/host_pattern.h"

enum sl_action {
    SL_ACTION_ALLOW,  /**< let through unasked */
    SL_ACTION_DENY,   /**< answer with `status`, inside TLS where there is any */
    SL_ACTION_REFUSE, /**< answer the CONNECT itself */
    SL_ACTION_TUNNEL, /**< pass the bytes unopened */
    SL_ACTION_CHECK,  /**< ask `checks` in order; all must allow */
};

/** What a rule says about a setting of `upstream`.  Zero leaves it alone. */
enum sl_override { SL_INHERIT, SL_FORCE_OFF, SL_FORCE_ON };

struct sl_rule {
    struct sl_expression *when; /**< owned by the ruleset once added; NULL means any */
    enum sl_action action;
    const uint32_t *checks; /**< CHECK: indexes into the table of checks */
    uint32_t n_checks;
    uint16_t status;      /**< DENY, REFUSE: of the reply; 0: the default of the action */
    struct sl_str reason; /**< for the page and the log; may be empty */
    struct sl_str name;   /**< decided_by in logs and metrics; NUL-terminated once added; when
                             empty, add makes it "rule-N", N from 1 */
    uint32_t line;        /**< in the configuration file, 0 when not from a file */
    const struct sl_host_pattern *names; /**< that SNI and Host may say inside a tunnel to another
                                            host, where this rule decides */
    uint32_t n_names;
    enum sl_override verify, http2, preconnect;
};

/** How much will be known later, which says what to do about doubt. */
enum sl_stage {
    SL_STAGE_EARLY,   /**< more will be known: after the handshake, or with the request's head */
    SL_STAGE_REQUEST, /**< the request is known, only its response is still to come */
    SL_STAGE_OPAQUE,  /**< a tunnel: nothing more will ever be known */
};

enum sl_decided {
    SL_DECIDED_UNKNOWN, /**< EARLY only: intercept, and decide when more is known */
    SL_DECIDED_RULE,    /**< a rule of the file */
    SL_DECIDED_DEFAULT, /**< none matched: `default` */
};

struct sl_decision {
    enum sl_decided decided;
    const struct sl_rule *rule; /**< the rule that decided, or the one in doubt; never NULL; the
                                   default is a rule named "default".  Lives as the ruleset */
    uint32_t index;             /**< its place from 0; the number of rules for the default */
    bool in_doubt;              /**< the rule was unknown and counted as true */
    bool awaits_response;       /**< an earlier rule hangs on the response alone: ask
                                   sl_ruleset_decide_response() with the response's head */
};

struct sl_ruleset;

/** One reference, no rules.  @a fallback is ALLOW or DENY: what happens when no rule is true. */
struct sl_ruleset *sl_ruleset_new(enum sl_action fallback);

/** Appends.  Takes rule->when over and sets it to NULL; copies the rest.  Before sharing only. */
void sl_ruleset_add(struct sl_ruleset *set, struct sl_rule *rule);

struct sl_ruleset *sl_ruleset_ref(struct sl_ruleset *set);
/** Frees with the last reference; *set becomes NULL; NULL is a no-op. */
void sl_ruleset_unref(struct sl_ruleset **set);

uint32_t sl_ruleset_len(const struct sl_ruleset *set); /**< without the default */
/** index < len, or == len for the default. */
const struct sl_rule *sl_ruleset_rule(const struct sl_ruleset *set, uint32_t index);
/** SL_FACT_BIT of every fact that some rule looks at. */
uint32_t sl_ruleset_needs(const struct sl_ruleset *set);

/** Each list file of each rule; some come more than once. */
void sl_ruleset_each_file(const struct sl_ruleset *set, sl_file_fn *fn, void *arg);

/** Walks the rules in order; the first that is true decides, none means the default.
 *
 * What becomes of a rule that is unknown:
 * - EARLY: the walk stops, the decision is SL_DECIDED_UNKNOWN.
 * - REQUEST: a rule that looks at the response (`status`, `type`) is passed over and noted in
 *   awaits_response; any other is in doubt.
 * - OPAQUE: it is in doubt.
 * In doubt, DENY, REFUSE and CHECK count as true, ALLOW and TUNNEL as false: doubt never opens.
 * So `size > 10MiB, do: deny` also denies a body of undeclared length, and a pattern that hits its
 * match limit denies.
 */
struct sl_decision sl_ruleset_decide(const struct sl_ruleset *set, const struct sl_facts *facts,
                                     enum sl_stage stage);

/** The second look, with the response's head in @a facts: walks the rules before @a request->index
 * that look at the response.  The first that is true (or in doubt) decides; with none of them
 * @a request stands and is answered as it is.
 */
struct sl_decision sl_ruleset_decide_response(const struct sl_ruleset *set,
                                              const struct sl_facts *facts,
                                              const struct sl_decision *request);

/** Whether a tunnel to @a host may be spoken to as @a name, where @a rule decides: it is the same,
 * or one of the rule's names.  Both are canonical (http/uri.h). */
bool sl_rule_permits_name(const struct sl_rule *rule, struct sl_str host, struct sl_str name);

const char *sl_action_name(enum sl_action action); /**< "allow" */

#endif
