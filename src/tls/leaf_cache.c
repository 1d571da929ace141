/* leaf_cache.c -- shards; in each, entries by key and the flights (forges under way) by key.
 *
 * Invariants: an entry is in its shard's map and in by_use, or gone.  A flight is in its shard's
 * map from its start until it is settled, unless its key is empty: then nobody may join and nothing
 * is kept.  A get waits in a flight's list, or its mail is posted: it passes from one to the other
 * under the shard's lock, so that a cancel always knows who frees it.
 */
#include "tls/leaf_cache.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "tls/ca.h"

#define N_SHARDS 16u
/* Below it, one shard: sixteen small ones would forget long before the cache is full. */
#define SHARDED_FROM 1024u
#define HOST_MAX ((size_t)253)
#define MARGIN_S 3600

/* The CA's address tells it apart, since whatever has such a key also has a reference to it. */
struct key {
    size_t len; /* 0: no key */
    char bytes[sizeof(struct sl_ca *) + 2 + HOST_MAX];
};

struct entry {
    struct sl_link by_use;
    struct sl_leaf *leaf;
    struct sl_str key; /* its bytes stand behind the entry */
};

struct shard {
    pthread_mutex_t lock;
    struct sl_map entries;
    struct sl_map flights;
    struct sl_link by_use; /* most recently used first */
};

struct sl_leaf_cache {
    atomic_uint refs; /* the owner's, and one a get and a flight */
    uint32_t n_shards;
    uint32_t per_shard;
    struct sl_metric *hits;
    struct sl_metric *misses;
    struct sl_metric *forge_time;
    struct shard shards[N_SHARDS];
};

struct flight {
    struct sl_leaf_cache *cache;
    struct shard *shard;
    struct sl_ca *ca;
    struct sl_leaf_keys *keys;
    struct sl_leaf_conf conf;
    struct key key;
    struct sl_str host;
    struct sl_link waiting; /* of gets */
    struct sl_leaf *leaf;
    struct sl_fault fault;
};

struct sl_leaf_get {
    struct sl_mail mail;
    struct sl_link waiting;
    struct sl_leaf_cache *cache;
    struct shard *shard;
    struct sl_mailbox *mailbox;
    sl_leaf_get_fn *done; /* NULL: cancelled after its mail was posted */
    void *arg;
    struct sl_leaf *leaf;
    bool forged;
    struct sl_fault fault;
};

/* -- keys and shards ----------------------------------------------------------------------------
 */

static struct key make_key(const struct sl_leaf_cache *cache, const struct sl_ca *ca,
                           const struct sl_leaf_conf *conf, struct sl_str host)
{
    struct key key = { 0 };
    char *p = key.bytes;

    if (cache->per_shard == 0 || host.n == 0 || host.n > HOST_MAX)
        return key;
    memcpy(p, &ca, sizeof(ca));
    p += sizeof(ca);
    *p++ = (char)conf->kind;
    *p++ = (char)conf->host_scope;
    memcpy(p, host.p, host.n);
    key.len = sizeof(ca) + 2 + host.n;
    return key;
}

static struct sl_str key_str(const struct key *key)
{
    return sl_str_make(key->bytes, key->len);
}

/* By the upper bits of the hash; the maps inside use the lower ones. */
static struct shard *shard_of(struct sl_leaf_cache *cache, const struct key *key)
{
    return &cache->shards[(sl_hash(key_str(key)) >> 32) % cache->n_shards];
}

static struct sl_leaf_cache *cache_ref(struct sl_leaf_cache *cache)
{
    atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    return cache;
}

/* -- entries ------------------------------------------------------------------------------------
 */

static struct entry *entry_new(const struct key *key, struct sl_leaf *leaf)
{
    struct entry *e = sl_zalloc(sizeof(*e) + key->len);
    char *copy = (char *)(e + 1);

    memcpy(copy, key->bytes, key->len);
    e->key = sl_str_make(copy, key->len);
    e->leaf = sl_leaf_ref(leaf);
    return e;
}

/* Frees a list of entries that were taken out under the lock. */
static void free_entries(struct sl_link *gone)
{
    for (struct sl_link *l = sl_list_pop(gone); l != NULL; l = sl_list_pop(gone)) {
        struct entry *e = SL_CONTAINER(l, struct entry, by_use);

        sl_leaf_unref(&e->leaf);
        sl_free(e);
    }
}

static void take_out(struct shard *shard, struct entry *e, struct sl_link *gone)
{
    (void)sl_map_remove(&shard->entries, e->key);
    sl_link_remove(&e->by_use);
    sl_list_add(gone, &e->by_use);
}

/* Under the lock. */
static void keep(struct shard *shard, struct entry *e, uint32_t max, struct sl_link *gone)
{
    struct entry *old = sl_map_get(&shard->entries, e->key);

    if (old != NULL)
        take_out(shard, old, gone);
    else if (shard->entries.n >= max)
        take_out(shard, SL_CONTAINER(shard->by_use.prev, struct entry, by_use), gone);
    (void)sl_map_put(&shard->entries, e->key, e);
    sl_list_push(&shard->by_use, &e->by_use);
}

static bool is_fresh(const struct sl_leaf *leaf, const struct sl_leaf_conf *conf)
{
    int64_t tenth = (int64_t)conf->lifetime_s / 10;
    int64_t margin = tenth < MARGIN_S ? tenth : MARGIN_S;

    return sl_leaf_expires(leaf) - (int64_t)time(NULL) >= margin;
}

/* Under the lock: the fresh leaf with a reference for the caller, or NULL. */
static struct sl_leaf *look_up(struct shard *shard, const struct key *key,
                               const struct sl_leaf_conf *conf)
{
    struct entry *e = sl_map_get(&shard->entries, key_str(key));

    if (e == NULL || !is_fresh(e->leaf, conf))
        return NULL;
    sl_link_remove(&e->by_use);
    sl_list_push(&shard->by_use, &e->by_use);
    return sl_leaf_ref(e->leaf);
}

/* -- the cache ----------------------------------------------------------------------------------
 */

static void set_metrics(struct sl_leaf_cache *cache)
{
    cache->hits =
        sl_metric_child(sl_metric_family(SL_METRIC_COUNTER, "sluice_leaf_cache_hits_total",
                                         "Handshakes whose forged certificate was at hand.", ""),
                        NULL);
    cache->misses = sl_metric_child(
        sl_metric_family(SL_METRIC_COUNTER, "sluice_leaf_cache_misses_total",
                         "Handshakes whose certificate had to be forged or waited for.", ""),
        NULL);
    cache->forge_time =
        sl_metric_child(sl_metric_family(SL_METRIC_HISTOGRAM, "sluice_forge_duration_seconds",
                                         "Time to forge a certificate.", ""),
                        NULL);
}

struct sl_leaf_cache *sl_leaf_cache_new(uint32_t max_entries)
{
    struct sl_leaf_cache *cache = sl_zalloc(sizeof(*cache));

    atomic_init(&cache->refs, 1);
    cache->n_shards = max_entries >= SHARDED_FROM ? N_SHARDS : 1;
    cache->per_shard = max_entries / cache->n_shards;
    set_metrics(cache);
    for (uint32_t i = 0; i < N_SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
        sl_list_init(&cache->shards[i].by_use);
    }
    return cache;
}

void sl_leaf_cache_free(struct sl_leaf_cache **cache)
{
    struct sl_leaf_cache *c = *cache;

    *cache = NULL;
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < N_SHARDS; i++) {
        free_entries(&c->shards[i].by_use);
        sl_map_fini(&c->shards[i].entries);
        sl_map_fini(&c->shards[i].flights);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    sl_free(c);
}

struct sl_leaf *sl_leaf_cache_get(struct sl_leaf_cache *cache, struct sl_ca *ca,
                                  const struct sl_leaf_conf *conf, struct sl_str host)
{
    struct key key = make_key(cache, ca, conf, host);
    struct sl_leaf *leaf = NULL;

    if (key.len != 0) {
        struct shard *shard = shard_of(cache, &key);

        pthread_mutex_lock(&shard->lock);
        leaf = look_up(shard, &key, conf);
        pthread_mutex_unlock(&shard->lock);
    }
    sl_metric_add(leaf != NULL ? cache->hits : cache->misses, 1);
    return leaf;
}

/* -- gets ---------------------------------------------------------------------------------------
 */

static void get_free(struct sl_leaf_get *get)
{
    sl_leaf_unref(&get->leaf);
    sl_leaf_cache_free(&get->cache);
    sl_free(get);
}

/* Reports last, after the get is gone, so done() may free its owner. */
static void on_mail(struct sl_mail *mail)
{
    struct sl_leaf_get *get = SL_CONTAINER(mail, struct sl_leaf_get, mail);
    sl_leaf_get_fn *done = get->done;
    void *arg = get->arg;
    struct sl_leaf *leaf = get->leaf;
    struct sl_fault fault = get->fault;
    bool forged = get->forged;

    if (done != NULL)
        get->leaf = NULL;
    get_free(get);
    if (done != NULL)
        done(arg, leaf, forged && leaf != NULL, leaf != NULL ? NULL : &fault);
}

/* Under the lock, which is what makes it safe to post: a cancel, and with it the end of the
 * mailbox, comes before or after. */
static void post(struct sl_leaf_get *get, struct sl_leaf *leaf, const struct sl_fault *fault)
{
    get->leaf = leaf;
    if (leaf == NULL)
        get->fault = *fault;
    sl_mailbox_post(get->mailbox, &get->mail);
}

void sl_leaf_get_cancel(struct sl_leaf_get **get)
{
    struct sl_leaf_get *g = *get;
    bool waits;

    if (g == NULL)
        return;
    *get = NULL;
    pthread_mutex_lock(&g->shard->lock);
    waits = sl_link_is_in(&g->waiting);
    sl_link_remove(&g->waiting);
    pthread_mutex_unlock(&g->shard->lock);
    if (waits)
        get_free(g);
    else
        g->done = NULL;
}

/* -- flights ------------------------------------------------------------------------------------
 */

static struct flight *flight_new(const struct sl_leaf_get_conf *conf, const struct key *key,
                                 struct sl_str host)
{
    struct flight *f = sl_zalloc(sizeof(*f) + host.n);
    char *copy = (char *)(f + 1);

    if (host.n > 0)
        memcpy(copy, host.p, host.n);
    f->cache = cache_ref(conf->cache);
    f->shard = shard_of(conf->cache, key);
    f->ca = sl_ca_ref(conf->ca);
    f->keys = sl_leaf_keys_ref(conf->keys);
    f->conf = conf->leaf;
    f->key = *key;
    f->host = sl_str_make(copy, host.n);
    sl_list_init(&f->waiting);
    return f;
}

static void flight_free(void *arg)
{
    struct flight *f = arg;

    sl_leaf_unref(&f->leaf);
    sl_leaf_keys_free(&f->keys);
    sl_ca_unref(&f->ca);
    sl_leaf_cache_free(&f->cache);
    sl_free(f);
}

/* One waiter a time, so that the lock is never held for long however many there are. */
static bool answer_one(struct flight *f)
{
    struct sl_link *first;

    pthread_mutex_lock(&f->shard->lock);
    first = sl_list_pop(&f->waiting);
    if (first != NULL)
        post(SL_CONTAINER(first, struct sl_leaf_get, waiting),
             f->leaf != NULL ? sl_leaf_ref(f->leaf) : NULL, &f->fault);
    pthread_mutex_unlock(&f->shard->lock);
    return first != NULL;
}

/* Nobody can join any more: who comes later finds the entry, or flies again after a failure. */
static void land(struct flight *f)
{
    struct entry *e = f->leaf != NULL && f->key.len != 0 ? entry_new(&f->key, f->leaf) : NULL;
    struct sl_link gone;

    sl_list_init(&gone);
    pthread_mutex_lock(&f->shard->lock);
    if (f->key.len != 0)
        (void)sl_map_remove(&f->shard->flights, key_str(&f->key));
    if (e != NULL)
        keep(f->shard, e, f->cache->per_shard, &gone);
    pthread_mutex_unlock(&f->shard->lock);
    free_entries(&gone);
    while (answer_one(f))
        continue;
}

static void fly(void *arg)
{
    struct flight *f = arg;
    uint64_t start_us = sl_mono_us();

    f->leaf = sl_leaf_forge(f->ca, f->keys, &f->conf, f->host, &f->fault);
    if (f->leaf != NULL)
        sl_metric_observe_us(f->cache->forge_time, sl_mono_us() - start_us);
    land(f);
}

static void launch(struct flight *f, struct sl_loop *loop)
{
    if (sl_leaf_is_slow(f->keys, &f->conf)) {
        (void)sl_work_start(loop, fly, flight_free, f);
        return;
    }
    fly(f);
    flight_free(f);
}

static struct flight *lead(struct sl_leaf_get *get, const struct sl_leaf_get_conf *conf,
                           const struct key *key, struct sl_str host)
{
    struct flight *f = flight_new(conf, key, host);

    get->forged = true;
    sl_list_add(&f->waiting, &get->waiting);
    return f;
}

/* Under the lock: gives the get its answer, or a place on a flight; the flight if it is a new one,
 * which the caller has to launch. */
static struct flight *board(struct sl_leaf_get *get, const struct sl_leaf_get_conf *conf,
                            const struct key *key, struct sl_str host)
{
    struct sl_leaf *leaf = look_up(get->shard, key, &conf->leaf);
    struct flight *f;

    if (leaf != NULL) {
        post(get, leaf, NULL);
        return NULL;
    }
    f = sl_map_get(&get->shard->flights, key_str(key));
    if (f != NULL) {
        sl_list_add(&f->waiting, &get->waiting);
        return NULL;
    }
    f = lead(get, conf, key, host);
    (void)sl_map_put(&get->shard->flights, key_str(&f->key), f);
    return f;
}

struct sl_leaf_get *sl_leaf_get_start(const struct sl_leaf_get_conf *conf, struct sl_str host,
                                      sl_leaf_get_fn *done, void *arg)
{
    struct key key = make_key(conf->cache, conf->ca, &conf->leaf, host);
    struct sl_leaf_get *get = sl_zalloc(sizeof(*get));
    struct flight *f;

    get->mail.fn = on_mail;
    get->cache = cache_ref(conf->cache);
    get->shard = shard_of(conf->cache, &key);
    get->mailbox = conf->mailbox;
    get->done = done;
    get->arg = arg;
    if (key.len != 0) {
        pthread_mutex_lock(&get->shard->lock);
        f = board(get, conf, &key, host);
        pthread_mutex_unlock(&get->shard->lock);
    } else {
        f = lead(get, conf, &key, host);
    }
    if (f != NULL)
        launch(f, conf->loop);
    return get;
}
