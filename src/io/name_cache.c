/* name_cache.c -- invariant: an entry is in the map and in the list, or gone.
 */
#include "io/name_cache.h"

#include "base/mem.h"
#include "io/resolve.h"

struct entry {
    struct sl_link by_use;
    struct sl_str name; /* owned */
    uint64_t until_ms;
    size_t n;
    struct sl_addr a[];
};

static struct entry *entry_of(struct sl_link *by_use)
{
    return SL_CONTAINER(by_use, struct entry, by_use);
}

static void drop(struct sl_name_cache *c, struct entry *e)
{
    (void)sl_map_remove(&c->names, e->name);
    sl_link_remove(&e->by_use);
    sl_free((char *)(uintptr_t)e->name.p);
    sl_free(e);
}

void sl_name_cache_init(struct sl_name_cache *c, uint32_t max_entries)
{
    *c = (struct sl_name_cache){ .max = max_entries };
    sl_list_init(&c->by_use);
}

void sl_name_cache_fini(struct sl_name_cache *c)
{
    while (!sl_list_is_empty(&c->by_use))
        drop(c, entry_of(c->by_use.next));
    sl_map_fini(&c->names);
}

bool sl_name_cache_get(struct sl_name_cache *c, struct sl_str name, uint64_t now_ms,
                       struct sl_addrs *ret_addrs)
{
    struct entry *e = sl_map_get(&c->names, name);

    if (e == NULL)
        return false;
    if (e->until_ms <= now_ms) {
        drop(c, e);
        return false;
    }
    sl_link_remove(&e->by_use);
    sl_list_add(&c->by_use, &e->by_use);
    ret_addrs->n = e->n;
    memcpy(ret_addrs->a, e->a, e->n * sizeof(e->a[0]));
    return true;
}

void sl_name_cache_put(struct sl_name_cache *c, struct sl_str name, uint64_t until_ms,
                       const struct sl_addrs *addrs)
{
    struct entry *e = sl_map_get(&c->names, name);

    if (e != NULL)
        drop(c, e);
    if (c->max == 0)
        return;
    if (c->names.n >= c->max)
        drop(c, entry_of(c->by_use.next));
    e = sl_zalloc(sizeof(*e) + addrs->n * sizeof(e->a[0]));
    e->name = sl_str_make(sl_str_dup(name), name.n);
    e->until_ms = until_ms;
    e->n = addrs->n;
    memcpy(e->a, addrs->a, addrs->n * sizeof(e->a[0]));
    (void)sl_map_put(&c->names, e->name, e);
    sl_list_add(&c->by_use, &e->by_use);
}
