/* arena.h -- memory that dies with its exchange.
 *
 * Thread: the owner's.  Nothing is freed one by one.
 */
#ifndef SL_BASE_ARENA_H
#define SL_BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

struct sl_arena_block;

struct sl_arena {
    struct sl_arena_block *head; /**< newest block, NULL before the first allocation */
    size_t used;                 /**< bytes taken from the newest block */
    size_t total;                /**< bytes handed out, for limits and tests */
    size_t block;                /**< size of the next block; 0: a page, always */
};

/** Nothing to initialise beyond zero; here for symmetry with fini. */
void sl_arena_init(struct sl_arena *a);

/** For what is little as a rule, and kept: the first block has @a first bytes, each further one
 * twice as many, up to a page. */
void sl_arena_init_small(struct sl_arena *a, size_t first);

/** Bytes of memory that the arena has, handed out or not. */
size_t sl_arena_held(const struct sl_arena *a);

/** Gives everything back; the arena can be used again. */
void sl_arena_fini(struct sl_arena *a);

/** Zeroed, aligned for any type. */
void *sl_arena_alloc(struct sl_arena *a, size_t n) __attribute__((returns_nonnull, alloc_size(2)));

/** A copy of @a s, with a NUL behind it that does not count. */
struct sl_str sl_arena_str(struct sl_arena *a, struct sl_str s);

/** Formatted text, NUL-terminated behind its end. */
struct sl_str sl_arena_printf(struct sl_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
