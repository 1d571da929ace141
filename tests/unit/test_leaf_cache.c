/* test_leaf_cache.c -- hits, misses, what is forgotten, one forge for many, cancels, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "tls/ca.h"
#include "tls/leaf_cache.h"

#define WEEK_S 604800u
#define DAY_S 86400

static time_t skew_s;

/* In place of the library's: a monotonic clock that can be put forward. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    long failed = syscall(SYS_clock_gettime, clock, ts);

    if (clock == CLOCK_MONOTONIC)
        ts->tv_sec += skew_s;
    return (int)failed;
}

static const struct sl_leaf_conf ec = { .kind = SL_LEAF_ECDSA_P256, .lifetime_s = WEEK_S };
/* Slow whatever was forged before, so that others can join. */
static const struct sl_leaf_conf slow = { .kind = SL_LEAF_RSA_2048,
                                          .host_scope = true,
                                          .lifetime_s = WEEK_S };

struct world {
    struct sl_ca *ca;
    struct sl_leaf_keys *keys;
    struct sl_leaf_cache *cache;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
};

/* How one get ended. */
struct answer {
    int n;
    struct sl_leaf *leaf;
    bool forged;
    enum sl_err err;
};

static struct sl_ca *make_ca(void)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    char dir[] = "/tmp/sluice-test-cache-XXXXXX", cert_path[64], key_path[64];
    struct sl_fault fault = { 0 };
    struct sl_ca *made = NULL;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/ca.key", dir);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    assert_int_equal(sl_ca_load(&(struct sl_ca_source){ .certificate = cert_path, .key = key_path },
                                &made, &fault),
                     SL_OK);
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(rmdir(dir), 0);
    return made;
}

static struct world world_new(uint32_t max_entries)
{
    struct world w = { .ca = make_ca(),
                       .keys = sl_leaf_keys_new(),
                       .cache = sl_leaf_cache_new(max_entries),
                       .loop = sl_loop_new() };

    w.mailbox = sl_mailbox_new(w.loop);
    return w;
}

static void world_free(struct world *w)
{
    sl_leaf_cache_free(&w->cache);
    sl_leaf_keys_free(&w->keys);
    sl_ca_unref(&w->ca);
    sl_mailbox_free(&w->mailbox);
    sl_loop_free(&w->loop);
}

static void on_leaf(void *arg, struct sl_leaf *leaf, bool forged, const struct sl_fault *fault)
{
    struct answer *a = arg;

    a->n++;
    a->leaf = leaf;
    a->forged = forged;
    a->err = fault != NULL ? fault->err : SL_OK;
}

static struct sl_leaf_get *start(struct world *w, const struct sl_leaf_conf *conf, const char *host,
                                 struct answer *a)
{
    const struct sl_leaf_get_conf get = { .cache = w->cache,
                                          .ca = w->ca,
                                          .keys = w->keys,
                                          .leaf = *conf,
                                          .loop = w->loop,
                                          .mailbox = w->mailbox };

    return sl_leaf_get_start(&get, sl_str_of(host), on_leaf, a);
}

static void wait_for(struct world *w, const struct answer *a)
{
    while (a->n == 0)
        sl_loop_turn(w->loop, true);
}

/* A get to its end; only its facts are kept. */
static struct answer fetch(struct world *w, const struct sl_leaf_conf *conf, const char *host)
{
    struct answer a = { 0 };

    (void)start(w, conf, host, &a);
    assert_int_equal(a.n, 0);
    wait_for(w, &a);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.leaf == NULL, a.err != SL_OK);
    sl_leaf_unref(&a.leaf);
    return a;
}

static bool is_hit(struct world *w, const struct sl_leaf_conf *conf, const char *host)
{
    struct sl_leaf *leaf = sl_leaf_cache_get(w->cache, w->ca, conf, sl_str_of(host));
    bool hit = leaf != NULL;

    sl_leaf_unref(&leaf);
    return hit;
}

static int64_t metric(enum sl_metric_kind kind, const char *name)
{
    return sl_metric_value(sl_metric_child(sl_metric_family(kind, name, "", ""), NULL));
}

static int64_t n_forges(void)
{
    return metric(SL_METRIC_HISTOGRAM, "sluice_forge_duration_seconds");
}

static void test_miss_then_hit(void **state)
{
    struct world w = world_new(10);
    int64_t hits = metric(SL_METRIC_COUNTER, "sluice_leaf_cache_hits_total");
    int64_t misses = metric(SL_METRIC_COUNTER, "sluice_leaf_cache_misses_total");
    int64_t forges = n_forges();

    (void)state;
    assert_false(is_hit(&w, &ec, "a.example"));
    assert_true(fetch(&w, &ec, "a.example").forged);
    assert_true(is_hit(&w, &ec, "a.example"));
    assert_false(fetch(&w, &ec, "a.example").forged);
    assert_false(is_hit(&w, &ec, "b.example"));
    assert_int_equal(metric(SL_METRIC_COUNTER, "sluice_leaf_cache_hits_total") - hits, 1);
    assert_int_equal(metric(SL_METRIC_COUNTER, "sluice_leaf_cache_misses_total") - misses, 2);
    assert_int_equal(n_forges() - forges, 1);
    world_free(&w);
}

static void test_another_is_a_miss(void **state)
{
    struct world w = world_new(10);
    struct sl_leaf_conf own = ec, rsa = ec;
    struct sl_ca *first = w.ca;

    (void)state;
    own.host_scope = true;
    rsa.kind = SL_LEAF_RSA_2048;
    (void)fetch(&w, &ec, "a.example");
    assert_false(is_hit(&w, &own, "a.example"));
    assert_false(is_hit(&w, &rsa, "a.example"));
    assert_true(fetch(&w, &rsa, "a.example").forged);
    assert_true(is_hit(&w, &rsa, "a.example"));
    assert_true(is_hit(&w, &ec, "a.example"));
    w.ca = make_ca();
    assert_false(is_hit(&w, &ec, "a.example"));
    sl_ca_unref(&w.ca);
    w.ca = first;
    world_free(&w);
}

static void test_near_its_end_is_a_miss(void **state)
{
    struct world w = world_new(10);
    struct sl_leaf_conf brief = ec, brisk = ec;

    (void)state;
    brief.lifetime_s = 3500;
    brisk.lifetime_s = 100;
    (void)fetch(&w, &brief, "a.example");
    assert_true(is_hit(&w, &brief, "a.example"));
    assert_false(is_hit(&w, &ec, "a.example"));
    assert_true(fetch(&w, &ec, "a.example").forged);
    assert_true(is_hit(&w, &ec, "a.example"));
    (void)fetch(&w, &brisk, "b.example");
    assert_true(is_hit(&w, &brisk, "b.example"));
    world_free(&w);
}

static void test_a_key_of_yesterday_is_a_miss(void **state)
{
    struct world w = world_new(10);
    struct sl_leaf_conf own = ec;

    (void)state;
    own.host_scope = true;
    (void)fetch(&w, &ec, "a.example");
    (void)fetch(&w, &own, "a.example");
    skew_s += DAY_S - 60;
    assert_true(is_hit(&w, &ec, "a.example"));
    (void)fetch(&w, &ec, "b.example");
    skew_s += 60;
    assert_false(is_hit(&w, &ec, "a.example"));
    assert_false(is_hit(&w, &ec, "b.example"));
    assert_true(is_hit(&w, &own, "a.example"));
    assert_true(fetch(&w, &ec, "a.example").forged);
    assert_true(is_hit(&w, &ec, "a.example"));
    world_free(&w);
}

static void test_least_recently_used_goes(void **state)
{
    struct world w = world_new(3);

    (void)state;
    (void)fetch(&w, &ec, "a.example");
    (void)fetch(&w, &ec, "b.example");
    (void)fetch(&w, &ec, "c.example");
    assert_true(is_hit(&w, &ec, "a.example"));
    (void)fetch(&w, &ec, "d.example");
    assert_false(is_hit(&w, &ec, "b.example"));
    assert_true(is_hit(&w, &ec, "a.example"));
    assert_true(is_hit(&w, &ec, "c.example"));
    assert_true(is_hit(&w, &ec, "d.example"));
    world_free(&w);
}

static void test_never_more_than_its_entries(void **state)
{
    enum { N = 1200, MAX = 1024 };
    struct world w = world_new(MAX);
    int kept = 0;
    char host[32];

    (void)state;
    for (int i = 0; i < N; i++) {
        (void)snprintf(host, sizeof(host), "h%d.example", i);
        (void)fetch(&w, &ec, host);
    }
    for (int i = 0; i < N; i++) {
        (void)snprintf(host, sizeof(host), "h%d.example", i);
        kept += is_hit(&w, &ec, host);
    }
    assert_in_range(kept, MAX / 2, MAX);
    world_free(&w);
}

/* threat: forge-under-lock */
static void test_failure_is_reported_and_not_kept(void **state)
{
    struct world w = world_new(10);
    char long_host[300];

    (void)state;
    memset(long_host, 'a', sizeof(long_host));
    long_host[299] = 0;
    assert_int_equal(fetch(&w, &ec, "a,DNS:bank.com").err, SL_BAD_HOST);
    assert_int_equal(fetch(&w, &ec, "a,DNS:bank.com").err, SL_BAD_HOST);
    assert_int_equal(fetch(&w, &ec, long_host).err, SL_BAD_HOST);
    assert_int_equal(fetch(&w, &ec, "").err, SL_BAD_HOST);
    assert_false(is_hit(&w, &ec, long_host));
    world_free(&w);
}

/* threat: forge-under-lock */
static void test_one_forge_for_all_who_ask(void **state)
{
    struct world w = world_new(10);
    struct answer answers[4] = { 0 };
    int64_t forges = n_forges();

    (void)state;
    for (size_t i = 0; i < SL_LEN(answers); i++)
        (void)start(&w, &slow, "a.example", &answers[i]);
    for (size_t i = 0; i < SL_LEN(answers); i++) {
        wait_for(&w, &answers[i]);
        assert_ptr_equal(answers[i].leaf, answers[0].leaf);
        assert_int_equal(answers[i].forged, i == 0);
    }
    assert_int_equal(n_forges() - forges, 1);
    assert_true(is_hit(&w, &slow, "a.example"));
    for (size_t i = 0; i < SL_LEN(answers); i++)
        sl_leaf_unref(&answers[i].leaf);
    world_free(&w);
}

static void test_no_entries_forges_for_each(void **state)
{
    struct world w = world_new(0);
    struct answer answers[2] = { 0 };
    int64_t forges = n_forges();

    (void)state;
    for (size_t i = 0; i < SL_LEN(answers); i++)
        (void)start(&w, &slow, "a.example", &answers[i]);
    for (size_t i = 0; i < SL_LEN(answers); i++) {
        wait_for(&w, &answers[i]);
        assert_true(answers[i].forged);
    }
    assert_ptr_not_equal(answers[0].leaf, answers[1].leaf);
    assert_true(fetch(&w, &ec, "a.example").forged);
    assert_true(fetch(&w, &ec, "a.example").forged);
    assert_false(is_hit(&w, &ec, "a.example"));
    assert_int_equal(n_forges() - forges, 4);
    for (size_t i = 0; i < SL_LEN(answers); i++)
        sl_leaf_unref(&answers[i].leaf);
    world_free(&w);
}

/* The forge goes on without the one who began it. */
static void test_cancel_while_waiting(void **state)
{
    struct world w = world_new(10);
    struct answer answers[3] = { 0 };
    struct sl_leaf_get *first = start(&w, &slow, "a.example", &answers[0]);
    struct sl_leaf_get *second = start(&w, &slow, "a.example", &answers[1]);

    (void)state;
    (void)start(&w, &slow, "a.example", &answers[2]);
    sl_leaf_get_cancel(&first);
    sl_leaf_get_cancel(&second);
    sl_leaf_get_cancel(&second);
    assert_null(first);
    wait_for(&w, &answers[2]);
    assert_false(answers[2].forged);
    assert_int_equal(answers[0].n + answers[1].n, 0);
    sl_leaf_unref(&answers[2].leaf);
    world_free(&w);
}

/* A quick forge has posted its mail before start returns. */
static void test_cancel_after_the_answer_is_posted(void **state)
{
    struct world w = world_new(10);
    struct answer a = { 0 }, b = { 0 };
    struct sl_leaf_get *first = start(&w, &ec, "a.example", &a);
    struct sl_leaf_get *second = start(&w, &ec, "a.example", &b);

    (void)state;
    sl_leaf_get_cancel(&first);
    sl_leaf_get_cancel(&second);
    (void)fetch(&w, &ec, "a.example");
    first = start(&w, &ec, "c.example", &a);
    sl_leaf_get_cancel(&first);
    world_free(&w);
    assert_int_equal(a.n + b.n, 0);
}

/* Everything is given up while the key is still being made. */
static void test_all_gone_before_the_forge_ends(void **state)
{
    struct world w = world_new(10);
    struct answer a = { 0 };
    struct sl_leaf_get *get = start(&w, &slow, "a.example", &a);

    (void)state;
    sl_leaf_get_cancel(&get);
    world_free(&w);
    assert_int_equal(a.n, 0);
}

/* -- threads ------------------------------------------------------------------------------------
 */

enum { N_THREADS = 4, N_HOSTS = 100 };

static void ask(struct world *w, int i, struct answer *a, struct sl_leaf_get **get)
{
    char host[32];
    struct sl_leaf *leaf;

    (void)snprintf(host, sizeof(host), "h%d.example", i);
    leaf = sl_leaf_cache_get(w->cache, w->ca, &ec, sl_str_of(host));
    if (leaf != NULL)
        on_leaf(a, leaf, false, NULL);
    else
        *get = start(w, &ec, host, a);
}

/* Every host is asked for twice at once, and one of the two gives up. */
static void *ask_for_all(void *arg)
{
    struct world w = *(struct world *)arg;

    w.loop = sl_loop_new();
    w.mailbox = sl_mailbox_new(w.loop);
    for (int i = 0; i < N_HOSTS; i++) {
        struct answer a = { 0 }, dropped = { 0 };
        struct sl_leaf_get *get = NULL, *drop = NULL;

        ask(&w, i, &dropped, &drop);
        ask(&w, i, &a, &get);
        sl_leaf_get_cancel(&drop);
        wait_for(&w, &a);
        sl_assert(a.leaf != NULL);
        sl_leaf_unref(&a.leaf);
        sl_leaf_unref(&dropped.leaf);
    }
    sl_mailbox_free(&w.mailbox);
    sl_loop_free(&w.loop);
    return NULL;
}

static void test_threads_forge_each_host_once(void **state)
{
    struct world w = world_new(N_HOSTS);
    pthread_t threads[N_THREADS];
    int64_t forges = n_forges();

    (void)state;
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_all, &w), 0);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(n_forges() - forges, N_HOSTS);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_miss_then_hit),
        cmocka_unit_test(test_another_is_a_miss),
        cmocka_unit_test(test_near_its_end_is_a_miss),
        cmocka_unit_test(test_a_key_of_yesterday_is_a_miss),
        cmocka_unit_test(test_least_recently_used_goes),
        cmocka_unit_test(test_never_more_than_its_entries),
        cmocka_unit_test(test_failure_is_reported_and_not_kept),
        cmocka_unit_test(test_one_forge_for_all_who_ask),
        cmocka_unit_test(test_no_entries_forges_for_each),
        cmocka_unit_test(test_cancel_while_waiting),
        cmocka_unit_test(test_cancel_after_the_answer_is_posted),
        cmocka_unit_test(test_all_gone_before_the_forge_ends),
        cmocka_unit_test(test_threads_forge_each_host_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
