/* test_admission.c -- who may come in, by all there are and by one address. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/admission.h"

static struct sl_addr addr(const char *text)
{
    struct sl_addr a = { 0 };

    assert_true(sl_addr_parse(sl_str_of(text), &a));
    return a;
}

static void limits_hold(void **state)
{
    static const struct {
        const char *from;
        bool leaves;
        enum sl_err err;
    } steps[] = {
        { "10.0.0.1:1", false, SL_OK },
        { "10.0.0.1:2", false, SL_OK },
        { "10.0.0.1:3", false, SL_TOO_MANY }, /* two of one client */
        { "[::ffff:10.0.0.1]:4", false, SL_TOO_MANY },
        { "10.0.0.2:1", false, SL_OK },
        { "unix:/a", false, SL_OK },
        { "unix:/b", false, SL_OK },
        { "[::1]:1", false, SL_TOO_MANY }, /* five in all */
        { "10.0.0.1:1", true, SL_OK },
        { "unix:/b", false, SL_TOO_MANY }, /* unix sockets are one client */
        { "10.0.0.1:9", false, SL_OK },
        { "10.0.0.1:2", true, SL_OK },
        { "10.0.0.1:9", true, SL_OK },
        { "[2001:db8::1]:1", false, SL_OK },
        { "[2001:db8::2]:1", false, SL_OK },
        { "[2001:db8::3]:1", false, SL_TOO_MANY },
    };
    struct sl_admission *a = sl_admission_new(
        &(struct sl_admission_conf){ .connections = 5, .connections_per_client = 2 });

    (void)state;
    for (size_t i = 0; i < SL_LEN(steps); i++) {
        struct sl_addr from = addr(steps[i].from);

        if (steps[i].leaves)
            sl_admission_leave(a, &from);
        else
            assert_int_equal(sl_admission_enter(a, &from), steps[i].err);
    }
    sl_admission_free(&a);
    assert_null(a);
}

static void new_limits_let_those_inside_stay(void **state)
{
    struct sl_admission *a = sl_admission_new(&(struct sl_admission_conf){ 0 });
    struct sl_addr one = addr("10.0.0.1:1"), two = addr("10.0.0.2:1");

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(sl_admission_enter(a, &one), SL_OK);
    sl_admission_configure(
        a, &(struct sl_admission_conf){ .connections = 51, .connections_per_client = 50 });
    assert_int_equal(sl_admission_enter(a, &two), SL_TOO_MANY);
    for (int i = 0; i < 50; i++)
        sl_admission_leave(a, &one);
    assert_int_equal(sl_admission_enter(a, &one), SL_TOO_MANY);
    assert_int_equal(sl_admission_enter(a, &two), SL_OK);
    for (int i = 0; i < 50; i++)
        sl_admission_leave(a, &one);
    assert_int_equal(sl_admission_enter(a, &one), SL_OK);
    sl_admission_free(&a);
}

static void *come_and_go(void *arg)
{
    struct sl_addr from = addr("10.0.0.1:1");

    for (int i = 0; i < 10000; i++)
        if (sl_admission_enter(arg, &from) == SL_OK)
            sl_admission_leave(arg, &from);
    return NULL;
}

static void threads_share_it(void **state)
{
    struct sl_admission *a = sl_admission_new(
        &(struct sl_admission_conf){ .connections = 2, .connections_per_client = 1 });
    struct sl_addr from = addr("10.0.0.1:1");
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < SL_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, a), 0);
    for (size_t i = 0; i < SL_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sl_admission_enter(a, &from), SL_OK);
    assert_int_equal(sl_admission_enter(a, &from), SL_TOO_MANY);
    sl_admission_leave(a, &from);
    sl_admission_free(&a);
}

static void while_closed_nobody_enters(void **state)
{
    struct sl_admission *a = sl_admission_new(&(struct sl_admission_conf){ .connections = 0 });
    struct sl_addr from = addr("10.0.0.1:1");

    (void)state;
    assert_int_equal(sl_admission_enter(a, &from), SL_OK);
    sl_admission_close(a, true);
    assert_true(sl_admission_is_closed(a));
    assert_int_equal(sl_admission_enter(a, &from), SL_LIMIT);
    sl_admission_leave(a, &from);
    sl_admission_close(a, false);
    assert_int_equal(sl_admission_enter(a, &from), SL_OK);
    sl_admission_leave(a, &from);
    sl_admission_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(new_limits_let_those_inside_stay),
        cmocka_unit_test(while_closed_nobody_enters),
        cmocka_unit_test(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
