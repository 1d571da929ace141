/* race.c -- attempts[0 .. n_started) have been started, n_open of them are still connecting.
 *
 * Invariant: while not everything is started, the stagger timer is armed; while everything is,
 * n_open > 0.
 */
#include "io/race.h"

#include "base/mem.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tcp.h"

#define STAGGER_MS 250 /* RFC 8305 section 5 */

struct attempt {
    struct sl_race *race;
    struct sl_addr addr;
    struct sl_tcp_connect *connect; /* NULL before and after */
};

struct sl_race {
    struct sl_loop *loop;
    struct sl_timer stagger;
    struct sl_fault fault; /* of the first address */
    size_t n, n_started, n_open;
    sl_race_fn *done;
    void *arg;
    struct attempt attempts[SL_ADDRS_MAX];
};

static sl_tcp_connect_fn on_attempt;
static void start_next(void *arg);

void sl_race_cancel(struct sl_race **race)
{
    struct sl_race *r = *race;

    if (r == NULL)
        return;
    *race = NULL;
    sl_timer_stop(&r->stagger);
    for (size_t i = 0; i < r->n_started; i++)
        sl_tcp_connect_cancel(&r->attempts[i].connect);
    sl_free(r);
}

/* Reports last, after the race is gone. */
static void finish(struct sl_race *r, struct sl_stream *stream, const struct sl_addr *winner)
{
    struct sl_fault fault = r->fault;
    struct sl_addr peer = *winner;
    sl_race_fn *done = r->done;
    void *arg = r->arg;

    sl_race_cancel(&r);
    done(arg, stream, stream != NULL ? &peer : NULL, stream != NULL ? NULL : &fault);
}

static void on_attempt(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct attempt *a = arg;
    struct sl_race *r = a->race;

    a->connect = NULL;
    r->n_open--;
    if (stream != NULL) {
        finish(r, stream, &a->addr);
        return;
    }
    if (a == &r->attempts[0])
        r->fault = *fault;
    if (r->n_started < r->n)
        start_next(r);
    else if (r->n_open == 0)
        finish(r, NULL, &a->addr);
}

static void start_next(void *arg)
{
    struct sl_race *r = arg;
    struct attempt *a = &r->attempts[r->n_started++];

    r->n_open++;
    a->connect = sl_tcp_connect_start(r->loop, &a->addr, on_attempt, a);
    if (r->n_started < r->n)
        sl_timer_start(r->loop, &r->stagger, STAGGER_MS, start_next, r);
    else
        sl_timer_stop(&r->stagger);
}

struct sl_race *sl_race_start(struct sl_loop *loop, const struct sl_addrs *addrs, uint16_t port,
                              sl_race_fn *done, void *arg)
{
    struct sl_race *r = sl_zalloc(sizeof(*r));

    sl_assert(addrs->n > 0 && addrs->n <= SL_ADDRS_MAX);
    r->loop = loop;
    r->n = addrs->n;
    r->done = done;
    r->arg = arg;
    for (size_t i = 0; i < addrs->n; i++) {
        r->attempts[i].race = r;
        r->attempts[i].addr = addrs->a[i];
        sl_addr_set_port(&r->attempts[i].addr, port);
    }
    start_next(r);
    return r;
}
