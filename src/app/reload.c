/* reload.c -- prepare, then commit; a change that is half prepared is undone as a whole. */
#include "app/reload.h"

#include <unistd.h>

#include "admin/admin.h"
#include "app/authority.h"
#include "app/config.h"
#include "app/daemon.h"
#include "app/options.h"
#include "app/sandbox.h"
#include "app/worker.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/snapshot.h"
#include "tls/ca.h"

struct change {
    struct sl_daemon *daemon;
    struct sl_config *config;
    struct sl_ca *ca;
    struct sl_authority authority;
    struct sl_listener_plan plan;
    struct sl_addr admin_bound; /* len 0: off */
    int admin_fd;               /* -1: none was opened */
    struct sl_snapshot *snapshot;
    struct sl_fault fault;
};

static bool is_first(const struct change *c)
{
    return c->daemon->config == NULL;
}

/* -- preparing; each step leaves things as they were when it fails -- */

static enum sl_err prepare_authority(struct change *c)
{
    struct sl_daemon *d = c->daemon;
    enum sl_err err = sl_authority_find(c->config, d->state_dir, &c->authority, &c->fault);

    c->authority.signer = d->signer;
    return err != SL_OK ? err : sl_authority_load(&c->authority, &c->ca, &c->fault);
}

static bool is_admin_kept(const struct change *c)
{
    const struct sl_addr *asked = &c->config->admin, *was = &c->daemon->admin.asked;

    if (asked->len == 0 || was->len == 0)
        return asked->len == was->len;
    return sl_addr_eq(asked, was);
}

static enum sl_err prepare_admin(struct change *c)
{
    if (is_admin_kept(c)) {
        c->admin_bound = c->daemon->admin.bound;
        return SL_OK;
    }
    if (c->config->admin.len == 0)
        return SL_OK;
    return sl_listeners_bind(&c->plan, &c->config->admin, &c->admin_fd, &c->admin_bound, &c->fault);
}

static size_t add_own(struct sl_addr *own, size_t n, const struct sl_link *ring)
{
    SL_LIST_FOREACH (it, ring)
        own[n++] = SL_CONTAINER(it, struct sl_listener, in_set)->bound;
    return n;
}

static void prepare_snapshot(struct change *c)
{
    struct sl_addr own[SL_CONFIG_MAX_LISTENERS + 1];
    size_t n = add_own(own, 0, &c->plan.kept);

    n = add_own(own, n, &c->plan.opened);
    if (c->admin_bound.len != 0)
        own[n++] = c->admin_bound;
    c->snapshot = sl_generation_snapshot(&(struct sl_generation_conf){
        .config = c->config, .shared = &c->daemon->shared, .ca = c->ca, .own = own, .n_own = n });
}

static enum sl_err prepare_access_log(struct change *c)
{
    struct sl_access_log_conf conf = sl_generation_access_log(c->config);
    struct sl_access_log **log = &c->daemon->shared.access_log;

    return *log == NULL ? sl_access_log_new(&conf, log, &c->fault)
                        : sl_access_log_configure(*log, &conf, &c->fault);
}

static void undo_admin(struct change *c)
{
    if (c->admin_fd < 0)
        return;
    if (c->admin_bound.sa.sa_family == AF_UNIX)
        (void)unlink(c->admin_bound.un.sun_path);
    close(c->admin_fd);
}

/* The access log comes last: once it writes elsewhere, nothing more may fail.  Only the very first
 * time it comes before the snapshot, which refers to it; the workers then find out about files of
 * certificates. */
static enum sl_err prepare_tools(struct change *c)
{
    enum sl_err err = SL_OK;

    if (is_first(c))
        err = prepare_access_log(c);
    if (err != SL_OK)
        return err;
    prepare_snapshot(c);
    if (is_first(c))
        return SL_OK;
    err = sl_generation_rehearse(c->snapshot, &c->fault);
    return err != SL_OK ? err : prepare_access_log(c);
}

static enum sl_err prepare_sockets_and_tools(struct change *c)
{
    struct sl_daemon *d = c->daemon;
    enum sl_err err = sl_listeners_plan(&d->listeners, c->config->listeners, c->config->n_listeners,
                                        &c->plan, &c->fault);

    if (err != SL_OK)
        return err;
    err = prepare_admin(c);
    if (err == SL_OK)
        err = prepare_tools(c);
    if (err != SL_OK) {
        undo_admin(c);
        sl_listeners_undo(&d->listeners, &c->plan);
    }
    return err;
}

/* -- committing -- */

static void close_admin(struct sl_admin_socket *socket)
{
    sl_admin_free(&socket->admin);
    if (socket->bound.len != 0 && socket->bound.sa.sa_family == AF_UNIX)
        (void)unlink(socket->bound.un.sun_path);
}

static void commit_admin(struct change *c)
{
    struct sl_admin_socket *socket = &c->daemon->admin;

    if (!is_admin_kept(c)) {
        close_admin(socket);
        *socket = (struct sl_admin_socket){ .asked = c->config->admin, .bound = c->admin_bound };
        if (c->admin_fd >= 0)
            socket->admin = sl_admin_new(c->daemon->loop, c->admin_fd);
        c->daemon->listeners.admin_fd = c->admin_fd;
        c->daemon->listeners.admin_bound = c->admin_bound;
    }
    if (socket->admin == NULL)
        return;
    sl_admin_set_ca(socket->admin, c->ca);
    sl_admin_set_ready(socket->admin,
                       c->daemon->state == SL_DAEMON_RUNNING && !c->daemon->is_signer_dead);
}

static void order_workers(struct change *c)
{
    struct sl_daemon *d = c->daemon;

    for (uint32_t i = 0; i < d->n_workers; i++) {
        sl_worker_configure(d->workers[i], c->snapshot);
        SL_LIST_FOREACH (it, &c->plan.opened)
            sl_worker_listen(d->workers[i], SL_CONTAINER(it, struct sl_listener, in_set));
        SL_LIST_FOREACH (it, &c->plan.dropped)
            sl_worker_unlisten(d->workers[i], SL_CONTAINER(it, struct sl_listener, in_set));
    }
}

static void say_sockets(const struct change *c)
{
    SL_LIST_FOREACH (it, &c->plan.opened)
        sl_log(SL_LOG_INFO, "now listening on %s",
               SL_CONTAINER(it, struct sl_listener, in_set)->name);
    SL_LIST_FOREACH (it, &c->plan.dropped)
        sl_log(SL_LOG_INFO, "no longer listening on %s",
               SL_CONTAINER(it, struct sl_listener, in_set)->name);
}

static bool is_other_security(const struct sl_config_security *a,
                              const struct sl_config_security *b)
{
    return a->sandbox != b->sandbox || !sl_str_eq(sl_str_of(a->user), sl_str_of(b->user));
}

static void commit(struct change *c)
{
    struct sl_daemon *d = c->daemon;
    struct sl_log_conf log = sl_generation_log(c->config);
    struct sl_admission_conf admission = sl_generation_admission(c->config);

    sl_log_configure(&log);
    sl_admission_configure(d->shared.admission, &admission);
    sl_memory_watch_configure(&d->memory, d->loop, d->shared.admission, c->config->limits.memory);
    commit_admin(c);
    order_workers(c);
    if (is_first(c))
        d->first = sl_snapshot_ref(c->snapshot);
    else
        say_sockets(c);
    if (!is_first(c) && c->config->workers != d->config->workers)
        sl_log(SL_LOG_WARN, "workers: the new number counts from the next start on");
    if (!is_first(c) && is_other_security(&c->config->security, &d->config->security))
        sl_log(SL_LOG_WARN, "security: what is new counts from the next start on");
    sl_listeners_commit(&d->listeners, &c->plan);
    sl_config_free(&d->config);
    d->config = c->config;
    d->ca_certificate = c->authority.certificate;
    c->config = NULL;
}

static enum sl_err put_into_force(struct change *c, struct sl_reload_error *error)
{
    enum sl_err err = prepare_authority(c);

    if (err == SL_OK)
        err = sl_sandbox_try(c->config, &c->fault);
    if (err == SL_OK)
        err = prepare_sockets_and_tools(c);
    if (err == SL_OK)
        commit(c);
    else
        (void)snprintf(error->text, sizeof(error->text), "%s",
                       c->fault.text[0] != '\0' ? c->fault.text : sl_err_text(err));
    sl_snapshot_unref(&c->snapshot);
    sl_ca_unref(&c->ca);
    sl_config_free(&c->config);
    return err;
}

enum sl_err sl_reload_first(struct sl_daemon *d, struct sl_config *config,
                            struct sl_reload_error *error)
{
    struct change c = { .daemon = d, .config = config, .admin_fd = -1 };

    return put_into_force(&c, error);
}

enum sl_err sl_reload(struct sl_daemon *d, struct sl_reload_error *error)
{
    struct change c = { .daemon = d, .admin_fd = -1 };
    struct sl_yaml_error yaml = { "" };
    enum sl_err err = sl_config_load(&d->options->config, &c.config, &yaml);

    if (err == SL_OK)
        return put_into_force(&c, error);
    (void)snprintf(error->text, sizeof(error->text), "%s", yaml.text);
    return err;
}
