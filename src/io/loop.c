/* loop.c -- one turn of libuv: timers, then tasks and deferred frees (prepare), then the poll.
 *
 * All timers live in one heap under one uv_timer, `alarm`, which is moved only when it would fire
 * too late: one that fires too early finds nothing due and is set again.
 * A watch has two sets: `wanted` is the owner's, `kernel` is what epoll was told.  wanted is within
 * kernel at all times; kernel shrinks when it has reported something that is not wanted.
 */
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <uv.h>

#include "base/mem.h"
#include "io/loop_async.h"
#include "io/timer_heap.h"

/* Tasks that post tasks without end must not keep the loop from its descriptors. */
#define TASKS_A_TURN 4096
#define SIM_START_MS 1000000u
#define NEVER UINT64_MAX

struct task_queue {
    struct sl_task *head, **tail;
};

struct deferred {
    void *p;
    void (*free_fn)(void *p);
};

struct sl_loop {
    uv_loop_t uv;
    uv_timer_t alarm;
    uv_prepare_t prepare;
    uv_idle_t awake; /* active: the poll does not wait */
    struct sl_timer_heap timers;
    uint64_t alarm_ms;       /* when alarm fires, or NEVER */
    uint64_t sim_ms;         /* 0: the clock is the kernel's */
    struct task_queue tasks; /* for this turn */
    struct task_queue later; /* for the next one */
    struct deferred *deferred;
    size_t n_deferred, cap_deferred;
    size_t n_works;
    uint64_t n_ran; /* timers and tasks since sl_loop_turn began */
    bool stepping;  /* inside sl_loop_turn */
};

struct sl_watch {
    uv_poll_t poll;
    unsigned wanted, kernel;
    sl_watch_fn *fn;
    void *arg;
};

struct sl_signal {
    uv_signal_t handle;
    sl_signal_fn *fn;
    void *arg;
};

struct sl_work {
    uv_work_t req;
    struct sl_loop *loop;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct sl_async {
    uv_async_t handle;
    void (*fn)(void *arg);
    void *arg;
};

static_assert(SL_READABLE == UV_READABLE && SL_WRITABLE == UV_WRITABLE, "passed on unchanged");

/* Closing is asynchronous in libuv: the memory of a handle goes in its close callback. */
static void on_closed(uv_handle_t *h)
{
    sl_free(h->data);
}

/* -- tasks -- */

static void queue_init(struct task_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static void queue_add(struct task_queue *q, struct sl_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->next = NULL;
    *q->tail = t;
    q->tail = &t->next;
}

static bool queue_remove(struct task_queue *q, struct sl_task *t)
{
    struct sl_task **at = &q->head;

    while (*at != NULL && *at != t)
        at = &(*at)->next;
    if (*at == NULL)
        return false;
    *at = t->next;
    if (q->tail == &t->next)
        q->tail = at;
    t->queued = false;
    return true;
}

static void queue_move(struct task_queue *to, struct task_queue *from)
{
    if (from->head == NULL)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    queue_init(from);
}

void sl_task_post(struct sl_loop *loop, struct sl_task *t)
{
    queue_add(&loop->tasks, t);
}

void sl_task_post_next(struct sl_loop *loop, struct sl_task *t)
{
    queue_add(&loop->later, t);
}

void sl_task_cancel(struct sl_loop *loop, struct sl_task *t)
{
    if (t->queued && !queue_remove(&loop->tasks, t))
        (void)queue_remove(&loop->later, t);
}

void sl_loop_defer_free(struct sl_loop *loop, void *p, void (*free_fn)(void *p))
{
    if (loop->n_deferred == loop->cap_deferred) {
        loop->cap_deferred = loop->cap_deferred == 0 ? 32 : 2 * loop->cap_deferred;
        loop->deferred = sl_realloc(loop->deferred, loop->cap_deferred * sizeof(loop->deferred[0]));
    }
    loop->deferred[loop->n_deferred++] = (struct deferred){ .p = p, .free_fn = free_fn };
}

/* A free may defer another: the table can move and grow meanwhile. */
static void run_deferred(struct sl_loop *loop)
{
    for (size_t i = 0; i < loop->n_deferred; i++) {
        struct deferred d = loop->deferred[i];

        d.free_fn(d.p);
    }
    loop->n_deferred = 0;
}

static void run_tasks(struct sl_loop *loop)
{
    for (unsigned n = 0; n < TASKS_A_TURN && loop->tasks.head != NULL; n++) {
        struct sl_task *t = loop->tasks.head;

        (void)queue_remove(&loop->tasks, t);
        loop->n_ran++;
        t->fn(t->arg);
    }
    run_deferred(loop);
}

/* -- timers -- */

static void on_alarm(uv_timer_t *alarm);

static void set_alarm(struct sl_loop *loop)
{
    const struct sl_timer *top = sl_timer_heap_top(&loop->timers);
    uint64_t now = sl_loop_now_ms(loop);

    if (loop->sim_ms != 0 || top == NULL || top->due_ms >= loop->alarm_ms)
        return;
    loop->alarm_ms = top->due_ms;
    uv_timer_start(&loop->alarm, on_alarm, top->due_ms > now ? top->due_ms - now : 0, 0);
}

/* Timers that others start meanwhile wait for the next turn, even if they are due at once. */
static void run_timers(struct sl_loop *loop)
{
    const uint32_t end = loop->timers.seq;
    struct sl_timer *t;

    while ((t = sl_timer_heap_top(&loop->timers)) != NULL && t->due_ms <= sl_loop_now_ms(loop) &&
           (int32_t)(t->seq - end) < 0) {
        sl_timer_stop(t);
        loop->n_ran++;
        t->fn(t->arg);
    }
}

static void on_alarm(uv_timer_t *alarm)
{
    struct sl_loop *loop = alarm->data;

    loop->alarm_ms = NEVER;
    run_timers(loop);
    set_alarm(loop);
}

void sl_timer_start(struct sl_loop *loop, struct sl_timer *t, uint64_t ms, sl_timer_fn *fn,
                    void *arg)
{
    sl_timer_stop(t);
    *t = (struct sl_timer){
        .loop = loop, .due_ms = sl_loop_now_ms(loop) + ms, .fn = fn, .arg = arg
    };
    sl_timer_heap_add(&loop->timers, t);
    set_alarm(loop);
}

void sl_timer_stop(struct sl_timer *t)
{
    struct sl_loop *loop = t->loop;

    if (loop == NULL)
        return;
    t->loop = NULL;
    sl_timer_heap_remove(&loop->timers, t);
}

/* -- turns -- */

/* libuv does not take NULL for it. */
static void on_awake(uv_idle_t *awake)
{
    (void)awake;
}

/* A turn asked for by sl_loop_turn does not wait either when it has already run something: its
 * caller wants to look at that first. */
static void choose_wait(struct sl_loop *loop)
{
    bool has_work = loop->tasks.head != NULL || loop->later.head != NULL;

    if (has_work || (loop->stepping && loop->n_ran != 0))
        uv_idle_start(&loop->awake, on_awake);
    else
        uv_idle_stop(&loop->awake);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct sl_loop *loop = prepare->data;

    queue_move(&loop->tasks, &loop->later);
    run_tasks(loop);
    choose_wait(loop);
}

void sl_loop_run(struct sl_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    run_tasks(loop);
}

void sl_loop_turn(struct sl_loop *loop, bool wait)
{
    loop->stepping = true;
    loop->n_ran = 0;
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    loop->stepping = false;
    run_tasks(loop);
    choose_wait(loop);
}

void sl_loop_stop(struct sl_loop *loop)
{
    uv_stop(&loop->uv);
}

void sl_loop_advance(struct sl_loop *loop, uint64_t ms)
{
    const uint64_t end = loop->sim_ms + ms;
    struct sl_timer *t;

    sl_assert(loop->sim_ms != 0);
    while ((t = sl_timer_heap_top(&loop->timers)) != NULL && t->due_ms <= end) {
        loop->sim_ms = t->due_ms;
        run_timers(loop);
        queue_move(&loop->tasks, &loop->later);
        run_tasks(loop);
    }
    loop->sim_ms = end;
}

uint64_t sl_loop_now_ms(const struct sl_loop *loop)
{
    return loop->sim_ms != 0 ? loop->sim_ms : uv_now(&loop->uv);
}

/* -- life -- */

static pthread_once_t memory_once = PTHREAD_ONCE_INIT;

static void *zalloc_many(size_t n, size_t size)
{
    return sl_zalloc(n * size);
}

/* Left to itself, the library aborts without a word when some of its own runs out. */
static void give_memory(void)
{
    sl_assert(uv_replace_allocator(sl_alloc, sl_realloc, zalloc_many, sl_free) == 0);
}

struct sl_loop *sl_loop_new(void)
{
    struct sl_loop *loop = sl_zalloc(sizeof(*loop));

    pthread_once(&memory_once, give_memory);
    if (uv_loop_init(&loop->uv) != 0) {
        sl_free(loop);
        return NULL;
    }
    loop->alarm_ms = NEVER;
    queue_init(&loop->tasks);
    queue_init(&loop->later);
    uv_timer_init(&loop->uv, &loop->alarm);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_idle_init(&loop->uv, &loop->awake);
    loop->alarm.data = loop->prepare.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    return loop;
}

struct sl_loop *sl_loop_new_sim(void)
{
    struct sl_loop *loop = sl_loop_new();

    sl_assert(loop != NULL);
    loop->sim_ms = SIM_START_MS;
    return loop;
}

static void finish_works(struct sl_loop *loop)
{
    while (loop->n_works > 0)
        sl_loop_turn(loop, true);
    run_tasks(loop);
}

void sl_loop_free(struct sl_loop **loop)
{
    struct sl_loop *l = *loop;

    if (l == NULL)
        return;
    *loop = NULL;
    finish_works(l);
    sl_assert(l->tasks.head == NULL && l->later.head == NULL && l->timers.n == 0);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->awake, NULL);
    /* A signal that is under way holds up the close of its handle by a turn. */
    for (int n = 0; n < 8 && uv_loop_alive(&l->uv) != 0; n++)
        uv_run(&l->uv, UV_RUN_NOWAIT);
    sl_assert(uv_loop_close(&l->uv) == 0);
    sl_timer_heap_fini(&l->timers);
    sl_free(l->deferred);
    sl_free(l);
}

/* -- descriptors -- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* libuv 1.44 takes the descriptor out of epoll and puts it in again for each change: two calls. */
static void set_kernel(struct sl_watch *w, unsigned events)
{
    w->kernel = events;
    if (events == 0)
        uv_poll_stop(&w->poll);
    else
        uv_poll_start(&w->poll, (int)events, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_watch *w = poll->data;
    unsigned seen = status < 0 ? SL_READABLE | SL_WRITABLE : (unsigned)events;

    /* After an error libuv has stopped the poll by itself. */
    if (status < 0 || (seen & ~w->wanted) != 0)
        set_kernel(w, w->wanted);
    seen &= w->wanted;
    if (seen != 0)
        w->fn(w->arg, seen);
}

struct sl_watch *sl_watch_new(struct sl_loop *loop, int fd, sl_watch_fn *fn, void *arg)
{
    struct sl_watch *w = sl_zalloc(sizeof(*w));
    int failed = uv_poll_init(&loop->uv, &w->poll, fd);

    if (failed != 0) {
        sl_free(w);
        errno = -failed;
        return NULL;
    }
    w->fn = fn;
    w->arg = arg;
    w->poll.data = w;
    return w;
}

void sl_watch_want(struct sl_watch *w, unsigned events)
{
    if (w == NULL)
        return;
    w->wanted = events;
    /* A left-over interest in reading may never cost anything; one in writing would fire at once.
     */
    if ((events & ~w->kernel) != 0)
        set_kernel(w, events | (w->kernel & SL_READABLE));
}

void sl_watch_free(struct sl_watch **w)
{
    struct sl_watch *gone = *w;

    if (gone == NULL)
        return;
    *w = NULL;
    uv_close((uv_handle_t *)&gone->poll, on_closed);
}

/* -- signals, other threads -- */

static void on_signal(uv_signal_t *handle, int signum)
{
    struct sl_signal *s = handle->data;

    s->fn(s->arg, signum);
}

struct sl_signal *sl_signal_new(struct sl_loop *loop, int signum, sl_signal_fn *fn, void *arg)
{
    struct sl_signal *s = sl_zalloc(sizeof(*s));

    if (uv_signal_init(&loop->uv, &s->handle) != 0) {
        sl_free(s);
        return NULL;
    }
    s->fn = fn;
    s->arg = arg;
    s->handle.data = s;
    if (uv_signal_start(&s->handle, on_signal, signum) != 0)
        sl_signal_free(&s);
    return s;
}

void sl_signal_free(struct sl_signal **s)
{
    struct sl_signal *gone = *s;

    if (gone == NULL)
        return;
    *s = NULL;
    uv_close((uv_handle_t *)&gone->handle, on_closed);
}

static void on_work(uv_work_t *req)
{
    struct sl_work *w = req->data;

    w->work(w->arg);
}

static void on_worked(uv_work_t *req, int status)
{
    struct sl_work *w = req->data;
    void (*done)(void *arg) = w->done;
    void *arg = w->arg;

    (void)status;
    w->loop->n_works--;
    sl_free(w);
    done(arg);
}

struct sl_work *sl_work_start(struct sl_loop *loop, void (*work)(void *arg),
                              void (*done)(void *arg), void *arg)
{
    struct sl_work *w = sl_zalloc(sizeof(*w));

    w->loop = loop;
    w->work = work;
    w->done = done;
    w->arg = arg;
    w->req.data = w;
    loop->n_works++;
    uv_queue_work(&loop->uv, &w->req, on_work, on_worked);
    return w;
}

static void on_wake(uv_async_t *handle)
{
    struct sl_async *a = handle->data;

    a->fn(a->arg);
}

struct sl_async *sl_async_new(struct sl_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct sl_async *a = sl_zalloc(sizeof(*a));

    a->fn = fn;
    a->arg = arg;
    /* The loop has the descriptor for it from its start. */
    sl_assert(uv_async_init(&loop->uv, &a->handle, on_wake) == 0);
    a->handle.data = a;
    return a;
}

void sl_async_free(struct sl_async **a)
{
    struct sl_async *gone = *a;

    if (gone == NULL)
        return;
    *a = NULL;
    uv_close((uv_handle_t *)&gone->handle, on_closed);
}

void sl_async_wake(struct sl_async *a)
{
    uv_async_send(&a->handle);
}
