/* test_log.c -- the error log as read from a pipe in place of stderr. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static char line[16384];

/* What one call writes. */
static const char *logged(enum sl_log_level level, const char *text)
{
    int saved = dup(STDERR_FILENO), ends[2];

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    sl_log(level, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], line, sizeof(line) - 1);

    close(ends[0]);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),     cmocka_unit_test(levels_are_a_threshold),
        cmocka_unit_test(json_lines),     cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(errno_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
