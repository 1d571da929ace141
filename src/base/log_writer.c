/* log_writer.c -- producers append to `waiting`; the writer swaps it for its own empty buffer and
 * writes that without the lock.
 *
 * Invariants: all members but fd, sink and n_lost are under the lock; those three are the writer's
 * alone.  `next` is where the writer goes on once the first switch_at bytes of the waiting ones are
 * written, so that no line put after a switch lands in the old file.
 */
#include "base/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/latch.h"
#include "base/mem.h"
#include "base/metric.h"

#define BATCH_SIZE ((size_t)64 * 1024)  /* as many bytes are written without waiting for more */
#define KEEP_SIZE ((size_t)1024 * 1024) /* a buffer that grew beyond is given back */
#define STALL_MS 1000                   /* how long a pipe may take nothing before lines go */

/* Whether the last write came through, and if not, whether it left half a line behind. */
enum sink_state { SINK_OK, SINK_FAILED, SINK_TORN };

struct sl_log_writer {
    struct sl_log_writer_conf conf;
    pthread_t thread;
    struct sl_latch ended;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct sl_buf waiting;
    size_t n_writing;   /* bytes the writer has taken and not yet written */
    uint64_t n_refused; /* lines that found no room since the last batch */
    bool is_stopping;
    bool is_switching;
    int next;
    size_t switch_at;

    int fd;
    enum sink_state sink;
    uint64_t n_lost; /* lines, not yet told */
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

static void sink_failed(struct sl_log_writer *w, struct sl_str text, size_t done, int os_errno)
{
    uint64_t n = count_lines(sl_str_skip(text, done));

    if (w->sink == SINK_OK)
        w->conf.on_trouble(os_errno, 0);
    if (done != 0)
        w->sink = text.p[done - 1] == '\n' ? SINK_FAILED : SINK_TORN;
    else if (w->sink == SINK_OK)
        w->sink = SINK_FAILED;
    w->n_lost += n;
    sl_metric_add(w->conf.n_dropped, (int64_t)n);
}

/* Lines that found no room are lost although every write came through, late. */
static void tell_lost(struct sl_log_writer *w)
{
    uint64_t n = w->n_lost;

    if (w->sink != SINK_OK || n == 0)
        return;
    w->n_lost = 0;
    w->conf.on_trouble(0, n);
}

static void sink_write(struct sl_log_writer *w, struct sl_str text)
{
    size_t done;

    if (w->fd == SL_LOG_WRITER_OFF || text.n == 0)
        return;
    /* Half a line is ended first: one broken line, not two. */
    if (w->sink == SINK_TORN && write_all(w->fd, SL_STR("\n")) == 1)
        w->sink = SINK_FAILED;
    done = w->sink == SINK_TORN ? 0 : write_all(w->fd, text);
    if (done == text.n)
        w->sink = SINK_OK;
    else
        sink_failed(w, text, done, errno);
}

/* A new file starts on a line of its own. */
static void sink_switch(struct sl_log_writer *w, int fd)
{
    close_sink(w->fd);
    w->fd = fd;
    if (w->sink == SINK_TORN)
        w->sink = SINK_FAILED;
}

/* -- the thread -- */

struct batch {
    struct sl_buf text;
    uint64_t n_refused;
    size_t switch_at;
    bool is_switching;
    int next;
};

static struct timespec from_now(uint32_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

/* Under the lock: waits for a first line, then for more of them to share one write. */
static void wait_for_batch(struct sl_log_writer *w)
{
    struct timespec end;

    while (w->waiting.len == 0 && w->n_refused == 0 && !w->is_stopping && !w->is_switching)
        pthread_cond_wait(&w->wake, &w->lock);
    end = from_now(w->conf.batch_ms);
    while (w->waiting.len < BATCH_SIZE && !w->is_stopping && !w->is_switching)
        if (pthread_cond_timedwait(&w->wake, &w->lock, &end) == ETIMEDOUT)
            return;
}

/* Under the lock; the batch's own empty buffer is what producers fill next. */
static void take_batch(struct sl_log_writer *w, struct batch *b)
{
    struct sl_buf empty = b->text;

    *b = (struct batch){ .text = w->waiting,
                         .n_refused = w->n_refused,
                         .switch_at = w->switch_at,
                         .is_switching = w->is_switching,
                         .next = w->next };
    w->waiting = empty;
    w->n_writing = b->text.len;
    w->n_refused = 0;
    w->is_switching = false;
}

static void write_batch(struct sl_log_writer *w, struct batch *b)
{
    struct sl_str text = sl_buf_str(&b->text);

    w->n_lost += b->n_refused;
    if (b->is_switching) {
        sink_write(w, sl_str_head(text, b->switch_at));
        sink_switch(w, b->next);
        text = sl_str_skip(text, b->switch_at);
    }
    sink_write(w, text);
    tell_lost(w);
    if (b->text.cap > KEEP_SIZE)
        sl_buf_fini(&b->text);
    sl_buf_reset(&b->text);
}

/* What on_trouble said about the last batch of all is a batch of its own. */
static bool is_done(const struct sl_log_writer *w)
{
    return w->is_stopping && w->waiting.len == 0 && !w->is_switching;
}

static void *run(void *arg)
{
    struct sl_log_writer *w = arg;
    struct batch b = { 0 };

    pthread_mutex_lock(&w->lock);
    while (!is_done(w)) {
        wait_for_batch(w);
        take_batch(w, &b);
        pthread_mutex_unlock(&w->lock);
        write_batch(w, &b);
        pthread_mutex_lock(&w->lock);
        w->n_writing = 0;
    }
    pthread_mutex_unlock(&w->lock);
    sl_buf_fini(&b.text);
    sl_latch_open(&w->ended);
    return NULL;
}

/* Signals are the main thread's, and a reader that is gone shall be an error, not a death.  SIGPROF
 * is each thread's own: the profiler would blame another for this one's time. */
static int start_thread(struct sl_log_writer *w)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    sigdelset(&all, SIGPROF);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* -- life -- */

static void init_sync(struct sl_log_writer *w)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    sl_latch_init(&w->ended);
}

struct sl_log_writer *sl_log_writer_new(const struct sl_log_writer_conf *conf)
{
    struct sl_log_writer *w = sl_zalloc(sizeof(*w));

    w->conf = *conf;
    w->fd = conf->fd;
    init_sync(w);
    sl_assert(start_thread(w) == 0);
    return w;
}

/* A writer that is stuck in a write to a pipe nobody reads must not hold up the end: it is left
 * behind, with what it works on. */
static bool join(struct sl_log_writer *w)
{
    if (sl_latch_wait(&w->ended, w->conf.stop_ms))
        return pthread_join(w->thread, NULL) == 0;
    pthread_detach(w->thread);
    return false;
}

bool sl_log_writer_stop(struct sl_log_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    return join(w);
}

void sl_log_writer_free(struct sl_log_writer **ref)
{
    struct sl_log_writer *w = *ref;

    if (w == NULL)
        return;
    *ref = NULL;
    sl_latch_fini(&w->ended);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    close_sink(w->fd);
    sl_buf_fini(&w->waiting);
    sl_free(w);
}

/* -- producers -- */

/* The writer is woken by the first line of a batch and by the one that fills it, no other. */
void sl_log_writer_put(struct sl_log_writer *w, struct sl_str line)
{
    size_t before;
    bool has_room;

    pthread_mutex_lock(&w->lock);
    before = w->waiting.len;
    has_room = before + w->n_writing + line.n <= w->conf.queue_bytes;
    if (has_room)
        sl_buf_add_str(&w->waiting, line);
    else
        w->n_refused++;
    if (before == 0 || (before < BATCH_SIZE && w->waiting.len >= BATCH_SIZE))
        pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (!has_room)
        sl_metric_add(w->conf.n_dropped, 1);
}

/* A switch nobody has made yet is overtaken. */
void sl_log_writer_switch(struct sl_log_writer *w, int fd)
{
    pthread_mutex_lock(&w->lock);
    if (w->is_switching)
        close_sink(w->next);
    else
        w->switch_at = w->waiting.len;
    w->next = fd;
    w->is_switching = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}
