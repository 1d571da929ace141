/* pool.c -- places (one an origin) hold connections; a connection is idle or leased.
 *
 * Invariants: a connection in its place's idle ring is in the pool's LRU ring too, and has no
 * stream; a leased one is in the pool's leased ring.  A place without connections and waiters is
 * freed.
 */
#include "upstream/pool.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "http/h1_client.h"
#include "http/http_stream.h"
#include "io/loop.h"
#include "io/stream.h"

struct sl_pool {
    struct sl_pool_conf conf;
    struct sl_map places; /* by origin key */
    struct sl_link lru;   /* idle connections, longest idle first */
    struct sl_link leased;
    uint32_t n_idle;
    struct sl_timer idle_timer; /* armed for the head of lru */
    struct sl_metric *idle_gauge, *active_gauge, *opened;
};

struct place {
    struct sl_pool *pool;
    struct sl_str key;      /* owned */
    struct sl_link idle;    /* connections, longest idle first */
    struct sl_link waiters; /* acquires that would take an idle one */
    uint32_t n_conns, n_idle;
};

struct conn {
    struct sl_link in_place, in_pool;
    struct place *place;
    struct sl_h1_client *client;
    struct sl_http_stream *stream; /* NULL while idle */
    struct sl_peer peer;
    uint64_t idle_since_ms;
    bool reused;
};

struct sl_acquire {
    struct sl_link in_place; /* waiting, unless fresh or already served */
    struct place *place;
    struct sl_connect *connect;
    struct sl_task served; /* posted when an idle connection was reserved for it */
    struct sl_lease lease; /* that connection */
    sl_acquire_fn *done;
    void *arg;
};

static sl_connect_fn on_connected;
static void on_idle(void *arg, bool reusable);
static void on_dead(void *arg);
static void on_idle_timer(void *arg);
static void on_served(void *arg);

struct sl_pool *sl_pool_new(const struct sl_pool_conf *conf)
{
    static const char *const states[] = { "idle", "active" };
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_GAUGE, "sluice_upstream_connections",
                         "Connections to origins and check services.", "state");
    struct sl_pool *p = sl_zalloc(sizeof(*p));

    p->conf = *conf;
    sl_list_init(&p->lru);
    sl_list_init(&p->leased);
    p->idle_gauge = sl_metric_child(f, &states[0]);
    p->active_gauge = sl_metric_child(f, &states[1]);
    p->opened = sl_metric_child(
        sl_metric_family(SL_METRIC_COUNTER, "sluice_upstream_connections_opened_total",
                         "Connections to origins and check services made.", ""),
        NULL);
    return p;
}

static struct place *place_at(struct sl_pool *p, struct sl_str key)
{
    struct place *at = sl_map_get(&p->places, key);

    if (at != NULL)
        return at;
    at = sl_zalloc(sizeof(*at));
    at->pool = p;
    at->key = sl_str_make(sl_str_dup(key), key.n);
    sl_list_init(&at->idle);
    sl_list_init(&at->waiters);
    sl_map_put(&p->places, at->key, at);
    return at;
}

static struct place *place_get(struct sl_pool *p, const struct sl_origin *origin)
{
    struct sl_buf key = { 0 };
    struct place *at;

    sl_origin_key(origin, &key);
    at = place_at(p, sl_buf_str(&key));
    sl_buf_fini(&key);
    return at;
}

static void place_put(struct place *at)
{
    if (at->n_conns != 0 || !sl_list_is_empty(&at->waiters))
        return;
    sl_map_remove(&at->pool->places, at->key);
    sl_free((void *)(uintptr_t)at->key.p);
    sl_free(at);
}

static void leave_idle(struct conn *c)
{
    sl_link_remove(&c->in_place);
    sl_link_remove(&c->in_pool);
    c->place->n_idle--;
    c->place->pool->n_idle--;
    sl_metric_add(c->place->pool->idle_gauge, -1);
}

static void conn_free(struct conn *c)
{
    struct place *at = c->place;

    if (c->stream == NULL)
        leave_idle(c);
    else
        sl_metric_add(at->pool->active_gauge, -1);
    sl_link_remove(&c->in_pool);
    sl_h1_client_free(&c->client);
    at->n_conns--;
    sl_free(c);
    place_put(at);
}

void sl_pool_free(struct sl_pool **pool)
{
    struct sl_pool *p = *pool;

    if (p == NULL)
        return;
    *pool = NULL;
    sl_timer_stop(&p->idle_timer);
    while (!sl_list_is_empty(&p->lru))
        conn_free(SL_CONTAINER(p->lru.next, struct conn, in_pool));
    sl_assert(sl_list_is_empty(&p->leased) && p->places.n == 0);
    sl_map_fini(&p->places);
    sl_free(p);
}

struct sl_loop *sl_pool_loop(const struct sl_pool *p)
{
    return p->conf.route.loop;
}

/* The connection is in no ring when this is called. */
static struct sl_lease lease(struct conn *c)
{
    struct sl_pool *p = c->place->pool;
    struct sl_lease l = { .peer = c->peer, .reused = c->reused };

    c->stream = l.stream = sl_h1_client_open(c->client);
    c->reused = true;
    sl_list_add(&p->leased, &c->in_pool);
    sl_metric_add(p->active_gauge, 1);
    return l;
}

/* The one that was busy last is the least likely to be closed by its peer. */
static struct conn *take_idle(struct place *at)
{
    struct conn *c;

    if (sl_list_is_empty(&at->idle))
        return NULL;
    c = SL_CONTAINER(at->idle.prev, struct conn, in_place);
    leave_idle(c);
    return c;
}

bool sl_pool_try(struct sl_pool *p, const struct sl_origin *origin, struct sl_lease *ret_lease)
{
    struct place *at = place_get(p, origin);
    struct conn *c = take_idle(at);

    if (c == NULL) {
        place_put(at);
        return false;
    }
    *ret_lease = lease(c);
    return true;
}

struct sl_acquire *sl_acquire_start(struct sl_pool *p, const struct sl_origin *origin, bool fresh,
                                    sl_acquire_fn *done, void *arg)
{
    struct sl_acquire *a = sl_zalloc(sizeof(*a));

    *a = (struct sl_acquire){ .place = place_get(p, origin), .done = done, .arg = arg };
    a->served = (struct sl_task){ .fn = on_served, .arg = a };
    a->place->n_conns++; /* the connection to come holds the place */
    if (!fresh)
        sl_list_add(&a->place->waiters, &a->in_place);
    a->connect = sl_connect_start(&p->conf.route, origin, on_connected, a);
    return a;
}

/* Frees the operation and its hold on the place, not what it was given. */
static void acquire_free(struct sl_acquire *a)
{
    struct place *at = a->place;

    sl_link_remove(&a->in_place);
    sl_connect_cancel(&a->connect);
    sl_task_cancel(at->pool->conf.route.loop, &a->served);
    at->n_conns--;
    place_put(at);
    sl_free(a);
}

void sl_acquire_cancel(struct sl_acquire **acquire)
{
    struct sl_acquire *a = *acquire;

    if (a == NULL)
        return;
    *acquire = NULL;
    sl_http_stream_close(&a->lease.stream);
    acquire_free(a);
}

static void finish(struct sl_acquire *a, const struct sl_lease *l, const struct sl_fault *fault)
{
    sl_acquire_fn *done = a->done;
    void *arg = a->arg;

    acquire_free(a);
    done(arg, l, fault);
}

static struct conn *conn_new(struct place *at, struct sl_stream *stream, const struct sl_peer *peer)
{
    struct sl_pool *p = at->pool;
    struct conn *c = sl_zalloc(sizeof(*c));

    *c = (struct conn){ .place = at, .peer = *peer };
    c->client = sl_h1_client_new(&(struct sl_h1_client_conf){ .loop = p->conf.route.loop,
                                                              .limits = p->conf.limits,
                                                              .on_idle = on_idle,
                                                              .on_dead = on_dead,
                                                              .arg = c },
                                 stream);
    at->n_conns++;
    sl_metric_add(p->opened, 1);
    return c;
}

static void on_connected(void *arg, struct sl_stream *stream, const struct sl_peer *peer,
                         const struct sl_fault *fault)
{
    struct sl_acquire *a = arg;
    struct sl_lease l;

    a->connect = NULL;
    if (stream == NULL) {
        finish(a, NULL, fault);
        return;
    }
    l = lease(conn_new(a->place, stream, peer));
    finish(a, &l, NULL);
}

static void on_served(void *arg)
{
    struct sl_acquire *a = arg;
    struct sl_lease l = a->lease;

    finish(a, &l, NULL);
}

/* Reserves a connection for whoever has waited longest; it hears of it from the loop. */
static void serve(struct sl_acquire *a, struct conn *c)
{
    sl_link_remove(&a->in_place);
    sl_connect_cancel(&a->connect);
    a->lease = lease(c);
    sl_task_post(c->place->pool->conf.route.loop, &a->served);
}

static void arm_idle_timer(struct sl_pool *p)
{
    uint64_t now = sl_loop_now_ms(p->conf.route.loop), due;
    struct conn *oldest;

    if (sl_list_is_empty(&p->lru) || sl_timer_is_armed(&p->idle_timer))
        return;
    oldest = SL_CONTAINER(p->lru.next, struct conn, in_pool);
    due = oldest->idle_since_ms + p->conf.idle_timeout_ms;
    sl_timer_start(p->conf.route.loop, &p->idle_timer, due > now ? due - now : 0, on_idle_timer, p);
}

static void on_idle_timer(void *arg)
{
    struct sl_pool *p = arg;
    uint64_t now = sl_loop_now_ms(p->conf.route.loop);

    while (!sl_list_is_empty(&p->lru)) {
        struct conn *c = SL_CONTAINER(p->lru.next, struct conn, in_pool);

        if (now - c->idle_since_ms < p->conf.idle_timeout_ms)
            break;
        conn_free(c);
    }
    arm_idle_timer(p);
}

static void keep_idle(struct conn *c)
{
    struct place *at = c->place;
    struct sl_pool *p = at->pool;

    c->idle_since_ms = sl_loop_now_ms(p->conf.route.loop);
    sl_list_add(&at->idle, &c->in_place);
    sl_list_add(&p->lru, &c->in_pool);
    at->n_idle++;
    p->n_idle++;
    sl_metric_add(p->idle_gauge, 1);
    if (at->n_idle > p->conf.max_idle_per_origin)
        conn_free(SL_CONTAINER(at->idle.next, struct conn, in_place));
    else if (p->n_idle > p->conf.max_idle)
        conn_free(SL_CONTAINER(p->lru.next, struct conn, in_pool));
    arm_idle_timer(p);
}

static void on_idle(void *arg, bool reusable)
{
    struct conn *c = arg;
    struct place *at = c->place;

    if (!reusable) {
        conn_free(c);
        return;
    }
    c->stream = NULL;
    sl_link_remove(&c->in_pool);
    sl_metric_add(at->pool->active_gauge, -1);
    if (sl_list_is_empty(&at->waiters))
        keep_idle(c);
    else
        serve(SL_CONTAINER(at->waiters.next, struct sl_acquire, in_place), c);
}

static void on_dead(void *arg)
{
    conn_free(arg);
}

static struct conn *find_leased(struct sl_pool *p, const struct sl_http_stream *stream)
{
    SL_LIST_FOREACH (it, &p->leased) {
        struct conn *c = SL_CONTAINER(it, struct conn, in_pool);

        if (c->stream == stream)
            return c;
    }
    sl_assert_failed("stream is leased", __FILE__, __LINE__);
}

void sl_pool_pin(struct sl_pool *p, struct sl_http_stream *stream, uint64_t owner)
{
    struct conn *c = find_leased(p, stream);
    struct place *from = c->place, *to;
    struct sl_buf key = { 0 };

    /* The key begins with the owner: see sl_origin_key. */
    sl_buf_add(&key, &owner, sizeof(owner));
    sl_buf_add_str(&key, sl_str_skip(from->key, sizeof(owner)));
    to = place_at(p, sl_buf_str(&key));
    sl_buf_fini(&key);
    if (to == from)
        return;
    c->place = to;
    to->n_conns++;
    from->n_conns--;
    place_put(from);
}

bool sl_pool_is_unanswered(struct sl_pool *p, const struct sl_http_stream *stream)
{
    return !sl_h1_client_has_response(find_leased(p, stream)->client);
}
