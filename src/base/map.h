/* map.h -- a hash map from bytes to a pointer.
 *
 * Keys are borrowed: they usually live in the value they lead to.  Zeroed memory is an empty map.
 * Thread: the owner's.
 */
#ifndef SL_BASE_MAP_H
#define SL_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct sl_map_slot;

struct sl_map {
    struct sl_map_slot *slots; /**< power-of-two table, open addressing */
    size_t n_slots;
    size_t n; /**< entries */
};

void sl_map_fini(struct sl_map *m); /**< frees the table, not the values; empty and usable again */

/** The value under @a key, or NULL. */
void *sl_map_get(const struct sl_map *m, struct sl_str key);

/** Adds or replaces; answers the value that was there, or NULL.  @a value is not NULL. */
void *sl_map_put(struct sl_map *m, struct sl_str key, void *value);

/** Takes out; answers the value, or NULL. */
void *sl_map_remove(struct sl_map *m, struct sl_str key);

/** Walks all values: start with *cursor 0; NULL ends.  Removing the value just returned is not
 * allowed. */
void *sl_map_next(const struct sl_map *m, size_t *cursor);

#endif
