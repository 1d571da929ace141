/* test_verdict_cache.c -- what is kept, for how long, under which parts; from one thread and many.
 */
#include "question_kit.h"

#include <pthread.h>

#include "policy/verdict_cache.h"

#define MANY UINT64_C(1000000000)

static struct sl_verdict *verdict(const char *const *vary, bool allow)
{
    struct sl_verdict *v = sl_verdict_new();

    v->allow = allow;
    v->vary.all = vary[0] == NULL;
    for (size_t i = 0; vary[i] != NULL; i++)
        assert_true(sl_vary_add(&v->vary, sl_str_of(vary[i])));
    return v;
}

static const char *const by_host[] = { "host", NULL };
static const char *const by_all[] = { NULL };

static void put(struct sl_verdict_cache *c, struct asked_conf conf, const char *const *vary,
                uint64_t now_ms, uint64_t ttl_ms)
{
    struct sl_verdict *v = verdict(vary, true);
    struct asked a;

    asked_init(&a, conf);
    sl_verdict_cache_put(c, &a.q, v, now_ms, ttl_ms);
    sl_verdict_unref(&v);
    asked_fini(&a);
}

static bool has(struct sl_verdict_cache *c, struct asked_conf conf, uint64_t now_ms, bool stale)
{
    struct sl_verdict *v;
    struct asked a;
    bool found;

    asked_init(&a, conf);
    v = sl_verdict_cache_get(c, &a.q, now_ms, stale);
    found = v != NULL;
    sl_verdict_unref(&v);
    asked_fini(&a);
    return found;
}

static void kept_for_its_time(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(100, MANY);

    (void)state;
    assert_false(has(c, (struct asked_conf){ 0 }, 1000, true));
    put(c, (struct asked_conf){ 0 }, by_host, 1000, 500);
    assert_true(has(c, (struct asked_conf){ .target = "/other" }, 1000, false));
    assert_true(has(c, (struct asked_conf){ 0 }, 1499, false));
    assert_false(has(c, (struct asked_conf){ 0 }, 1500, false));
    assert_true(has(c, (struct asked_conf){ 0 }, 99999, true));
    assert_false(has(c, (struct asked_conf){ .host = "other.example" }, 1000, true));
    put(c, (struct asked_conf){ 0 }, by_host, 2000, 500);
    assert_true(has(c, (struct asked_conf){ 0 }, 2499, false));
    sl_verdict_cache_free(&c);
    assert_null(c);
    sl_verdict_cache_free(&c);
}

static void not_kept_at_all(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(100, MANY),
                            *none = sl_verdict_cache_new(0, MANY);
    char *target = sl_zalloc(SL_VERDICT_MAX_KEY + 2);

    (void)state;
    put(c, (struct asked_conf){ 0 }, by_host, 1000, 0);
    assert_false(has(c, (struct asked_conf){ 0 }, 1000, true));
    put(none, (struct asked_conf){ 0 }, by_host, 1000, 500);
    assert_false(has(none, (struct asked_conf){ 0 }, 1000, true));
    memset(target, '/', SL_VERDICT_MAX_KEY + 1);
    put(c, (struct asked_conf){ .target = target, .phase = SL_PHASE_REQUEST }, by_all, 1000, 500);
    assert_false(
        has(c, (struct asked_conf){ .target = target, .phase = SL_PHASE_REQUEST }, 1000, true));
    sl_free(target);
    sl_verdict_cache_free(&c);
    sl_verdict_cache_free(&none);
}

/* Verdicts that vary in more ways than can be probed are kept under everything that was asked. */
static void too_many_ways_end_in_everything(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(1000, MANY);

    (void)state;
    for (int i = 0; i < 3 * SL_VERDICT_WAYS; i++) {
        char name[32], host[32];
        const char *vary[] = { "host", name, NULL };

        snprintf(name, sizeof(name), "header:x-%d", i);
        snprintf(host, sizeof(host), "h%d.example", i);
        put(c, (struct asked_conf){ .host = host }, vary, 1000, 500);
        if (!has(c, (struct asked_conf){ .host = host }, 1000, false))
            fail_msg("way %d is not kept", i);
        assert_int_equal(has(c, (struct asked_conf){ .host = host, .user = "eve" }, 1000, false),
                         i < SL_VERDICT_WAYS - 1);
    }
    sl_verdict_cache_free(&c);
}

static void put_host(struct sl_verdict_cache *c, int i)
{
    char host[32];

    snprintf(host, sizeof(host), "h%d.example", i);
    put(c, (struct asked_conf){ .host = host }, by_host, 1000, 500);
}

static bool has_host(struct sl_verdict_cache *c, int i)
{
    char host[32];

    snprintf(host, sizeof(host), "h%d.example", i);
    return has(c, (struct asked_conf){ .host = host }, 1000, false);
}

/* A shard holds its share: what is used again and again stays, the rest makes room. */
static void the_least_recently_used_makes_room(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(160, MANY);
    size_t n = 0;

    (void)state;
    put_host(c, 0);
    for (int i = 1; i < 2000; i++) {
        put_host(c, i);
        assert_true(has_host(c, 0));
        assert_true(has_host(c, i));
    }
    for (int i = 0; i < 2000; i++)
        n += has_host(c, i);
    assert_in_range(n, 150, 160);
    sl_verdict_cache_free(&c);
}

static void put_body(struct sl_verdict_cache *c, int i, size_t body)
{
    struct sl_verdict *v = verdict(by_host, false);
    char host[32];
    struct asked a;

    snprintf(host, sizeof(host), "h%d.example", i);
    memset(sl_arena_alloc(&v->arena, body), 'x', body);
    asked_init(&a, (struct asked_conf){ .host = host });
    sl_verdict_cache_put(c, &a.q, v, 1000, 500);
    sl_verdict_unref(&v);
    asked_fini(&a);
}

/* Large verdicts push others out by what they take, small ones by what they take beside themselves;
 * what would need more than a shard's share is not kept, and pushes nobody out. */
static void bytes_are_bounded(void **state)
{
    static const struct {
        int n;
        size_t body, least, most;
    } cases[] = { { 300, 100000, 80, 96 }, { 30000, 1, 10000, 25000 }, { 20, 700000, 0, 0 } };

    (void)state;
    for (size_t k = 0; k < SL_LEN(cases); k++) {
        struct sl_verdict_cache *c = sl_verdict_cache_new(100000, 10000000);
        size_t kept = 0;

        for (int i = 0; i < cases[k].n; i++) {
            put_body(c, i, cases[k].body);
            assert_int_equal(has_host(c, i), cases[k].most != 0);
        }
        for (int i = 0; i < cases[k].n; i++)
            kept += has_host(c, i);
        assert_in_range(kept, cases[k].least, cases[k].most);
        sl_verdict_cache_free(&c);
    }
}

static void one_too_large_only_takes_the_place_of_its_older_self(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(100000, 16 * 10000);

    (void)state;
    for (int i = 0; i < 10; i++)
        put_body(c, i, 10);
    put_body(c, 3, 20000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(has_host(c, i), i != 3);
    put_body(c, 3, 10);
    put_body(c, 3, 100);
    assert_true(has_host(c, 3));
    sl_verdict_cache_free(&c);
}

static void a_verdict_outlives_the_cache(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(10, MANY);
    struct sl_verdict *v = verdict(by_host, true), *got;
    struct asked a;

    (void)state;
    asked_init(&a, (struct asked_conf){ 0 });
    sl_verdict_cache_put(c, &a.q, v, 0, 10);
    sl_verdict_unref(&v);
    got = sl_verdict_cache_get(c, &a.q, 0, false);
    sl_verdict_cache_free(&c);
    assert_non_null(got);
    assert_true(got->allow);
    sl_verdict_unref(&got);
    asked_fini(&a);
}

static void *hammer(void *arg)
{
    struct sl_verdict_cache *c = arg;

    for (int i = 0; i < 3000; i++) {
        char name[32];
        const char *vary[] = { "host", name, NULL };

        put_host(c, i % 300);
        (void)has_host(c, (i * 7) % 300);
        snprintf(name, sizeof(name), "header:x-%d", i % 20);
        put(c, (struct asked_conf){ .name = name + 7, .value = "v" }, vary, 1000, 500);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    struct sl_verdict_cache *c = sl_verdict_cache_new(100, MANY);
    pthread_t id[3];

    (void)state;
    for (size_t i = 0; i < SL_LEN(id); i++)
        assert_int_equal(pthread_create(&id[i], NULL, hammer, c), 0);
    for (size_t i = 0; i < SL_LEN(id); i++)
        pthread_join(id[i], NULL);
    sl_verdict_cache_free(&c);
}

/* -- edits -- */

static void add(struct sl_fields *f, struct sl_arena *a, const char *name, const char *value)
{
    sl_fields_add(f, a, sl_str_of(name), sl_str_of(value));
}

static void edits_set_every_value_they_name(void **state)
{
    struct sl_edit edit = { 0 };
    struct sl_fields f = { 0 };
    struct sl_arena a = { 0 };

    (void)state;
    add(&f, &a, "Cookie", "a=1");
    add(&f, &a, "X-Tag", "old");
    add(&f, &a, "cookie", "b=2");
    add(&f, &a, "x-tag", "older");
    add(&f, &a, "Accept", "*/*");
    add(&edit.remove, &a, "cookie", "");
    add(&edit.set, &a, "x-tag", "one");
    add(&edit.set, &a, "X-Tag", "two");
    add(&edit.set, &a, "x-new", "n");
    sl_edit_apply(&edit, &f, &a);
    assert_int_equal(f.n, 4);
    assert_true(sl_str_eq(f.v[0].name, SL_STR("Accept")));
    assert_true(sl_str_eq(f.v[1].value, SL_STR("one")));
    assert_true(sl_str_eq(f.v[2].value, SL_STR("two")));
    assert_true(sl_str_eq(f.v[3].value, SL_STR("n")));
    sl_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_for_its_time),
        cmocka_unit_test(not_kept_at_all),
        cmocka_unit_test(too_many_ways_end_in_everything),
        cmocka_unit_test(the_least_recently_used_makes_room),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(one_too_large_only_takes_the_place_of_its_older_self),
        cmocka_unit_test(a_verdict_outlives_the_cache),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(edits_set_every_value_they_name),
    };

    return cmocka_run_group_tests_name("verdict_cache", tests, NULL, NULL);
}
