/* mem.c -- no state: malloc with the failure branch taken out. */
#include "base/mem.h"

#include <stdint.h>

void sl_mem_need(bool is_there)
{
    if (is_there)
        return;
    fputs("sluice: error: out of memory\n", stderr);
    abort();
}

static void *must(void *p)
{
    sl_mem_need(p != NULL);
    return p;
}

/* A request for nothing still answers an address of its own. */
static size_t at_least_one(size_t n)
{
    return n == 0 ? 1 : n;
}

void *sl_zalloc(size_t n)
{
    return must(calloc(1, at_least_one(n)));
}

void *sl_alloc(size_t n)
{
    return must(malloc(at_least_one(n)));
}

void *sl_realloc(void *p, size_t n)
{
    return must(realloc(p, at_least_one(n)));
}

char *sl_memdup(const void *p, size_t n)
{
    sl_assert(n < SIZE_MAX);
    char *copy = sl_alloc(n + 1);

    if (n != 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void sl_free(void *p)
{
    free(p);
}

void sl_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "sluice: error: assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
