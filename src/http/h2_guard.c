/* h2_guard.c -- a token bucket; a row a frame type. */
#include "http/h2_guard.h"

#include <nghttp2/nghttp2.h>

#include "base/mem.h"

#define FRAME INT64_C(1000)
#define BURST ((int64_t)SL_H2_GUARD_BURST * FRAME)
/* Of a refused header block these cost a frame more. */
#define BLOCK_BYTES 256
/* Types beyond the table are unknown to us, and may be ignored at a price. */
#define UNKNOWN_COST 1

static const uint8_t costs[] = {
    [NGHTTP2_DATA] = 0,         [NGHTTP2_HEADERS] = 0,  [NGHTTP2_PRIORITY] = 1,
    [NGHTTP2_RST_STREAM] = 2,   [NGHTTP2_SETTINGS] = 4, [NGHTTP2_PUSH_PROMISE] = 1,
    [NGHTTP2_PING] = 1,         [NGHTTP2_GOAWAY] = 1,   [NGHTTP2_WINDOW_UPDATE] = 1,
    [NGHTTP2_CONTINUATION] = 1,
};

/* cost: as left. */
static bool spend(struct sl_h2_guard *g, uint64_t now_ms, int64_t cost)
{
    if (g->filled_ms == 0) {
        g->left = BURST;
        g->filled_ms = now_ms;
    }
    if (now_ms > g->filled_ms) {
        g->left += (int64_t)((now_ms - g->filled_ms) * SL_H2_GUARD_PER_SECOND * FRAME / 1000);
        g->filled_ms = now_ms;
    }
    if (g->left > BURST)
        g->left = BURST;
    g->left -= cost;
    return g->left >= 0;
}

bool sl_h2_guard_waste(struct sl_h2_guard *g, uint64_t now_ms)
{
    return spend(g, now_ms, FRAME);
}

bool sl_h2_guard_late(struct sl_h2_guard *g, uint64_t now_ms, size_t n)
{
    return spend(g, now_ms, n < SL_H2_GUARD_WORTHY ? FRAME : FRAME / 4);
}

static bool is_answer(uint8_t type)
{
    return type == NGHTTP2_WINDOW_UPDATE || type == NGHTTP2_PING;
}

bool sl_h2_guard_frame(struct sl_h2_guard *g, uint64_t now_ms, uint8_t type)
{
    if (is_answer(type) && g->answers != 0) {
        g->answers--;
        return true;
    }
    return spend(g, now_ms, FRAME * (type < SL_LEN(costs) ? costs[type] : UNKNOWN_COST));
}

bool sl_h2_guard_refused(struct sl_h2_guard *g, uint64_t now_ms, size_t n)
{
    return spend(g, now_ms, FRAME * (costs[NGHTTP2_RST_STREAM] + (int64_t)n / BLOCK_BYTES));
}

bool sl_h2_guard_reset(struct sl_h2_guard *g, uint64_t now_ms)
{
    return spend(g, now_ms, FRAME * costs[NGHTTP2_RST_STREAM]);
}

void sl_h2_guard_earn(struct sl_h2_guard *g, uint32_t frames)
{
    g->left += (int64_t)frames * FRAME;
}

void sl_h2_guard_expect(struct sl_h2_guard *g, uint32_t frames)
{
    g->answers += frames;
    if (g->answers > SL_H2_GUARD_ANSWERS)
        g->answers = SL_H2_GUARD_ANSWERS;
}
