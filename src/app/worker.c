/* worker.c -- orders are mail to the worker's loop, reports mail to the owner's.
 *
 * The thread owns proxy while it runs; proxy is NULL once it has ended, and orders are dropped
 * then.
 */
#include "app/worker.h"

#include <pthread.h>
#include <signal.h>

#include "admin/profile.h"
#include "app/listeners.h"
#include "base/latch.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proxy/proxy.h"
#include "proxy/snapshot.h"

#define JOIN_MS 5000u /* to close what was open; more than a loop that still turns will need */

enum order_kind { ORDER_CONFIGURE, ORDER_LISTEN, ORDER_UNLISTEN, ORDER_DRAIN, ORDER_STOP };

struct order {
    struct sl_mail mail;
    struct sl_worker *worker;
    enum order_kind kind;
    struct sl_snapshot *snapshot; /* CONFIGURE: a reference */
    struct sl_listener *listener;
    int fd;
};

struct message {
    struct sl_mail mail;
    struct sl_worker_report report;
    sl_worker_fn *fn;
    void *arg;
};

struct sl_worker {
    struct sl_worker_conf conf;
    pthread_t thread;
    struct sl_latch ended;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_proxy *proxy;
};

/* -- reports -- */

static void deliver(struct sl_mail *mail)
{
    struct message *m = SL_CONTAINER(mail, struct message, mail);

    m->fn(m->arg, &m->report);
    sl_free(m);
}

static void report(struct sl_worker *w, const struct sl_worker_report *r)
{
    struct message *m = sl_zalloc(sizeof(*m));

    *m = (struct message){
        .mail = { .fn = deliver }, .report = *r, .fn = w->conf.on_report, .arg = w->conf.arg
    };
    m->report.worker = w;
    sl_mailbox_post(w->conf.owner, &m->mail);
}

static void on_drained(void *arg)
{
    report(arg, &(struct sl_worker_report){ .event = SL_WORKER_DRAINED });
}

/* -- orders, on the worker's loop -- */

static void configure(struct sl_worker *w, struct sl_snapshot *snapshot)
{
    struct sl_worker_report r = { .event = SL_WORKER_CONFIGURED };

    r.fault.err = sl_proxy_configure(w->proxy, snapshot, &r.fault);
    report(w, &r);
}

static void carry_out(struct sl_worker *w, const struct order *o)
{
    switch (o->kind) {
    case ORDER_CONFIGURE:
        configure(w, o->snapshot);
        break;
    case ORDER_LISTEN:
        sl_proxy_listen(w->proxy, o->fd, o->listener->name);
        break;
    case ORDER_UNLISTEN:
        sl_proxy_unlisten(w->proxy, o->fd);
        report(w, &(struct sl_worker_report){ .event = SL_WORKER_UNLISTENED,
                                              .listener = o->listener });
        break;
    case ORDER_DRAIN:
        sl_proxy_drain(w->proxy, on_drained, w);
        report(w, &(struct sl_worker_report){ .event = SL_WORKER_DRAINING });
        break;
    case ORDER_STOP:
        sl_loop_stop(w->loop);
        break;
    }
}

static void on_order(struct sl_mail *mail)
{
    struct order *o = SL_CONTAINER(mail, struct order, mail);

    if (o->worker->proxy != NULL)
        carry_out(o->worker, o);
    sl_snapshot_unref(&o->snapshot);
    sl_free(o);
}

/* -- the thread -- */

/* It is for the thread itself to take: others do that through a file. */
static void take_name(const struct sl_worker *w)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "worker-%u", w->conf.index % 10000);
    (void)pthread_setname_np(pthread_self(), name);
}

static void *work(void *arg)
{
    struct sl_worker *w = arg;

    take_name(w);
    sl_profile_register_thread();
    sl_loop_run(w->loop);
    sl_proxy_free(&w->proxy);
    sl_chunk_drain();
    sl_latch_open(&w->ended);
    return NULL;
}

static bool start_thread(struct sl_worker *w)
{
    sigset_t all, before;
    int failed;

    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

struct sl_worker *sl_worker_new(const struct sl_worker_conf *conf)
{
    struct sl_worker *w = sl_zalloc(sizeof(*w));

    w->conf = *conf;
    w->loop = sl_loop_new();
    if (w->loop == NULL) {
        sl_free(w);
        return NULL;
    }
    sl_latch_init(&w->ended);
    w->mailbox = sl_mailbox_new(w->loop);
    w->proxy = sl_proxy_new(w->loop, w->mailbox);
    if (start_thread(w))
        return w;
    sl_proxy_free(&w->proxy);
    sl_worker_free(&w);
    return NULL;
}

bool sl_worker_join(struct sl_worker *w)
{
    return sl_latch_wait(&w->ended, JOIN_MS) && pthread_join(w->thread, NULL) == 0;
}

void sl_worker_free(struct sl_worker **worker)
{
    struct sl_worker *w = *worker;

    if (w == NULL)
        return;
    *worker = NULL;
    sl_latch_fini(&w->ended);
    sl_mailbox_free(&w->mailbox);
    sl_loop_free(&w->loop);
    sl_free(w);
}

/* -- giving orders -- */

static void give(struct sl_worker *w, const struct order *order)
{
    struct order *o = sl_zalloc(sizeof(*o));

    *o = *order;
    o->worker = w;
    o->mail.fn = on_order;
    sl_mailbox_post(w->mailbox, &o->mail);
}

void sl_worker_configure(struct sl_worker *w, struct sl_snapshot *snapshot)
{
    give(w, &(struct order){ .kind = ORDER_CONFIGURE, .snapshot = sl_snapshot_ref(snapshot) });
}

void sl_worker_listen(struct sl_worker *w, struct sl_listener *l)
{
    l->n_using++;
    give(w, &(struct order){ .kind = ORDER_LISTEN, .listener = l, .fd = l->fd });
}

void sl_worker_unlisten(struct sl_worker *w, struct sl_listener *l)
{
    give(w, &(struct order){ .kind = ORDER_UNLISTEN, .listener = l, .fd = l->fd });
}

void sl_worker_drain(struct sl_worker *w)
{
    give(w, &(struct order){ .kind = ORDER_DRAIN });
}

void sl_worker_stop(struct sl_worker *w)
{
    give(w, &(struct order){ .kind = ORDER_STOP });
}
