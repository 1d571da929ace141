/* websocket.c -- taps on both pumps. */
#include "proxy/websocket.h"

#include "base/metric.h"

static struct sl_metric *messages_in, *messages_out;

void sl_websocket_register(void)
{
    static const char *const directions[] = { "in", "out" };
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_websocket_messages_total",
                         "WebSocket messages relayed, from clients and to them.", "direction");

    messages_in = sl_metric_child(f, &directions[0]);
    messages_out = sl_metric_child(f, &directions[1]);
}

static size_t on_bytes(void *arg, struct sl_str bytes)
{
    return sl_ws_follow(arg, bytes);
}

struct sl_websocket *sl_websocket_attach(struct sl_arena *arena, struct sl_pump *up,
                                         struct sl_pump *down)
{
    struct sl_websocket *w = sl_arena_alloc(arena, sizeof(*w));

    w->up.is_from_client = true;
    up->tap = down->tap = on_bytes;
    up->tap_arg = &w->up;
    down->tap_arg = &w->down;
    return w;
}

void sl_websocket_account(const struct sl_websocket *w)
{
    sl_metric_add(messages_in, (int64_t)w->up.n_messages);
    sl_metric_add(messages_out, (int64_t)w->down.n_messages);
}

uint16_t sl_websocket_close_code(const struct sl_websocket *w)
{
    return w->down.close_code != 0 ? w->down.close_code : w->up.close_code;
}
