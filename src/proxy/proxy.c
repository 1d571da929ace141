/* proxy.c -- listeners accept, connections live in one ring, the env in force is handed to new
 * ones.
 *
 * When descriptors run out, accepting pauses for a moment instead of spinning; that is said once.
 */
#include "proxy/proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "proxy/admission.h"
#include "proxy/conn.h"
#include "proxy/snapshot.h"
#include "tls/ca.h"
#include "tls/signer_line.h"

#define ACCEPT_ROUND 32 /* connections taken a wake-up, so that workers share a burst */
#define PAUSE_MS 100u   /* after running out of descriptors */

#define TOO_MANY                                                                                   \
    "HTTP/1.1 429 Too Many Requests\r\n"                                                           \
    "Proxy-Status: sluice; error=http_request_denied; details=\"too many connections\"\r\n"        \
    "Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define NO_MEMORY                                                                                  \
    "HTTP/1.1 503 Service Unavailable\r\n"                                                         \
    "Proxy-Status: sluice; error=proxy_internal_response; details=\"out of memory\"\r\n"           \
    "Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

struct listener {
    struct sl_link in_proxy;
    struct sl_proxy *proxy;
    int fd;
    const char *name;
    struct sl_watch *watch;
    struct sl_timer pause;
};

struct member {
    struct sl_link in_proxy;
    struct sl_conn *conn;
    struct sl_proxy *proxy;
};

struct sl_proxy {
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_signer_line *signer; /* from the first configuration whose key it holds */
    struct sl_env *env;
    struct sl_link listeners, members;
    size_t n_members;
    uint64_t next_id;
    bool is_paused; /* said already */
    void (*drained)(void *arg);
    void *drained_arg;
    struct sl_task drained_task;
    struct sl_metric *open, *refused;
};

static void on_pause_over(void *arg);
static void on_drained(void *arg);
static sl_watch_fn on_acceptable;
static sl_conn_fn on_ended;

struct sl_proxy *sl_proxy_new(struct sl_loop *loop, struct sl_mailbox *mailbox)
{
    struct sl_proxy *p = sl_zalloc(sizeof(*p));

    *p = (struct sl_proxy){ .loop = loop, .mailbox = mailbox };
    p->drained_task = (struct sl_task){ .fn = on_drained, .arg = p };
    sl_list_init(&p->listeners);
    sl_list_init(&p->members);
    p->open = sl_metric_child(sl_metric_family(SL_METRIC_GAUGE, "sluice_open_connections",
                                               "Client connections open.", ""),
                              NULL);
    p->refused =
        sl_metric_child(sl_metric_family(SL_METRIC_COUNTER, "sluice_connections_refused_total",
                                         "Client connections over a limit.", ""),
                        NULL);
    return p;
}

static void listener_free(struct listener *l)
{
    sl_link_remove(&l->in_proxy);
    sl_timer_stop(&l->pause);
    sl_watch_free(&l->watch);
    sl_free(l);
}

static void stop_listening(struct sl_proxy *p)
{
    while (!sl_list_is_empty(&p->listeners))
        listener_free(SL_CONTAINER(p->listeners.next, struct listener, in_proxy));
}

static void member_free(struct member *m)
{
    struct sl_proxy *p = m->proxy;

    sl_admission_leave(p->env->conf->admission, sl_conn_peer(m->conn));
    sl_link_remove(&m->in_proxy);
    sl_conn_free(&m->conn);
    sl_free(m);
    p->n_members--;
    sl_metric_add(p->open, -1);
}

void sl_proxy_free(struct sl_proxy **proxy)
{
    struct sl_proxy *p = *proxy;

    if (p == NULL)
        return;
    *proxy = NULL;
    sl_task_cancel(p->loop, &p->drained_task);
    stop_listening(p);
    while (!sl_list_is_empty(&p->members))
        member_free(SL_CONTAINER(p->members.next, struct member, in_proxy));
    sl_env_unref(&p->env);
    sl_signer_line_close(&p->signer);
    sl_free(p);
}

/* There is one signer, whatever the configuration. */
static struct sl_signer_line *line_to_signer(struct sl_proxy *p, const struct sl_snapshot *snapshot)
{
    struct sl_ca *ca = sl_snapshot_conf(snapshot)->ca;

    if (p->signer == NULL && ca != NULL && sl_ca_signer(ca) != NULL)
        p->signer = sl_signer_line_new(p->loop, sl_ca_signer(ca));
    return p->signer;
}

enum sl_err sl_proxy_configure(struct sl_proxy *p, struct sl_snapshot *snapshot,
                               struct sl_fault *fault)
{
    struct sl_env *env = NULL;
    enum sl_err err = sl_env_new(p->loop, p->mailbox, snapshot, &env, fault);

    if (err != SL_OK)
        return err;
    env->signer = line_to_signer(p, snapshot);
    SL_LIST_FOREACH (it, &p->members)
        sl_conn_set_env(SL_CONTAINER(it, struct member, in_proxy)->conn, env);
    sl_env_unref(&p->env);
    p->env = env;
    return SL_OK;
}

struct sl_env *sl_proxy_env(const struct sl_proxy *p)
{
    return p->env;
}

size_t sl_proxy_n_conns(const struct sl_proxy *p)
{
    return p->n_members;
}

/* -- accepting -- */

static void admit(struct listener *l, int fd, const struct sl_addr *peer)
{
    struct sl_proxy *p = l->proxy;
    struct member *m;
    enum sl_err err = sl_admission_enter(p->env->conf->admission, peer);

    if (err != SL_OK) {
        sl_metric_add(p->refused, 1);
        sl_tcp_dismiss(fd, err == SL_LIMIT ? SL_STR(NO_MEMORY) : SL_STR(TOO_MANY));
        return;
    }
    m = sl_zalloc(sizeof(*m));
    m->proxy = p;
    sl_list_add(&p->members, &m->in_proxy);
    p->n_members++;
    sl_metric_add(p->open, 1);
    m->conn = sl_conn_new(&(struct sl_conn_conf){ .env = p->env,
                                                  .stream = sl_tcp_stream_new(p->loop, fd),
                                                  .peer = *peer,
                                                  .listener = sl_str_of(l->name),
                                                  .id = ++p->next_id },
                          on_ended, m);
}

static void pause_accepting(struct listener *l)
{
    struct sl_proxy *p = l->proxy;

    if (!p->is_paused)
        sl_log(SL_LOG_ERROR, "out of file descriptors: accepting is paused until some are free "
                             "(raise LimitNOFILE or lower limits.connections)");
    p->is_paused = true;
    sl_watch_want(l->watch, 0);
    sl_timer_start(p->loop, &l->pause, PAUSE_MS, on_pause_over, l);
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;

    sl_watch_want(l->watch, SL_READABLE);
}

static enum sl_err accept_some(struct listener *l, unsigned max)
{
    enum sl_err err = SL_OK;

    for (unsigned i = 0; i < max && err == SL_OK; i++) {
        struct sl_addr peer;
        int fd;

        err = sl_tcp_accept(l->fd, &fd, &peer);
        if (err == SL_OK) {
            l->proxy->is_paused = false;
            admit(l, fd, &peer);
        }
    }
    return err;
}

static void on_acceptable(void *arg, unsigned events)
{
    struct listener *l = arg;

    (void)events;
    if (accept_some(l, ACCEPT_ROUND) == SL_LIMIT)
        pause_accepting(l);
}

void sl_proxy_listen(struct sl_proxy *p, int fd, const char *name)
{
    struct listener *l = sl_zalloc(sizeof(*l));

    *l = (struct listener){ .proxy = p, .fd = fd, .name = name };
    sl_list_add(&p->listeners, &l->in_proxy);
    l->watch = sl_watch_new(p->loop, fd, on_acceptable, l);
    if (l->watch == NULL)
        sl_log(SL_LOG_ERROR, "a worker cannot accept on %s: %s", name, strerror(errno));
    sl_watch_want(l->watch, SL_READABLE);
}

/* Who waits in the socket's queue has connected, and would be reset with it. */
void sl_proxy_unlisten(struct sl_proxy *p, int fd)
{
    SL_LIST_FOREACH (it, &p->listeners) {
        struct listener *l = SL_CONTAINER(it, struct listener, in_proxy);

        if (l->fd == fd) {
            (void)accept_some(l, SOMAXCONN);
            listener_free(l);
            return;
        }
    }
}

/* -- ending -- */

static void report_drained(struct sl_proxy *p)
{
    if (p->drained != NULL && p->n_members == 0)
        sl_task_post(p->loop, &p->drained_task);
}

static void on_drained(void *arg)
{
    struct sl_proxy *p = arg;
    void (*drained)(void *) = p->drained;

    p->drained = NULL;
    if (drained != NULL)
        drained(p->drained_arg);
}

static void on_ended(void *arg, struct sl_conn *conn)
{
    struct member *m = arg;
    struct sl_proxy *p = m->proxy;

    (void)conn;
    member_free(m);
    report_drained(p);
}

void sl_proxy_drain(struct sl_proxy *p, void (*drained)(void *arg), void *arg)
{
    p->drained = drained;
    p->drained_arg = arg;
    stop_listening(p);
    SL_LIST_FOREACH (it, &p->members)
        sl_conn_drain(SL_CONTAINER(it, struct member, in_proxy)->conn);
    report_drained(p);
}
