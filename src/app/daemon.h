/* daemon.h -- the running proxy: its parts, for the two files that work on them.
 *
 * daemon.c starts it, hears signals and reports, drains and ends it; reload.c puts a configuration
 * into force, the first one included. Thread: main's.
 */
#ifndef SL_APP_DAEMON_H
#define SL_APP_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "app/generation.h"
#include "app/listeners.h"
#include "app/memory_watch.h"
#include "base/addr.h"
#include "io/loop.h"

struct sl_admin;
struct sl_config;
struct sl_mailbox;
struct sl_signer;
struct sl_options;
struct sl_worker;

enum sl_daemon_state {
    SL_DAEMON_STARTING, /**< workers make their tools */
    SL_DAEMON_RUNNING,
    SL_DAEMON_DRAINING, /**< no new connections; until the last is gone, or the grace is over */
    SL_DAEMON_STOPPED,  /**< the loop ends with this turn */
};

#define SL_DAEMON_SIGNALS 5

/** What the admin pages listen on. */
struct sl_admin_socket {
    struct sl_addr asked; /**< as configured; len 0: off */
    struct sl_addr bound;
    struct sl_admin *admin; /**< NULL: off */
};

struct sl_daemon {
    const struct sl_options *options;
    enum sl_daemon_state state;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_config *config; /**< in force; NULL before the first */
    struct sl_signer *signer; /**< has the authority's key */
    struct sl_watch *signer_death;
    bool is_signer_dead;
    char *state_dir; /**< as it was found at the start; NULL: none */
    struct sl_shared shared;
    struct sl_listeners listeners;
    struct sl_admin_socket admin;
    struct sl_snapshot *first; /**< what new workers start with; NULL once they did */
    struct sl_worker **workers;
    uint32_t n_workers;
    uint32_t n_pending;   /**< workers not yet configured, or not yet drained */
    uint32_t n_accepting; /**< DRAINING: workers that have not yet stopped accepting */
    struct sl_signal *signals[SL_DAEMON_SIGNALS];
    struct sl_timer grace;
    struct sl_memory_watch memory;
    bool is_new_ca;             /**< made by this very start */
    const char *ca_certificate; /**< its file; lives as the configuration */
    int status;                 /**< to exit with */
};

#endif
