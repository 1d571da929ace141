/* test_state.c -- a small life: its steps, its gauges, and the abort on a forbidden transition. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/metric.h"
#include "base/state.h"

enum { ST_NEW, ST_WAIT, ST_DONE, N_ST };

struct life {
    uint8_t state;
    int n_steps;
    bool is_ready;
};

static struct sl_metric *gauges[N_ST];
static void st_new(void *self);
static void st_wait(void *self);

static const struct sl_state_row rows[N_ST] = {
    [ST_NEW] = { "new", SL_TO(ST_WAIT), st_new },
    [ST_WAIT] = { "wait", SL_TO(ST_DONE), st_wait },
    [ST_DONE] = { "done", 0, NULL },
};
static const struct sl_state_table table = {
    .machine = "test_life", .rows = rows, .n_rows = N_ST, .gauges = gauges
};
static const struct sl_state_table uncounted = { .machine = "u", .rows = rows, .n_rows = N_ST };

static void st_new(void *self)
{
    struct life *l = self;

    l->n_steps++;
    sl_state_go(&table, &l->state, ST_WAIT);
}

static void st_wait(void *self)
{
    struct life *l = self;

    l->n_steps++;
    if (l->is_ready)
        sl_state_go(&table, &l->state, ST_DONE);
}

static void check_gauges(int64_t n_new, int64_t n_wait, int64_t n_done)
{
    assert_int_equal(sl_metric_value(gauges[ST_NEW]), n_new);
    assert_int_equal(sl_metric_value(gauges[ST_WAIT]), n_wait);
    assert_int_equal(sl_metric_value(gauges[ST_DONE]), n_done);
}

static void runs_until_nothing_moves(void **state)
{
    struct life l = { .state = 9 };

    (void)state;
    sl_state_begin(&table, &l.state);
    check_gauges(1, 0, 0);
    sl_state_run(&table, &l.state, &l);
    assert_int_equal(l.state, ST_WAIT);
    assert_int_equal(l.n_steps, 2);
    check_gauges(0, 1, 0);
    sl_state_run(&table, &l.state, &l);
    assert_int_equal(l.n_steps, 3);
    l.is_ready = true;
    sl_state_run(&table, &l.state, &l);
    assert_int_equal(l.state, ST_DONE);
    check_gauges(0, 0, 1);
    sl_state_run(&table, &l.state, &l);
    assert_int_equal(l.n_steps, 4);
    sl_state_end(&table, &l.state);
    check_gauges(0, 0, 0);
}

static void ends_anywhere(void **state)
{
    struct life l = { 0 };

    (void)state;
    sl_state_begin(&table, &l.state);
    sl_state_go(&table, &l.state, ST_WAIT);
    sl_state_end(&table, &l.state);
    check_gauges(0, 0, 0);
}

static void gauges_are_exported(void **state)
{
    struct sl_buf out = { 0 };

    (void)state;
    sl_metric_write(&out);
    sl_buf_add_char(&out, '\0');
    assert_non_null(strstr(sl_buf_str(&out).p, "sluice_test_lifes{state=\"new\"} 0\n"
                                               "sluice_test_lifes{state=\"wait\"} 0\n"
                                               "sluice_test_lifes{state=\"done\"} 0\n"));
    sl_buf_fini(&out);
}

static void works_without_gauges(void **state)
{
    uint8_t s;

    (void)state;
    sl_state_register(&uncounted);
    sl_state_begin(&uncounted, &s);
    sl_state_go(&uncounted, &s, ST_WAIT);
    sl_state_end(&uncounted, &s);
    assert_int_equal(s, ST_WAIT);
}

static bool aborts(uint8_t from, uint8_t to)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        sl_state_go(&table, &from, to);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void forbidden_transitions_abort(void **state)
{
    (void)state;
    assert_false(aborts(ST_NEW, ST_WAIT));
    assert_true(aborts(ST_NEW, ST_DONE));
    assert_true(aborts(ST_NEW, ST_NEW));
    assert_true(aborts(ST_DONE, ST_NEW));
    assert_true(aborts(ST_NEW, N_ST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_until_nothing_moves),    cmocka_unit_test(ends_anywhere),
        cmocka_unit_test(gauges_are_exported),         cmocka_unit_test(works_without_gauges),
        cmocka_unit_test(forbidden_transitions_abort),
    };

    sl_state_register(&table);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
