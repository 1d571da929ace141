/* fuzz_websocket.c -- WebSocket frames from any bytes, of either side by the first one; behind a
 * 'G', the heads of a handshake.
 *
 * However it is cut, the same passes, and reads as frames to a second reader; an offer that
 * is taken for one is accepted by the answer to its key and by no other.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "http/h1_codec.h"
#include "http/websocket.h"
#include "strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sl_head_limits limits = {
    .uri_bytes = 1024,
    .header_bytes = 4096,
    .header_count = 64,
};

/* -- frames -- */

static void follow(const uint8_t *p, size_t n, bool is_from_client)
{
    struct sl_str in = sl_str_make(p, n);
    struct sl_ws whole = { .is_from_client = is_from_client };
    size_t used = sl_ws_follow(&whole, in);

    sl_assert(used <= n && (used < n) == whole.is_broken);
    sl_assert(strict_frames(sl_str_make(p, used), is_from_client));
    for (size_t cut = 0; cut <= n; cut += n / 64 + 1) {
        struct sl_ws ws = { .is_from_client = is_from_client };
        size_t first = sl_ws_follow(&ws, sl_str_head(in, cut)), second = 0;

        if (first == cut)
            second = sl_ws_follow(&ws, sl_str_skip(in, cut));
        /* Of a head that breaks, what came alone has passed. */
        sl_assert(ws.is_broken == whole.is_broken && first + second >= used);
        sl_assert(first + second < used + (whole.is_broken ? SL_WS_HEAD_MAX : 1));
        sl_assert(strict_frames(sl_str_make(p, first + second), is_from_client));
        sl_assert(ws.n_messages == whole.n_messages && ws.n_pings == whole.n_pings);
        sl_assert(ws.close_code == whole.close_code);
    }
}

/* -- the handshake -- */

static bool accepts(const struct sl_head *request, struct sl_str answer, struct sl_arena *a)
{
    struct sl_fields reply = { 0 };

    sl_fields_add(&reply, a, SL_STR("Upgrade"), SL_STR("websocket"));
    sl_fields_add(&reply, a, SL_STR("Sec-WebSocket-Accept"), answer);
    return sl_ws_is_accepted(&request->fields, &reply, a);
}

static void offer(struct sl_str in)
{
    const struct sl_h1_origin origin = { .scheme = SL_STR("https") };
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a };
    struct sl_fault fault;
    size_t used;

    if (sl_h1_parse_request(in, &limits, &origin, &head, &used, &fault) == SL_OK &&
        sl_ws_is_offer(&head)) {
        const struct sl_field *key = sl_fields_find_name(&head.fields, SL_STR("sec-websocket-key"));

        sl_assert(key != NULL && key->value.n == 24 && head.framing != SL_FRAMING_CHUNKED);
        sl_assert(sl_str_eq(head.method, SL_STR("GET")) && head.content_length == 0);
        sl_assert(accepts(&head, sl_ws_accept(key->value, &a), &a));
        sl_assert(!accepts(&head, key->value, &a) && !accepts(&head, SL_STR(""), &a));
    }
    sl_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size != 0 && data[0] == 'G')
        offer(sl_str_make(data, size));
    else if (size != 0)
        follow(data + 1, size - 1, (data[0] & 1) != 0);
    return 0;
}
