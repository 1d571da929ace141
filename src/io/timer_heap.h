/* timer_heap.h -- a binary heap of timers, the earliest on top.
 *
 * Only io/loop.c uses it.  Timers are borrowed; `slot` of each is its place.  Zeroed memory is an
 * empty heap.
 * Thread: the loop's.
 */
#ifndef SL_IO_TIMER_HEAP_H
#define SL_IO_TIMER_HEAP_H

#include <stdint.h>

struct sl_timer;

struct sl_timer_heap {
    struct sl_timer **at;
    uint32_t n, cap;
    uint32_t seq; /**< of the next timer added */
};

void sl_timer_heap_fini(struct sl_timer_heap *h); /**< frees the table, not the timers */
/** Adds @a t by its due_ms, behind those due at the same time; sets its seq and slot. */
void sl_timer_heap_add(struct sl_timer_heap *h, struct sl_timer *t);
/** Takes out @a t, which is in the heap. */
void sl_timer_heap_remove(struct sl_timer_heap *h, struct sl_timer *t);
/** The earliest, or NULL. */
struct sl_timer *sl_timer_heap_top(const struct sl_timer_heap *h);

#endif
