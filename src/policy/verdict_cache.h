/* verdict_cache.h -- verdicts of one check, kept for their time to live and shared by all workers.
 *
 * Bounded in entries and in bytes.  Sharded, least recently used first out, O(1) inside each lock,
 * evictions not counted.  A check's replies may vary by
 * different parts of the question; each way seen (SL_VERDICT_WAYS at most, then everything) is
 * probed in turn. Thread: any.
 */
#ifndef SL_POLICY_VERDICT_CACHE_H
#define SL_POLICY_VERDICT_CACHE_H

#include <stdint.h>

#include "policy/verdict.h"

struct sl_question;
struct sl_verdict_cache;

#define SL_VERDICT_WAYS 8
#define SL_VERDICT_MAX_KEY ((size_t)8192) /**< questions with longer keys are not kept */

/** @a max_bytes: of keys and verdicts; each shard has its share, and a verdict that is larger than
 * that is not kept. */
struct sl_verdict_cache *sl_verdict_cache_new(uint32_t max_entries, uint64_t max_bytes);
void sl_verdict_cache_free(struct sl_verdict_cache **cache);

/** The verdict on @a q, with a reference for the caller; NULL when there is none.
 *
 * @param now_ms  of any loop
 * @param stale   also what has outlived its time
 */
struct sl_verdict *sl_verdict_cache_get(struct sl_verdict_cache *cache, const struct sl_question *q,
                                        uint64_t now_ms, bool stale);

/** The service's newest answer to @a q: older ones are forgotten, and @a v is kept for @a ttl_ms
 * (0: it is not), under the parts of @a q that v->vary names. */
void sl_verdict_cache_put(struct sl_verdict_cache *cache, const struct sl_question *q,
                          struct sl_verdict *v, uint64_t now_ms, uint64_t ttl_ms);

#endif
