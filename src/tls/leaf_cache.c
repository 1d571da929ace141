/* leaf_cache.c -- shards of entries by key; forges under way are flights (io/flight.h).
 *
 * Invariants: an entry is in its shard's map and in by_use, or gone.  A leaf is kept before its
 * flight lands, and who leads a flight looks again: so a host is forged once however many ask. With
 * an empty key a forge flies under a number of its own: nobody may join and nothing is kept.
 */
#include "tls/leaf_cache.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/flight.h"
#include "io/loop.h"
#include "tls/ca.h"
#include "tls/signer_line.h"

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
    struct sl_link by_use; /* most recently used first */
};

struct sl_leaf_cache {
    atomic_uint refs; /* the owner's, and one a get and a forge */
    uint32_t n_shards;
    uint32_t per_shard;
    struct sl_metric *hits;
    struct sl_metric *misses;
    struct sl_metric *forge_time;
    struct sl_flights *flights;
    atomic_uint_fast64_t n_gets; /* a number for each: shorter than any key */
    struct shard shards[N_SHARDS];
};

/* What a forge ended in, for all who waited. */
struct outcome {
    atomic_uint refs;
    struct sl_leaf *leaf; /* NULL: see fault */
    struct sl_fault fault;
};

struct forge {
    struct sl_leaf_cache *cache;
    struct sl_ca *ca;
    struct sl_leaf_keys *keys;
    struct sl_leaf_conf conf;
    struct key key;
    struct sl_str host;
    struct sl_flight *flight;
    struct sl_signer_line *signer;
    uint64_t start_us;
    struct sl_leaf *leaf;
    struct sl_fault fault;
};

struct sl_leaf_get {
    struct sl_leaf_cache *cache;
    struct sl_flight_wait *wait;
    sl_leaf_get_fn *done;
    void *arg;
    bool forged; /* by this very get */
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

    return !sl_leaf_has_old_key(leaf) && sl_leaf_expires(leaf) - (int64_t)time(NULL) >= margin;
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

/* -- outcomes -----------------------------------------------------------------------------------
 */

/* Takes the reference to the leaf over. */
static struct outcome *outcome_new(struct sl_leaf *leaf, const struct sl_fault *fault)
{
    struct outcome *o = sl_zalloc(sizeof(*o));

    atomic_init(&o->refs, 1);
    o->leaf = leaf;
    if (leaf == NULL)
        o->fault = *fault;
    return o;
}

static void *outcome_ref(void *result)
{
    struct outcome *o = result;

    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

static void outcome_unref(void *result)
{
    struct outcome *o = result;

    if (atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    sl_leaf_unref(&o->leaf);
    sl_free(o);
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
                                         "Time from a miss to a signed certificate.", ""),
                        NULL);
}

struct sl_leaf_cache *sl_leaf_cache_new(uint32_t max_entries)
{
    struct sl_leaf_cache *cache = sl_zalloc(sizeof(*cache));

    atomic_init(&cache->refs, 1);
    cache->n_shards = max_entries >= SHARDED_FROM ? N_SHARDS : 1;
    cache->per_shard = max_entries / cache->n_shards;
    set_metrics(cache);
    cache->flights =
        sl_flights_new(&(struct sl_flights_conf){ .ref = outcome_ref, .unref = outcome_unref });
    atomic_init(&cache->n_gets, 0);
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
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    sl_flights_free(&c->flights);
    sl_free(c);
}

/* As look_up, with the lock taken here. */
static struct sl_leaf *find(struct sl_leaf_cache *cache, const struct key *key,
                            const struct sl_leaf_conf *conf)
{
    struct shard *shard = shard_of(cache, key);
    struct sl_leaf *leaf;

    if (key->len == 0)
        return NULL;
    pthread_mutex_lock(&shard->lock);
    leaf = look_up(shard, key, conf);
    pthread_mutex_unlock(&shard->lock);
    return leaf;
}

struct sl_leaf *sl_leaf_cache_get(struct sl_leaf_cache *cache, struct sl_ca *ca,
                                  const struct sl_leaf_conf *conf, struct sl_str host)
{
    struct key key = make_key(cache, ca, conf, host);
    struct sl_leaf *leaf = find(cache, &key, conf);

    sl_metric_add(leaf != NULL ? cache->hits : cache->misses, 1);
    return leaf;
}

/* -- forges -------------------------------------------------------------------------------------
 */

static struct forge *forge_new(const struct sl_leaf_get_conf *conf, const struct key *key,
                               struct sl_str host, struct sl_flight *flight)
{
    struct forge *f = sl_zalloc(sizeof(*f) + host.n);
    char *copy = (char *)(f + 1);

    if (host.n > 0)
        memcpy(copy, host.p, host.n);
    f->cache = cache_ref(conf->cache);
    f->ca = sl_ca_ref(conf->ca);
    f->keys = sl_leaf_keys_ref(conf->keys);
    f->conf = conf->leaf;
    f->key = *key;
    f->host = sl_str_make(copy, host.n);
    f->flight = flight;
    f->signer = conf->signer != NULL ? sl_signer_line_ref(conf->signer) : NULL;
    return f;
}

static void forge_free(struct forge *f)
{
    sl_leaf_keys_free(&f->keys);
    sl_ca_unref(&f->ca);
    sl_leaf_cache_free(&f->cache);
    sl_signer_line_unref(&f->signer);
    sl_free(f);
}

static void keep_leaf(const struct forge *f, struct sl_leaf *leaf)
{
    struct shard *shard = shard_of(f->cache, &f->key);
    struct entry *e = entry_new(&f->key, leaf);
    struct sl_link gone;

    sl_list_init(&gone);
    pthread_mutex_lock(&shard->lock);
    keep(shard, e, f->cache->per_shard, &gone);
    pthread_mutex_unlock(&shard->lock);
    free_entries(&gone);
}

static void land(struct forge *f)
{
    if (f->leaf != NULL)
        sl_metric_observe_us(f->cache->forge_time, sl_mono_us() - f->start_us);
    if (f->leaf != NULL && f->key.len != 0)
        keep_leaf(f, f->leaf);
    sl_flight_land(&f->flight, outcome_new(f->leaf, &f->fault));
    forge_free(f);
}

static void on_signed(void *arg, const struct sl_fault *fault)
{
    struct forge *f = arg;

    if (fault != NULL) {
        f->fault = *fault;
        sl_leaf_unref(&f->leaf);
    }
    land(f);
}

static void draft(void *arg)
{
    struct forge *f = arg;

    f->leaf = sl_leaf_draft(f->ca, f->keys, &f->conf, f->host, &f->fault);
}

/* The pool's threads end after the library has cleaned up, so what it keeps for each (a random
 * generator) is given back here; beside an RSA key its making anew costs nothing. */
static void draft_in_pool(void *arg)
{
    draft(arg);
    OPENSSL_thread_stop();
}

static void on_drafted(void *arg)
{
    struct forge *f = arg;

    if (f->leaf == NULL)
        land(f);
    else if (f->signer != NULL)
        sl_ca_sign_start(f->ca, f->signer, sl_leaf_cert(f->leaf), on_signed, f);
    else
        on_signed(f,
                  sl_ca_sign(f->ca, sl_leaf_cert(f->leaf), &f->fault) == SL_OK ? NULL : &f->fault);
}

static void launch(struct forge *f, struct sl_loop *loop)
{
    f->start_us = sl_mono_us();
    if (sl_leaf_is_slow(f->keys, &f->conf)) {
        (void)sl_work_start(loop, draft_in_pool, on_drafted, f);
        return;
    }
    draft(f);
    on_drafted(f);
}

/* -- gets ---------------------------------------------------------------------------------------
 */

void sl_leaf_get_cancel(struct sl_leaf_get **get)
{
    struct sl_leaf_get *g = *get;

    if (g == NULL)
        return;
    *get = NULL;
    sl_flight_cancel(&g->wait);
    sl_leaf_cache_free(&g->cache);
    sl_free(g);
}

/* Reports last, after the get is gone, so done() may free its owner. */
static void on_landed(void *arg, void *result)
{
    struct sl_leaf_get *get = arg;
    struct outcome *o = result; /* who leads always lands with one */
    sl_leaf_get_fn *done = get->done;
    void *to = get->arg;
    struct sl_leaf *leaf = o->leaf != NULL ? sl_leaf_ref(o->leaf) : NULL;
    struct sl_fault fault = o->fault;
    bool forged = get->forged && leaf != NULL;

    outcome_unref(o);
    get->wait = NULL;
    sl_leaf_get_cancel(&get);
    done(to, leaf, forged, leaf != NULL ? NULL : &fault);
}

/* Another flight may have landed between the caller's miss and the start of this one. */
static void lead(struct sl_leaf_get *get, const struct sl_leaf_get_conf *conf,
                 const struct key *key, struct sl_str host, struct sl_flight *flight)
{
    struct sl_leaf *leaf = find(conf->cache, key, &conf->leaf);

    if (leaf != NULL) {
        sl_flight_land(&flight, outcome_new(leaf, NULL));
        return;
    }
    get->forged = true;
    launch(forge_new(conf, key, host, flight), conf->loop);
}

struct sl_leaf_get *sl_leaf_get_start(const struct sl_leaf_get_conf *conf, struct sl_str host,
                                      sl_leaf_get_fn *done, void *arg)
{
    struct sl_leaf_cache *cache = conf->cache;
    struct key key = make_key(cache, conf->ca, &conf->leaf, host);
    uint64_t number = atomic_fetch_add_explicit(&cache->n_gets, 1, memory_order_relaxed);
    struct sl_str name = key.len != 0 ? key_str(&key) : sl_str_make(&number, sizeof(number));
    struct sl_leaf_get *get = sl_zalloc(sizeof(*get));
    struct sl_flight *flight;

    *get = (struct sl_leaf_get){ .cache = cache_ref(cache), .done = done, .arg = arg };
    get->wait =
        sl_flight_join(cache->flights,
                       &(struct sl_flight_conf){
                           .key = name, .mailbox = conf->mailbox, .done = on_landed, .arg = get },
                       &flight);
    if (flight != NULL)
        lead(get, conf, &key, host, flight);
    return get;
}
