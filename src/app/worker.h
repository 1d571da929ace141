/* worker.h -- a thread with a loop and a proxy of its own, and the orders it takes.
 *
 * Orders are carried out in the order they were given.  What comes of them is reported on the
 * owner's loop. Thread: the owner's, who makes, orders and frees it.
 */
#ifndef SL_APP_WORKER_H
#define SL_APP_WORKER_H

#include <stdbool.h>

#include "base/err.h"

struct sl_listener;
struct sl_mailbox;
struct sl_snapshot;
struct sl_worker;

enum sl_worker_event {
    SL_WORKER_CONFIGURED, /**< works by the new snapshot; or still by the old one, see fault */
    SL_WORKER_UNLISTENED, /**< no longer accepts from `listener` */
    SL_WORKER_DRAINING,   /**< accepts from none */
    SL_WORKER_DRAINED,    /**< and its last connection is gone */
};

struct sl_worker_report {
    struct sl_worker *worker;
    enum sl_worker_event event;
    struct sl_listener *listener; /**< UNLISTENED */
    struct sl_fault fault;        /**< CONFIGURED: err SL_OK when it worked */
};

/** @a report: valid during the call. */
typedef void sl_worker_fn(void *arg, const struct sl_worker_report *report);

struct sl_worker_conf {
    struct sl_mailbox *owner; /**< of the loop that hears; outlives the worker */
    sl_worker_fn *on_report;
    void *arg;
    unsigned index; /**< for the name of the thread */
};

/** Starts the thread; NULL when the system has none left, or no descriptors for it. */
struct sl_worker *sl_worker_new(const struct sl_worker_conf *conf);

/** A reference is taken. */
void sl_worker_configure(struct sl_worker *w, struct sl_snapshot *snapshot);
/** After the first CONFIGURED that worked.  Counted in l->n_using, from which the owner takes off
 * each UNLISTENED. */
void sl_worker_listen(struct sl_worker *w, struct sl_listener *l);
void sl_worker_unlisten(struct sl_worker *w, struct sl_listener *l);
void sl_worker_drain(struct sl_worker *w);
/** Closes what is left and ends the thread; it may take orders until it is freed, and drops them.
 */
void sl_worker_stop(struct sl_worker *w);
/** Waits for the thread, which was stopped, for 5 s at most; false: it is stuck.  Other workers may
 * still write to this one until all have ended, so join all before the first is freed. */
bool sl_worker_join(struct sl_worker *w) SL_MUST_USE;
void sl_worker_free(struct sl_worker **w);

#endif
