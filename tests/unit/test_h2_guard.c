/* test_h2_guard.c -- what a peer may cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "base/mem.h"
#include "http/h2_guard.h"

#define NOW 1000000u

/* How many frames of a type pass at one moment. */
static unsigned run(struct sl_h2_guard *g, uint64_t now, uint8_t type)
{
    unsigned n = 0;

    while (n < 100000 && sl_h2_guard_frame(g, now, type))
        n++;
    return n;
}

/* threat: resource-floods */
static void floods_end(void **state)
{
    static const struct {
        uint8_t type;
        unsigned passes;
    } rows[] = {
        { NGHTTP2_PING, SL_H2_GUARD_BURST },
        { NGHTTP2_PRIORITY, SL_H2_GUARD_BURST },
        { NGHTTP2_WINDOW_UPDATE, SL_H2_GUARD_BURST },
        { NGHTTP2_RST_STREAM, SL_H2_GUARD_BURST / 2 },
        { NGHTTP2_SETTINGS, SL_H2_GUARD_BURST / 4 },
        { 0x2a, SL_H2_GUARD_BURST },
        { 0xff, SL_H2_GUARD_BURST },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_h2_guard g = { 0 };

        assert_int_equal(run(&g, NOW, rows[i].type), rows[i].passes);
    }
}

static void empty_data_is_paid_for(void **state)
{
    struct sl_h2_guard g = { 0 };
    unsigned n = 0;

    (void)state;
    while (n < 100000 && sl_h2_guard_waste(&g, NOW))
        n++;
    assert_int_equal(n, SL_H2_GUARD_BURST);
}

static void what_comes_late_is_paid_for(void **state)
{
    static const struct {
        size_t bytes;
        unsigned passes;
    } rows[] = {
        { 0, SL_H2_GUARD_BURST },
        { SL_H2_GUARD_WORTHY - 1, SL_H2_GUARD_BURST },
        { SL_H2_GUARD_WORTHY, 4 * SL_H2_GUARD_BURST },
        { 16384, 4 * SL_H2_GUARD_BURST },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_h2_guard g = { 0 };
        unsigned n = 0;

        while (n < 100000 && sl_h2_guard_late(&g, NOW, rows[i].bytes))
            n++;
        assert_int_equal(n, rows[i].passes);
    }
}

static void content_and_heads_are_free(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    assert_int_equal(run(&g, NOW, NGHTTP2_DATA), 100000);
    assert_int_equal(run(&g, NOW, NGHTTP2_HEADERS), 100000);
}

static void time_gives_back(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    run(&g, NOW, NGHTTP2_PING);
    assert_in_range(run(&g, NOW + 2000, NGHTTP2_PING), 2 * SL_H2_GUARD_PER_SECOND - 2,
                    2 * SL_H2_GUARD_PER_SECOND);
    assert_int_equal(run(&g, NOW + 3600000, NGHTTP2_PING), SL_H2_GUARD_BURST);
}

/* Small steps of the clock must not round the refill away. */
static void time_gives_back_in_small_steps(void **state)
{
    const unsigned interval = 1000 / SL_H2_GUARD_PER_SECOND;
    struct sl_h2_guard g = { 0 };

    (void)state;
    for (unsigned i = 0; i < SL_H2_GUARD_BURST; i++)
        assert_true(sl_h2_guard_frame(&g, NOW, NGHTTP2_PING));
    for (unsigned ms = 1; ms <= 1000; ms++) {
        assert_true(sl_h2_guard_frame(&g, NOW + ms, NGHTTP2_DATA));
        assert_true(ms % interval != 0 || sl_h2_guard_frame(&g, NOW + ms, NGHTTP2_PING));
    }
    assert_false(sl_h2_guard_frame(&g, NOW + 1000, NGHTTP2_PING));
}

/* A download that is acknowledged frame by frame, twice, goes on for ever. */
static void work_pays(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        sl_h2_guard_expect(&g, SL_H2_GUARD_EARNED);
        assert_true(sl_h2_guard_frame(&g, NOW, NGHTTP2_WINDOW_UPDATE));
        assert_true(sl_h2_guard_frame(&g, NOW, NGHTTP2_WINDOW_UPDATE));
    }
}

/* So does one whose reader acknowledges a whole window when all of it is there. */
static void answers_wait_for_a_slow_reader(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        sl_h2_guard_expect(&g, SL_H2_GUARD_EARNED);
    assert_int_equal(run(&g, NOW, NGHTTP2_WINDOW_UPDATE), 20000 + SL_H2_GUARD_BURST);
}

static void answers_buy_nothing_else(void **state)
{
    static const uint8_t types[] = { NGHTTP2_RST_STREAM, NGHTTP2_SETTINGS, NGHTTP2_PRIORITY };

    (void)state;
    for (size_t i = 0; i < SL_LEN(types); i++) {
        struct sl_h2_guard g = { 0 };

        sl_h2_guard_expect(&g, 10000);
        assert_in_range(run(&g, NOW, types[i]), 1, SL_H2_GUARD_BURST);
    }
}

/* However much was earned, what is saved is one burst. */
static void savings_are_bounded(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        sl_h2_guard_earn(&g, SL_H2_GUARD_EARNED);
    assert_int_equal(run(&g, NOW, NGHTTP2_PING), SL_H2_GUARD_BURST);
}

static void answers_are_bounded(void **state)
{
    struct sl_h2_guard g = { 0 };

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        sl_h2_guard_expect(&g, SL_H2_GUARD_EARNED);
    assert_int_equal(run(&g, NOW, NGHTTP2_PING), SL_H2_GUARD_ANSWERS + SL_H2_GUARD_BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_end),
        cmocka_unit_test(empty_data_is_paid_for),
        cmocka_unit_test(what_comes_late_is_paid_for),
        cmocka_unit_test(content_and_heads_are_free),
        cmocka_unit_test(time_gives_back),
        cmocka_unit_test(time_gives_back_in_small_steps),
        cmocka_unit_test(work_pays),
        cmocka_unit_test(answers_wait_for_a_slow_reader),
        cmocka_unit_test(answers_buy_nothing_else),
        cmocka_unit_test(savings_are_bounded),
        cmocka_unit_test(answers_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
