/* timer_heap.c -- invariant: at[i]->slot == i, and no timer is earlier than the one at (i - 1) / 2.
 */
#include "io/timer_heap.h"

#include <stdbool.h>

#include "base/mem.h"
#include "io/loop.h"

void sl_timer_heap_fini(struct sl_timer_heap *h)
{
    sl_free(h->at);
    *h = (struct sl_timer_heap){ 0 };
}

static bool is_earlier(const struct sl_timer *a, const struct sl_timer *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return (int32_t)(a->seq - b->seq) < 0;
}

static void place(struct sl_timer_heap *h, struct sl_timer *t, uint32_t slot)
{
    h->at[slot] = t;
    t->slot = slot;
}

static void sift_up(struct sl_timer_heap *h, struct sl_timer *t)
{
    uint32_t slot = t->slot;

    while (slot > 0 && is_earlier(t, h->at[(slot - 1) / 2])) {
        place(h, h->at[(slot - 1) / 2], slot);
        slot = (slot - 1) / 2;
    }
    place(h, t, slot);
}

static void sift_down(struct sl_timer_heap *h, struct sl_timer *t)
{
    uint32_t slot = t->slot;

    for (uint32_t child; (child = 2 * slot + 1) < h->n; slot = child) {
        if (child + 1 < h->n && is_earlier(h->at[child + 1], h->at[child]))
            child++;
        if (!is_earlier(h->at[child], t))
            break;
        place(h, h->at[child], slot);
    }
    place(h, t, slot);
}

void sl_timer_heap_add(struct sl_timer_heap *h, struct sl_timer *t)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 16 : 2 * h->cap;
        h->at = sl_realloc(h->at, h->cap * sizeof(h->at[0]));
    }
    t->seq = h->seq++;
    place(h, t, h->n++);
    sift_up(h, t);
}

void sl_timer_heap_remove(struct sl_timer_heap *h, struct sl_timer *t)
{
    struct sl_timer *last = h->at[--h->n];

    if (last == t)
        return;
    place(h, last, t->slot);
    sift_up(h, last);
    sift_down(h, last);
}

struct sl_timer *sl_timer_heap_top(const struct sl_timer_heap *h)
{
    return h->n == 0 ? NULL : h->at[0];
}
