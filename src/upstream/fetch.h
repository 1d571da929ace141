/* fetch.h -- one whole request and its buffered response: how checks are asked.
 *
 * A connection that was kept alive and dies before a byte of the response is replaced once,
 * silently: what is fetched must be safe to ask twice. Thread: the loop's.
 */
#ifndef SL_UPSTREAM_FETCH_H
#define SL_UPSTREAM_FETCH_H

#include <stdint.h>

#include "http/message.h"
#include "upstream/origin.h"

struct sl_fetch;
struct sl_pool;

struct sl_fetch_conf {
    struct sl_pool *pool;
    const struct sl_origin *origin; /**< borrowed until the end */
    struct sl_str method, target;   /**< borrowed until the end */
    const struct sl_fields *fields; /**< borrowed until the end; NULL for none */
    struct sl_str body;             /**< borrowed until the end */
    uint32_t timeout_ms;            /**< for all of it; over it SL_RESPONSE_TIMEOUT */
    size_t max_body;                /**< of the response; over it SL_LIMIT */
};

struct sl_fetch_reply {
    uint16_t status;
    const struct sl_fields *fields;
    struct sl_str body;
};

/** Exactly once, from the loop, never from inside start; the fetch is already gone.  @a reply: NULL
 * on failure, else valid during the call. */
typedef void sl_fetch_fn(void *arg, const struct sl_fetch_reply *reply,
                         const struct sl_fault *fault);

struct sl_fetch *sl_fetch_start(const struct sl_fetch_conf *conf, sl_fetch_fn *done, void *arg);
void sl_fetch_cancel(struct sl_fetch **fetch);

#endif
