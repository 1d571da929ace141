/* test_latch.c -- open before and during the wait, and never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/clock.h"
#include "base/latch.h"
#include "base/mem.h"

static void test_open_it_does_not_hold_up(void **state)
{
    struct sl_latch l;

    (void)state;
    sl_latch_init(&l);
    sl_latch_open(&l);
    assert_true(sl_latch_wait(&l, 0));
    assert_true(sl_latch_wait(&l, UINT32_MAX));
    sl_latch_fini(&l);
}

static void test_closed_it_holds_up_so_long(void **state)
{
    struct sl_latch l;
    uint64_t start_us = sl_mono_us();

    (void)state;
    sl_latch_init(&l);
    assert_false(sl_latch_wait(&l, 0));
    assert_false(sl_latch_wait(&l, 30));
    assert_true(sl_mono_us() - start_us >= 30000);
    sl_latch_fini(&l);
}

static void *open_it(void *arg)
{
    sl_latch_open(arg);
    return NULL;
}

static void test_another_thread_opens_it(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct sl_latch l;
        pthread_t opener;

        sl_latch_init(&l);
        assert_int_equal(pthread_create(&opener, NULL, open_it, &l), 0);
        assert_true(sl_latch_wait(&l, 10000));
        assert_int_equal(pthread_join(opener, NULL), 0);
        sl_latch_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_it_does_not_hold_up),
        cmocka_unit_test(test_closed_it_holds_up_so_long),
        cmocka_unit_test(test_another_thread_opens_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
