/* leaf_cache.h -- forged leaves by host, shared by all workers.
 *
 * Sharded, least recently used first out, O(1) inside each lock; forging happens outside the locks,
 * once a host however many ask (the others wait as operations, not as threads). Thread: any for
 * new/free/get; a wait lives on the mailbox's loop.
 */
#ifndef SL_TLS_LEAF_CACHE_H
#define SL_TLS_LEAF_CACHE_H

#include "base/str.h"
#include "tls/leaf.h"

struct sl_leaf_cache;
struct sl_leaf_get;
struct sl_loop;
struct sl_mailbox;
struct sl_signer_line;

/** @a max_entries 0: nothing is kept and every get forges. */
struct sl_leaf_cache *sl_leaf_cache_new(uint32_t max_entries);
void sl_leaf_cache_free(struct sl_leaf_cache **cache);

/** The leaf of @a host, with a reference for the caller; NULL on a miss.  Leaves of another CA,
 * kind, with a shared key of yesterday, or with less than an hour (or a tenth of their lifetime, if
 * that is less) to live are misses. */
struct sl_leaf *sl_leaf_cache_get(struct sl_leaf_cache *cache, struct sl_ca *ca,
                                  const struct sl_leaf_conf *conf, struct sl_str host);

/** Exactly once, from the loop, never from inside start.  @a leaf: the callee's reference, NULL on
 * failure.
 * @a forged: this very get forged it (the others waited for it). */
typedef void sl_leaf_get_fn(void *arg, struct sl_leaf *leaf, bool forged,
                            const struct sl_fault *fault);

struct sl_leaf_get_conf {
    struct sl_leaf_cache *cache;
    struct sl_ca *ca;
    struct sl_leaf_keys *keys;
    struct sl_leaf_conf leaf;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;    /**< of this loop: how another worker's forge reports here */
    struct sl_signer_line *signer; /**< of this loop; NULL when the CA's key is held here */
};

/** After a miss: forges (off the loop when that is slow) or waits for whoever does. */
struct sl_leaf_get *sl_leaf_get_start(const struct sl_leaf_get_conf *conf, struct sl_str host,
                                      sl_leaf_get_fn *done, void *arg);
void sl_leaf_get_cancel(struct sl_leaf_get **get);

#endif
