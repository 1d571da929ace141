/* websocket.h -- follows the frames of a WebSocket (RFC 6455 section 5) as their bytes pass, one
 * direction each: where messages begin and end, and with which code the connection is closed.
 *
 * Nothing is kept but the frame's head, and nothing is changed: compressed messages (RFC 7692) and
 * extensions that use reserved bits pass as they are.
 * Embedded; zeroed memory is the start of a direction.  Thread: the owner's.
 */
#ifndef SL_HTTP_WEBSOCKET_H
#define SL_HTTP_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "http/message.h"

#define SL_WS_HEAD_MAX 14u

struct sl_ws {
    uint8_t head[SL_WS_HEAD_MAX]; /**< of the frame under way */
    uint8_t n_head;
    uint8_t opcode;      /**< of that frame */
    bool is_in_payload;  /**< its head is complete */
    bool is_fragmented;  /**< a message has begun and not ended */
    bool is_broken;      /**< these are no frames: nothing is followed any more */
    uint64_t left;       /**< bytes of payload to come */
    uint64_t at;         /**< bytes of payload seen */
    uint64_t n_messages; /**< text and binary, whole */
    uint64_t n_pings;    /**< pings and pongs */
    uint16_t close_code; /**< of the close frame, 1005 for one without; 0: none came */
};

void sl_ws_follow(struct sl_ws *ws, struct sl_str bytes);

/** Whether a request offers the handshake of RFC 6455 section 4.2.1, version 13, and has no
 * content.
 */
bool sl_ws_is_offer(const struct sl_head *request);
/** What Sec-WebSocket-Accept must say to a Sec-WebSocket-Key (RFC 6455 section 4.2.2). */
struct sl_str sl_ws_accept(struct sl_str key, struct sl_arena *a);
/** Whether the fields of a 101 accept the handshake that those of @a request offered. */
bool sl_ws_is_accepted(const struct sl_fields *request, const struct sl_fields *response,
                       struct sl_arena *a);

#endif
