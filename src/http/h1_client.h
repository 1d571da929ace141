/* h1_client.h -- the client side of an HTTP/1 connection: one request at a time, kept alive
 * between.
 *
 * Owns the byte stream.  No pipelining.  Time-outs are the owner's.
 * Thread: the loop's.
 */
#ifndef SL_HTTP_H1_CLIENT_H
#define SL_HTTP_H1_CLIENT_H

#include "http/h1_codec.h"
#include "http/http_stream.h"

struct sl_h1_client;

struct sl_h1_client_conf {
    struct sl_loop *loop;
    struct sl_head_limits limits; /**< for responses; uri_bytes unused */
    /** The stream opened last was closed.  @a reusable: the connection can carry another request,
     * and is idle now; else free it.  Runs from inside the stream's close. */
    void (*on_idle)(void *arg, bool reusable);
    /** While idle: the peer closed or sent what nobody asked for; free the client. */
    void (*on_dead)(void *arg);
    void *arg;
};

struct sl_h1_client *sl_h1_client_new(const struct sl_h1_client_conf *conf,
                                      struct sl_stream *stream);
void sl_h1_client_free(struct sl_h1_client **c);

/** Begins an exchange; the client must be idle.  When the peer closes, or says something, in a turn
 * of the loop before send_head, that fails with SL_RESET. */
struct sl_http_stream *sl_h1_client_open(struct sl_h1_client *c);
/** After this exchange the connection is not used again. */
void sl_h1_client_retire(struct sl_h1_client *c);

#endif
