/* h2_client.h -- the client side of an HTTP/2 connection: many requests at once.
 *
 * Owns the byte stream.  Time-outs are the owner's.
 * Thread: the loop's.
 */
#ifndef SL_HTTP_H2_CLIENT_H
#define SL_HTTP_H2_CLIENT_H

#include "http/http_stream.h"

struct sl_h2_client;

struct sl_h2_client_conf {
    struct sl_loop *loop;
    struct sl_head_limits limits; /**< for responses; uri_bytes unused */
    /** A stream has ended, or the peer's settings or the connection's state have changed: ask
     * has_room, n_streams and is_dead anew; from the loop. */
    void (*on_change)(void *arg);
    void *arg;
};

struct sl_h2_client *sl_h2_client_new(const struct sl_h2_client_conf *conf,
                                      struct sl_stream *stream);
/** Streams that are still held have failed, and are to be closed all the same. */
void sl_h2_client_free(struct sl_h2_client **c);

/** Whether another exchange may begin: the peer allows it, and neither side has said goodbye. */
bool sl_h2_client_has_room(const struct sl_h2_client *c);
/** The peer has said what it allows; before, there is room for one exchange. */
bool sl_h2_client_is_settled(const struct sl_h2_client *c);
/** Exchanges at once, at least 1; only once it is settled. */
uint32_t sl_h2_client_capacity(const struct sl_h2_client *c);
/** Begins an exchange; there must be room. */
struct sl_http_stream *sl_h2_client_open(struct sl_h2_client *c);
uint32_t sl_h2_client_n_streams(const struct sl_h2_client *c);
/** No exchange can begin any more, ever. */
bool sl_h2_client_is_dead(const struct sl_h2_client *c);

#endif
