/* name_cache.h -- addresses of names, each kept until its time is up.
 *
 * Bounded: the least recently used goes first.  Only io/resolve.c uses it.
 * Thread: the resolver's.
 */
#ifndef SL_IO_NAME_CACHE_H
#define SL_IO_NAME_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

struct sl_addrs;

struct sl_name_cache {
    struct sl_map names;
    struct sl_link by_use; /**< least recently used first */
    uint32_t max;          /**< 0: nothing is kept */
};

void sl_name_cache_init(struct sl_name_cache *c, uint32_t max_entries);
void sl_name_cache_fini(struct sl_name_cache *c);

/** Whether @a name is known at @a now_ms. */
bool sl_name_cache_get(struct sl_name_cache *c, struct sl_str name, uint64_t now_ms,
                       struct sl_addrs *ret_addrs);
/** Keeps a copy, in place of what was known. */
void sl_name_cache_put(struct sl_name_cache *c, struct sl_str name, uint64_t until_ms,
                       const struct sl_addrs *addrs);

#endif
