/* relay.h -- bytes from one stream to another and back, unopened: tunnels and opaque protocols.
 *
 * Half-closes are passed on; once one direction has ended the other may go on, but for no longer
 * than the idle time-out without a byte.  What the client begins with can be held back until it is
 * known what it is; what the other side says goes on meanwhile. Thread: the loop's.
 */
#ifndef SL_PROXY_RELAY_H
#define SL_PROXY_RELAY_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct sl_loop;
struct sl_request_line;
struct sl_relay;
struct sl_stream;

/** Told the client's first bytes, as many as have come, until it knows: SL_OK lets them go on,
 * SL_AGAIN waits for more, anything else ends the relay with that. */
typedef enum sl_err sl_relay_first_fn(void *arg, struct sl_str first);

struct sl_relay_conf {
    struct sl_loop *loop;
    struct sl_stream *client;   /**< taken over */
    struct sl_stream *upstream; /**< taken over */
    struct sl_str preface;      /**< from the client, already read; copied, sent upstream first */
    uint32_t idle_timeout_ms;
    struct sl_request_line *line; /**< ends the relay with SL_BAD_REQUEST when the client's first
                                     line turns out to be one; borrowed until the end; NULL: not
                                     looked at */
    sl_relay_first_fn *first;     /**< with the argument of done; NULL: anything may go on */
    struct sl_str refusal; /**< what a client hears whose first bytes do not go on, unless the other
                              side has spoken; static */
};

struct sl_relay_result {
    uint64_t bytes_in;  /**< client to upstream */
    uint64_t bytes_out; /**< upstream to client */
    enum sl_err err;    /**< SL_OK when both sides ended properly */
};

/** Exactly once, from the loop, never from inside start; both streams are closed, the relay is
 * gone. */
typedef void sl_relay_fn(void *arg, const struct sl_relay_result *result);

struct sl_relay *sl_relay_start(const struct sl_relay_conf *conf, sl_relay_fn *done, void *arg);
/** How many bytes have passed so far; err is SL_OK. */
void sl_relay_count(const struct sl_relay *relay, struct sl_relay_result *ret_result);
/** Closes both streams. */
void sl_relay_cancel(struct sl_relay **relay);

#endif
