/* memory_watch.c -- a look at /proc/self/statm (proc(5)) ten times a second. */
#include "app/memory_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "proxy/admission.h"

#define PERIOD_MS 100u

/* Resident bytes; 0 when nobody knows. */
static uint64_t measure(int fd)
{
    char text[128];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    struct sl_str rest = sl_str_make(text, n > 0 ? (size_t)n : 0), total, resident;
    uint64_t pages;

    if (!sl_str_next(&rest, ' ', &total) || !sl_str_next(&rest, ' ', &resident) ||
        !sl_str_to_u64(resident, &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void on_time(void *arg);

static void look(struct sl_memory_watch *w)
{
    bool is_over = measure(w->fd) > w->limit;

    if (is_over != w->is_over)
        sl_log(is_over ? SL_LOG_WARN : SL_LOG_INFO, "%s",
               is_over ? "over limits.memory: connections and requests are refused"
                       : "below limits.memory again");
    w->is_over = is_over;
    sl_admission_close(w->admission, is_over);
    sl_timer_start(w->loop, &w->timer, PERIOD_MS, on_time, w);
}

static void on_time(void *arg)
{
    look(arg);
}

void sl_memory_watch_configure(struct sl_memory_watch *w, struct sl_loop *loop,
                               struct sl_admission *admission, uint64_t limit)
{
    sl_memory_watch_stop(w);
    if (limit == 0)
        return;
    *w = (struct sl_memory_watch){ .loop = loop,
                                   .admission = admission,
                                   .limit = limit,
                                   .is_over = w->is_over,
                                   .fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC) };
    if (w->fd >= 0) {
        look(w);
        return;
    }
    sl_log(SL_LOG_ERROR, "limits.memory has no effect: /proc/self/statm cannot be read");
    w->limit = 0;
}

void sl_memory_watch_stop(struct sl_memory_watch *w)
{
    if (w->limit == 0)
        return;
    sl_timer_stop(&w->timer);
    close(w->fd);
    sl_admission_close(w->admission, false);
    w->limit = 0;
}
