/* memory.h -- a pair of streams in memory, for tests: what one end writes the other reads.
 *
 * Delivery can trickle and writes can block, so that every split of a conversation can be played.
 * Thread: the loop's.
 */
#ifndef SL_IO_MEMORY_H
#define SL_IO_MEMORY_H

#include <stddef.h>

struct sl_loop;
struct sl_stream;

struct sl_memory_conf {
    size_t read_max;  /**< bytes a read returns at most; 0: no limit */
    size_t write_max; /**< bytes a write takes at most; 0: no limit */
    size_t capacity;  /**< bytes under way at most before writes answer SL_AGAIN; 0: no limit */
};

/** Two connected ends; each is closed by its owner.  @a conf holds for both directions. */
void sl_memory_pair(struct sl_loop *loop, const struct sl_memory_conf *conf,
                    struct sl_stream **ret_a, struct sl_stream **ret_b);

/** Makes the other end see a reset (SL_RESET) on its next read or write. */
void sl_memory_reset(struct sl_stream *s);

#endif
