/* test_buf.c -- the byte queue against a plain model, and the chunk free list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/poison.h"

static void zeroed_is_empty(void **state)
{
    struct sl_buf b = { 0 };

    (void)state;
    assert_int_equal(sl_buf_str(&b).n, 0);
    sl_buf_add(&b, NULL, 0);
    sl_buf_consume(&b, 0);
    sl_buf_reset(&b);
    assert_non_null(sl_buf_reserve(&b, 0));
    sl_buf_fini(&b);
    sl_buf_fini(&b);
    assert_null(b.p);
}

/* Bytes come out in the order they went in, whatever the pattern of adds and consumes. */
static void is_a_queue(void **state)
{
    struct sl_buf b = { 0 };
    size_t in = 0, out = 0;

    (void)state;
    for (size_t step = 0; step < 3000; step++) {
        size_t n = step * 7919 % 301;

        for (size_t i = 0; i < n; i++)
            sl_buf_add_char(&b, (char)(in++ % 251));
        struct sl_str s = sl_buf_str(&b);

        assert_int_equal(s.n, in - out);
        n = step * 104729 % (s.n + 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal((unsigned char)s.p[i], out++ % 251);
        sl_buf_consume(&b, n);
    }
    assert_true(b.cap <= 65536);
    sl_buf_fini(&b);
}

static void steady_flow_needs_no_growth(void **state)
{
    struct sl_buf b = { 0 };
    char block[100] = { 0 };

    (void)state;
    sl_buf_add(&b, block, 30);
    for (int i = 0; i < 10000; i++) {
        sl_buf_add(&b, block, sizeof(block));
        sl_buf_consume(&b, sizeof(block));
    }
    assert_int_equal(b.len, 30);
    assert_int_equal(b.cap, 256);
    sl_buf_fini(&b);
}

static void reserve_then_commit(void **state)
{
    struct sl_buf b = { 0 };

    (void)state;
    sl_buf_add_str(&b, SL_STR("head "));
    memcpy(sl_buf_reserve(&b, 5000), "tail", 4);
    sl_buf_commit(&b, 4);
    assert_true(sl_str_eq(sl_buf_str(&b), SL_STR("head tail")));
    sl_buf_consume(&b, 5);
    memset(sl_buf_reserve(&b, 20000), 'x', 20000);
    sl_buf_commit(&b, 20000);
    assert_true(sl_str_has_prefix(sl_buf_str(&b), SL_STR("tailxxx")));
    assert_int_equal(b.len, 20004);
    sl_buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap >= 20004);
    sl_buf_fini(&b);
}

static void formats_any_length(void **state)
{
    (void)state;
    for (int n = 0; n < 3000; n = n < 140 ? n + 1 : n * 2) {
        struct sl_buf b = { 0 };

        sl_buf_addf(&b, "<%*s>", n, "");
        sl_buf_addf(&b, "%d", 7);
        struct sl_str s = sl_buf_str(&b);

        assert_int_equal(s.n, n + 3);
        assert_true(sl_str_has_suffix(s, SL_STR(">7")));
        sl_buf_fini(&b);
    }
}

static void chunks_are_reused(void **state)
{
    char *all[100];

    (void)state;
    for (size_t i = 0; i < SL_LEN(all); i++) {
        all[i] = sl_chunk_get();
        memset(all[i], (int)i, SL_CHUNK_SIZE);
    }
    for (size_t i = 0; i < SL_LEN(all); i++)
        sl_chunk_put(all[i]);
    sl_chunk_put(NULL);
    char *first = sl_chunk_get(), *second = sl_chunk_get();

    assert_ptr_equal(first, all[63]);
    assert_ptr_equal(second, all[62]);
    sl_chunk_put(first);
    sl_chunk_put(second);
    sl_chunk_drain();
    sl_chunk_drain();
}

/* Nobody finds the bytes of another, and who reads what is no longer his is caught. */
/* threat: recycled-buffers */
static void spare_chunks_are_poisoned(void **state)
{
    (void)state;
#ifndef SL_HAS_POISON
    skip();
#else
    char *chunk = sl_chunk_get(), *again;

    memset(chunk, 's', SL_CHUNK_SIZE);
    sl_chunk_put(chunk);
    assert_true(__asan_address_is_poisoned(chunk + sizeof(char *)));
    assert_true(__asan_address_is_poisoned(chunk + SL_CHUNK_SIZE - 1));
    again = sl_chunk_get();
    assert_ptr_equal(again, chunk);
    assert_null(memchr(again, 's', SL_CHUNK_SIZE));
    sl_chunk_put(again);
    sl_chunk_drain();
#endif
}

static void test_numbers(void **state)
{
    static const struct {
        uint64_t n;
        const char *text;
    } rows[] = { { 0, "0" }, { 9, "9" }, { 10, "10" }, { UINT64_MAX, "18446744073709551615" } };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_buf b = { 0 };

        sl_buf_add_u64(&b, rows[i].n);
        assert_true(sl_str_eq(sl_buf_str(&b), sl_str_of(rows[i].text)));
        sl_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),        cmocka_unit_test(zeroed_is_empty),
        cmocka_unit_test(is_a_queue),          cmocka_unit_test(steady_flow_needs_no_growth),
        cmocka_unit_test(reserve_then_commit), cmocka_unit_test(formats_any_length),
        cmocka_unit_test(chunks_are_reused),   cmocka_unit_test(spare_chunks_are_poisoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
