/* pool.h -- connections to origins, kept alive and shared by one worker's clients.
 *
 * Whoever needs a connection acquires an HTTP stream on one: an HTTP/2 connection with room or an
 * idle one of HTTP/1 if there is any, else a new one.  As long as an origin may turn out to speak
 * HTTP/2, no more connections to it are made than will have room for those who wait.  Closing
 * the stream gives back what it held.
 * Thread: the loop's.
 */
#ifndef SL_UPSTREAM_POOL_H
#define SL_UPSTREAM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "http/message.h"
#include "upstream/origin.h"

struct sl_acquire;
struct sl_http_stream;
struct sl_pool;
struct sl_pool_conn;

struct sl_pool_conf {
    struct sl_route route;
    struct sl_head_limits limits; /**< for response heads */
    uint32_t max_idle_per_origin; /**< idle connections kept for one origin */
    uint32_t max_idle;            /**< and in all: the longest idle is closed first */
    uint32_t idle_timeout_ms;
};

struct sl_pool *sl_pool_new(const struct sl_pool_conf *conf);
/** Closes idle connections; every stream and acquire must have ended. */
void sl_pool_free(struct sl_pool **pool);
struct sl_loop *sl_pool_loop(const struct sl_pool *pool);

/** A connection held for one exchange, or a stream of it. */
struct sl_lease {
    struct sl_http_stream *stream; /**< the holder's; closing it gives the connection back */
    struct sl_pool_conn *conn;     /**< for sl_pool_pin */
    struct sl_peer peer;
    bool reused; /**< carried an exchange before */
};

/** Takes what is there; false when there is nothing. */
bool sl_pool_try(struct sl_pool *pool, const struct sl_origin *origin, struct sl_lease *ret_lease);

/** Exactly once, from the loop, never from inside start.  @a lease: NULL on failure. */
typedef void sl_acquire_fn(void *arg, const struct sl_lease *lease, const struct sl_fault *fault);

/** Makes a new connection, or takes what is given back before it stands, unless @a fresh. */
struct sl_acquire *sl_acquire_start(struct sl_pool *pool, const struct sl_origin *origin,
                                    bool fresh, sl_acquire_fn *done, void *arg);
void sl_acquire_cancel(struct sl_acquire **acquire);

/** The origin has refused the leased stream for want of HTTP/1.1 (RFC 9113 section 7): it gets that
 * as long as the pool has a connection to it. */
void sl_pool_want_http1(const struct sl_lease *lease);

/** From now on the leased connection serves @a owner only (RFC 4559: NTLM and Negotiate
 * authenticate the connection, not the request), who finds it by asking for HTTP/1: HTTP/2 has no
 * such thing. */
void sl_pool_pin(struct sl_pool *pool, const struct sl_lease *lease, uint64_t owner);

#endif
