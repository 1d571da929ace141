/* test_metric.c -- metrics as a scraper sees them, and under threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/metric.h"

static bool is_written(const char *line)
{
    struct sl_buf out = { 0 };

    sl_metric_write(&out);
    sl_buf_add_char(&out, '\0');
    bool is_in = strstr(sl_buf_str(&out).p, line) != NULL;

    sl_buf_fini(&out);
    return is_in;
}

static void counter_without_labels(void **state)
{
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_COUNTER, "t_plain_total", "Plain things.", "");
    struct sl_metric *m = sl_metric_child(f, NULL);

    (void)state;
    sl_metric_add(m, 2);
    sl_metric_add(m, 3);
    assert_int_equal(sl_metric_value(m), 5);
    assert_true(is_written("# HELP t_plain_total Plain things.\n"
                           "# TYPE t_plain_total counter\n"
                           "t_plain_total 5\n"));
    assert_ptr_equal(f, sl_metric_family(SL_METRIC_COUNTER, "t_plain_total", "Plain things.", ""));
    assert_ptr_equal(m, sl_metric_child(f, NULL));
}

static void gauge_with_labels(void **state)
{
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_GAUGE, "t_gauge", "G.", "side,state");
    struct sl_metric *m = sl_metric_child(f, (const char *const[]){ "client", "open" });
    struct sl_metric *odd = sl_metric_child(f, (const char *const[]){ "a\"b\\c\nd", "" });

    (void)state;
    sl_metric_set(m, 7);
    sl_metric_add(m, -9);
    sl_metric_set(odd, 1);
    assert_ptr_equal(m, sl_metric_child(f, (const char *const[]){ "client", "open" }));
    assert_ptr_not_equal(m, sl_metric_child(f, (const char *const[]){ "open", "client" }));
    assert_true(is_written("t_gauge{side=\"client\",state=\"open\"} -2\n"
                           "t_gauge{side=\"a\\\"b\\\\c\\nd\",state=\"\"} 1\n"
                           "t_gauge{side=\"open\",state=\"client\"} 0\n"));
}

static void histogram_in_seconds(void **state)
{
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_HISTOGRAM, "t_seconds", "Time.", "check");
    struct sl_metric *m = sl_metric_child(f, (const char *const[]){ "x" });

    (void)state;
    sl_metric_observe_us(m, 0);
    sl_metric_observe_us(m, 50);
    sl_metric_observe_us(m, 51);
    sl_metric_observe_us(m, 60000000);
    sl_metric_observe_us(m, 60000001);
    assert_int_equal(sl_metric_value(m), 5);
    assert_true(is_written("# TYPE t_seconds histogram\n"
                           "t_seconds_bucket{check=\"x\",le=\"0.00005\"} 2\n"
                           "t_seconds_bucket{check=\"x\",le=\"0.0001\"} 3\n"));
    assert_true(is_written("t_seconds_bucket{check=\"x\",le=\"25\"} 3\n"
                           "t_seconds_bucket{check=\"x\",le=\"60\"} 4\n"
                           "t_seconds_bucket{check=\"x\",le=\"+Inf\"} 5\n"
                           "t_seconds_sum{check=\"x\"} 120.000102\n"
                           "t_seconds_count{check=\"x\"} 5\n"));
}

static void histogram_without_labels(void **state)
{
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_HISTOGRAM, "t_bare", "Time.", "");

    (void)state;
    sl_metric_observe_us(sl_metric_child(f, NULL), 1000);
    assert_true(is_written("t_bare_bucket{le=\"0.0005\"} 0\n"
                           "t_bare_bucket{le=\"0.001\"} 1\n"));
    assert_true(is_written("t_bare_sum 0.001000\nt_bare_count 1\n"));
}

static void children_are_bounded(void **state)
{
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_COUNTER, "t_many_total", "Many.", "n");
    struct sl_metric *last = NULL;

    (void)state;
    for (int i = 0; i < SL_METRIC_MAX_CHILDREN * 2; i++) {
        char value[16];

        snprintf(value, sizeof(value), "%d", i);
        last = sl_metric_child(f, (const char *const[]){ value });
        sl_metric_add(last, 1);
    }
    assert_int_equal(sl_metric_value(last), SL_METRIC_MAX_CHILDREN + 1);
    assert_true(is_written("t_many_total{n=\"1022\"} 1\nt_many_total{n=\"other\"} 1025\n"));
    assert_false(is_written("t_many_total{n=\"1023\"}"));
}

static void *count_in_a_thread(void *arg)
{
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_COUNTER, "t_mt_total", "M.", "k");

    for (int i = 0; i < 10000; i++) {
        const char *value = i % 2 == 0 ? "even" : "odd";
        struct sl_metric *m = i < 100 ? sl_metric_child(f, &value) : arg;

        sl_metric_add(m, 1);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_COUNTER, "t_mt_total", "M.", "k");
    struct sl_metric *rest = sl_metric_child(f, (const char *const[]){ "rest" });
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < SL_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_a_thread, rest), 0);
    for (size_t i = 0; i < SL_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(sl_metric_value(rest), 4 * 9900);
    assert_true(is_written("t_mt_total{k=\"even\"} 200\n"));
    assert_true(is_written("t_mt_total{k=\"odd\"} 200\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_without_labels), cmocka_unit_test(gauge_with_labels),
        cmocka_unit_test(histogram_in_seconds),   cmocka_unit_test(histogram_without_labels),
        cmocka_unit_test(children_are_bounded),   cmocka_unit_test(threads_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
