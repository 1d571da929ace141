/* poison.h -- memory that is kept but that nobody may touch, told to AddressSanitizer.
 *
 * Builds without it do nothing.  Thread: any.
 */
#ifndef SL_BASE_POISON_H
#define SL_BASE_POISON_H

#include <stddef.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SL_HAS_POISON 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SL_HAS_POISON 1
#endif

#ifdef SL_HAS_POISON
#include <sanitizer/asan_interface.h>

/** Wipes and forbids: a byte of before is neither read here nor found by who has it next. */
static inline void sl_poison(void *p, size_t n)
{
    memset(p, 0xa5, n);
    __asan_poison_memory_region(p, n);
}

static inline void sl_unpoison(void *p, size_t n) /**< allows it again */
{
    __asan_unpoison_memory_region(p, n);
}
#else
static inline void sl_poison(void *p, size_t n)
{
    (void)p, (void)n;
}

static inline void sl_unpoison(void *p, size_t n)
{
    (void)p, (void)n;
}
#endif

#endif
