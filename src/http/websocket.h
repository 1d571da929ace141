/* websocket.h -- the handshake of a WebSocket (RFC 6455 section 4), and its frames (section 5) as
 * their bytes pass, one direction each: whether they are frames, where messages begin and end, and
 * with which code the connection is closed.
 *
 * Nothing is kept but the frame's head, and nothing is changed; what is inside a message is not
 * looked at.  Of the reserved bits the one of compressed messages (RFC 7692) may be used.
 * Embedded; zeroed memory is the start of a server's direction.  Thread: the owner's.
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
    bool is_from_client; /**< set by the owner: frames are masked, else they are not */
    uint8_t opcode;      /**< of that frame */
    bool is_in_payload;  /**< its head is complete */
    bool is_fragmented;  /**< a message has begun and not ended */
    bool is_broken;      /**< these are no frames: nothing is followed any more, nothing may pass */
    uint64_t left;       /**< bytes of payload to come */
    uint64_t at;         /**< bytes of payload seen */
    uint64_t n_messages; /**< text and binary, whole */
    uint64_t n_pings;    /**< pings and pongs */
    uint16_t close_code; /**< of the close frame, 1005 for one without; 0: none came */
};

/** How many of the bytes belong to frames as they have to be: less than all when it broke. */
size_t sl_ws_follow(struct sl_ws *ws, struct sl_str bytes) SL_MUST_USE;

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
