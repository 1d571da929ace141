/* mem.h -- the only allocator calls of the tree.
 *
 * Small allocations never fail: running out of memory aborts, so every growth that a peer can cause
 * has a configured limit above it.
 * Thread: any.
 */
#ifndef SL_BASE_MEM_H
#define SL_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Calls that are unbounded, locale-bound or not re-entrant have no place here.  With clang and
 * _FORTIFY_SOURCE two of them are macros, which cannot be poisoned before they are undefined. */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol gmtime localtime

/** Zeroed memory of @a n bytes; never NULL. */
void *sl_zalloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));

/** Uninitialised memory of @a n bytes; never NULL. */
void *sl_alloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));

/** Grows or shrinks @a p (NULL allocates); never NULL. */
void *sl_realloc(void *p, size_t n) __attribute__((returns_nonnull, alloc_size(2)));

/** A heap copy of @a n bytes plus a NUL behind them. */
char *sl_memdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));

/** Frees; NULL is a no-op. */
void sl_free(void *p);

/** For what a library makes and only fails to make for want of memory: that aborts as well. */
void sl_mem_need(bool is_there);

#define SL_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define SL_LEN(array) (sizeof(array) / sizeof((array)[0]))

/** For our own bugs only: nothing a peer, an operator or a file does may trip it. */
#define sl_assert(cond) ((cond) ? (void)0 : sl_assert_failed(#cond, __FILE__, __LINE__))

/** Prints the broken assertion and aborts. */
void sl_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#endif
