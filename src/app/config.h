/* config.h -- the configuration: file, flags and defaults in one struct.
 *
 * Precedence is flag, file, default.  Every wrong thing is one line "file:line:column: what" (flags
 * stand for the file where they are wrong).  Nobody but the application includes this; each module
 * has a conf of its own, which app/reload fills. Thread: the owner's.
 */
#ifndef SL_APP_CONFIG_H
#define SL_APP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "app/config_yaml.h"
#include "base/addr.h"
#include "base/arena.h"
#include "policy/check.h"
#include "policy/ruleset.h"

#define SL_CONFIG_MAX_LISTENERS 64u
#define SL_CONFIG_MAX_CHECKS 64u
#define SL_CONFIG_MAX_RULES 100000u

struct sl_config_listener {
    struct sl_addr address;
    uint32_t mode; /**< of the words of the table */
};

/** An item of `checks` as it stands in the file; made into a sl_check_conf. */
struct sl_config_check {
    const struct sl_yaml_node *name, *url, *on_error;
    uint32_t protocol, phases;
    uint64_t body, timeout_ms, max_in_flight;
    bool shadow;
    uint64_t ttl_ms, max_ttl_ms, cache_entries, cache_bytes;
};

/** An item of `rules` as it stands in the file; made into a rule of the ruleset. */
struct sl_config_rule {
    const struct sl_yaml_node *when, *action, *status, *names;
    const char *reason, *name;
    uint32_t verify, preconnect, http2; /**< enum sl_override */
};

struct sl_config_cidrs {
    struct sl_cidr *v;
    uint32_t n;
};

struct sl_config_intercept {
    uint32_t leaf_key;       /**< enum sl_leaf_kind */
    uint32_t leaf_key_scope; /**< 0 shared, 1 host */
    uint64_t leaf_lifetime_ms;
    uint64_t cache_entries;
    uint32_t min_version; /**< enum sl_tls_version */
    bool resumption;
};

struct sl_config_upstream {
    bool verify, preconnect, http2;
    uint32_t alt_svc;        /**< 0 strip, 1 keep */
    const char *ca_file;     /**< NULL: the system's */
    const char *nameservers; /**< NULL: the system's */
    uint64_t connect_timeout_ms, response_timeout_ms, idle_timeout_ms;
    uint64_t max_idle_per_origin, max_idle;
    struct sl_config_cidrs allow;
};

enum { SL_SANDBOX_ON, SL_SANDBOX_OFF };

struct sl_config_security {
    const char *user; /**< NULL: stays who it is */
    uint32_t sandbox;
};

struct sl_config_limits {
    uint64_t connections, connections_per_client;
    uint64_t header_bytes, header_count, uri_bytes, body_bytes, streams, memory;
    uint64_t handshake_timeout_ms, header_timeout_ms, idle_timeout_ms;
};

struct sl_config {
    struct sl_arena arena;           /**< everything lives here, the ruleset excepted */
    const char *path;                /**< of the file, NULL: none was found */
    const struct sl_yaml_node *root; /**< what was read, flags included */
    struct sl_config_listener *listeners;
    uint32_t n_listeners;
    const char *ca_certificate, *ca_key; /**< NULL: in the state directory */
    struct sl_config_intercept intercept;
    struct sl_config_upstream upstream;
    struct sl_config_check *check_items;
    struct sl_config_rule *rule_items;
    uint32_t n_checks, n_rules;
    struct sl_check_conf *checks; /**< n_checks */
    struct sl_ruleset *ruleset;
    uint32_t fallback; /**< enum sl_action, ALLOW or DENY */
    struct sl_config_limits limits;
    struct sl_config_security security;
    const char *log_access;
    uint32_t log_format;  /**< 0 text, 1 json */
    uint32_t log_level;   /**< enum sl_log_level */
    struct sl_addr admin; /**< len 0: off */
    uint64_t workers;     /**< 0: one a core */
    uint64_t shutdown_grace_ms;
};

/** Where settings come from; borrowed. */
struct sl_config_source {
    const char *path; /**< NULL: $SLUICE_CONFIG, ./sluice.yaml, /etc/sluice/sluice.yaml, none */
    const char *const *sets; /**< KEY=VALUE */
    uint32_t n_sets;
    const char *const *listens; /**< in place of the file's listeners */
    uint32_t n_listens;
    const char *check_url; /**< adds the check `cli` and a last rule that asks it; NULL: none */
};

/** @return SL_OK, or SL_CONFIG with @a error filled and *ret_config untouched */
enum sl_err sl_config_load(const struct sl_config_source *source, struct sl_config **ret_config,
                           struct sl_yaml_error *error) SL_MUST_USE;

/** The same, from @a text in place of the file source->path. */
enum sl_err sl_config_parse(struct sl_str text, const struct sl_config_source *source,
                            struct sl_config **ret_config, struct sl_yaml_error *error) SL_MUST_USE;

void sl_config_free(struct sl_config **config);

/** Where @a section.@a key is set; where the whole begins if it is not. */
struct sl_yaml_mark sl_config_at(const struct sl_config *config, const char *section,
                                 const char *key);

#endif
