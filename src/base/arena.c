/* arena.c -- a list of blocks, newest first; only the newest is filled.
 *
 * Invariant: used <= head->size.  Every block but the head is full, or was made for one large
 * allocation.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/mem.h"

/* An exchange's head and names usually fit into one; with malloc's own header still one page. */
#define BLOCK_SIZE (4096 - sizeof(struct sl_arena_block) - 16)

struct sl_arena_block {
    struct sl_arena_block *next;
    size_t size;
    alignas(max_align_t) char data[];
};

void sl_arena_init(struct sl_arena *a)
{
    *a = (struct sl_arena){ 0 };
}

void sl_arena_init_small(struct sl_arena *a, size_t first)
{
    *a = (struct sl_arena){ .block = first };
}

size_t sl_arena_held(const struct sl_arena *a)
{
    size_t n = 0;

    for (const struct sl_arena_block *b = a->head; b != NULL; b = b->next)
        n += sizeof(*b) + b->size;
    return n;
}

void sl_arena_fini(struct sl_arena *a)
{
    for (struct sl_arena_block *b = a->head, *next; b != NULL; b = next) {
        next = b->next;
        sl_free(b);
    }
    sl_arena_init(a);
}

static struct sl_arena_block *block_new(size_t size)
{
    struct sl_arena_block *b = sl_alloc(sizeof(*b) + size);

    b->next = NULL;
    b->size = size;
    return b;
}

/* A block of its own behind the head, whose free end stays in use. */
static char *take_large(struct sl_arena *a, size_t n)
{
    struct sl_arena_block *b = block_new(n);

    if (a->head == NULL) {
        a->head = b;
        a->used = n;
    } else {
        b->next = a->head->next;
        a->head->next = b;
    }
    return b->data;
}

static size_t next_size(const struct sl_arena *a)
{
    return a->block != 0 && a->block < BLOCK_SIZE ? a->block : BLOCK_SIZE;
}

static char *take_fresh(struct sl_arena *a, size_t n)
{
    struct sl_arena_block *b = block_new(next_size(a));

    a->block *= 2;
    b->next = a->head;
    a->head = b;
    a->used = n;
    return b->data;
}

/* n bytes, contents undefined. */
static char *take(struct sl_arena *a, size_t n, size_t align)
{
    size_t at = (a->used + align - 1) & ~(align - 1);

    sl_assert(n < SIZE_MAX / 2);
    a->total += n;
    if (a->head != NULL && at <= a->head->size && n <= a->head->size - at) {
        a->used = at + n;
        return a->head->data + at;
    }
    return n > next_size(a) / 4 ? take_large(a, n) : take_fresh(a, n);
}

void *sl_arena_alloc(struct sl_arena *a, size_t n)
{
    return memset(take(a, n, alignof(max_align_t)), 0, n);
}

struct sl_str sl_arena_str(struct sl_arena *a, struct sl_str s)
{
    char *copy = take(a, s.n + 1, 1);

    if (s.n != 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return sl_str_make(copy, s.n);
}

/* Most texts are short: formatted aside once; the long ones a second time, in place. */
struct sl_str sl_arena_printf(struct sl_arena *a, const char *fmt, ...)
{
    char aside[256];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(aside, sizeof(aside), fmt, ap);
    va_end(ap);
    sl_assert(n >= 0);
    if ((size_t)n < sizeof(aside))
        return sl_arena_str(a, sl_str_make(aside, (size_t)n));

    char *text = take(a, (size_t)n + 1, 1);

    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return sl_str_make(text, (size_t)n);
}
