/* access_log.c -- opens what a base/log_writer writes to.
 *
 * Invariants: the path is under the lock, which is held over a switch as well, so that path and
 * writer do not part; the rest is set once or atomic.
 */
#include "proxy/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_writer.h"
#include "base/mem.h"
#include "proxy/access_line.h"

#define BATCH_MS 50    /* a line is in the file within 100 ms */
#define LINE_SIZE 1000 /* of almost every line: one allocation */
#define STOP_MS 2000

struct sl_access_log {
    struct sl_log_writer *writer;
    pthread_mutex_t lock;
    char *path;
    atomic_bool is_on, is_json;
};

static void on_trouble(int os_errno, uint64_t n_lost)
{
    struct sl_fault fault;

    if (os_errno == 0) {
        sl_log(SL_LOG_WARN, "access log: works again, lines lost: %llu",
               (unsigned long long)n_lost);
        return;
    }
    sl_fault_errno(&fault, os_errno, "write");
    sl_log(SL_LOG_ERROR, "access log: lines are lost: %s", fault.text);
}

/* -- opening -- */

bool sl_access_log_is_file(const char *path)
{
    return strcmp(path, "off") != 0 && strcmp(path, "stdout") != 0 && strcmp(path, "stderr") != 0;
}

/* A FIFO that nobody reads must not hold up the main thread.  One whose reader is slow may hold up
 * the writer. */
static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

/* Who was killed in the middle of a write has left half a line, which is ended here.  At a start
 * alone: later it may be one that the writer is about to complete. */
static void end_half_a_line(int fd, const char *path)
{
    struct stat st;
    ssize_t written = 0;
    char last = '\n';
    int in;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return;
    in = open(path, O_RDONLY | O_CLOEXEC);
    if (in >= 0 && pread(in, &last, 1, st.st_size - 1) == 1 && last != '\n')
        written = write(fd, "\n", 1);
    (void)written;
    if (in >= 0)
        close(in);
}

static const char *why_not_open(int os_errno, char room[64])
{
    return os_errno == ENXIO ? "nobody reads from it" : strerror_r(os_errno, room, 64);
}

static enum sl_err open_sink(const char *path, int *ret_fd, struct sl_fault *fault)
{
    char room[64];
    int fd;

    if (strcmp(path, "off") == 0)
        fd = SL_LOG_WRITER_OFF;
    else if (strcmp(path, "stdout") == 0)
        fd = STDOUT_FILENO;
    else if (strcmp(path, "stderr") == 0)
        fd = STDERR_FILENO;
    else if ((fd = open_file(path)) < 0)
        return sl_fault_set(fault, SL_CONFIG, "access log %s: %s", path, why_not_open(errno, room));
    *ret_fd = fd;
    return SL_OK;
}

enum sl_err sl_access_log_new(const struct sl_access_log_conf *conf, struct sl_access_log **ret_log,
                              struct sl_fault *fault)
{
    struct sl_access_log *log;
    int fd = SL_LOG_WRITER_OFF;

    if (open_sink(conf->path, &fd, fault) != SL_OK)
        return fault->err;
    if (sl_access_log_is_file(conf->path))
        end_half_a_line(fd, conf->path);
    log = sl_zalloc(sizeof(*log));
    log->path = sl_str_dup(sl_str_of(conf->path));
    pthread_mutex_init(&log->lock, NULL);
    atomic_init(&log->is_on, fd != SL_LOG_WRITER_OFF);
    atomic_init(&log->is_json, conf->json);
    log->writer =
        sl_log_writer_new(&(struct sl_log_writer_conf){ .fd = fd,
                                                        .queue_bytes = SL_ACCESS_LOG_QUEUE,
                                                        .batch_ms = BATCH_MS,
                                                        .stop_ms = STOP_MS,
                                                        .n_dropped = sl_log_dropped("access"),
                                                        .on_trouble = on_trouble });
    *ret_log = log;
    return SL_OK;
}

void sl_access_log_free(struct sl_access_log **ref)
{
    struct sl_access_log *log = *ref;

    if (log == NULL)
        return;
    *ref = NULL;
    if (sl_log_writer_stop(log->writer))
        sl_log_writer_free(&log->writer);
    pthread_mutex_destroy(&log->lock);
    sl_free(log->path);
    sl_free(log);
}

/* -- producers -- */

bool sl_access_log_is_on(const struct sl_access_log *log)
{
    return atomic_load_explicit(&log->is_on, memory_order_relaxed);
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
    sl_log_writer_put(log->writer, sl_buf_str(&line));
    sl_buf_fini(&line);
}

/* -- changes -- */

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
    int fd = SL_LOG_WRITER_OFF;

    if (open_sink(path, &fd, &fault) == SL_OK)
        sl_log_writer_switch(log->writer, fd);
    else
        sl_log(SL_LOG_ERROR, "%s", fault.text);
    sl_free(path);
}

enum sl_err sl_access_log_configure(struct sl_access_log *log,
                                    const struct sl_access_log_conf *conf, struct sl_fault *fault)
{
    int fd = SL_LOG_WRITER_OFF;

    if (open_sink(conf->path, &fd, fault) != SL_OK)
        return fault->err;
    pthread_mutex_lock(&log->lock);
    sl_free(log->path);
    log->path = sl_str_dup(sl_str_of(conf->path));
    atomic_store_explicit(&log->is_on, fd != SL_LOG_WRITER_OFF, memory_order_relaxed);
    atomic_store_explicit(&log->is_json, conf->json, memory_order_relaxed);
    sl_log_writer_switch(log->writer, fd);
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
    int rc = sl_access_log_is_file(conf->path) ? look_at(conf->path) : 0;

    if (rc == 0)
        return SL_OK;
    return sl_fault_set(fault, SL_CONFIG, "access log %s: %s", conf->path,
                        strerror_r(rc, room, sizeof(room)));
}
