/* pool.c -- places (one an origin) hold connections; a connection is idle or leased, one of HTTP/2
 * perhaps to many.
 *
 * Invariants: an idle connection is in the pool's LRU ring, a leased one in the pool's leased ring.
 * In its place's rings stand HTTP/1 connections while idle, HTTP/2 ones until they take no more
 * streams.  A place without connections and acquires is freed.
 */
#include "upstream/pool.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "http/h1_client.h"
#include "http/h2_client.h"
#include "http/http_stream.h"
#include "io/loop.h"
#include "io/stream.h"

/* A hundred streams to an origin that turns out to speak HTTP/2 need one connection. */
#define STREAMS_GUESS 100u

struct sl_pool {
    struct sl_pool_conf conf;
    struct sl_map places; /* by origin key */
    struct sl_link lru;   /* idle connections, longest idle first */
    struct sl_link leased;
    uint32_t n_idle;
    struct sl_timer idle_timer; /* armed for the head of lru */
    struct sl_metric *idle_gauge, *active_gauge, *opened;
};

/* What is known of an origin that may speak either. */
enum speech { SPEECH_UNKNOWN, SPEECH_HTTP1, SPEECH_HTTP2 };

struct place {
    struct sl_pool *pool;
    struct sl_str key;       /* owned */
    struct sl_origin origin; /* name, host: the key's end */
    enum speech speech;
    struct sl_link idle;    /* HTTP/1 connections, longest idle first */
    struct sl_link shared;  /* HTTP/2 connections */
    struct sl_link waiters; /* acquires that would take what is given back */
    uint32_t n_holds;       /* connections and acquires */
    uint32_t n_idle;
    uint32_t n_connecting;
    uint32_t streams; /* that one connection of HTTP/2 had room for, last time */
    bool wants_http1; /* the origin has said so: another place serves it */
};

struct sl_pool_conn {
    struct sl_link in_place, in_pool;
    struct place *place;
    struct sl_h1_client *h1; /* one of the two */
    struct sl_h2_client *h2;
    struct sl_peer peer;
    uint64_t idle_since_ms;
    bool is_idle;
    bool reused;
};

struct sl_acquire {
    struct sl_link in_place; /* waiting, unless fresh or already served */
    struct place *place;
    struct sl_connect *connect; /* NULL: waits for another's, or is served */
    struct sl_timer deadline;   /* of the whole wait */
    struct sl_task served;      /* posted when something was reserved for it */
    struct sl_lease lease;      /* that */
    sl_acquire_fn *done;
    void *arg;
};

static sl_connect_fn on_connected;
static void on_idle(void *arg, bool reusable);
static void on_dead(void *arg);
static void on_change(void *arg);
static void on_idle_timer(void *arg);
static void on_served(void *arg);
static void on_deadline(void *arg);

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

/* -- places -- */

static struct place *place_at(struct sl_pool *p, const struct sl_origin *origin)
{
    struct sl_buf key = { 0 };
    struct place *at;

    sl_origin_key(origin, &key);
    at = sl_map_get(&p->places, sl_buf_str(&key));
    if (at != NULL && at->wants_http1) {
        struct sl_origin other = *origin;

        other.http = SL_HTTP_1;
        sl_buf_fini(&key);
        return place_at(p, &other);
    }
    if (at == NULL) {
        at = sl_zalloc(sizeof(*at));
        *at = (struct place){ .pool = p, .origin = *origin, .streams = STREAMS_GUESS };
        at->key = sl_str_make(sl_str_dup(sl_buf_str(&key)), key.len);
        at->origin.host = sl_str_skip(at->key, at->key.n - origin->host.n);
        at->origin.name.p = at->origin.host.p - origin->name.n;
        sl_list_init(&at->idle);
        sl_list_init(&at->shared);
        sl_list_init(&at->waiters);
        sl_map_put(&p->places, at->key, at);
    }
    sl_buf_fini(&key);
    return at;
}

static void place_put(struct place *at)
{
    if (at->n_holds != 0)
        return;
    sl_map_remove(&at->pool->places, at->key);
    sl_free((void *)(uintptr_t)at->key.p);
    sl_free(at);
}

static void unhold(struct place *at)
{
    at->n_holds--;
    place_put(at);
}

/* -- connections -- */

static void leave_idle(struct sl_pool_conn *c)
{
    if (!c->is_idle)
        return;
    c->is_idle = false;
    sl_link_remove(&c->in_pool);
    c->place->n_idle--;
    c->place->pool->n_idle--;
    sl_metric_add(c->place->pool->idle_gauge, -1);
}

static void leave_leased(struct sl_pool_conn *c)
{
    if (!sl_link_is_in(&c->in_pool))
        return;
    sl_link_remove(&c->in_pool);
    sl_metric_add(c->place->pool->active_gauge, -1);
}

static void conn_free(struct sl_pool_conn *c)
{
    struct place *at = c->place;

    leave_idle(c);
    leave_leased(c);
    sl_link_remove(&c->in_place);
    sl_h1_client_free(&c->h1);
    sl_h2_client_free(&c->h2);
    sl_free(c);
    unhold(at);
}

/* Connections of HTTP/2 may not have heard, or told their peer, that their last stream has gone. */
void sl_pool_free(struct sl_pool **pool)
{
    struct sl_pool *p = *pool;

    if (p == NULL)
        return;
    *pool = NULL;
    sl_timer_stop(&p->idle_timer);
    while (!sl_list_is_empty(&p->lru))
        conn_free(SL_CONTAINER(p->lru.next, struct sl_pool_conn, in_pool));
    while (!sl_list_is_empty(&p->leased)) {
        struct sl_pool_conn *c = SL_CONTAINER(p->leased.next, struct sl_pool_conn, in_pool);

        sl_assert(c->h2 != NULL);
        conn_free(c);
    }
    sl_assert(p->places.n == 0);
    sl_map_fini(&p->places);
    sl_free(p);
}

struct sl_loop *sl_pool_loop(const struct sl_pool *p)
{
    return p->conf.route.loop;
}

static struct sl_pool_conn *conn_new(struct place *at, struct sl_stream *stream,
                                     const struct sl_peer *peer)
{
    struct sl_pool *p = at->pool;
    struct sl_pool_conn *c = sl_zalloc(sizeof(*c));

    *c = (struct sl_pool_conn){ .place = at, .peer = *peer };
    at->n_holds++;
    sl_metric_add(p->opened, 1);
    if (peer->http2) {
        c->h2 = sl_h2_client_new(&(struct sl_h2_client_conf){ .loop = p->conf.route.loop,
                                                              .limits = p->conf.limits,
                                                              .on_change = on_change,
                                                              .arg = c },
                                 stream);
        sl_list_add(&at->shared, &c->in_place);
        return c;
    }
    c->h1 = sl_h1_client_new(&(struct sl_h1_client_conf){ .loop = p->conf.route.loop,
                                                          .limits = p->conf.limits,
                                                          .on_idle = on_idle,
                                                          .on_dead = on_dead,
                                                          .arg = c },
                             stream);
    return c;
}

static struct sl_lease lease(struct sl_pool_conn *c)
{
    struct sl_pool *p = c->place->pool;
    struct sl_lease l = { .conn = c, .peer = c->peer, .reused = c->reused };

    leave_idle(c);
    if (c->h1 != NULL)
        sl_link_remove(&c->in_place);
    if (!sl_link_is_in(&c->in_pool)) {
        sl_list_add(&p->leased, &c->in_pool);
        sl_metric_add(p->active_gauge, 1);
    }
    l.stream = c->h1 != NULL ? sl_h1_client_open(c->h1) : sl_h2_client_open(c->h2);
    c->reused = true;
    return l;
}

/* Of HTTP/1, the one that was busy last is the least likely to be closed by its peer. */
static struct sl_pool_conn *find_free(const struct place *at)
{
    SL_LIST_FOREACH (it, &at->shared) {
        struct sl_pool_conn *c = SL_CONTAINER(it, struct sl_pool_conn, in_place);

        if (sl_h2_client_has_room(c->h2))
            return c;
    }
    return sl_list_is_empty(&at->idle) ? NULL
                                       : SL_CONTAINER(at->idle.prev, struct sl_pool_conn, in_place);
}

bool sl_pool_try(struct sl_pool *p, const struct sl_origin *origin, struct sl_lease *ret_lease)
{
    struct place *at = place_at(p, origin);
    struct sl_pool_conn *c = find_free(at);

    if (c == NULL) {
        place_put(at);
        return false;
    }
    *ret_lease = lease(c);
    return true;
}

/* -- acquires -- */

static void start_connect(struct sl_acquire *a)
{
    struct place *at = a->place;

    at->n_connecting++;
    a->connect = sl_connect_start(&at->pool->conf.route, &at->origin, on_connected, a);
}

static void stop_connect(struct sl_acquire *a)
{
    if (a->connect == NULL)
        return;
    a->place->n_connecting--;
    sl_connect_cancel(&a->connect);
}

/* Connections that will have room once they stand, or the peer's settings have come. */
static uint32_t n_coming(const struct place *at)
{
    uint32_t n = at->n_connecting;

    SL_LIST_FOREACH (it, &at->shared)
        n += !sl_h2_client_is_settled(SL_CONTAINER(it, struct sl_pool_conn, in_place)->h2);
    return n;
}

static uint32_t n_waiting(const struct place *at)
{
    uint32_t n = 0;

    SL_LIST_FOREACH (it, &at->waiters)
        n++;
    return n;
}

/* What is coming has room for all who wait. */
static bool is_worth_waiting(const struct place *at)
{
    bool may_share =
        at->origin.http == SL_HTTP_2 || (at->origin.http == SL_HTTP_ANY && at->origin.tls);

    return may_share && at->speech != SPEECH_HTTP1 &&
           (uint64_t)n_coming(at) * at->streams >= n_waiting(at);
}

/* Whoever waited for a connection that nobody is making any more makes one. */
static void start_waiters(struct place *at)
{
    SL_LIST_FOREACH (it, &at->waiters) {
        struct sl_acquire *a = SL_CONTAINER(it, struct sl_acquire, in_place);

        if (is_worth_waiting(at))
            return;
        if (a->connect == NULL)
            start_connect(a);
    }
}

struct sl_acquire *sl_acquire_start(struct sl_pool *p, const struct sl_origin *origin, bool fresh,
                                    sl_acquire_fn *done, void *arg)
{
    struct sl_acquire *a = sl_zalloc(sizeof(*a));

    *a = (struct sl_acquire){ .place = place_at(p, origin), .done = done, .arg = arg };
    a->served = (struct sl_task){ .fn = on_served, .arg = a };
    a->place->n_holds++;
    if (!fresh)
        sl_list_add(&a->place->waiters, &a->in_place);
    if (fresh || !is_worth_waiting(a->place))
        start_connect(a);
    sl_timer_start(p->conf.route.loop, &a->deadline, p->conf.route.connect_timeout_ms, on_deadline,
                   a);
    return a;
}

/* Frees the operation and its hold on the place, not what it was given. */
static void acquire_free(struct sl_acquire *a)
{
    struct place *at = a->place;

    sl_link_remove(&a->in_place);
    sl_timer_stop(&a->deadline);
    stop_connect(a);
    sl_task_cancel(at->pool->conf.route.loop, &a->served);
    sl_free(a);
    start_waiters(at);
    unhold(at);
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

static void on_served(void *arg)
{
    struct sl_acquire *a = arg;
    struct sl_lease l = a->lease;

    finish(a, &l, NULL);
}

/* The connection's own deadline tells more, and comes first where it began with the wait. */
static void on_deadline(void *arg)
{
    struct sl_fault fault = { 0 };

    sl_fault_set(&fault, SL_CONNECT_TIMEOUT, "while waiting for a connection that others share");
    finish(arg, NULL, &fault);
}

/* Reserves what is free for those who have waited longest; they hear of it from the loop. */
static void serve_waiters(struct place *at)
{
    struct sl_pool_conn *c;

    while (!sl_list_is_empty(&at->waiters) && (c = find_free(at)) != NULL) {
        struct sl_acquire *a = SL_CONTAINER(at->waiters.next, struct sl_acquire, in_place);

        sl_link_remove(&a->in_place);
        stop_connect(a);
        sl_timer_stop(&a->deadline);
        a->lease = lease(c);
        sl_task_post(at->pool->conf.route.loop, &a->served);
    }
    start_waiters(at);
}

/* What became of the connection that they waited for is what would become of one of their own. */
static void fail_followers(struct place *at, const struct sl_fault *fault)
{
    struct sl_link followers;

    sl_list_init(&followers);
    SL_LIST_FOREACH_SAFE (it, &at->waiters) {
        if (SL_CONTAINER(it, struct sl_acquire, in_place)->connect != NULL)
            continue;
        sl_link_remove(it);
        sl_list_add(&followers, it);
    }
    for (struct sl_link *l; (l = sl_list_pop(&followers)) != NULL;)
        finish(SL_CONTAINER(l, struct sl_acquire, in_place), NULL, fault);
}

static void on_connected(void *arg, struct sl_stream *stream, const struct sl_peer *peer,
                         const struct sl_fault *fault)
{
    struct sl_acquire *a = arg;
    struct place *at = a->place;
    struct sl_lease l;

    a->connect = NULL;
    at->n_connecting--;
    sl_link_remove(&a->in_place);
    if (stream == NULL) {
        struct sl_fault copy = *fault;

        if (at->n_connecting == 0)
            fail_followers(at, &copy);
        finish(a, NULL, &copy);
        return;
    }
    at->speech = peer->http2 ? SPEECH_HTTP2 : SPEECH_HTTP1;
    l = lease(conn_new(at, stream, peer));
    serve_waiters(at);
    finish(a, &l, NULL);
}

/* -- idling -- */

static void arm_idle_timer(struct sl_pool *p)
{
    uint64_t now = sl_loop_now_ms(p->conf.route.loop), due;
    struct sl_pool_conn *oldest;

    if (sl_list_is_empty(&p->lru) || sl_timer_is_armed(&p->idle_timer))
        return;
    oldest = SL_CONTAINER(p->lru.next, struct sl_pool_conn, in_pool);
    due = oldest->idle_since_ms + p->conf.idle_timeout_ms;
    sl_timer_start(p->conf.route.loop, &p->idle_timer, due > now ? due - now : 0, on_idle_timer, p);
}

static void on_idle_timer(void *arg)
{
    struct sl_pool *p = arg;
    uint64_t now = sl_loop_now_ms(p->conf.route.loop);

    while (!sl_list_is_empty(&p->lru)) {
        struct sl_pool_conn *c = SL_CONTAINER(p->lru.next, struct sl_pool_conn, in_pool);

        if (now - c->idle_since_ms < p->conf.idle_timeout_ms)
            break;
        conn_free(c);
    }
    arm_idle_timer(p);
}

static void keep_idle(struct sl_pool_conn *c)
{
    struct place *at = c->place;
    struct sl_pool *p = at->pool;

    leave_leased(c);
    c->is_idle = true;
    c->idle_since_ms = sl_loop_now_ms(p->conf.route.loop);
    if (c->h1 != NULL)
        sl_list_add(&at->idle, &c->in_place);
    sl_list_add(&p->lru, &c->in_pool);
    at->n_idle++;
    p->n_idle++;
    sl_metric_add(p->idle_gauge, 1);
}

static void trim(struct sl_pool_conn *c)
{
    struct place *at = c->place;
    struct sl_pool *p = at->pool;

    if (at->n_idle > p->conf.max_idle_per_origin)
        conn_free(c->h2 != NULL ? c : SL_CONTAINER(at->idle.next, struct sl_pool_conn, in_place));
    else if (p->n_idle > p->conf.max_idle)
        conn_free(SL_CONTAINER(p->lru.next, struct sl_pool_conn, in_pool));
    arm_idle_timer(p);
}

/* Given back: to those who wait, or to the idle. */
static void give_back(struct sl_pool_conn *c)
{
    keep_idle(c);
    serve_waiters(c->place);
    if (c->is_idle)
        trim(c);
}

static void on_idle(void *arg, bool reusable)
{
    if (reusable)
        give_back(arg);
    else
        conn_free(arg);
}

static void on_dead(void *arg)
{
    conn_free(arg);
}

static void on_change(void *arg)
{
    struct sl_pool_conn *c = arg;
    struct place *at = c->place;
    uint32_t n = sl_h2_client_n_streams(c->h2);

    if (sl_h2_client_is_settled(c->h2))
        at->streams = sl_h2_client_capacity(c->h2);
    if (sl_h2_client_is_dead(c->h2)) {
        at->n_holds++;
        sl_link_remove(&c->in_place);
        if (n == 0)
            conn_free(c);
        start_waiters(at);
        unhold(at);
        return;
    }
    if (n == 0 && !c->is_idle)
        give_back(c);
    else
        serve_waiters(at);
}

void sl_pool_want_http1(const struct sl_lease *l)
{
    l->conn->place->wants_http1 = true;
}

void sl_pool_pin(struct sl_pool *p, const struct sl_lease *l, uint64_t owner)
{
    struct sl_pool_conn *c = l->conn;
    struct place *from = c->place;
    struct sl_origin origin = from->origin;

    if (c->h2 != NULL || origin.owner == owner)
        return;
    origin.owner = owner;
    origin.http = SL_HTTP_1;
    c->place = place_at(p, &origin);
    c->place->n_holds++;
    unhold(from);
}
