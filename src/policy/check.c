/* check.c -- an ask waits in a flight; the first one's worker makes the errand that asks.
 *
 * An errand belongs to its worker's client, not to the ask that caused it, so that a client going
 * away does not take the answer from others.  Errand: FETCH -> land the verdict -> gone.
 */
#include "policy/check.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/flight.h"
#include "io/loop.h"
#include "policy/check_json.h"
#include "policy/verdict_cache.h"
#include "upstream/fetch.h"
#include "upstream/pool.h"

static const char *const class_names[] = {
#define X(id, name) [SL_CHECK_##id] = name,
    SL_CHECK_CLASS_MAP(X)
#undef X
};
static const char *const outcome_names[] = { "deny", "allow", "stale" };
#define N_OUTCOMES SL_LEN(outcome_names)
#define LOG_INTERVAL_US 1000000

struct sl_check {
    struct sl_check_conf conf; /* strings owned */
    struct sl_verdict_cache *cache;
    struct sl_flights *flights;
    atomic_uint n_in_flight;
    atomic_uint_fast64_t quiet_until_us; /* of the log of failures */
    atomic_uint n_unlogged;              /* failures since its last line */
    struct sl_metric *duration, *in_flight, *shadow_denied;
    struct sl_metric *failures[SL_CHECK_CLASS_N][N_OUTCOMES];
};

struct sl_check_client {
    struct sl_check *check;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_pool *pool;
    struct sl_link errands;
};

struct errand {
    struct sl_link in_client;
    struct sl_check_client *client;
    struct sl_flight *flight;
    struct sl_arena arena;
    struct sl_question *question; /* in the arena */
    struct sl_buf body;
    struct sl_fields fields; /* in the arena */
    struct sl_fetch *fetch;
    uint64_t started_us;
};

struct sl_ask {
    struct sl_check_client *client;
    const struct sl_question *question;
    struct sl_flight_wait *wait;
    sl_ask_fn *done;
    void *arg;
};

static sl_fetch_fn on_fetched;
static sl_flight_fn on_landed;

/* -- the check, shared -- */

static void *verdict_ref(void *v)
{
    return sl_verdict_ref(v);
}

static void verdict_unref(void *result)
{
    struct sl_verdict *v = result;

    sl_verdict_unref(&v);
}

static struct sl_metric *child(enum sl_metric_kind kind, const char *name, const char *help,
                               const char *check)
{
    return sl_metric_child(sl_metric_family(kind, name, help, "check"), &check);
}

static void register_metrics(struct sl_check *c)
{
    const char *name = c->conf.name;
    struct sl_metric_family *failures = sl_metric_family(
        SL_METRIC_COUNTER, "sluice_check_failures_total",
        "Checks that failed, by class and what on_error made of it.", "check,class,outcome");

    c->duration = child(SL_METRIC_HISTOGRAM, "sluice_check_duration_seconds",
                        "Time from question to verdict.", name);
    c->in_flight = child(SL_METRIC_GAUGE, "sluice_checks_in_flight",
                         "Questions that wait for an answer.", name);
    c->shadow_denied = child(SL_METRIC_COUNTER, "sluice_check_shadow_denied_total",
                             "Denials of a check in shadow mode.", name);
    for (unsigned i = 0; i < SL_CHECK_CLASS_N; i++) {
        for (unsigned k = 0; k < N_OUTCOMES; k++) {
            const char *values[] = { name, class_names[i], outcome_names[k] };

            c->failures[i][k] = sl_metric_child(failures, values);
        }
    }
}

struct sl_check *sl_check_new(const struct sl_check_conf *conf)
{
    struct sl_check *c = sl_zalloc(sizeof(*c));

    c->conf = *conf;
    c->conf.name = sl_str_dup(sl_str_of(conf->name));
    c->conf.target = sl_str_dup(sl_str_of(conf->target));
    c->conf.origin.host.p = sl_str_dup(conf->origin.host);
    c->cache = sl_verdict_cache_new(conf->cache_entries, conf->cache_bytes);
    c->flights =
        sl_flights_new(&(struct sl_flights_conf){ .ref = verdict_ref, .unref = verdict_unref });
    atomic_init(&c->n_in_flight, 0);
    atomic_init(&c->quiet_until_us, 0);
    atomic_init(&c->n_unlogged, 0);
    register_metrics(c);
    return c;
}

void sl_check_free(struct sl_check **check)
{
    struct sl_check *c = *check;

    if (c == NULL)
        return;
    *check = NULL;
    sl_verdict_cache_free(&c->cache);
    sl_flights_free(&c->flights);
    sl_free((void *)(uintptr_t)c->conf.name);
    sl_free((void *)(uintptr_t)c->conf.target);
    sl_free((void *)(uintptr_t)c->conf.origin.host.p);
    sl_free(c);
}

const char *sl_check_name(const struct sl_check *c)
{
    return c->conf.name;
}

bool sl_check_has_phase(const struct sl_check *c, enum sl_phase phase)
{
    return (c->conf.phases & 1u << phase) != 0;
}

bool sl_check_is_shadow(const struct sl_check *c)
{
    return c->conf.shadow;
}

void sl_check_report_shadow(const struct sl_check *c, const struct sl_question *q,
                            const struct sl_verdict *v)
{
    if (v->allow)
        return;
    sl_metric_add(c->shadow_denied, 1);
    sl_log(SL_LOG_INFO, "check %s (shadow): would deny %.*s: %.*s", c->conf.name,
           SL_FMT(q->facts->host), SL_FMT(v->reason));
}

struct sl_verdict *sl_check_cached(struct sl_check *c, const struct sl_question *q, uint64_t now_ms)
{
    return sl_verdict_cache_get(c->cache, q, now_ms, false);
}

static void keep(struct sl_check *c, const struct sl_question *q, struct sl_verdict *v,
                 uint64_t now_ms)
{
    uint64_t ttl = v->has_ttl ? (uint64_t)v->ttl_s * 1000 : c->conf.ttl_ms;

    sl_verdict_cache_put(c->cache, q, v, now_ms,
                         ttl < c->conf.max_ttl_ms ? ttl : c->conf.max_ttl_ms);
}

/* Whether this failure is the one that may be logged now: one line a second is enough of a service
 * that is down, and every failure counts in the metrics all the same. */
static bool may_log(struct sl_check *c)
{
    uint64_t now = sl_mono_us();
    uint_fast64_t until = atomic_load_explicit(&c->quiet_until_us, memory_order_relaxed);

    if (now >= until &&
        atomic_compare_exchange_strong_explicit(&c->quiet_until_us, &until, now + LOG_INTERVAL_US,
                                                memory_order_relaxed, memory_order_relaxed))
        return true;
    atomic_fetch_add_explicit(&c->n_unlogged, 1, memory_order_relaxed);
    return false;
}

static void report_failure(struct sl_check *c, enum sl_check_class cls, enum sl_on_error outcome,
                           const char *why)
{
    unsigned n;

    sl_metric_add(c->failures[cls][outcome], 1);
    if (!may_log(c))
        return;
    n = atomic_exchange_explicit(&c->n_unlogged, 0, memory_order_relaxed);
    sl_log(SL_LOG_WARN, "check %s: %s: %s; outcome: %s (%u more failures since the last line)",
           c->conf.name, class_names[cls], why, outcome_names[outcome], n);
}

/* What a failure means: promise 2, deny unless the configuration names this class. */
static struct sl_verdict *failed(struct sl_check *c, const struct sl_question *q,
                                 enum sl_check_class cls, const char *why)
{
    enum sl_on_error outcome = c->conf.on_error[cls];
    struct sl_verdict *v = NULL;

    if (outcome == SL_ON_ERROR_STALE)
        v = sl_verdict_cache_get(c->cache, q, 0, true);
    if (outcome == SL_ON_ERROR_STALE && v == NULL)
        outcome = SL_ON_ERROR_DENY;
    report_failure(c, cls, outcome, why);
    if (v != NULL)
        return sl_verdict_make_stale(v);
    v = sl_verdict_new();
    v->allow = outcome == SL_ON_ERROR_ALLOW;
    v->is_failure = true;
    v->status = 503;
    v->reason = sl_arena_printf(&v->arena, "check unavailable");
    return v;
}

/* -- a worker's client -- */

struct sl_check_client *sl_check_client_new(const struct sl_check_client_conf *conf)
{
    struct sl_check_client *client = sl_zalloc(sizeof(*client));
    struct sl_pool_conf pool = {
        .route = conf->route,
        .limits = { .uri_bytes = 0, .header_bytes = 65536, .header_count = 200 },
        .max_idle_per_origin = conf->check->conf.max_in_flight,
        .max_idle = conf->check->conf.max_in_flight,
        .idle_timeout_ms = 60000
    };

    pool.route.guard = NULL;
    pool.route.connect_timeout_ms = conf->check->conf.timeout_ms;
    *client = (struct sl_check_client){ .check = conf->check,
                                        .loop = conf->route.loop,
                                        .mailbox = conf->mailbox,
                                        .pool = sl_pool_new(&pool) };
    sl_list_init(&client->errands);
    return client;
}

static void errand_free(struct errand *e)
{
    sl_link_remove(&e->in_client);
    sl_fetch_cancel(&e->fetch);
    sl_buf_fini(&e->body);
    sl_arena_fini(&e->arena);
    sl_free(e);
}

static void land(struct errand *e, struct sl_verdict *v)
{
    struct sl_check *c = e->client->check;

    atomic_fetch_sub_explicit(&c->n_in_flight, 1, memory_order_relaxed);
    sl_metric_add(c->in_flight, -1);
    sl_flight_land(&e->flight, v);
    errand_free(e);
}

void sl_check_client_free(struct sl_check_client **client)
{
    struct sl_check_client *cl = *client;

    if (cl == NULL)
        return;
    *client = NULL;
    while (!sl_list_is_empty(&cl->errands))
        land(SL_CONTAINER(cl->errands.next, struct errand, in_client), NULL);
    sl_pool_free(&cl->pool);
    sl_free(cl);
}

static enum sl_check_class class_of(enum sl_err err)
{
    if (err == SL_CONNECT_TIMEOUT || err == SL_RESPONSE_TIMEOUT || err == SL_DNS_TIMEOUT)
        return SL_CHECK_TIMEOUT;
    if (err == SL_BAD_RESPONSE || err == SL_RESPONSE_HEADER || err == SL_RESPONSE_CUT ||
        err == SL_LIMIT || err == SL_PROTOCOL || err == SL_UPGRADE_FAILED)
        return SL_CHECK_BAD_REPLY;
    return SL_CHECK_CONNECT;
}

static struct sl_verdict *read_verdict(struct errand *e, const struct sl_fetch_reply *reply,
                                       const struct sl_fault *fault)
{
    struct sl_check *c = e->client->check;
    struct sl_fault bad = { 0 };
    struct sl_verdict *v = NULL;

    if (reply != NULL && reply->status != 200)
        sl_fault_set(&bad, SL_PROTOCOL, "bad reply: status %u", reply->status);
    else if (reply != NULL && sl_check_json_parse(reply->body, &v, &bad) == SL_OK) {
        keep(c, e->question, v, sl_loop_now_ms(e->client->loop));
        return v;
    }
    if (reply != NULL)
        fault = &bad;
    return failed(c, e->question, class_of(fault->err),
                  fault->text[0] != '\0' ? fault->text : sl_err_text(fault->err));
}

static void on_fetched(void *arg, const struct sl_fetch_reply *reply, const struct sl_fault *fault)
{
    struct errand *e = arg;

    e->fetch = NULL;
    sl_metric_observe_us(e->client->check->duration, sl_mono_us() - e->started_us);
    land(e, read_verdict(e, reply, fault));
}

static void send_errand(struct sl_check_client *client, const struct sl_question *q,
                        struct sl_flight *flight)
{
    struct sl_check *c = client->check;
    struct errand *e = sl_zalloc(sizeof(*e));

    *e = (struct errand){ .client = client, .flight = flight, .started_us = sl_mono_us() };
    sl_list_add(&client->errands, &e->in_client);
    e->question = sl_question_copy(q, &e->arena);
    sl_question_document(q, &e->body);
    sl_fields_add(&e->fields, &e->arena, SL_STR("content-type"), SL_STR("application/json"));
    sl_fields_add(&e->fields, &e->arena, SL_STR("accept"), SL_STR("application/json"));
    sl_metric_add(c->in_flight, 1);
    e->fetch = sl_fetch_start(&(struct sl_fetch_conf){ .pool = client->pool,
                                                       .origin = &c->conf.origin,
                                                       .method = SL_STR("POST"),
                                                       .target = sl_str_of(c->conf.target),
                                                       .fields = &e->fields,
                                                       .body = sl_buf_str(&e->body),
                                                       .timeout_ms = c->conf.timeout_ms,
                                                       .max_body = SL_CHECK_JSON_MAX },
                              on_fetched, e);
}

/* Leads the flight: asks, or finds at once that too many are asking already. */
static void lead(struct sl_check_client *client, const struct sl_question *q,
                 struct sl_flight *flight)
{
    struct sl_check *c = client->check;
    unsigned n = atomic_fetch_add_explicit(&c->n_in_flight, 1, memory_order_relaxed);

    if (n < c->conf.max_in_flight) {
        send_errand(client, q, flight);
        return;
    }
    atomic_fetch_sub_explicit(&c->n_in_flight, 1, memory_order_relaxed);
    sl_flight_land(&flight, failed(c, q, SL_CHECK_OVERLOAD, "too many questions in flight"));
}

/* -- asking -- */

static void join(struct sl_ask *a)
{
    const struct sl_vary all = { .all = true };
    struct sl_flight *flight = NULL;
    struct sl_buf key = { 0 };

    sl_vary_key(&all, a->question, &key);
    a->wait = sl_flight_join(
        a->client->check->flights,
        &(struct sl_flight_conf){
            .key = sl_buf_str(&key), .mailbox = a->client->mailbox, .done = on_landed, .arg = a },
        &flight);
    sl_buf_fini(&key);
    if (flight != NULL)
        lead(a->client, a->question, flight);
}

struct sl_ask *sl_ask_start(struct sl_check_client *client, const struct sl_question *q,
                            sl_ask_fn *done, void *arg)
{
    struct sl_ask *a = sl_zalloc(sizeof(*a));

    *a = (struct sl_ask){ .client = client, .question = q, .done = done, .arg = arg };
    join(a);
    return a;
}

void sl_ask_cancel(struct sl_ask **ask)
{
    struct sl_ask *a = *ask;

    if (a == NULL)
        return;
    *ask = NULL;
    sl_flight_cancel(&a->wait);
    sl_free(a);
}

static void on_landed(void *arg, void *result)
{
    struct sl_ask *a = arg;
    struct sl_verdict *v = result;
    sl_ask_fn *done = a->done;
    void *to = a->arg;

    a->wait = NULL;
    if (v == NULL) { /* its worker went away before the answer came */
        join(a);
        return;
    }
    sl_free(a);
    done(to, v);
}
