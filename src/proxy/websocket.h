/* websocket.h -- what is known of a WebSocket that an exchange relays: its messages are counted
 * (sluice_websocket_messages_total), its close code goes into the log.
 *
 * Lives in the exchange's arena.  Thread: the loop's.
 */
#ifndef SL_PROXY_WEBSOCKET_H
#define SL_PROXY_WEBSOCKET_H

#include "base/arena.h"
#include "http/http_stream.h"
#include "http/websocket.h"

struct sl_websocket {
    struct sl_ws up, down; /**< client to origin, origin to client */
};

/** Registers the metrics; once, before the first use. */
void sl_websocket_register(void);

/** Follows what passes through the two pumps from now on.  What is no frame does not: the pump ends
 * with SL_PUMP_REFUSED. */
struct sl_websocket *sl_websocket_attach(struct sl_arena *arena, struct sl_pump *up,
                                         struct sl_pump *down);
/** Counts what has passed; once, at the end. */
void sl_websocket_account(const struct sl_websocket *w);
/** Who closed first is not known; the origin's code comes before the client's, which mostly echoes
 * it.  0: nobody has said one. */
uint16_t sl_websocket_close_code(const struct sl_websocket *w);

#endif
