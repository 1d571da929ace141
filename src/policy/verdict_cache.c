/* verdict_cache.c -- shards of map and LRU ring; a list of ways that only grows.
 *
 * Invariant: an entry is in its shard's map and ring, or being freed.  Ways are published by
 * n_ways, so that readers need no lock.
 */
#include "policy/verdict_cache.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "policy/question.h"

#define N_SHARDS 16u
/* Of an entry, for the map's slot and what malloc adds to each of its pieces. */
#define OVERHEAD 128u

struct entry {
    struct sl_link in_lru;
    struct sl_str key; /* owned */
    struct sl_verdict *verdict;
    uint64_t expires_ms;
    size_t bytes; /* all that it costs */
};

struct shard {
    pthread_mutex_t lock;
    struct sl_map by_key;
    struct sl_link lru; /* least recently used first */
    size_t bytes;       /* of all entries */
};

struct sl_verdict_cache {
    struct shard shards[N_SHARDS];
    uint32_t max_per_shard;
    size_t max_bytes_per_shard;
    pthread_mutex_t ways_lock;
    atomic_uint n_ways;
    struct sl_vary ways[SL_VERDICT_WAYS];
};

struct sl_verdict_cache *sl_verdict_cache_new(uint32_t max_entries, uint64_t max_bytes)
{
    struct sl_verdict_cache *c = sl_zalloc(sizeof(*c));

    c->max_per_shard = max_entries / N_SHARDS + (max_entries % N_SHARDS != 0);
    c->max_bytes_per_shard = (size_t)(max_bytes / N_SHARDS);
    pthread_mutex_init(&c->ways_lock, NULL);
    atomic_init(&c->n_ways, 0);
    for (unsigned i = 0; i < N_SHARDS; i++) {
        pthread_mutex_init(&c->shards[i].lock, NULL);
        sl_list_init(&c->shards[i].lru);
    }
    return c;
}

static struct entry *oldest(struct shard *s)
{
    return SL_CONTAINER(s->lru.next, struct entry, in_lru);
}

static void entry_free(struct shard *s, struct entry *e)
{
    sl_link_remove(&e->in_lru);
    sl_map_remove(&s->by_key, e->key);
    s->bytes -= e->bytes;
    sl_verdict_unref(&e->verdict);
    sl_free((void *)(uintptr_t)e->key.p);
    sl_free(e);
}

void sl_verdict_cache_free(struct sl_verdict_cache **cache)
{
    struct sl_verdict_cache *c = *cache;

    if (c == NULL)
        return;
    *cache = NULL;
    for (unsigned i = 0; i < N_SHARDS; i++) {
        struct shard *s = &c->shards[i];

        while (!sl_list_is_empty(&s->lru))
            entry_free(s, oldest(s));
        sl_map_fini(&s->by_key);
        pthread_mutex_destroy(&s->lock);
    }
    pthread_mutex_destroy(&c->ways_lock);
    sl_free(c);
}

/* By the upper bits of the hash; the maps inside use the lower ones. */
static struct shard *shard_of(struct sl_verdict_cache *c, struct sl_str key)
{
    return &c->shards[(sl_hash(key) >> 32) % N_SHARDS];
}

static struct sl_verdict *probe(struct sl_verdict_cache *c, struct sl_str key, uint64_t now_ms,
                                bool stale)
{
    struct shard *s = shard_of(c, key);
    struct sl_verdict *v = NULL;
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    e = sl_map_get(&s->by_key, key);
    if (e != NULL && (stale || now_ms < e->expires_ms)) {
        sl_link_remove(&e->in_lru);
        sl_list_add(&s->lru, &e->in_lru);
        v = sl_verdict_ref(e->verdict);
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

struct sl_verdict *sl_verdict_cache_get(struct sl_verdict_cache *c, const struct sl_question *q,
                                        uint64_t now_ms, bool stale)
{
    unsigned n = atomic_load_explicit(&c->n_ways, memory_order_acquire);
    struct sl_verdict *v = NULL;
    struct sl_buf key = { 0 };

    for (unsigned i = 0; v == NULL && i < n; i++) {
        sl_buf_reset(&key);
        sl_vary_key(&c->ways[i], q, &key);
        v = probe(c, sl_buf_str(&key), now_ms, stale);
    }
    sl_buf_fini(&key);
    return v;
}

/* Under the lock. */
static bool is_known_way(const struct sl_verdict_cache *c, const struct sl_vary *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (sl_vary_eq(&c->ways[i], v))
            return true;
    }
    return false;
}

/* The way to look for such a verdict from now on: the last place is kept for "everything", which
 * is true of every verdict. */
static const struct sl_vary *learn_way(struct sl_verdict_cache *c, const struct sl_vary *v)
{
    static const struct sl_vary all = { .all = true };
    unsigned n;

    pthread_mutex_lock(&c->ways_lock);
    n = atomic_load_explicit(&c->n_ways, memory_order_relaxed);
    if (n + 1 >= SL_VERDICT_WAYS && !is_known_way(c, v, n))
        v = &all;
    if (!is_known_way(c, v, n)) {
        c->ways[n] = *v;
        atomic_store_explicit(&c->n_ways, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&c->ways_lock);
    return v;
}

static void discard(struct sl_verdict_cache *c, struct sl_str key)
{
    struct shard *s = shard_of(c, key);
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    e = sl_map_get(&s->by_key, key);
    if (e != NULL)
        entry_free(s, e);
    pthread_mutex_unlock(&s->lock);
}

static size_t cost(struct sl_str key, const struct sl_verdict *v)
{
    return sizeof(struct entry) + key.n + sizeof(*v) + sl_arena_held(&v->arena) + OVERHEAD;
}

/* Room for one more, of so many bytes; they fit into an empty shard. */
static void make_room(struct sl_verdict_cache *c, struct shard *s, size_t bytes)
{
    while (s->by_key.n >= c->max_per_shard || s->bytes + bytes > c->max_bytes_per_shard)
        entry_free(s, oldest(s));
}

static void insert(struct sl_verdict_cache *c, struct sl_str key, struct sl_verdict *v,
                   uint64_t expires_ms)
{
    struct shard *s = shard_of(c, key);
    struct entry *e = sl_zalloc(sizeof(*e)), *old;

    *e = (struct entry){ .key = sl_str_make(sl_str_dup(key), key.n),
                         .verdict = sl_verdict_ref(v),
                         .expires_ms = expires_ms,
                         .bytes = cost(key, v) };
    pthread_mutex_lock(&s->lock);
    old = sl_map_get(&s->by_key, key);
    if (old != NULL)
        entry_free(s, old);
    make_room(c, s, e->bytes);
    sl_map_put(&s->by_key, e->key, e);
    sl_list_add(&s->lru, &e->in_lru);
    s->bytes += e->bytes;
    pthread_mutex_unlock(&s->lock);
}

/* A newer answer stands for the question, whatever parts of it the older ones varied by: else they
 * would come back when the newer one is gone, or stale. */
static void forget(struct sl_verdict_cache *c, const struct sl_question *q)
{
    unsigned n = atomic_load_explicit(&c->n_ways, memory_order_acquire);
    struct sl_buf key = { 0 };

    for (unsigned i = 0; i < n; i++) {
        sl_buf_reset(&key);
        sl_vary_key(&c->ways[i], q, &key);
        discard(c, sl_buf_str(&key));
    }
    sl_buf_fini(&key);
}

void sl_verdict_cache_put(struct sl_verdict_cache *c, const struct sl_question *q,
                          struct sl_verdict *v, uint64_t now_ms, uint64_t ttl_ms)
{
    struct sl_buf key = { 0 };

    forget(c, q);
    if (ttl_ms == 0 || c->max_per_shard == 0)
        return;
    sl_vary_key(learn_way(c, &v->vary), q, &key);
    if (key.len <= SL_VERDICT_MAX_KEY && cost(sl_buf_str(&key), v) <= c->max_bytes_per_shard)
        insert(c, sl_buf_str(&key), v, now_ms + ttl_ms);
    sl_buf_fini(&key);
}
