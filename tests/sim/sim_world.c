/* sim_world.c -- limits are small, so that a case reaches them with few bytes. */
#include "sim_world.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"
#include "policy/gate.h"
#include "proxy/snapshot.h"
#include "tls/ca.h"
#include "tls/leaf_cache.h"
#include "tls/tls_stream.h"
#include "upstream/guard.h"

void sim_tls_init(struct sim_tls *tls)
{
    struct sl_fault fault;

    *tls = (struct sim_tls){ .dir = "/tmp/sluice-sim-XXXXXX" };
    sl_assert(mkdtemp(tls->dir) != NULL);
    (void)snprintf(tls->cert_path, sizeof(tls->cert_path), "%s/ca.pem", tls->dir);
    (void)snprintf(tls->key_path, sizeof(tls->key_path), "%s/ca.key", tls->dir);
    sl_assert(sl_ca_create(tls->cert_path, tls->key_path, &(struct sl_ca_new_conf){ .days = 2 },
                           &fault) == SL_OK);
    sl_assert(
        sl_ca_load(&(struct sl_ca_source){ .certificate = tls->cert_path, .key = tls->key_path },
                   &tls->ca, &fault) == SL_OK);
    sl_assert(sl_tls_client_context_new(&(struct sl_tls_client_conf){ .ca_file = tls->cert_path },
                                        &tls->client, &fault) == SL_OK);
    tls->server = sl_tls_server_context_new(&(struct sl_tls_server_conf){ .tickets = NULL });
    tls->keys = sl_leaf_keys_new();
}

void sim_tls_fini(struct sim_tls *tls)
{
    sl_tls_client_context_free(&tls->client);
    sl_tls_server_context_free(&tls->server);
    sl_leaf_keys_free(&tls->keys);
    sl_ca_unref(&tls->ca);
    (void)unlink(tls->cert_path);
    (void)unlink(tls->key_path);
    (void)rmdir(tls->dir);
}

static void add_rule(struct sl_ruleset *set, const struct sim_rule *r)
{
    struct sl_rule rule = { .action = r->action,
                            .reason = sl_str_of(r->reason != NULL ? r->reason : ""),
                            .status = r->status };
    struct sl_parse_error error;

    sl_assert(sl_expression_parse(sl_str_of(r->when), &rule.when, &error) == SL_OK);
    sl_ruleset_add(set, &rule);
}

struct sl_policy *sim_policy_new(const struct sim_rule *rules, bool asks, bool asks_connect)
{
    static const uint32_t first[] = { 0 };
    static const struct sl_host_pattern alias = { .kind = SL_HOST_NAME,
                                                  .name = { SIM_ALIAS, sizeof(SIM_ALIAS) - 1 } };
    struct sl_ruleset *set = sl_ruleset_new(SL_ACTION_ALLOW);
    struct sl_check **checks = sl_zalloc(sizeof(struct sl_check *));
    uint32_t phases = 1u << SL_PHASE_REQUEST;

    for (; rules != NULL && rules->when != NULL; rules++)
        add_rule(set, rules);
    if (asks_connect)
        phases |= 1u << SL_PHASE_CONNECT;
    if (!asks)
        return sl_policy_new(set, checks, 0);
    sl_ruleset_add(set, &(struct sl_rule){ .action = SL_ACTION_CHECK,
                                           .checks = first,
                                           .n_checks = 1,
                                           .names = &alias,
                                           .n_names = 1 });
    checks[0] = sl_check_new(
        &(struct sl_check_conf){ .name = "policy",
                                 .origin = { .host = SL_STR(SIM_CHECK_HOST), .port = 80 },
                                 .target = "/check",
                                 .phases = phases,
                                 .timeout_ms = 500,
                                 .max_in_flight = 16,
                                 .max_ttl_ms = 3600000,
                                 .cache_entries = 100,
                                 .cache_bytes = 1000000 });
    return sl_policy_new(set, checks, 1);
}

struct sl_env *sim_env_new(const struct sim_env_conf *conf)
{
    struct sl_snapshot *snapshot = sl_snapshot_new(&(struct sl_snapshot_conf){
        .limits = { .head = { .uri_bytes = 512, .header_bytes = 1024, .header_count = 50 },
                    .streams = 100,
                    .handshake_timeout_ms = 10000,
                    .header_timeout_ms = 15000,
                    .idle_timeout_ms = 120000 },
        .upstream = { .ca_file = conf->tls->cert_path,
                      .nameservers = "127.0.0.1:9",
                      .verify = true,
                      .preconnect = conf->preconnect,
                      .http2 = conf->http2,
                      .connect_timeout_ms = 10000,
                      .response_timeout_ms = 60000,
                      .idle_timeout_ms = 60000,
                      .max_idle_per_origin = 4,
                      .max_idle = 4,
                      .open = conf->open,
                      .open_arg = conf->open_arg },
        .leaf = { .kind = SL_LEAF_ECDSA_P256, .lifetime_s = 86400 },
        .policy = conf->policy,
        .ca = sl_ca_ref(conf->tls->ca),
        .guard = sl_guard_new(&(struct sl_guard_conf){ .n_allow = 0 }),
        .leaf_cache = sl_leaf_cache_new(16),
        .leaf_keys = conf->tls->keys,
        .access_log = conf->access_log });
    struct sl_env *env = NULL;
    struct sl_fault fault;

    sl_assert(sl_env_new(conf->loop, conf->mailbox, snapshot, &env, &fault) == SL_OK);
    sl_snapshot_unref(&snapshot);
    return env;
}

int64_t sim_count_held(void)
{
    static const char *const gauges[][3] = {
        { "sluice_upstream_connections", "state", "active" },
        { "sluice_upstream_connections", "state", "idle" },
        { "sluice_checks_in_flight", "check", "policy" },
    };
    int64_t n = 0;

    for (size_t i = 0; i < SL_LEN(gauges); i++) {
        struct sl_metric_family *f =
            sl_metric_family(SL_METRIC_GAUGE, gauges[i][0], "", gauges[i][1]);

        n += sl_metric_value(sl_metric_child(f, &gauges[i][2]));
    }
    return n;
}
