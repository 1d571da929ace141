/* access_log.c -- producers append to `waiting`; the writer swaps it for its own empty buffer and
 * writes that without the lock.
 *
 * Invariants: all members but fd, sink and n_lost are under the lock; those three are the writer's
 * alone.  `next` is where the writer goes on once the first switch_at bytes of the waiting ones are
 * written, so that no line made after a reopen lands in the old file.
 */
#include "proxy/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "proxy/access_line.h"

#define BATCH_MS 50                     /* a line is in the file within 100 ms */
#define BATCH_SIZE ((size_t)64 * 1024)  /* as many bytes are written without waiting for more */
#define KEEP_SIZE ((size_t)1024 * 1024) /* a buffer that grew beyond is given back */
#define LINE_SIZE 1000                  /* of almost every line: one allocation */
#define STALL_MS 1000                   /* how long a pipe may take nothing before lines go */
#define STOP_SECONDS 2                  /* what the last lines have to get out */
#define NO_FD (-1)

/* Whether the last write came through, and if not, whether it left half a line behind. */
enum sink_state { SINK_OK, SINK_FAILED, SINK_TORN };

struct sl_access_log {
    pthread_t writer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct sl_buf waiting;
    size_t n_writing; /* bytes the writer has taken and not yet written */
    char *path;
    bool is_stopping;
    bool is_switching;
    int next;
    size_t switch_at;
    atomic_bool is_on, is_json;
    struct sl_metric *n_dropped;

    int fd;
    enum sink_state sink;
    uint64_t n_lost;
};

/* -- the sink: the writer's side -- */

static void close_sink(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

static bool can_write(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int n;

    do
        n = poll(&p, 1, STALL_MS);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* How many bytes went out before an error; errno tells which. */
static size_t write_all(int fd, struct sl_str s)
{
    size_t done = 0;

    while (done < s.n) {
        ssize_t n = write(fd, s.p + done, s.n - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EINTR && !(errno == EAGAIN && can_write(fd))))
            return done;
    }
    return done;
}

static uint64_t count_lines(struct sl_str s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

static void sink_failed(struct sl_access_log *log, struct sl_str text, size_t done, int os_errno)
{
    struct sl_fault fault;
    uint64_t n = count_lines(sl_str_skip(text, done));

    if (log->sink == SINK_OK) {
        sl_fault_errno(&fault, os_errno, "write");
        sl_log(SL_LOG_ERROR, "access log: lines are lost: %s", fault.text);
    }
    if (done != 0)
        log->sink = text.p[done - 1] == '\n' ? SINK_FAILED : SINK_TORN;
    else if (log->sink == SINK_OK)
        log->sink = SINK_FAILED;
    log->n_lost += n;
    sl_metric_add(log->n_dropped, (int64_t)n);
}

static void sink_works(struct sl_access_log *log)
{
    if (log->sink == SINK_OK)
        return;
    log->sink = SINK_OK;
    sl_log(SL_LOG_WARN, "access log: works again, lines lost: %llu",
           (unsigned long long)log->n_lost);
    log->n_lost = 0;
}

static void sink_write(struct sl_access_log *log, struct sl_str text)
{
    size_t done;

    if (log->fd == NO_FD || text.n == 0)
        return;
    /* Half a line is ended first: one broken line, not two. */
    if (log->sink == SINK_TORN && write_all(log->fd, SL_STR("\n")) == 1)
        log->sink = SINK_FAILED;
    done = log->sink == SINK_TORN ? 0 : write_all(log->fd, text);
    if (done == text.n)
        sink_works(log);
    else
        sink_failed(log, text, done, errno);
}

/* A new file starts on a line of its own. */
static void sink_switch(struct sl_access_log *log, int fd)
{
    close_sink(log->fd);
    log->fd = fd;
    if (log->sink == SINK_TORN)
        log->sink = SINK_FAILED;
}

/* -- the writer -- */

struct batch {
    struct sl_buf text;
    size_t switch_at;
    bool is_switching;
    int next;
};

static struct timespec batch_end(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += BATCH_MS * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

/* Under the lock: waits for a first line, then for more of them to share one write. */
static void wait_for_batch(struct sl_access_log *log)
{
    struct timespec end;

    while (log->waiting.len == 0 && !log->is_stopping && !log->is_switching)
        pthread_cond_wait(&log->wake, &log->lock);
    end = batch_end();
    while (log->waiting.len < BATCH_SIZE && !log->is_stopping && !log->is_switching)
        if (pthread_cond_timedwait(&log->wake, &log->lock, &end) == ETIMEDOUT)
            return;
}

/* Under the lock; the batch's own empty buffer is what producers fill next. */
static void take_batch(struct sl_access_log *log, struct batch *b)
{
    struct sl_buf empty = b->text;

    *b = (struct batch){ .text = log->waiting,
                         .switch_at = log->switch_at,
                         .is_switching = log->is_switching,
                         .next = log->next };
    log->waiting = empty;
    log->n_writing = b->text.len;
    log->is_switching = false;
}

static void write_batch(struct sl_access_log *log, struct batch *b)
{
    struct sl_str text = sl_buf_str(&b->text);

    if (b->is_switching) {
        sink_write(log, sl_str_head(text, b->switch_at));
        sink_switch(log, b->next);
        text = sl_str_skip(text, b->switch_at);
    }
    sink_write(log, text);
    if (b->text.cap > KEEP_SIZE)
        sl_buf_fini(&b->text);
    sl_buf_reset(&b->text);
}

static void *run_writer(void *arg)
{
    struct sl_access_log *log = arg;
    struct batch b = { 0 };
    bool is_last;

    do {
        pthread_mutex_lock(&log->lock);
        log->n_writing = 0;
        wait_for_batch(log);
        take_batch(log, &b);
        is_last = log->is_stopping;
        pthread_mutex_unlock(&log->lock);
        write_batch(log, &b);
    } while (!is_last);
    sl_buf_fini(&b.text);
    return NULL;
}

/* Signals are the main thread's, and a reader that is gone shall be an error, not a death.  SIGPROF
 * is each thread's own: the profiler would blame another for this one's time. */
static int start_writer(struct sl_access_log *log)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    sigdelset(&all, SIGPROF);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&log->writer, NULL, run_writer, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* -- opening ------------------------------------------------------------------------------------
 */

static bool is_file(const char *path)
{
    return strcmp(path, "off") != 0 && strcmp(path, "stdout") != 0 && strcmp(path, "stderr") != 0;
}

static enum sl_err open_sink(const char *path, int *ret_fd, struct sl_fault *fault)
{
    char room[64];
    int fd;

    if (strcmp(path, "off") == 0)
        fd = NO_FD;
    else if (strcmp(path, "stdout") == 0)
        fd = STDOUT_FILENO;
    else if (strcmp(path, "stderr") == 0)
        fd = STDERR_FILENO;
    else if ((fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640)) < 0)
        return sl_fault_set(fault, SL_CONFIG, "access log %s: %s", path,
                            strerror_r(errno, room, sizeof(room)));
    *ret_fd = fd;
    return SL_OK;
}

/* Under the lock.  A switch nobody has made yet is overtaken. */
static void post_switch(struct sl_access_log *log, int fd)
{
    if (log->is_switching)
        close_sink(log->next);
    else
        log->switch_at = log->waiting.len;
    log->next = fd;
    log->is_switching = true;
    pthread_cond_signal(&log->wake);
}

static void init_sync(struct sl_access_log *log)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&log->wake, &attr);
    pthread_condattr_destroy(&attr);
}

enum sl_err sl_access_log_new(const struct sl_access_log_conf *conf, struct sl_access_log **ret_log,
                              struct sl_fault *fault)
{
    struct sl_access_log *log;
    int fd = NO_FD;

    if (open_sink(conf->path, &fd, fault) != SL_OK)
        return fault->err;
    log = sl_zalloc(sizeof(*log));
    log->fd = fd;
    log->path = sl_str_dup(sl_str_of(conf->path));
    atomic_init(&log->is_on, fd != NO_FD);
    atomic_init(&log->is_json, conf->json);
    log->n_dropped =
        sl_metric_child(sl_metric_family(SL_METRIC_COUNTER, "sluice_log_lines_dropped_total",
                                         "Lines of the access log that could not be written.", ""),
                        NULL);
    init_sync(log);
    sl_assert(start_writer(log) == 0);
    *ret_log = log;
    return SL_OK;
}

/* A writer that is stuck in a write to a pipe nobody reads must not hold up the end: it is left
 * behind, with what it works on. */
static bool join_writer(struct sl_access_log *log)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_SECONDS;
    if (pthread_timedjoin_np(log->writer, NULL, &until) == 0)
        return true;
    pthread_detach(log->writer);
    return false;
}

void sl_access_log_free(struct sl_access_log **ref)
{
    struct sl_access_log *log = *ref;

    if (log == NULL)
        return;
    *ref = NULL;
    pthread_mutex_lock(&log->lock);
    log->is_stopping = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    if (!join_writer(log))
        return;
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->lock);
    close_sink(log->fd);
    sl_buf_fini(&log->waiting);
    sl_free(log->path);
    sl_free(log);
}

/* -- producers ----------------------------------------------------------------------------------
 */

bool sl_access_log_is_on(const struct sl_access_log *log)
{
    return atomic_load_explicit(&log->is_on, memory_order_relaxed);
}

/* The writer is woken by the first line of a batch and by the one that fills it, no other. */
static void enqueue(struct sl_access_log *log, struct sl_str line)
{
    size_t before;

    pthread_mutex_lock(&log->lock);
    before = log->waiting.len;
    if (before + log->n_writing + line.n > SL_ACCESS_LOG_QUEUE) {
        pthread_mutex_unlock(&log->lock);
        sl_metric_add(log->n_dropped, 1);
        return;
    }
    sl_buf_add_str(&log->waiting, line);
    if (before == 0 || (before < BATCH_SIZE && before + line.n >= BATCH_SIZE))
        pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

void sl_access_log_write(struct sl_access_log *log, const struct sl_record *r)
{
    struct sl_buf line = { 0 };

    if (!sl_access_log_is_on(log))
        return;
    (void)sl_buf_reserve(&line, LINE_SIZE);
    if (atomic_load_explicit(&log->is_json, memory_order_relaxed))
        sl_access_line_json(&line, r);
    else
        sl_access_line_text(&line, r);
    enqueue(log, sl_buf_str(&line));
    sl_buf_fini(&line);
}

/* -- changes ------------------------------------------------------------------------------------
 */

static char *copy_path(struct sl_access_log *log)
{
    char *path;

    pthread_mutex_lock(&log->lock);
    path = sl_str_dup(sl_str_of(log->path));
    pthread_mutex_unlock(&log->lock);
    return path;
}

void sl_access_log_reopen(struct sl_access_log *log)
{
    struct sl_fault fault = { 0 };
    char *path = copy_path(log);
    int fd = NO_FD;

    if (open_sink(path, &fd, &fault) == SL_OK) {
        pthread_mutex_lock(&log->lock);
        post_switch(log, fd);
        pthread_mutex_unlock(&log->lock);
    } else {
        sl_log(SL_LOG_ERROR, "%s", fault.text);
    }
    sl_free(path);
}

enum sl_err sl_access_log_configure(struct sl_access_log *log,
                                    const struct sl_access_log_conf *conf, struct sl_fault *fault)
{
    int fd = NO_FD;

    if (open_sink(conf->path, &fd, fault) != SL_OK)
        return fault->err;
    pthread_mutex_lock(&log->lock);
    sl_free(log->path);
    log->path = sl_str_dup(sl_str_of(conf->path));
    atomic_store_explicit(&log->is_on, fd != NO_FD, memory_order_relaxed);
    atomic_store_explicit(&log->is_json, conf->json, memory_order_relaxed);
    post_switch(log, fd);
    pthread_mutex_unlock(&log->lock);
    return SL_OK;
}

/* -- a look beforehand --------------------------------------------------------------------------
 */

/* 0, or the errno that opening would end with. */
static int look_at(const char *path)
{
    struct stat st;
    char *dir = sl_str_dup(sl_str_of(path));
    int rc;

    if (stat(path, &st) == 0)
        rc = S_ISDIR(st.st_mode) ? EISDIR : access(path, W_OK) == 0 ? 0 : errno;
    else if (errno == ENOENT)
        rc = access(dirname(dir), W_OK | X_OK) == 0 ? 0 : errno;
    else
        rc = errno;
    sl_free(dir);
    return rc;
}

enum sl_err sl_access_log_check(const struct sl_access_log_conf *conf, struct sl_fault *fault)
{
    char room[64];
    int rc = is_file(conf->path) ? look_at(conf->path) : 0;

    if (rc == 0)
        return SL_OK;
    return sl_fault_set(fault, SL_CONFIG, "access log %s: %s", conf->path,
                        strerror_r(rc, room, sizeof(room)));
}
