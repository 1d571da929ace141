/* log.c -- the configuration is two independent atomics; a line lives on the stack and in a buf of
 * its own, so no lock is needed.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"

#define TEXT_SIZE 2048

static const char *const level_names[] = {
    [SL_LOG_ERROR] = "error",
    [SL_LOG_WARN] = "warn",
    [SL_LOG_INFO] = "info",
    [SL_LOG_DEBUG] = "debug",
};

static _Atomic(enum sl_log_level) max_level = SL_LOG_INFO;
static atomic_bool is_json;

void sl_log_configure(const struct sl_log_conf *conf)
{
    atomic_store_explicit(&max_level, conf->level, memory_order_relaxed);
    atomic_store_explicit(&is_json, conf->json, memory_order_relaxed);
}

bool sl_log_is_on(enum sl_log_level level)
{
    return level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

/* Printable ASCII only: the reader is a terminal as often as not. */
static void add_line(struct sl_buf *line, enum sl_log_level level, struct sl_str text)
{
    sl_buf_add_str(line, SL_STR("sluice: "));
    if (level != SL_LOG_INFO)
        sl_buf_addf(line, "%s: ", level_names[level]);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] >= ' ' && text.p[i] < 0x7f)
            sl_buf_add_char(line, text.p[i]);
        else
            sl_buf_addf(line, "\\x%02x", (unsigned)(unsigned char)text.p[i]);
    }
}

static void add_json_line(struct sl_buf *line, enum sl_log_level level, struct sl_str text)
{
    char ts[28];

    sl_clock_iso8601(sl_clock_us(), ts);
    sl_buf_addf(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":", ts, level_names[level]);
    sl_add_json(line, text);
    sl_buf_add_char(line, '}');
}

static void write_line(enum sl_log_level level, struct sl_str text)
{
    struct sl_buf line = { 0 };

    if (atomic_load_explicit(&is_json, memory_order_relaxed))
        add_json_line(&line, level, text);
    else
        add_line(&line, level, text);
    sl_buf_add_char(&line, '\n');
    /* Nowhere to complain about a stderr that takes nothing. */
    ssize_t written = write(STDERR_FILENO, line.p, line.len);

    (void)written;
    sl_buf_fini(&line);
}

void sl_log(enum sl_log_level level, const char *fmt, ...)
{
    int saved_errno = errno;
    char text[TEXT_SIZE];
    va_list ap;

    if (!sl_log_is_on(level))
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n >= TEXT_SIZE)
        memcpy(text + TEXT_SIZE - 4, "...", 4);
    if (n >= 0)
        write_line(level, sl_str_of(text));
    errno = saved_errno;
}
