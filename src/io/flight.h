/* flight.h -- the same work, asked for by many at once, done once.
 *
 * Whoever joins first under a key leads: does the work and lands the result.  All who joined, the
 * leader too, get it on their own loops.  Results are shared by reference count. Thread: a table is
 * shared by all; a wait lives on its mailbox's loop.
 */
#ifndef SL_IO_FLIGHT_H
#define SL_IO_FLIGHT_H

#include <stdbool.h>

#include "base/str.h"

struct sl_flight;
struct sl_flight_wait;
struct sl_flights;
struct sl_mailbox;

/** How results are counted; both may run on any thread. */
struct sl_flights_conf {
    void *(*ref)(void *result);
    void (*unref)(void *result);
};

struct sl_flights *sl_flights_new(const struct sl_flights_conf *conf);
/** Nothing may be in flight; every wait has ended or was cancelled. */
void sl_flights_free(struct sl_flights **t);

/** Exactly once, from the mailbox's loop, never from inside join or land; the wait is already gone.
 * @a result: a reference for the callee, or NULL when the leader gave up. */
typedef void sl_flight_fn(void *arg, void *result);

struct sl_flight_conf {
    struct sl_str key;          /**< copied */
    struct sl_mailbox *mailbox; /**< where the wait lives */
    sl_flight_fn *done;
    void *arg;
};

/** Joins.  When *ret_lead comes back not NULL the caller leads, and must land it. */
struct sl_flight_wait *sl_flight_join(struct sl_flights *t, const struct sl_flight_conf *conf,
                                      struct sl_flight **ret_lead);

/** The callback will not run.  The work goes on for the others. */
void sl_flight_cancel(struct sl_flight_wait **wait);

/** Hands @a result (the caller's reference, taken over; NULL for none) to all who wait. */
void sl_flight_land(struct sl_flight **lead, void *result);

#endif
