/* websocket.c -- state: a frame's head (not is_in_payload) -> its payload -> the next head. */
#include "http/websocket.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define FIN 0x80u
#define MASKED 0x80u
#define CONTROL_MAX 125u
#define NO_STATUS 1005u /* RFC 6455 section 7.4.1 */

static bool is_final(const struct sl_ws *ws)
{
    return (ws->head[0] & FIN) != 0;
}

static bool is_control(const struct sl_ws *ws)
{
    return ws->opcode >= CLOSE;
}

/* How many bytes the length takes beyond the first two. */
static unsigned length_bytes(const struct sl_ws *ws)
{
    switch (ws->head[1] & 0x7fu) {
    case 126:
        return 2;
    case 127:
        return 8;
    default:
        return 0;
    }
}

static unsigned head_len(const struct sl_ws *ws)
{
    if (ws->n_head < 2)
        return 2;
    return 2 + length_bytes(ws) + ((ws->head[1] & MASKED) != 0 ? 4 : 0);
}

static uint64_t payload_len(const struct sl_ws *ws)
{
    unsigned n = length_bytes(ws);
    uint64_t len = 0;

    for (unsigned i = 0; i < n; i++)
        len = len << 8 | ws->head[2 + i];
    return n == 0 ? ws->head[1] & 0x7fu : len;
}

/* RFC 6455 sections 5.2, 5.4 and 5.5. */
static bool is_sound(const struct sl_ws *ws)
{
    unsigned n = length_bytes(ws);

    if ((n == 2 && ws->left <= CONTROL_MAX) ||
        (n == 8 && (ws->left <= 0xffff || ws->left >> 63 != 0)))
        return false;
    switch (ws->opcode) {
    case CONTINUATION:
        return ws->is_fragmented;
    case TEXT:
    case BINARY:
        return !ws->is_fragmented;
    case CLOSE:
    case PING:
    case PONG:
        return is_final(ws) && ws->left <= CONTROL_MAX;
    default:
        return false;
    }
}

static void end_frame(struct sl_ws *ws)
{
    ws->n_head = 0;
    ws->is_in_payload = false;
    if (ws->opcode == CLOSE && ws->close_code == 0)
        ws->close_code = NO_STATUS;
    if (ws->opcode == PING || ws->opcode == PONG)
        ws->n_pings++;
    if (is_control(ws))
        return;
    ws->is_fragmented = !is_final(ws);
    ws->n_messages += is_final(ws);
}

static void begin_payload(struct sl_ws *ws)
{
    ws->opcode = ws->head[0] & 0x0fu;
    ws->left = payload_len(ws);
    ws->at = 0;
    ws->is_in_payload = true;
    ws->is_broken = !is_sound(ws);
    if (!ws->is_broken && ws->left == 0)
        end_frame(ws);
}

static size_t follow_head(struct sl_ws *ws, struct sl_str s)
{
    size_t used = 0;

    while (used < s.n && ws->n_head < head_len(ws))
        ws->head[ws->n_head++] = (uint8_t)s.p[used++];
    if (ws->n_head >= 2 && ws->n_head == head_len(ws))
        begin_payload(ws);
    return used;
}

/* The first two bytes of a close frame's payload. */
static void read_code(struct sl_ws *ws, struct sl_str s)
{
    for (size_t i = 0; i < s.n && ws->at + i < 2; i++) {
        uint8_t byte = (uint8_t)s.p[i];

        if ((ws->head[1] & MASKED) != 0)
            byte ^= ws->head[ws->n_head - 4u + (ws->at + i) % 4];
        ws->close_code = (uint16_t)(ws->close_code << 8 | byte);
    }
}

static size_t follow_payload(struct sl_ws *ws, struct sl_str s)
{
    size_t used = s.n < ws->left ? s.n : (size_t)ws->left;

    if (ws->opcode == CLOSE)
        read_code(ws, sl_str_head(s, used));
    ws->at += used;
    ws->left -= used;
    if (ws->left == 0)
        end_frame(ws);
    return used;
}

void sl_ws_follow(struct sl_ws *ws, struct sl_str bytes)
{
    while (bytes.n != 0 && !ws->is_broken)
        bytes = sl_str_skip(bytes,
                            ws->is_in_payload ? follow_payload(ws, bytes) : follow_head(ws, bytes));
}

/* -- the handshake -- */

struct sl_str sl_ws_accept(struct sl_str key, struct sl_arena *a)
{
    struct sl_str text =
        sl_arena_printf(a, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", SL_FMT(key));
    uint8_t digest[SL_SHA1_LEN];
    struct sl_buf b = { 0 };

    sl_sha1(text, digest);
    sl_add_base64(&b, sl_str_make(digest, sizeof(digest)));
    text = sl_arena_str(a, sl_buf_str(&b));
    sl_buf_fini(&b);
    return text;
}

bool sl_ws_is_accepted(const struct sl_fields *request, const struct sl_fields *response,
                       struct sl_arena *a)
{
    const struct sl_field *key = sl_fields_find_name(request, SL_STR("sec-websocket-key"));
    const struct sl_field *accept = sl_fields_find_name(response, SL_STR("sec-websocket-accept"));
    const struct sl_field *protocol = sl_fields_find(response, SL_FIELD_UPGRADE);

    if (key == NULL || accept == NULL || protocol == NULL)
        return false;
    return sl_str_ieq(protocol->value, SL_STR("websocket")) &&
           sl_str_eq(accept->value, sl_ws_accept(key->value, a));
}
