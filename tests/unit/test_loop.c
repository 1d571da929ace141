/* test_loop.c -- timers, tasks, frees, watches, signals and work on real and simulated loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"

/* What ran, in order, one letter each. */
static char trace[64];
static size_t n_trace;

struct mark {
    struct sl_timer timer;
    struct sl_task task;
    char letter;
};

static void note(char letter)
{
    if (n_trace + 1 < sizeof(trace))
        trace[n_trace++] = letter;
}

static void on_mark(void *arg)
{
    note(((struct mark *)arg)->letter);
}

static struct mark mark_of(char letter)
{
    return (struct mark){ .letter = letter, .task.fn = on_mark };
}

static int reset(void **state)
{
    (void)state;
    memset(trace, 0, sizeof(trace));
    n_trace = 0;
    return 0;
}

static void timers_fire_in_order(void **state)
{
    static const struct {
        uint64_t ms[4];
        const char *order;
    } rows[] = {
        { { 1, 2, 3, 4 }, "abcd" }, { { 4, 3, 2, 1 }, "dcba" }, { { 5, 5, 5, 5 }, "abcd" },
        { { 9, 0, 9, 0 }, "bdac" }, { { 0, 7, 3, 7 }, "acbd" },
    };

    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_loop *loop = sl_loop_new_sim();
        struct mark m[4];

        reset(state);
        for (size_t k = 0; k < 4; k++) {
            m[k] = mark_of((char)('a' + k));
            sl_timer_start(loop, &m[k].timer, rows[i].ms[k], on_mark, &m[k]);
        }
        sl_loop_advance(loop, 10);
        assert_string_equal(trace, rows[i].order);
        assert_int_equal(sl_loop_now_ms(loop), 1000010);
        assert_false(sl_timer_is_armed(&m[0].timer));
        sl_loop_free(&loop);
    }
}

static void timers_stop_and_move(void **state)
{
    struct sl_loop *loop = sl_loop_new_sim();
    struct mark a = mark_of('a'), b = mark_of('b'), c = mark_of('c');

    (void)state;
    sl_timer_start(loop, &a.timer, 10, on_mark, &a);
    sl_timer_start(loop, &b.timer, 20, on_mark, &b);
    sl_timer_start(loop, &c.timer, 30, on_mark, &c);
    sl_timer_stop(&b.timer);
    sl_timer_stop(&b.timer);
    sl_timer_start(loop, &a.timer, 40, on_mark, &a);
    sl_loop_advance(loop, 29);
    assert_string_equal(trace, "");
    sl_loop_advance(loop, 1);
    assert_string_equal(trace, "c");
    sl_loop_advance(loop, 10);
    assert_string_equal(trace, "ca");
    sl_loop_free(&loop);
}

#define MANY 500

static uint64_t last_due;
static size_t n_fired;

static void on_many(void *arg)
{
    const struct sl_timer *t = arg;

    assert_true(t->due_ms >= last_due);
    last_due = t->due_ms;
    n_fired++;
}

static void many_timers_come_and_go(void **state)
{
    static struct sl_timer t[MANY];
    struct sl_loop *loop = sl_loop_new_sim();
    uint32_t x = 12345;

    (void)state;
    memset(t, 0, sizeof(t));
    last_due = n_fired = 0;
    for (size_t i = 0; i < (size_t)4 * MANY; i++) {
        x = x * 1664525u + 1013904223u;
        sl_timer_start(loop, &t[(x >> 8) % MANY], x >> 20, on_many, &t[(x >> 8) % MANY]);
        sl_timer_stop(&t[(x >> 3) % MANY]);
    }
    size_t n_armed = 0;
    for (size_t i = 0; i < MANY; i++)
        n_armed += sl_timer_is_armed(&t[i]) ? 1 : 0;
    assert_true(n_armed > 0);
    sl_loop_advance(loop, 5000);
    assert_int_equal(n_fired, n_armed);
    sl_loop_free(&loop);
}

static void real_timer_fires_after_an_earlier_one_was_stopped(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct mark a = mark_of('a'), b = mark_of('b');
    uint64_t begin = sl_loop_now_ms(loop);

    (void)state;
    sl_timer_start(loop, &a.timer, 2, on_mark, &a);
    sl_timer_start(loop, &b.timer, 6, on_mark, &b);
    sl_timer_stop(&a.timer);
    while (n_trace == 0)
        sl_loop_turn(loop, true);
    assert_string_equal(trace, "b");
    assert_true(sl_loop_now_ms(loop) - begin >= 6);
    sl_loop_free(&loop);
}

static struct sl_loop *the_loop;

static void post_other(void *arg)
{
    struct mark *m = arg;

    note('p');
    sl_task_post(the_loop, &m->task);
}

static void free_noted(void *p)
{
    note('f');
    sl_free(p);
}

static void tasks_run_in_this_turn_and_frees_after(void **state)
{
    struct mark a = mark_of('a'), b = mark_of('b'), c = mark_of('c');
    struct sl_task post = { .fn = post_other, .arg = &c };

    (void)state;
    the_loop = sl_loop_new_sim();
    a.task.arg = &a;
    b.task.arg = &b;
    c.task.arg = &c;
    sl_loop_defer_free(the_loop, sl_alloc(8), free_noted);
    sl_task_post(the_loop, &a.task);
    sl_task_post(the_loop, &post);
    sl_task_post(the_loop, &a.task);
    sl_task_post(the_loop, &b.task);
    sl_task_cancel(the_loop, &b.task);
    sl_task_cancel(the_loop, &b.task);
    sl_loop_turn(the_loop, true);
    assert_string_equal(trace, "apcf");
    sl_task_post(the_loop, &b.task);
    sl_loop_turn(the_loop, false);
    assert_string_equal(trace, "apcfb");
    sl_loop_free(&the_loop);
}

static void next_turn_is_another_turn(void **state)
{
    struct mark a = mark_of('a'), b = mark_of('b'), c = mark_of('c');

    (void)state;
    the_loop = sl_loop_new();
    a.task.arg = &a;
    b.task.arg = &b;
    c.task.arg = &c;
    sl_task_post_next(the_loop, &a.task);
    sl_task_post_next(the_loop, &b.task);
    sl_task_post_next(the_loop, &c.task);
    sl_task_cancel(the_loop, &b.task);
    sl_task_post(the_loop, &c.task);
    sl_loop_turn(the_loop, true);
    assert_string_equal(trace, "ac");
    sl_loop_free(&the_loop);
}

static struct sl_task forever;

static void on_forever(void *arg)
{
    (void)arg;
    sl_task_post(the_loop, &forever);
}

static void endless_tasks_do_not_starve_timers(void **state)
{
    struct mark a = mark_of('a');

    (void)state;
    the_loop = sl_loop_new();
    forever = (struct sl_task){ .fn = on_forever };
    sl_task_post(the_loop, &forever);
    sl_timer_start(the_loop, &a.timer, 1, on_mark, &a);
    while (n_trace == 0)
        sl_loop_turn(the_loop, true);
    sl_task_cancel(the_loop, &forever);
    sl_loop_free(&the_loop);
}

struct probe {
    struct sl_watch *watch;
    unsigned seen;
    int n_calls;
    bool is_ending; /* the callback frees the watch */
};

static void on_probe(void *arg, unsigned events)
{
    struct probe *p = arg;

    p->seen |= events;
    p->n_calls++;
    if (p->is_ending)
        sl_watch_free(&p->watch);
}

static void turn_some(struct sl_loop *loop)
{
    for (int i = 0; i < 4; i++)
        sl_loop_turn(loop, false);
}

static void watch_reports_only_what_is_wanted(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct probe p = { 0 };
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    p.watch = sl_watch_new(loop, fd[0], on_probe, &p);
    turn_some(loop);
    assert_int_equal(p.seen, 0);
    sl_watch_want(p.watch, SL_READABLE);
    turn_some(loop);
    assert_int_equal(p.seen, 0);
    sl_watch_want(p.watch, SL_READABLE | SL_WRITABLE);
    sl_loop_turn(loop, true);
    assert_int_equal(p.seen, SL_WRITABLE);
    assert_int_equal(write(fd[1], "x", 1), 1);
    sl_watch_want(p.watch, SL_READABLE);
    p.seen = 0;
    turn_some(loop);
    assert_int_equal(p.seen, SL_READABLE);
    sl_watch_want(p.watch, 0);
    p = (struct probe){ .watch = p.watch };
    turn_some(loop);
    assert_int_equal(p.n_calls, 0);
    sl_watch_want(p.watch, SL_READABLE);
    sl_loop_turn(loop, true);
    assert_int_equal(p.n_calls, 1);
    sl_watch_free(&p.watch);
    close(fd[0]);
    close(fd[1]);
    sl_loop_free(&loop);
}

/* As it is with any descriptor when the user's limit of watches is reached. */
static void what_the_kernel_will_not_watch(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_watch *none;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    (void)state;
    none = sl_watch_new(loop, fd, on_probe, NULL);
    assert_null(none);
    assert_int_equal(errno, EPERM);
    sl_watch_want(none, SL_READABLE);
    sl_watch_free(&none);
    close(fd);
    sl_loop_free(&loop);
}

static void watch_can_end_inside_its_callback(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct probe p = { .is_ending = true };
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    p.watch = sl_watch_new(loop, fd[0], on_probe, &p);
    sl_watch_want(p.watch, SL_READABLE | SL_WRITABLE);
    sl_loop_turn(loop, true);
    assert_null(p.watch);
    close(fd[0]);
    /* The number comes back at once: nothing of the first watch may be left. */
    fd[0] = dup(fd[1]);
    p = (struct probe){ .watch = sl_watch_new(loop, fd[0], on_probe, &p) };
    sl_watch_want(p.watch, SL_WRITABLE);
    sl_loop_turn(loop, true);
    assert_int_equal(p.seen, SL_WRITABLE);
    sl_watch_free(&p.watch);
    close(fd[0]);
    close(fd[1]);
    sl_loop_free(&loop);
}

static void hang_up_is_reported_while_wanted(void **state)
{
    static const unsigned wanted[] = { SL_READABLE, SL_WRITABLE, SL_READABLE | SL_WRITABLE };

    (void)state;
    for (size_t i = 0; i < SL_LEN(wanted); i++) {
        struct sl_loop *loop = sl_loop_new();
        struct probe p = { 0 };
        int fd[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
        p.watch = sl_watch_new(loop, fd[0], on_probe, &p);
        sl_watch_want(p.watch, wanted[i]);
        /* Unread bytes at close make it a reset: an error for epoll. */
        assert_int_equal(write(fd[0], "x", 1), 1);
        close(fd[1]);
        sl_loop_turn(loop, true);
        assert_int_equal(p.seen, wanted[i]);
        sl_loop_turn(loop, true);
        assert_int_equal(p.n_calls, 2);
        sl_watch_want(p.watch, 0);
        turn_some(loop);
        assert_int_equal(p.n_calls, 2);
        sl_watch_free(&p.watch);
        close(fd[0]);
        sl_loop_free(&loop);
    }
}

static void on_signal(void *arg, int signum)
{
    *(int *)arg = signum;
    sl_loop_stop(the_loop);
}

static void signals_arrive_on_the_loop(void **state)
{
    int got = 0;
    struct sl_signal *s;

    (void)state;
    the_loop = sl_loop_new();
    s = sl_signal_new(the_loop, SIGUSR1, on_signal, &got);
    raise(SIGUSR1);
    sl_loop_run(the_loop);
    assert_int_equal(got, SIGUSR1);
    raise(SIGUSR1);
    sl_signal_free(&s);
    sl_loop_free(&the_loop);
}

struct job {
    int n_worked, n_done;
};

static void work(void *arg)
{
    ((struct job *)arg)->n_worked++;
}

static void worked(void *arg)
{
    ((struct job *)arg)->n_done++;
}

static void work_ends_on_the_loop(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct job j = { 0 };

    (void)state;
    assert_non_null(sl_work_start(loop, work, worked, &j));
    while (j.n_done == 0)
        sl_loop_turn(loop, true);
    assert_int_equal(j.n_worked, 1);
    assert_non_null(sl_work_start(loop, work, worked, &j));
    sl_loop_free(&loop);
    assert_int_equal(j.n_done, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(timers_fire_in_order, reset),
        cmocka_unit_test_setup(timers_stop_and_move, reset),
        cmocka_unit_test_setup(many_timers_come_and_go, reset),
        cmocka_unit_test_setup(real_timer_fires_after_an_earlier_one_was_stopped, reset),
        cmocka_unit_test_setup(tasks_run_in_this_turn_and_frees_after, reset),
        cmocka_unit_test_setup(next_turn_is_another_turn, reset),
        cmocka_unit_test_setup(endless_tasks_do_not_starve_timers, reset),
        cmocka_unit_test(watch_reports_only_what_is_wanted),
        cmocka_unit_test(what_the_kernel_will_not_watch),
        cmocka_unit_test(watch_can_end_inside_its_callback),
        cmocka_unit_test(hang_up_is_reported_while_wanted),
        cmocka_unit_test(signals_arrive_on_the_loop),
        cmocka_unit_test(work_ends_on_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
