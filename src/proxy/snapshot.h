/* snapshot.h -- one generation of the configuration as the proxy uses it, and a worker's tools made
 * of it.
 *
 * A snapshot is immutable and shared by all workers.  An env is one worker's: loop, gate, pool,
 * contexts. Whoever works with an env holds a reference; a reload gives the worker a new one, and
 * the old goes with its last exchange.
 */
#ifndef SL_PROXY_SNAPSHOT_H
#define SL_PROXY_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "http/h1_codec.h"
#include "tls/leaf.h"
#include "tls/tls_context.h"
#include "upstream/pool.h"

struct sl_access_log;
struct sl_admission;
struct sl_ca;
struct sl_gate;
struct sl_guard;
struct sl_leaf_cache;
struct sl_loop;
struct sl_mailbox;
struct sl_signer_line;
struct sl_policy;
struct sl_resolver;
struct sl_ticket_keys;

struct sl_limits {
    struct sl_head_limits head;
    uint64_t body_bytes; /**< of a request, 0: no limit */
    uint32_t streams;    /**< of an HTTP/2 client connection, open at once */
    uint32_t handshake_timeout_ms;
    uint32_t header_timeout_ms;
    uint32_t idle_timeout_ms;
};

struct sl_upstream_conf {
    const char *ca_file;     /**< NULL: the system's */
    const char *nameservers; /**< NULL: the system's */
    bool verify;
    bool preconnect;
    bool http2;         /**< offered to origins */
    bool keeps_alt_svc; /**< responses may say where else the origin is */
    uint32_t connect_timeout_ms, response_timeout_ms, idle_timeout_ms;
    uint32_t max_idle_per_origin, max_idle;
    sl_open_fn *open; /**< in place of names and sockets: tests, embedding programs; NULL: none */
    void *open_arg;   /**< outlives the snapshot */
};

/** Filled by the application; what it points to is the snapshot's, or outlives it where it says so.
 */
struct sl_snapshot_conf {
    struct sl_limits limits;
    struct sl_upstream_conf upstream; /**< strings are copied */
    struct sl_leaf_conf leaf;
    enum sl_tls_version min_version;
    struct sl_policy *policy;         /**< taken over */
    struct sl_ca *ca;                 /**< taken over */
    struct sl_guard *guard;           /**< taken over */
    struct sl_leaf_cache *leaf_cache; /**< taken over */
    struct sl_leaf_keys *leaf_keys;   /**< outlives the snapshot */
    struct sl_ticket_keys *tickets;   /**< outlives the snapshot; NULL: no resumption */
    struct sl_access_log *access_log; /**< outlives the snapshot */
    struct sl_admission *admission;   /**< outlives the snapshot */
};

struct sl_snapshot;

struct sl_snapshot *sl_snapshot_new(const struct sl_snapshot_conf *conf);
struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s);
void sl_snapshot_unref(struct sl_snapshot **s);
const struct sl_snapshot_conf *sl_snapshot_conf(const struct sl_snapshot *s);

/** One worker's tools.  Thread: the loop's. */
struct sl_env {
    uint32_t refs;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_snapshot *snapshot;
    const struct sl_snapshot_conf *conf; /**< of the snapshot */
    struct sl_route route;               /**< guarded: to origins */
    struct sl_resolver *resolver;
    struct sl_tls_client_context *tls_client;
    struct sl_tls_server_context *tls_server;
    struct sl_pool *pool;
    struct sl_gate *gate;
    struct sl_signer_line *signer; /**< the worker's; NULL when the CA's key is held here */
};

/** SL_CONFIG when a file of certificates cannot be loaded. */
enum sl_err sl_env_new(struct sl_loop *loop, struct sl_mailbox *mailbox,
                       struct sl_snapshot *snapshot, struct sl_env **ret_env,
                       struct sl_fault *fault) SL_MUST_USE;
struct sl_env *sl_env_ref(struct sl_env *env);
void sl_env_unref(struct sl_env **env);

#endif
