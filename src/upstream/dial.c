/* dial.c -- state: RESOLVE -> RACE -> (reported and freed), or UNIX -> (reported and freed)
 *
 * Invariant: exactly one of resolve, race and local is non-NULL, and it names the state.
 */
#include "upstream/dial.h"

#include "base/mem.h"
#include "io/race.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "upstream/guard.h"

struct sl_dial {
    struct sl_dial_conf conf;
    struct sl_resolve *resolve;
    struct sl_race *race;
    struct sl_tcp_connect *local; /* a unix socket */
    struct sl_addr peer;          /* of the unix socket */
    sl_dial_fn *done;
    void *arg;
};

static sl_resolve_fn on_resolved;
static sl_race_fn on_raced;
static sl_tcp_connect_fn on_local;

static struct sl_addr unix_addr(struct sl_str path)
{
    struct sl_addr a = { .len = sizeof(a.un) };

    a.un.sun_family = AF_UNIX;
    /* The configuration refuses longer paths. */
    sl_assert(path.n < sizeof(a.un.sun_path));
    memcpy(a.un.sun_path, path.p, path.n);
    return a;
}

struct sl_dial *sl_dial_start(const struct sl_dial_conf *conf, sl_dial_fn *done, void *arg)
{
    struct sl_dial *d = sl_zalloc(sizeof(*d));

    *d = (struct sl_dial){ .conf = *conf, .done = done, .arg = arg };
    if (conf->is_unix) {
        d->peer = unix_addr(conf->host);
        d->local = sl_tcp_connect_start(conf->loop, &d->peer, on_local, d);
    } else {
        d->resolve = sl_resolve_start(conf->resolver, conf->host, on_resolved, d);
    }
    return d;
}

void sl_dial_cancel(struct sl_dial **dial)
{
    struct sl_dial *d = *dial;

    if (d == NULL)
        return;
    *dial = NULL;
    sl_resolve_cancel(&d->resolve);
    sl_race_cancel(&d->race);
    sl_tcp_connect_cancel(&d->local);
    sl_free(d);
}

/* Reports last, after the dial is gone, so done() may free the dial's owner. */
static void finish(struct sl_dial *d, struct sl_stream *stream, const struct sl_addr *peer,
                   const struct sl_fault *fault)
{
    sl_dial_fn *done = d->done;
    void *arg = d->arg;
    struct sl_addr copy = peer != NULL ? *peer : (struct sl_addr){ 0 };

    sl_dial_cancel(&d);
    done(arg, stream, &copy, fault);
}

/* Keeps the addresses that may be connected to; which one is blocked is the fault's detail. */
static void filter(const struct sl_dial *d, const struct sl_addrs *all,
                   struct sl_addrs *ret_allowed, struct sl_fault *fault)
{
    ret_allowed->n = 0;
    for (size_t i = 0; i < all->n; i++) {
        struct sl_addr a = all->a[i];
        char text[SL_ADDR_TEXT];

        sl_addr_set_port(&a, d->conf.port);
        if (d->conf.guard == NULL || sl_guard_check(d->conf.guard, &a) == SL_OK) {
            ret_allowed->a[ret_allowed->n++] = all->a[i];
            continue;
        }
        sl_addr_ip_text(&a, text);
        sl_fault_set(fault, SL_BLOCKED_ADDRESS, "%s is not an allowed address", text);
    }
}

static void on_resolved(void *arg, const struct sl_addrs *addrs, const struct sl_fault *fault)
{
    struct sl_dial *d = arg;
    struct sl_fault blocked = { .err = SL_NO_ADDRESS };
    struct sl_addrs allowed;

    d->resolve = NULL;
    if (addrs == NULL) {
        finish(d, NULL, NULL, fault);
        return;
    }
    filter(d, addrs, &allowed, &blocked);
    if (allowed.n == 0)
        finish(d, NULL, NULL, &blocked);
    else
        d->race = sl_race_start(d->conf.loop, &allowed, d->conf.port, on_raced, d);
}

static void on_raced(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                     const struct sl_fault *fault)
{
    struct sl_dial *d = arg;

    d->race = NULL;
    finish(d, stream, peer, fault);
}

static void on_local(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct sl_dial *d = arg;

    d->local = NULL;
    finish(d, stream, &d->peer, fault);
}
