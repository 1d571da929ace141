/* prometheus.c -- /proc and clocks, read anew each time; only the start of the process is
 * remembered. */
#include "admin/prometheus.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"
#include "tls/tls_context.h"

/* Fields of /proc/self/stat behind the name in brackets, counted from 0 (proc(5) counts from 3). */
enum stat_field { STAT_THREADS = 17, STAT_START = 19, STAT_VSIZE = 20, STAT_RSS = 21, STAT_N };

struct process {
    uint64_t n_threads, start_ticks, virtual_bytes, resident_pages;
};

static uint64_t start_us;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;

void sl_prometheus_register(void)
{
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_GAUGE, "sluice_build_info", "What is running.", "version,tls");

    sl_metric_set(sl_metric_child(f, (const char *const[]){ SL_VERSION, sl_tls_library() }), 1);
}

static bool read_stat(char *text, size_t size)
{
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The name in brackets may hold blanks and brackets itself. */
static bool read_process(struct process *ret_process)
{
    uint64_t fields[STAT_N] = { 0 };
    char text[1024];
    struct sl_str rest, field;
    const char *end;
    size_t n = 0;

    if (!read_stat(text, sizeof(text)) || (end = strrchr(text, ')')) == NULL)
        return false;
    rest = sl_str_trim(sl_str_of(end + 1));
    for (; n < STAT_N && sl_str_next(&rest, ' ', &field); n++)
        if (!sl_str_to_u64(field, &fields[n]))
            fields[n] = 0; /* the state, and what may be negative: none of ours */
    *ret_process = (struct process){ .n_threads = fields[STAT_THREADS],
                                     .start_ticks = fields[STAT_START],
                                     .virtual_bytes = fields[STAT_VSIZE],
                                     .resident_pages = fields[STAT_RSS] };
    return n == STAT_N;
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t = { 0 };

    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The kernel counts from its boot; kept, because the two clocks drift apart. */
static void find_start(void)
{
    struct process p;
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    if (!read_process(&p) || ticks == 0)
        return;
    start_us =
        clock_us(CLOCK_REALTIME) - clock_us(CLOCK_BOOTTIME) + p.start_ticks * 1000000 / ticks;
}

static uint64_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    uint64_t n = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n - 1; /* the directory's own */
}

static void add_family(struct sl_buf *out, const char *name, const char *kind, const char *help)
{
    sl_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, kind, name);
}

static void add_gauge(struct sl_buf *out, const char *name, const char *help, uint64_t value)
{
    add_family(out, name, "gauge", help);
    sl_buf_addf(out, "%" PRIu64 "\n", value);
}

static void add_seconds(struct sl_buf *out, uint64_t us)
{
    sl_buf_addf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void add_times(struct sl_buf *out)
{
    pthread_once(&start_once, find_start);
    add_family(out, "process_cpu_seconds_total", "counter", "Processor time used, in seconds.");
    add_seconds(out, clock_us(CLOCK_PROCESS_CPUTIME_ID));
    add_family(out, "process_start_time_seconds", "gauge", "Start, in seconds since the epoch.");
    add_seconds(out, start_us);
}

static void add_fds(struct sl_buf *out)
{
    struct rlimit limit;

    add_gauge(out, "process_open_fds", "Open file descriptors.", count_fds());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        add_gauge(out, "process_max_fds", "File descriptors it may open.", limit.rlim_cur);
}

void sl_prometheus_write_process(struct sl_buf *out)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct process p;

    add_times(out);
    add_fds(out);
    if (!read_process(&p))
        return;
    add_gauge(out, "process_threads", "Threads.", p.n_threads);
    add_gauge(out, "process_virtual_memory_bytes", "Address space.", p.virtual_bytes);
    add_gauge(out, "process_resident_memory_bytes", "Memory in RAM.", p.resident_pages * page);
}
