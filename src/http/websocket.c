/* websocket.c -- state: a frame's head (not is_in_payload) -> its payload -> the next head. */
#include "http/websocket.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define FIN 0x80u
#define RSV1 0x40u
#define RSV2 0x20u
#define RSV3 0x10u
#define MASKED 0x80u
#define CONTROL_MAX 125u
#define NO_STATUS 1005u /* RFC 6455 section 7.4.1 */
#define KEY_LEN 24u

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

/* RFC 6455 sections 5.2, 5.4 and 5.5.1, RFC 7692 section 6. */
static bool is_first_sound(const struct sl_ws *ws)
{
    bool is_compressed = (ws->head[0] & RSV1) != 0;

    if (ws->close_code != 0 || (ws->head[0] & (RSV2 | RSV3)) != 0)
        return false;
    switch (ws->opcode) {
    case CONTINUATION:
        return ws->is_fragmented && !is_compressed;
    case TEXT:
    case BINARY:
        return !ws->is_fragmented;
    case CLOSE:
    case PING:
    case PONG:
        return is_final(ws) && !is_compressed;
    default:
        return false;
    }
}

/* RFC 6455 sections 5.1 and 5.5; a close frame has a whole code or none. */
static bool is_second_sound(const struct sl_ws *ws)
{
    bool is_masked = (ws->head[1] & MASKED) != 0;
    unsigned len = ws->head[1] & 0x7fu;

    if (is_masked != ws->is_from_client || (is_control(ws) && len > CONTROL_MAX))
        return false;
    return ws->opcode != CLOSE || len != 1;
}

/* RFC 6455 section 5.2: no more bytes than the length needs. */
static bool is_length_sound(const struct sl_ws *ws)
{
    uint64_t len = payload_len(ws);

    return length_bytes(ws) == 2 ? len > CONTROL_MAX : len > 0xffff && len >> 63 == 0;
}

/* Looks at each byte when it comes, so that none passes on the strength of those behind it. */
static bool is_sound(const struct sl_ws *ws)
{
    switch (ws->n_head) {
    case 1:
        return is_first_sound(ws);
    case 2:
        return is_second_sound(ws);
    default:
        return ws->n_head != 2 + length_bytes(ws) || is_length_sound(ws);
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
    ws->left = payload_len(ws);
    ws->at = 0;
    ws->is_in_payload = true;
    if (ws->left == 0)
        end_frame(ws);
}

static size_t follow_head(struct sl_ws *ws, struct sl_str s)
{
    size_t used = 0;

    while (used < s.n && ws->n_head < head_len(ws) && !ws->is_broken) {
        ws->head[ws->n_head++] = (uint8_t)s.p[used++];
        ws->opcode = ws->head[0] & 0x0fu;
        ws->is_broken = !is_sound(ws);
    }
    if (!ws->is_broken && ws->n_head == head_len(ws))
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

size_t sl_ws_follow(struct sl_ws *ws, struct sl_str bytes)
{
    size_t n = 0;

    while (n < bytes.n && !ws->is_broken) {
        struct sl_str rest = sl_str_skip(bytes, n);
        size_t used = ws->is_in_payload ? follow_payload(ws, rest) : follow_head(ws, rest);

        if (!ws->is_broken)
            n += used;
    }
    return n;
}

/* -- the handshake -- */

/* Of a field that must not come twice; empty when it does, or not at all. */
static struct sl_str only_value(const struct sl_fields *fields, struct sl_str name)
{
    struct sl_str value = SL_STR("");
    unsigned n = 0;

    for (uint32_t i = 0; i < fields->n; i++) {
        if (!sl_str_ieq(fields->v[i].name, name))
            continue;
        value = fields->v[i].value;
        n++;
    }
    return n == 1 ? value : SL_STR("");
}

static bool is_base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* The base64 of 16 bytes. */
static bool is_key(struct sl_str s)
{
    if (s.n != KEY_LEN || !sl_str_has_suffix(s, SL_STR("==")))
        return false;
    for (size_t i = 0; i < KEY_LEN - 2; i++)
        if (!is_base64_char(s.p[i]))
            return false;
    return true;
}

/* What came behind a body would be the body's to some and the other protocol's to others. */
static bool has_content(const struct sl_head *h)
{
    return h->framing == SL_FRAMING_CHUNKED ||
           (h->framing == SL_FRAMING_LENGTH && h->content_length != 0);
}

bool sl_ws_is_offer(const struct sl_head *request)
{
    const struct sl_fields *f = &request->fields;

    return request->wants_upgrade && sl_str_eq(request->method, SL_STR("GET")) &&
           !has_content(request) &&
           sl_str_ieq(only_value(f, SL_STR("upgrade")), SL_STR("websocket")) &&
           sl_str_eq(only_value(f, SL_STR("sec-websocket-version")), SL_STR("13")) &&
           is_key(only_value(f, SL_STR("sec-websocket-key")));
}

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
    struct sl_str key = only_value(request, SL_STR("sec-websocket-key"));

    return is_key(key) &&
           sl_str_ieq(only_value(response, SL_STR("upgrade")), SL_STR("websocket")) &&
           sl_str_eq(only_value(response, SL_STR("sec-websocket-accept")), sl_ws_accept(key, a));
}
