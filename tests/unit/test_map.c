/* test_map.c -- the hash map under adding, replacing and removing, and the hash under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

#define N_KEYS 2000

struct item {
    char key[8];
    bool is_in;
};

static struct item items[N_KEYS];

static struct sl_str key_of(size_t i)
{
    snprintf(items[i].key, sizeof(items[i].key), "k%zu", i);
    return sl_str_of(items[i].key);
}

/* Key 00 01 .. 0f, message 00 01 .. 0e: the vector of the paper's appendix A; then shorter ones of
 * the reference implementation.
 */
static void hash_gives_the_reference_vectors(void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } cases[] = {
        { 15, 0xa129ca6149be45e5 },
        { 0, 0x726fdb47dd0e0e31 },
        { 1, 0x74f839c593dc67fd },
        { 8, 0x93f5f5799a932462 },
    };
    uint8_t bytes[16];

    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        bytes[i] = i;
    for (size_t i = 0; i < SL_LEN(cases); i++)
        assert_true(sl_hash_keyed(bytes, sl_str_make(bytes, cases[i].n)) == cases[i].hash);
    assert_true(sl_hash(SL_STR("a")) == sl_hash(SL_STR("a")));
    assert_true(sl_hash(SL_STR("a")) != sl_hash(SL_STR("b")));
}

static void random_fills_all(void **state)
{
    uint8_t seen[1000] = { 0 }, bytes[1000];

    (void)state;
    for (int round = 0; round < 8; round++) {
        sl_random(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0);
}

static void zeroed_is_empty(void **state)
{
    struct sl_map m = { 0 };
    size_t cursor = 0;

    (void)state;
    assert_null(sl_map_get(&m, SL_STR("a")));
    assert_null(sl_map_remove(&m, SL_STR("a")));
    assert_null(sl_map_next(&m, &cursor));
    sl_map_fini(&m);
}

static void replacing_takes_the_new_key(void **state)
{
    struct sl_map m = { 0 };
    char *old_key = sl_str_dup(SL_STR("key"));
    int one = 1, two = 2;

    (void)state;
    assert_null(sl_map_put(&m, sl_str_of(old_key), &one));
    assert_ptr_equal(sl_map_put(&m, SL_STR("key"), &two), &one);
    sl_free(old_key);
    assert_ptr_equal(sl_map_get(&m, SL_STR("key")), &two);
    assert_int_equal(m.n, 1);
    assert_null(sl_map_put(&m, SL_STR(""), &one));
    assert_ptr_equal(sl_map_get(&m, (struct sl_str){ 0 }), &one);
    sl_map_fini(&m);
}

static void check_all(const struct sl_map *m)
{
    size_t n = 0, cursor = 0;

    for (size_t i = 0; i < N_KEYS; i++) {
        assert_ptr_equal(sl_map_get(m, key_of(i)), items[i].is_in ? &items[i] : NULL);
        n += items[i].is_in;
    }
    assert_int_equal(m->n, n);
    for (struct item *it; (it = sl_map_next(m, &cursor)) != NULL; n--)
        assert_true(it->is_in);
    assert_int_equal(n, 0);
}

static void keeps_up_with_a_model(void **state)
{
    struct sl_map m = { 0 };

    (void)state;
    for (size_t step = 0; step < 40000; step++) {
        uint32_t r;

        sl_random(&r, sizeof(r));
        struct item *it = &items[r % N_KEYS];
        struct sl_str key = key_of(r % N_KEYS);
        void *old = (r >> 16) % 2 == 0 ? sl_map_put(&m, key, it) : sl_map_remove(&m, key);

        assert_ptr_equal(old, it->is_in ? it : NULL);
        it->is_in = (r >> 16) % 2 == 0;
        if (step % 4000 == 0)
            check_all(&m);
    }
    check_all(&m);
    assert_true(m.n <= m.n_slots / 4 * 3);
    sl_map_fini(&m);
    assert_null(sl_map_get(&m, SL_STR("k1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_gives_the_reference_vectors),
        cmocka_unit_test(random_fills_all),
        cmocka_unit_test(zeroed_is_empty),
        cmocka_unit_test(replacing_takes_the_new_key),
        cmocka_unit_test(keeps_up_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
