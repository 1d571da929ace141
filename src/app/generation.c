/* generation.c -- ranges were checked when the configuration was read, so that narrowing loses
 * nothing. */
#include "app/generation.h"

#include "app/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "policy/gate.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/snapshot.h"
#include "tls/ca.h"
#include "tls/leaf_cache.h"
#include "upstream/guard.h"

struct sl_policy *sl_generation_policy(const struct sl_config *config)
{
    struct sl_check **checks = sl_zalloc((config->n_checks + 1) * sizeof(struct sl_check *));

    for (uint32_t i = 0; i < config->n_checks; i++)
        checks[i] = sl_check_new(&config->checks[i]);
    return sl_policy_new(sl_ruleset_ref(config->ruleset), checks, config->n_checks);
}

static struct sl_limits limits_of(const struct sl_config_limits *l)
{
    return (struct sl_limits){
        .head = { .uri_bytes = (uint32_t)l->uri_bytes,
                  .header_bytes = (uint32_t)l->header_bytes,
                  .header_count = (uint32_t)l->header_count },
        .body_bytes = l->body_bytes,
        .streams = (uint32_t)l->streams,
        .handshake_timeout_ms = (uint32_t)l->handshake_timeout_ms,
        .header_timeout_ms = (uint32_t)l->header_timeout_ms,
        .idle_timeout_ms = (uint32_t)l->idle_timeout_ms,
    };
}

static struct sl_upstream_conf upstream_of(const struct sl_config_upstream *u)
{
    return (struct sl_upstream_conf){
        .ca_file = u->ca_file,
        .nameservers = u->nameservers,
        .verify = u->verify,
        .preconnect = u->preconnect,
        .http2 = u->http2,
        .keeps_alt_svc = u->alt_svc != 0,
        .connect_timeout_ms = (uint32_t)u->connect_timeout_ms,
        .response_timeout_ms = (uint32_t)u->response_timeout_ms,
        .idle_timeout_ms = (uint32_t)u->idle_timeout_ms,
        .max_idle_per_origin = (uint32_t)u->max_idle_per_origin,
        .max_idle = (uint32_t)u->max_idle,
    };
}

static struct sl_leaf_conf leaf_of(const struct sl_config_intercept *i)
{
    return (struct sl_leaf_conf){ .kind = (enum sl_leaf_kind)i->leaf_key,
                                  .host_scope = i->leaf_key_scope != 0,
                                  .lifetime_s = (uint32_t)(i->leaf_lifetime_ms / 1000) };
}

struct sl_snapshot *sl_generation_snapshot(const struct sl_generation_conf *conf)
{
    const struct sl_config *c = conf->config;
    struct sl_guard_conf guard = { .allow = c->upstream.allow.v,
                                   .n_allow = c->upstream.allow.n,
                                   .own = conf->own,
                                   .n_own = conf->n_own };

    return sl_snapshot_new(&(struct sl_snapshot_conf){
        .limits = limits_of(&c->limits),
        .upstream = upstream_of(&c->upstream),
        .leaf = leaf_of(&c->intercept),
        .min_version = (enum sl_tls_version)c->intercept.min_version,
        .policy = sl_generation_policy(c),
        .ca = sl_ca_ref(conf->ca),
        .guard = sl_guard_new(&guard),
        .leaf_cache = sl_leaf_cache_new((uint32_t)c->intercept.cache_entries),
        .leaf_keys = conf->shared->leaf_keys,
        .tickets = c->intercept.resumption ? conf->shared->tickets : NULL,
        .access_log = conf->shared->access_log,
        .admission = conf->shared->admission,
    });
}

struct sl_log_conf sl_generation_log(const struct sl_config *c)
{
    return (struct sl_log_conf){ .level = (enum sl_log_level)c->log_level,
                                 .json = c->log_format != 0 };
}

struct sl_access_log_conf sl_generation_access_log(const struct sl_config *c)
{
    return (struct sl_access_log_conf){ .path = c->log_access, .json = c->log_format != 0 };
}

struct sl_admission_conf sl_generation_admission(const struct sl_config *c)
{
    return (struct sl_admission_conf){
        .connections = (uint32_t)c->limits.connections,
        .connections_per_client = (uint32_t)c->limits.connections_per_client,
    };
}

enum sl_err sl_generation_rehearse(struct sl_snapshot *snapshot, struct sl_fault *fault)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_mailbox *mailbox;
    struct sl_env *env = NULL;
    enum sl_err err;

    if (loop == NULL)
        return sl_fault_set(fault, SL_LIMIT, "no descriptors left: raise the limit of open files");
    mailbox = sl_mailbox_new(loop);
    err = sl_env_new(loop, mailbox, snapshot, &env, fault);
    sl_env_unref(&env);
    sl_mailbox_free(&mailbox);
    sl_loop_free(&loop);
    return err;
}
