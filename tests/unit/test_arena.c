/* test_arena.c -- the arena: alignment, zeroes, large blocks, text of any length. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

static void memory_is_zeroed_and_aligned(void **state)
{
    struct sl_arena a = { 0 };
    size_t total = 0;

    (void)state;
    for (size_t n = 1; n < 9000; n += n / 3 + 1) {
        unsigned char *p = sl_arena_alloc(&a, n);

        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xaa, n);
        total += n;
    }
    assert_int_equal(a.total, total);
    sl_arena_fini(&a);
}

static void pieces_do_not_overlap(void **state)
{
    struct sl_arena a;
    unsigned char *p[500];

    (void)state;
    sl_arena_init(&a);
    for (size_t i = 0; i < SL_LEN(p); i++) {
        p[i] = sl_arena_alloc(&a, 1 + i % 40);
        memset(p[i], (int)(i & 0xff), 1 + i % 40);
        sl_arena_str(&a, SL_STR("odd"));
    }
    for (size_t i = 0; i < SL_LEN(p); i++)
        for (size_t k = 0; k < 1 + i % 40; k++)
            assert_int_equal(p[i][k], i & 0xff);
    sl_arena_fini(&a);
}

static void large_piece_keeps_the_room_of_the_head(void **state)
{
    struct sl_arena a = { 0 };
    char *before = sl_arena_alloc(&a, 16);

    (void)state;
    memset(sl_arena_alloc(&a, 100000), 1, 100000);
    char *after = sl_arena_alloc(&a, 16);

    assert_ptr_equal(after, before + 16);
    sl_arena_fini(&a);
}

static void text_is_copied(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_str s = sl_arena_str(&a, sl_str_head(SL_STR("abcdef"), 3));
    struct sl_str empty = sl_arena_str(&a, (struct sl_str){ 0 });

    (void)state;
    assert_string_equal(s.p, "abc");
    assert_int_equal(s.n, 3);
    assert_string_equal(empty.p, "");
    assert_int_equal(empty.n, 0);
    sl_arena_fini(&a);
}

static void formats_any_length(void **state)
{
    struct sl_arena a = { 0 };

    (void)state;
    for (int n = 0; n < 6000; n = n * 2 + 1) {
        struct sl_str s = sl_arena_printf(&a, "%*s", n, "");

        assert_int_equal(s.n, n);
        assert_int_equal(strlen(s.p), n);
    }
    for (int n = 250; n < 260; n++)
        assert_int_equal(sl_arena_printf(&a, "%*d", n, 1).n, n);
    sl_arena_fini(&a);
}

static void can_be_used_again(void **state)
{
    struct sl_arena a = { 0 };

    (void)state;
    sl_arena_fini(&a);
    sl_arena_alloc(&a, 10);
    sl_arena_fini(&a);
    assert_null(a.head);
    assert_int_equal(a.total, 0);
    sl_arena_alloc(&a, 10);
    sl_arena_fini(&a);
}

static void a_small_one_begins_small_and_grows(void **state)
{
    struct sl_arena a;

    (void)state;
    sl_arena_init_small(&a, 200);
    assert_int_equal(sl_arena_held(&a), 0);
    for (size_t n = 32; n < 100000; n += 32) {
        memset(sl_arena_alloc(&a, 32), 1, 32);
        assert_in_range(sl_arena_held(&a), n, n + n / 20 + (n < 4096 ? n + 300 : 4096));
    }
    sl_arena_fini(&a);
    assert_int_equal(sl_arena_held(&a), 0);
    sl_arena_init_small(&a, 200);
    (void)sl_arena_alloc(&a, 1000);
    assert_in_range(sl_arena_held(&a), 1001, 1100);
    sl_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(large_piece_keeps_the_room_of_the_head),
        cmocka_unit_test(text_is_copied),
        cmocka_unit_test(formats_any_length),
        cmocka_unit_test(can_be_used_again),
        cmocka_unit_test(a_small_one_begins_small_and_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
