/* test_log.c -- the error log as read from a pipe in place of stderr: written at once, and by a
 * thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/str.h"

static char line[16384];
static int saved_stderr;

/* From here on stderr is a pipe; the end to read it from. */
static int catch_stderr(void)
{
    int ends[2];

    saved_stderr = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static void restore_stderr(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

/* What one call writes. */
static const char *logged(enum sl_log_level level, const char *text)
{
    int reader = catch_stderr();

    sl_log(level, "%s", text);
    restore_stderr();
    ssize_t n = read(reader, line, sizeof(line) - 1);

    close(reader);
    assert_true(n >= 0);
    line[n] = '\0';
    return line;
}

static void text_lines(void **state)
{
    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_DEBUG });
    assert_string_equal(logged(SL_LOG_INFO, "ready"), "sluice: ready\n");
    assert_string_equal(logged(SL_LOG_ERROR, "x"), "sluice: error: x\n");
    assert_string_equal(logged(SL_LOG_WARN, "x"), "sluice: warn: x\n");
    assert_string_equal(logged(SL_LOG_DEBUG, "x"), "sluice: debug: x\n");
    assert_string_equal(logged(SL_LOG_INFO, "a\nsluice: b\x1b[1m"),
                        "sluice: a\\x0asluice: b\\x1b[1m\n");
}

static void levels_are_a_threshold(void **state)
{
    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_WARN });
    assert_true(sl_log_is_on(SL_LOG_ERROR));
    assert_true(sl_log_is_on(SL_LOG_WARN));
    assert_false(sl_log_is_on(SL_LOG_INFO));
    assert_string_equal(logged(SL_LOG_INFO, "x"), "");
    assert_string_equal(logged(SL_LOG_WARN, "x"), "sluice: warn: x\n");
}

static void json_lines(void **state)
{
    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_INFO, .json = true });
    const char *got = logged(SL_LOG_WARN, "say \"hi\"\n");

    assert_memory_equal(got, "{\"ts\":\"2", 8);
    assert_true(sl_str_has_suffix(
        sl_str_of(got), SL_STR("Z\",\"level\":\"warn\",\"msg\":\"say \\\"hi\\\"\\n\"}\n")));
}

static void long_lines_are_cut(void **state)
{
    static char text[5000];

    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_INFO });
    memset(text, 'x', sizeof(text) - 1);
    struct sl_str got = sl_str_of(logged(SL_LOG_INFO, text));

    assert_int_equal(got.n, strlen("sluice: ") + 2047 + 1);
    assert_true(sl_str_has_suffix(got, SL_STR("xxx...\n")));
}

static void errno_survives(void **state)
{
    (void)state;
    errno = ENOENT;
    sl_log(SL_LOG_DEBUG, "dropped");
    assert_int_equal(errno, ENOENT);
}

/* -- written by a thread -- */

static void *read_all(void *arg)
{
    int reader = *(int *)arg;
    struct sl_buf *all = sl_zalloc(sizeof(*all));
    ssize_t n;

    while ((n = read(reader, sl_buf_reserve(all, 65536), 65536)) > 0)
        sl_buf_commit(all, (size_t)n);
    sl_buf_add_char(all, '\0');
    return all;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

static void queued_lines_come_in_order(void **state)
{
    int reader = catch_stderr();

    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_INFO });
    sl_log(SL_LOG_INFO, "one");
    sl_log_start();
    sl_log(SL_LOG_WARN, "two");
    sl_log_put(SL_STR("three\n"));
    sl_log_stop();
    sl_log(SL_LOG_INFO, "four");
    restore_stderr();
    struct sl_buf *all = read_all(&reader);

    assert_string_equal(all->p, "sluice: one\nsluice: warn: two\nthree\nsluice: four\n");
    sl_buf_fini(all);
    sl_free(all);
    close(reader);
}

static void a_stderr_nobody_reads_holds_up_nobody(void **state)
{
    const int64_t before = sl_metric_value(sl_log_dropped("error"));
    int64_t n_lost = 0;
    size_t n = 0;
    int reader = catch_stderr();
    pthread_t thread;
    void *got;

    (void)state;
    sl_log_start();
    for (; n_lost == 0; n++) {
        sl_log(SL_LOG_ERROR, "x%01000d", 0);
        n_lost = sl_metric_value(sl_log_dropped("error")) - before;
    }
    assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
    sl_log_stop();
    restore_stderr();
    pthread_join(thread, &got);
    struct sl_buf *all = got;

    assert_int_equal(count(all->p, "sluice: error: x"), n - 1);
    assert_int_equal(count(all->p, "sluice: warn: stderr: takes lines again, lines lost: 1\n"), 1);
    sl_buf_fini(all);
    sl_free(all);
    close(reader);
}

/* The thread stays behind in its write, and the pipe's end is left open with it. */
static void the_end_does_not_wait_for_a_reader(void **state)
{
    int reader = catch_stderr();
    char full[4096] = { 0 };

    (void)state;
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    while (write(STDERR_FILENO, full, sizeof(full)) > 0)
        ;
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, 0), 0);
    sl_log_start();
    sl_log(SL_LOG_ERROR, "x");
    sl_log_stop();
    sl_log(SL_LOG_ERROR, "y");
    restore_stderr();
    assert_true(reader >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),
        cmocka_unit_test(levels_are_a_threshold),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(errno_survives),
        cmocka_unit_test(queued_lines_come_in_order),
        cmocka_unit_test(a_stderr_nobody_reads_holds_up_nobody),
        cmocka_unit_test(the_end_does_not_wait_for_a_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
