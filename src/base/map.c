/* map.c -- linear probing, at most three quarters full, no tombstones.
 *
 * Invariant: between a key's home slot and its own there is no empty slot.  A slot is empty when
 * its value is NULL.
 */
#include "base/map.h"

#include "base/hash.h"
#include "base/mem.h"

#define MIN_SLOTS 8

struct sl_map_slot {
    struct sl_str key;
    void *value;
    uint64_t hash;
};

void sl_map_fini(struct sl_map *m)
{
    sl_free(m->slots);
    *m = (struct sl_map){ 0 };
}

/* The slot of the key, or the empty one where it would go; the table is never full. */
static struct sl_map_slot *probe(const struct sl_map *m, struct sl_str key, uint64_t hash)
{
    size_t mask = m->n_slots - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct sl_map_slot *s = &m->slots[i];

        if (s->value == NULL || (s->hash == hash && sl_str_eq(s->key, key)))
            return s;
    }
}

static void grow(struct sl_map *m)
{
    size_t n_slots = m->n_slots == 0 ? MIN_SLOTS : m->n_slots * 2;
    struct sl_map bigger = { .slots = sl_zalloc(n_slots * sizeof(*m->slots)),
                             .n_slots = n_slots,
                             .n = m->n };

    for (size_t i = 0; i < m->n_slots; i++) {
        const struct sl_map_slot *s = &m->slots[i];

        if (s->value != NULL)
            *probe(&bigger, s->key, s->hash) = *s;
    }
    sl_free(m->slots);
    *m = bigger;
}

void *sl_map_get(const struct sl_map *m, struct sl_str key)
{
    return m->n == 0 ? NULL : probe(m, key, sl_hash(key))->value;
}

void *sl_map_put(struct sl_map *m, struct sl_str key, void *value)
{
    uint64_t hash = sl_hash(key);

    sl_assert(value != NULL);
    if (m->n + 1 > m->n_slots / 4 * 3)
        grow(m);
    struct sl_map_slot *s = probe(m, key, hash);
    void *old = s->value;

    /* The old key may live in the old value, which the caller is about to free. */
    *s = (struct sl_map_slot){ .key = key, .value = value, .hash = hash };
    if (old == NULL)
        m->n++;
    return old;
}

/* Pulls later entries of the same run into the hole, so that no probe stops too early. */
static void close_hole(struct sl_map *m, size_t hole)
{
    size_t mask = m->n_slots - 1;

    for (size_t i = (hole + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct sl_map_slot){ 0 };
}

void *sl_map_remove(struct sl_map *m, struct sl_str key)
{
    if (m->n == 0)
        return NULL;
    struct sl_map_slot *s = probe(m, key, sl_hash(key));
    void *old = s->value;

    if (old == NULL)
        return NULL;
    close_hole(m, (size_t)(s - m->slots));
    m->n--;
    return old;
}

void *sl_map_next(const struct sl_map *m, size_t *cursor)
{
    while (*cursor < m->n_slots) {
        void *value = m->slots[(*cursor)++].value;

        if (value != NULL)
            return value;
    }
    return NULL;
}
