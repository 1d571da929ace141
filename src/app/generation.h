/* generation.h -- what a configuration becomes: a snapshot for the workers, a policy for `explain`.
 *
 * Thread: main's.
 */
#ifndef SL_APP_GENERATION_H
#define SL_APP_GENERATION_H

#include "base/addr.h"
#include "base/err.h"

struct sl_access_log;
struct sl_access_log_conf;
struct sl_admission;
struct sl_admission_conf;
struct sl_ca;
struct sl_config;
struct sl_leaf_keys;
struct sl_log_conf;
struct sl_policy;
struct sl_snapshot;
struct sl_ticket_keys;

/** What all generations share; outlives them. */
struct sl_shared {
    struct sl_leaf_keys *leaf_keys;
    struct sl_ticket_keys *tickets;
    struct sl_access_log *access_log;
    struct sl_admission *admission;
};

struct sl_generation_conf {
    const struct sl_config *config;
    const struct sl_shared *shared;
    struct sl_ca *ca;          /**< a reference is taken */
    const struct sl_addr *own; /**< listeners and admin, as bound */
    size_t n_own;
};

/** One reference. */
struct sl_snapshot *sl_generation_snapshot(const struct sl_generation_conf *conf);
/** One reference; the ruleset is shared with the configuration. */
struct sl_policy *sl_generation_policy(const struct sl_config *config);

struct sl_log_conf sl_generation_log(const struct sl_config *config);
struct sl_access_log_conf sl_generation_access_log(const struct sl_config *config);
struct sl_admission_conf sl_generation_admission(const struct sl_config *config);

/** Makes and drops one worker's tools, to see whether the files they need can be loaded. */
enum sl_err sl_generation_rehearse(struct sl_snapshot *snapshot,
                                   struct sl_fault *fault) SL_MUST_USE;

#endif
