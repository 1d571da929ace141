/* sim_world.h -- what a world in memory is made of, whoever plays in it: authority, policy,
 * environment.  Shared by simulations and by the fuzz target of whole connections.
 */
#ifndef SL_SIM_WORLD_H
#define SL_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/ruleset.h"
#include "upstream/origin.h"

struct sl_access_log;
struct sl_ca;
struct sl_leaf_keys;
struct sl_loop;
struct sl_mailbox;
struct sl_policy;

/** What peers and environments share: made once a program. */
struct sim_tls {
    struct sl_ca *ca;
    struct sl_leaf_keys *keys;
    struct sl_tls_server_context *server;
    struct sl_tls_client_context *client;
    char dir[32], cert_path[64], key_path[64];
};

void sim_tls_init(struct sim_tls *tls);
void sim_tls_fini(struct sim_tls *tls);

/** Rules end with one whose `when` is NULL. */
struct sim_rule {
    const char *when;
    enum sl_action action;
    const char *reason;
    uint16_t status;
};

#define SIM_CHECK_HOST "check.example"
#define SIM_ALIAS "alias.example" /* what the rule that asks lets any host be called */

/** The rules, and behind them, with @a asks, everything is put to the check "policy" at
 * SIM_CHECK_HOST; else allowed.  @a asks_connect: in phase connect too. */
struct sl_policy *sim_policy_new(const struct sim_rule *rules, bool asks, bool asks_connect);

struct sim_env_conf {
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    const struct sim_tls *tls;
    struct sl_policy *policy; /**< taken over */
    struct sl_access_log *access_log;
    bool preconnect, http2;
    sl_open_fn *open;
    void *open_arg;
};

struct sl_env *sim_env_new(const struct sim_env_conf *conf);

/** Connections upstream and questions, in the whole process. */
int64_t sim_count_held(void);

#endif
