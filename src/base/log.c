/* log.c -- DIRECT -> QUEUED -> DIRECT, or GONE when stderr did not take the last lines.
 *
 * The configuration is two independent atomics.  The lock guards the mode and, in QUEUED, the life
 * of the writer; a line is made before it is taken.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/log_writer.h"
#include "base/mem.h"
#include "base/metric.h"

#define TEXT_SIZE 2048
#define QUEUE_SIZE ((size_t)1024 * 1024)
#define STOP_MS 1000

enum log_mode { LOG_DIRECT, LOG_QUEUED, LOG_GONE };

static const char *const level_names[] = {
    [SL_LOG_ERROR] = "error",
    [SL_LOG_WARN] = "warn",
    [SL_LOG_INFO] = "info",
    [SL_LOG_DEBUG] = "debug",
};

static _Atomic(enum sl_log_level) max_level = SL_LOG_INFO;
static atomic_bool is_json;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_mode mode;
static struct sl_log_writer *writer; /* QUEUED */

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

void sl_log_put(struct sl_str lines)
{
    ssize_t written;

    pthread_mutex_lock(&lock);
    switch (mode) {
    case LOG_DIRECT:
        /* Nowhere to complain about a stderr that takes nothing. */
        written = write(STDERR_FILENO, lines.p, lines.n);
        (void)written;
        break;
    case LOG_QUEUED:
        sl_log_writer_put(writer, lines);
        break;
    case LOG_GONE:
        break;
    }
    pthread_mutex_unlock(&lock);
}

static void write_line(enum sl_log_level level, struct sl_str text)
{
    struct sl_buf line = { 0 };

    if (atomic_load_explicit(&is_json, memory_order_relaxed))
        add_json_line(&line, level, text);
    else
        add_line(&line, level, text);
    sl_buf_add_char(&line, '\n');
    sl_log_put(sl_buf_str(&line));
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

/* -- the thread that writes -- */

/* That lines are being lost cannot be told here. */
static void on_trouble(int os_errno, uint64_t n_lost)
{
    if (os_errno == 0)
        sl_log(SL_LOG_WARN, "stderr: takes lines again, lines lost: %llu",
               (unsigned long long)n_lost);
}

struct sl_metric *sl_log_dropped(const char *log)
{
    struct sl_metric_family *family =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_log_lines_dropped_total",
                         "Lines of a log that could not be written.", "log");

    return sl_metric_child(family, &log);
}

static void set_mode(enum log_mode m, struct sl_log_writer *w)
{
    pthread_mutex_lock(&lock);
    mode = m;
    writer = w;
    pthread_mutex_unlock(&lock);
}

void sl_log_start(void)
{
    set_mode(LOG_QUEUED,
             sl_log_writer_new(&(struct sl_log_writer_conf){ .fd = STDERR_FILENO,
                                                             .queue_bytes = QUEUE_SIZE,
                                                             .stop_ms = STOP_MS,
                                                             .n_dropped = sl_log_dropped("error"),
                                                             .on_trouble = on_trouble }));
}

void sl_log_stop(void)
{
    struct sl_log_writer *w = writer;

    if (w == NULL)
        return;
    if (sl_log_writer_stop(w)) {
        set_mode(LOG_DIRECT, NULL);
        sl_log_writer_free(&w);
    } else {
        set_mode(LOG_GONE, NULL);
    }
}
