/* snapshot.c -- making and unmaking, in one order and its reverse. */
#include "proxy/snapshot.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "io/resolve.h"
#include "policy/gate.h"
#include "tls/ca.h"
#include "tls/leaf_cache.h"
#include "upstream/guard.h"

#define DNS_ENTRIES 10000u
#define DNS_MAX_TTL_S 300u
#define SESSIONS 10000u

struct sl_snapshot {
    atomic_uint refs;
    struct sl_snapshot_conf conf;
};

static const char *copy(const char *text)
{
    return text == NULL ? NULL : sl_str_dup(sl_str_of(text));
}

struct sl_snapshot *sl_snapshot_new(const struct sl_snapshot_conf *conf)
{
    struct sl_snapshot *s = sl_zalloc(sizeof(*s));

    atomic_init(&s->refs, 1);
    s->conf = *conf;
    s->conf.upstream.ca_file = copy(conf->upstream.ca_file);
    s->conf.upstream.nameservers = copy(conf->upstream.nameservers);
    return s;
}

struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void sl_snapshot_unref(struct sl_snapshot **snapshot)
{
    struct sl_snapshot *s = *snapshot;

    if (s == NULL)
        return;
    *snapshot = NULL;
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    sl_policy_unref(&s->conf.policy);
    sl_leaf_cache_free(&s->conf.leaf_cache);
    sl_ca_unref(&s->conf.ca);
    sl_guard_free(&s->conf.guard);
    sl_free((void *)(uintptr_t)s->conf.upstream.ca_file);
    sl_free((void *)(uintptr_t)s->conf.upstream.nameservers);
    sl_free(s);
}

const struct sl_snapshot_conf *sl_snapshot_conf(const struct sl_snapshot *s)
{
    return &s->conf;
}

static void make_tools(struct sl_env *e)
{
    const struct sl_snapshot_conf *c = e->conf;
    const struct sl_upstream_conf *up = &c->upstream;

    e->resolver =
        sl_resolver_new(e->loop, &(struct sl_resolver_conf){ .servers = up->nameservers,
                                                             .max_entries = DNS_ENTRIES,
                                                             .max_ttl_s = DNS_MAX_TTL_S });
    e->route = (struct sl_route){ .loop = e->loop,
                                  .resolver = e->resolver,
                                  .tls = e->tls_client,
                                  .guard = c->guard,
                                  .connect_timeout_ms = up->connect_timeout_ms,
                                  .open = up->open,
                                  .open_arg = up->open_arg };
    e->tls_server = sl_tls_server_context_new(
        &(struct sl_tls_server_conf){ .min_version = c->min_version, .tickets = c->tickets });
    e->pool = sl_pool_new(&(struct sl_pool_conf){ .route = e->route,
                                                  .limits = c->limits.head,
                                                  .max_idle_per_origin = up->max_idle_per_origin,
                                                  .max_idle = up->max_idle,
                                                  .idle_timeout_ms = up->idle_timeout_ms });
    e->gate = sl_gate_new(
        &(struct sl_gate_conf){ .policy = c->policy, .route = e->route, .mailbox = e->mailbox });
}

enum sl_err sl_env_new(struct sl_loop *loop, struct sl_mailbox *mailbox,
                       struct sl_snapshot *snapshot, struct sl_env **ret_env,
                       struct sl_fault *fault)
{
    struct sl_env *e;
    struct sl_tls_client_context *tls = NULL;
    enum sl_err err = sl_tls_client_context_new(
        &(struct sl_tls_client_conf){ .ca_file = snapshot->conf.upstream.ca_file,
                                      .max_sessions = SESSIONS },
        &tls, fault);

    if (err != SL_OK)
        return err;
    e = sl_zalloc(sizeof(*e));
    *e = (struct sl_env){ .refs = 1,
                          .loop = loop,
                          .mailbox = mailbox,
                          .snapshot = sl_snapshot_ref(snapshot),
                          .conf = &snapshot->conf,
                          .tls_client = tls };
    make_tools(e);
    *ret_env = e;
    return SL_OK;
}

struct sl_env *sl_env_ref(struct sl_env *env)
{
    env->refs++;
    return env;
}

void sl_env_unref(struct sl_env **env)
{
    struct sl_env *e = *env;

    if (e == NULL)
        return;
    *env = NULL;
    if (--e->refs != 0)
        return;
    sl_gate_free(&e->gate);
    sl_pool_free(&e->pool);
    sl_tls_server_context_free(&e->tls_server);
    sl_tls_client_context_free(&e->tls_client);
    sl_resolver_free(&e->resolver);
    sl_snapshot_unref(&e->snapshot);
    sl_free(e);
}
