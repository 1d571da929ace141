/* test_pool.c -- connections kept, shared, served to who waits, pinned and given up. */
#include "web_peer.h"

#include "base/metric.h"
#include "http/http_stream.h"
#include "upstream/pool.h"

static const struct web_reply ok_replies[] = { { .text = OK_REPLY } };

struct town {
    struct sl_loop *loop;
    struct sl_route route;
    struct sl_pool *pool;
    struct web web;
    struct sl_origin origin;
};

static void begin(struct town *t, struct sl_pool_conf conf)
{
    t->loop = sl_loop_new_sim();
    t->route = web_route(t->loop);
    conf.route = t->route;
    conf.limits = (struct sl_head_limits){ .header_bytes = 16384, .header_count = 50 };
    t->pool = sl_pool_new(&conf);
    web_begin(&t->web, t->loop, NULL, ok_replies, 1);
    t->origin = web_origin(&t->web);
}

static const struct sl_pool_conf roomy = { .max_idle_per_origin = 8,
                                           .max_idle = 8,
                                           .idle_timeout_ms = 60000 };

static void end(struct town *t)
{
    sl_pool_free(&t->pool);
    web_end(&t->web);
    sl_resolver_free(&t->route.resolver);
    sl_loop_free(&t->loop);
}

struct want {
    struct sl_acquire *acquire;
    struct sl_lease lease;
    enum sl_err err;
    int n_calls;
};

static void on_acquired(void *arg, const struct sl_lease *lease, const struct sl_fault *fault)
{
    struct want *w = arg;

    w->acquire = NULL;
    w->n_calls++;
    w->err = fault != NULL ? fault->err : SL_OK;
    if (lease != NULL)
        w->lease = *lease;
}

static void acquire(struct town *t, struct want *w, bool fresh)
{
    *w = (struct want){ 0 };
    w->acquire = sl_acquire_start(t->pool, &t->origin, fresh, on_acquired, w);
    assert_int_equal(w->n_calls, 0);
}

static void wait_for(struct town *t, struct want *w)
{
    while (w->n_calls == 0)
        sl_loop_turn(t->loop, true);
    assert_int_equal(w->n_calls, 1);
}

static void get(struct town *t, struct want *w)
{
    acquire(t, w, false);
    wait_for(t, w);
    assert_int_equal(w->err, SL_OK);
    assert_non_null(w->lease.stream);
}

/* One whole exchange; the stream stays open. */
static void converse(struct town *t, struct sl_lease *lease)
{
    struct sl_http_stream *s = lease->stream;
    struct sl_head request = { .method = SL_STR("GET"),
                               .scheme = SL_STR("http"),
                               .host = SL_STR("x"),
                               .port = 80,
                               .target = SL_STR("/"),
                               .major = 1,
                               .minor = 1,
                               .keep_alive = true };
    const struct sl_head *response;
    char piece[64];
    size_t n;
    enum sl_err err;

    assert_int_equal(s->ops->send_head(s, &request), SL_OK);
    assert_int_equal(s->ops->send_end(s, NULL), SL_OK);
    while ((err = s->ops->recv_head(s, &response)) == SL_AGAIN)
        sl_loop_turn(t->loop, false);
    assert_int_equal(err, SL_OK);
    while ((err = s->ops->recv_body(s, piece, sizeof(piece), &n)) == SL_OK || err == SL_AGAIN)
        sl_loop_turn(t->loop, false);
    assert_int_equal(err, SL_EOF);
}

static void give_back(struct town *t, struct want *w)
{
    converse(t, &w->lease);
    sl_http_stream_close(&w->lease.stream);
}

static int64_t gauge(const char *state)
{
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_GAUGE, "sluice_upstream_connections", "", "state");

    return sl_metric_value(sl_metric_child(f, &state));
}

static struct sl_lease must_try(struct town *t)
{
    struct sl_lease l;

    assert_true(sl_pool_try(t->pool, &t->origin, &l));
    return l;
}

static void a_connection_is_used_again(void **state)
{
    struct sl_lease l;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, roomy);
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    get(&t, &w);
    assert_false(w.lease.reused);
    assert_int_equal(gauge("active"), 1);
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    give_back(&t, &w);
    assert_int_equal(gauge("active"), 0);
    assert_int_equal(gauge("idle"), 1);
    l = must_try(&t);
    assert_true(l.reused);
    assert_int_equal(sl_addr_port(&l.peer.addr), t.origin.port);
    assert_false(l.stream->has_response);
    converse(&t, &l);
    assert_true(l.stream->has_response);
    sl_http_stream_close(&l.stream);
    assert_int_equal(t.web.n_conns, 1);
    assert_int_equal(t.web.n_requests, 2);
    end(&t);
    assert_int_equal(gauge("idle"), 0);
}

static void origins_do_not_mix(void **state)
{
    struct sl_lease l;
    struct want w;
    struct town t;
    struct sl_origin other;

    (void)state;
    begin(&t, roomy);
    get(&t, &w);
    give_back(&t, &w);
    other = t.origin;
    other.host = SL_STR("127.0.0.2");
    assert_false(sl_pool_try(t.pool, &other, &l));
    other = t.origin;
    other.port++;
    assert_false(sl_pool_try(t.pool, &other, &l));
    other = t.origin;
    other.tls = true;
    assert_false(sl_pool_try(t.pool, &other, &l));
    other = t.origin;
    other.verify = !other.verify;
    assert_false(sl_pool_try(t.pool, &other, &l));
    other = t.origin;
    other.owner = 1;
    assert_false(sl_pool_try(t.pool, &other, &l));
    other = t.origin;
    other.name = SL_STR("a.example");
    assert_false(sl_pool_try(t.pool, &other, &l));
    other.name = SL_STR("127.0.0");
    other.host = SL_STR(".1");
    assert_false(sl_pool_try(t.pool, &other, &l));
    end(&t);
}

/* A stream closed without a whole exchange takes its connection along. */
static void an_unfinished_exchange_ends_the_connection(void **state)
{
    struct sl_lease l;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, roomy);
    get(&t, &w);
    sl_http_stream_close(&w.lease.stream);
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    assert_int_equal(gauge("active"), 0);
    assert_int_equal(gauge("idle"), 0);
    end(&t);
}

/* The other one's time-out tells which was taken. */
static void the_last_one_used_is_taken_first(void **state)
{
    struct sl_lease l;
    struct want w[2];
    struct town t;

    (void)state;
    begin(&t, roomy);
    get(&t, &w[0]);
    get(&t, &w[1]);
    give_back(&t, &w[0]);
    sl_loop_advance(t.loop, 20000);
    give_back(&t, &w[1]);
    sl_loop_advance(t.loop, 20000);
    l = must_try(&t);
    sl_loop_advance(t.loop, 20000);
    assert_int_equal(gauge("idle"), 0);
    converse(&t, &l);
    sl_http_stream_close(&l.stream);
    assert_int_equal(gauge("idle"), 1);
    end(&t);
}

static void idle_connections_are_limited(void **state)
{
    static const struct {
        uint32_t per_origin, in_all;
        int64_t kept;
    } rows[] = { { 0, 8, 0 }, { 1, 8, 1 }, { 2, 8, 2 }, { 8, 0, 0 }, { 8, 1, 1 }, { 8, 8, 3 } };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct want w[3];
        struct town t;

        begin(&t, (struct sl_pool_conf){ .max_idle_per_origin = rows[i].per_origin,
                                         .max_idle = rows[i].in_all,
                                         .idle_timeout_ms = 60000 });
        for (size_t k = 0; k < 3; k++)
            get(&t, &w[k]);
        for (size_t k = 0; k < 3; k++)
            give_back(&t, &w[k]);
        assert_int_equal(gauge("idle"), rows[i].kept);
        assert_int_equal(gauge("active"), 0);
        end(&t);
    }
}

/* Of two origins the one that idles longest gives way. */
static void the_longest_idle_goes_first(void **state)
{
    struct sl_origin first;
    struct sl_lease l;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, (struct sl_pool_conf){
                  .max_idle_per_origin = 8, .max_idle = 1, .idle_timeout_ms = 60000 });
    first = t.origin;
    get(&t, &w);
    give_back(&t, &w);
    t.origin.owner = 5;
    get(&t, &w);
    give_back(&t, &w);
    assert_false(sl_pool_try(t.pool, &first, &l));
    l = must_try(&t);
    sl_http_stream_close(&l.stream);
    end(&t);
}

static void idle_connections_time_out(void **state)
{
    struct sl_lease l;
    struct want w[2];
    struct town t;

    (void)state;
    begin(&t, (struct sl_pool_conf){
                  .max_idle_per_origin = 8, .max_idle = 8, .idle_timeout_ms = 1000 });
    get(&t, &w[0]);
    get(&t, &w[1]);
    give_back(&t, &w[0]);
    sl_loop_advance(t.loop, 600);
    give_back(&t, &w[1]);
    sl_loop_advance(t.loop, 399);
    assert_int_equal(gauge("idle"), 2);
    sl_loop_advance(t.loop, 1);
    assert_int_equal(gauge("idle"), 1);
    sl_loop_advance(t.loop, 599);
    assert_int_equal(gauge("idle"), 1);
    l = must_try(&t);
    sl_loop_advance(t.loop, 5000);
    converse(&t, &l);
    sl_http_stream_close(&l.stream);
    sl_loop_advance(t.loop, 999);
    assert_int_equal(gauge("idle"), 1);
    sl_loop_advance(t.loop, 1);
    assert_int_equal(gauge("idle"), 0);
    end(&t);
}

/* Whoever waits for a connection gets one that falls idle before its own stands. */
static void a_waiter_is_served_by_an_idle_connection(void **state)
{
    struct want w[3];
    struct town t;

    (void)state;
    begin(&t, roomy);
    get(&t, &w[0]);
    converse(&t, &w[0].lease);
    acquire(&t, &w[1], false);
    acquire(&t, &w[2], false);
    sl_http_stream_close(&w[0].lease.stream);
    assert_int_equal(w[1].n_calls, 0);
    wait_for(&t, &w[1]);
    assert_true(w[1].lease.reused);
    wait_for(&t, &w[2]);
    assert_false(w[2].lease.reused);
    give_back(&t, &w[1]);
    give_back(&t, &w[2]);
    end(&t);
}

static void fresh_takes_no_old_one(void **state)
{
    struct want w[2];
    struct town t;

    (void)state;
    begin(&t, roomy);
    get(&t, &w[0]);
    converse(&t, &w[0].lease);
    acquire(&t, &w[1], true);
    sl_http_stream_close(&w[0].lease.stream);
    wait_for(&t, &w[1]);
    assert_false(w[1].lease.reused);
    give_back(&t, &w[1]);
    assert_int_equal(gauge("idle"), 2);
    end(&t);
}

static void a_pinned_connection_serves_its_owner_only(void **state)
{
    struct sl_origin theirs;
    struct sl_lease l;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, roomy);
    t.origin.http = SL_HTTP_ANY;
    get(&t, &w);
    sl_pool_pin(t.pool, &w.lease, 7);
    sl_pool_pin(t.pool, &w.lease, 7);
    give_back(&t, &w);
    theirs = t.origin;
    theirs.http = SL_HTTP_1;
    theirs.owner = 8;
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    assert_false(sl_pool_try(t.pool, &theirs, &l));
    theirs.owner = 7;
    assert_true(sl_pool_try(t.pool, &theirs, &l));
    assert_true(l.reused);
    converse(&t, &l);
    sl_http_stream_close(&l.stream);
    end(&t);
}

static void a_dead_idle_connection_is_forgotten(void **state)
{
    struct sl_lease l;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, roomy);
    get(&t, &w);
    give_back(&t, &w);
    web_hang_up(&t.web);
    while (gauge("idle") != 0)
        sl_loop_turn(t.loop, true);
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    end(&t);
}

/* While connecting, once served but not yet told, and fresh. */
static void cancelled_at_each_stage(void **state)
{
    struct sl_lease l;
    struct want w[2];
    struct deaf deaf;
    struct town t;

    (void)state;
    begin(&t, roomy);
    deaf_begin(&deaf);
    acquire(&t, &w[0], false);
    sl_acquire_cancel(&w[0].acquire);
    sl_acquire_cancel(&w[0].acquire);
    assert_null(w[0].acquire);
    get(&t, &w[0]);
    converse(&t, &w[0].lease);
    t.origin.port = deaf.port;
    acquire(&t, &w[1], false);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(t.loop, false);
    sl_acquire_cancel(&w[1].acquire);
    t.origin.port = web_origin(&t.web).port;
    acquire(&t, &w[1], false);
    sl_http_stream_close(&w[0].lease.stream);
    sl_acquire_cancel(&w[1].acquire);
    assert_int_equal(gauge("active"), 0);
    assert_false(sl_pool_try(t.pool, &t.origin, &l));
    acquire(&t, &w[1], true);
    sl_acquire_cancel(&w[1].acquire);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(t.loop, false);
    assert_int_equal(w[1].n_calls, 0);
    deaf_end(&deaf);
    end(&t);
}

static void a_failure_is_reported_once(void **state)
{
    struct deaf deaf;
    struct want w;
    struct town t;

    (void)state;
    begin(&t, roomy);
    web_refuse(&t.web);
    acquire(&t, &w, false);
    wait_for(&t, &w);
    assert_int_equal(w.err, SL_REFUSED);
    assert_null(w.lease.stream);
    deaf_begin(&deaf);
    t.origin.port = deaf.port;
    acquire(&t, &w, false);
    sl_loop_turn(t.loop, false);
    sl_loop_advance(t.loop, 4999);
    assert_int_equal(w.n_calls, 0);
    sl_loop_advance(t.loop, 1);
    assert_int_equal(w.n_calls, 1);
    assert_int_equal(w.err, SL_CONNECT_TIMEOUT);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(t.loop, false);
    assert_int_equal(w.n_calls, 1);
    deaf_end(&deaf);
    end(&t);
}

static void unix_sockets_are_origins_too(void **state)
{
    char dir[] = "/tmp/sluice-pool-XXXXXX", at[64];
    struct want w;
    struct town t;
    struct web local;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(at, sizeof(at), "unix:%s/s", dir);
    begin(&t, roomy);
    web_begin(&local, t.loop, at, ok_replies, 1);
    t.origin = (struct sl_origin){ .host = sl_str_of(at + 5), .is_unix = true };
    get(&t, &w);
    give_back(&t, &w);
    assert_int_equal(local.n_requests, 1);
    web_end(&local);
    end(&t);
    assert_int_equal(unlink(at + 5), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(origins_do_not_mix),
        cmocka_unit_test(an_unfinished_exchange_ends_the_connection),
        cmocka_unit_test(the_last_one_used_is_taken_first),
        cmocka_unit_test(idle_connections_are_limited),
        cmocka_unit_test(the_longest_idle_goes_first),
        cmocka_unit_test(idle_connections_time_out),
        cmocka_unit_test(a_waiter_is_served_by_an_idle_connection),
        cmocka_unit_test(fresh_takes_no_old_one),
        cmocka_unit_test(a_pinned_connection_serves_its_owner_only),
        cmocka_unit_test(a_dead_idle_connection_is_forgotten),
        cmocka_unit_test(cancelled_at_each_stage),
        cmocka_unit_test(a_failure_is_reported_once),
        cmocka_unit_test(unix_sockets_are_origins_too),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
