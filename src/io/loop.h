/* loop.h -- one thread's event loop: readiness, timers, tasks, signals.
 *
 * The only file that knows libuv.  Everything here belongs to the thread that runs the loop; other
 * threads reach it through io/mailbox.h.  A simulated loop (sl_loop_new_sim) has a clock of its own
 * that only sl_loop_advance moves, for tests.
 */
#ifndef SL_IO_LOOP_H
#define SL_IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sl_loop;

#define SL_READABLE 1u
#define SL_WRITABLE 2u

/** NULL when the system has no descriptors left. */
struct sl_loop *sl_loop_new(void);
/** A loop whose clock stands still until sl_loop_advance; it starts at 1,000,000 ms. */
struct sl_loop *sl_loop_new_sim(void);
/** Runs what is deferred, then frees.  Every watch, timer and task must be gone. */
void sl_loop_free(struct sl_loop **loop);

/** Runs until sl_loop_stop. */
void sl_loop_run(struct sl_loop *loop);
/** One turn: polls (waiting for at most the next timer when @a wait), runs what is ready.  For
 * tests. */
void sl_loop_turn(struct sl_loop *loop, bool wait);
/** Makes sl_loop_run return after this turn. */
void sl_loop_stop(struct sl_loop *loop);
/** Simulated loops only: moves the clock, running timers in order as they fall due. */
void sl_loop_advance(struct sl_loop *loop, uint64_t ms);

/** Monotonic milliseconds, as of the start of this turn. */
uint64_t sl_loop_now_ms(const struct sl_loop *loop);

/* -- timers: embedded, restartable, stopped at once -- */

typedef void sl_timer_fn(void *arg);

struct sl_timer {
    struct sl_loop *loop; /**< NULL while stopped */
    uint64_t due_ms;
    uint32_t slot; /**< place in the loop's heap */
    uint32_t seq;  /**< of two that are due at once, the one started first fires first */
    sl_timer_fn *fn;
    void *arg;
};

/** Fires @a fn once, @a ms from now; an armed timer is moved.  Zeroed memory is a stopped timer. */
void sl_timer_start(struct sl_loop *loop, struct sl_timer *t, uint64_t ms, sl_timer_fn *fn,
                    void *arg);
/** Stopping a stopped timer is a no-op. */
void sl_timer_stop(struct sl_timer *t);
static inline bool sl_timer_is_armed(const struct sl_timer *t)
{
    return t->loop != NULL;
}

/* -- tasks: run later in this turn, before the loop waits -- */

struct sl_task {
    struct sl_task *next;
    bool queued;
    void (*fn)(void *arg);
    void *arg;
};

/** Queues @a t once, however often it is posted; fn and arg are set by the owner beforehand. */
void sl_task_post(struct sl_loop *loop, struct sl_task *t);
/** The same for the next turn, which then does not wait: for what must let others go first. */
void sl_task_post_next(struct sl_loop *loop, struct sl_task *t);
/** Takes it out of the queue; no-op when it is not in it. */
void sl_task_cancel(struct sl_loop *loop, struct sl_task *t);

/** Calls @a free_fn(p) at the end of this turn, after all tasks. */
void sl_loop_defer_free(struct sl_loop *loop, void *p, void (*free_fn)(void *p));

/* -- readiness of a descriptor -- */

struct sl_watch;
/** @a events: SL_READABLE | SL_WRITABLE; both are set on an error or hang-up, reading then tells.
 */
typedef void sl_watch_fn(void *arg, unsigned events);

/** Watches @a fd for nothing yet.  The descriptor stays the caller's.  NULL with errno when the
 * kernel refuses, as when fs.epoll.max_user_watches is reached; want and free take that. */
struct sl_watch *sl_watch_new(struct sl_loop *loop, int fd, sl_watch_fn *fn, void *arg);
/** Sets the events reported.  Interest is dropped lazily: what is not wanted is never reported, but
 * the kernel is told only when it would report it, so that toggling costs no system call. */
void sl_watch_want(struct sl_watch *w, unsigned events);
/** Ends the watch; call it before closing the descriptor.  No callback runs afterwards. */
void sl_watch_free(struct sl_watch **w);

/* -- signals, work on another thread -- */

struct sl_signal;
typedef void sl_signal_fn(void *arg, int signum);

/** NULL: out of descriptors. */
struct sl_signal *sl_signal_new(struct sl_loop *loop, int signum, sl_signal_fn *fn, void *arg);
void sl_signal_free(struct sl_signal **s);

struct sl_work;

/** Runs @a work(arg) on a thread pool, then @a done(arg) on the loop; the work is gone by then and
 * cannot be cancelled. */
struct sl_work *sl_work_start(struct sl_loop *loop, void (*work)(void *arg),
                              void (*done)(void *arg), void *arg);

#endif
