/* admin.c -- the listener; connections are in admin_conn.c, what they answer in admin_pages.c.
 *
 * Invariants: the watch wants SL_READABLE exactly while pause is stopped; conns are in the order in
 * which they last did something.
 */
#include "admin/admin.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_conn.h"
#include "admin/admin_internal.h"
#include "admin/prometheus.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tcp.h"
#include "tls/ca.h"

#define MAX_CONNS 16
#define PAUSE_MS 1000

static sl_watch_fn on_acceptable;

static void update_watch(struct sl_admin *admin)
{
    sl_watch_want(admin->watch, sl_timer_is_armed(&admin->pause) ? 0 : SL_READABLE);
}

static bool is_unix_socket(int fd)
{
    struct sl_addr addr = { .len = sizeof(addr.un) };

    return getsockname(fd, &addr.sa, &addr.len) == 0 && addr.sa.sa_family == AF_UNIX;
}

struct sl_admin *sl_admin_new(struct sl_loop *loop, int fd)
{
    struct sl_admin *admin = sl_zalloc(sizeof(*admin));

    admin->loop = loop;
    admin->fd = fd;
    admin->is_unix = is_unix_socket(fd);
    sl_list_init(&admin->conns);
    admin->watch = sl_watch_new(loop, fd, on_acceptable, admin);
    if (admin->watch == NULL)
        sl_log(SL_LOG_ERROR, "cannot accept on the admin address: %s", strerror(errno));
    sl_prometheus_register();
    update_watch(admin);
    return admin;
}

void sl_admin_free(struct sl_admin **ref)
{
    struct sl_admin *admin = *ref;

    if (admin == NULL)
        return;
    *ref = NULL;
    SL_LIST_FOREACH_SAFE (it, &admin->conns)
        sl_admin_conn_close(SL_CONTAINER(it, struct sl_admin_conn, in_admin));
    sl_timer_stop(&admin->pause);
    sl_watch_free(&admin->watch);
    close(admin->fd);
    sl_ca_unref(&admin->ca);
    sl_free(admin);
}

void sl_admin_set_ready(struct sl_admin *admin, bool ready)
{
    admin->is_ready = ready;
}

void sl_admin_set_ca(struct sl_admin *admin, struct sl_ca *ca)
{
    struct sl_ca *old = admin->ca;

    admin->ca = sl_ca_ref(ca);
    sl_ca_unref(&old);
}

static void on_pause_over(void *arg)
{
    update_watch(arg);
}

static void on_ended(void *arg)
{
    struct sl_admin *admin = arg;

    admin->n_conns--;
}

/* Silent clients must not take the address away from others.  One that waits for its profile is
 * silent for a reason, and there is one of it at most. */
static void make_room(struct sl_admin *admin)
{
    if (admin->n_conns < MAX_CONNS)
        return;
    SL_LIST_FOREACH (it, &admin->conns) {
        struct sl_admin_conn *c = SL_CONTAINER(it, struct sl_admin_conn, in_admin);

        if (c->profile != NULL)
            continue;
        sl_admin_conn_close(c);
        return;
    }
}

static void on_acceptable(void *arg, unsigned events)
{
    struct sl_admin *admin = arg;
    struct sl_addr peer;
    int fd;
    enum sl_err err = sl_tcp_accept(admin->fd, &fd, &peer);

    (void)events;
    if (err == SL_OK) {
        make_room(admin);
        admin->n_conns++;
        sl_admin_conn_open(admin, sl_tcp_stream_new(admin->loop, fd), on_ended);
    } else if (err != SL_AGAIN) {
        sl_log(SL_LOG_WARN, "admin: cannot accept: %s", sl_err_text(err));
        sl_timer_start(admin->loop, &admin->pause, PAUSE_MS, on_pause_over, admin);
    }
    update_watch(admin);
}
