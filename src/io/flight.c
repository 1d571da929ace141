/* flight.c -- a locked map of flights; each flight a ring of waits.
 *
 * A wait is WAITING in its flight's ring, then POSTED to its mailbox; cancelled while posted, it
 * only stays until its mail is delivered.  Moves between the two happen under the table's lock.
 */
#include "io/flight.h"

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/mailbox.h"

struct sl_flights {
    struct sl_flights_conf conf;
    pthread_mutex_t lock;
    struct sl_map by_key;
};

struct sl_flight {
    struct sl_flights *table;
    struct sl_str key; /* owned */
    struct sl_link waits;
};

enum wait_state { WAITING, POSTED, CANCELLED };

struct sl_flight_wait {
    struct sl_mail mail; /* first: the mailbox gives it back */
    struct sl_link in_flight;
    struct sl_flights *table;
    struct sl_mailbox *mailbox;
    enum wait_state state;
    void *result;
    void (*unref)(void *result); /* the table may be gone before the mail is read */
    sl_flight_fn *done;
    void *arg;
};

struct sl_flights *sl_flights_new(const struct sl_flights_conf *conf)
{
    struct sl_flights *t = sl_zalloc(sizeof(*t));

    t->conf = *conf;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void sl_flights_free(struct sl_flights **table)
{
    struct sl_flights *t = *table;

    if (t == NULL)
        return;
    *table = NULL;
    sl_assert(t->by_key.n == 0);
    sl_map_fini(&t->by_key);
    pthread_mutex_destroy(&t->lock);
    sl_free(t);
}

static void on_mail(struct sl_mail *mail)
{
    struct sl_flight_wait *w = (struct sl_flight_wait *)mail;
    sl_flight_fn *done = w->done;
    void *arg = w->arg, *result = w->result;
    bool cancelled = w->state == CANCELLED;
    void (*unref)(void *) = w->unref;

    sl_free(w);
    if (!cancelled)
        done(arg, result);
    else if (result != NULL)
        unref(result);
}

static struct sl_flight *flight_new(struct sl_flights *t, struct sl_str key)
{
    struct sl_flight *f = sl_zalloc(sizeof(*f));

    *f = (struct sl_flight){ .table = t, .key = sl_str_make(sl_str_dup(key), key.n) };
    sl_list_init(&f->waits);
    sl_map_put(&t->by_key, f->key, f);
    return f;
}

struct sl_flight_wait *sl_flight_join(struct sl_flights *t, const struct sl_flight_conf *conf,
                                      struct sl_flight **ret_lead)
{
    struct sl_flight_wait *w = sl_zalloc(sizeof(*w));
    struct sl_flight *f;

    *w = (struct sl_flight_wait){ .mail = { .fn = on_mail },
                                  .table = t,
                                  .unref = t->conf.unref,
                                  .mailbox = conf->mailbox,
                                  .done = conf->done,
                                  .arg = conf->arg };
    *ret_lead = NULL;
    pthread_mutex_lock(&t->lock);
    f = sl_map_get(&t->by_key, conf->key);
    if (f == NULL)
        *ret_lead = f = flight_new(t, conf->key);
    sl_list_add(&f->waits, &w->in_flight);
    pthread_mutex_unlock(&t->lock);
    return w;
}

void sl_flight_cancel(struct sl_flight_wait **wait)
{
    struct sl_flight_wait *w = *wait;
    enum wait_state was;

    if (w == NULL)
        return;
    *wait = NULL;
    pthread_mutex_lock(&w->table->lock);
    was = w->state;
    w->state = CANCELLED;
    sl_link_remove(&w->in_flight);
    pthread_mutex_unlock(&w->table->lock);
    if (was == WAITING)
        sl_free(w);
}

/* One wait a time, so that the lock is never held for long however many there are.  Posted under
 * the lock, since a cancel, and with it the end of the mailbox, then comes before or after. */
static bool post_one(struct sl_flight *f, void *result)
{
    struct sl_flights *t = f->table;
    struct sl_link *first;

    pthread_mutex_lock(&t->lock);
    first = sl_list_pop(&f->waits);
    if (first != NULL) {
        struct sl_flight_wait *w = SL_CONTAINER(first, struct sl_flight_wait, in_flight);

        w->result = result == NULL ? NULL : t->conf.ref(result);
        w->state = POSTED;
        sl_mailbox_post(w->mailbox, &w->mail);
    }
    pthread_mutex_unlock(&t->lock);
    return first != NULL;
}

void sl_flight_land(struct sl_flight **lead, void *result)
{
    struct sl_flight *f = *lead;
    struct sl_flights *t = f->table;

    *lead = NULL;
    pthread_mutex_lock(&t->lock);
    sl_map_remove(&t->by_key, f->key);
    pthread_mutex_unlock(&t->lock);
    while (post_one(f, result))
        continue;
    if (result != NULL)
        t->conf.unref(result);
    sl_free((void *)(uintptr_t)f->key.p);
    sl_free(f);
}
