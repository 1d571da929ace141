/* hash.h -- keyed hashing for tables that peers can fill, and randomness.
 *
 * SipHash-2-4 under a key drawn once a process, so that nobody outside can build collisions.
 * Thread: any.
 */
#ifndef SL_BASE_HASH_H
#define SL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

uint64_t sl_hash(struct sl_str s);

/** The same under a key of the caller's: for shared tables with their own key, and test vectors. */
uint64_t sl_hash_keyed(const uint8_t key[16], struct sl_str s);

/** Kernel randomness (getrandom); aborts when the kernel has none. */
void sl_random(void *p, size_t n);

#endif
