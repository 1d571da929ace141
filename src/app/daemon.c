/* daemon.c -- STARTING -> RUNNING -> DRAINING -> STOPPED; `sluice run`.
 *
 * The main thread serves the admin pages, hears signals and gives orders; all traffic is the
 * workers'.
 */
#include "app/daemon.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/profile.h"
#include "app/authority.h"
#include "app/cmd.h"
#include "app/config.h"
#include "app/identity.h"
#include "app/notify.h"
#include "app/options.h"
#include "app/reload.h"
#include "app/sandbox.h"
#include "app/worker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/mailbox.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/conn.h"
#include "proxy/snapshot.h"
#include "tls/leaf.h"
#include "tls/signer.h"
#include "tls/ticket_keys.h"

#define TICKET_ROTATE_S 43200u
/* A core's worth of certificates. */
#define SIGNATURES_PER_S 10000u
/* With fewer no loop can be made; libuv then aborts instead of saying so. */
#define MIN_FILES 32u

static void stop(struct sl_daemon *d)
{
    d->state = SL_DAEMON_STOPPED;
    sl_timer_stop(&d->grace);
    sl_loop_stop(d->loop);
}

static struct sl_listener *at_link(struct sl_link *l)
{
    return SL_CONTAINER(l, struct sl_listener, in_set);
}

/* -- ready -- */

static void say_ready(const struct sl_daemon *d)
{
    struct sl_buf text = { 0 };
    char admin[SL_ADDR_TEXT];
    const char *sep = " ";

    if (d->admin.admin != NULL) {
        sl_addr_text(&d->admin.bound, admin);
        sl_buf_addf(&text, "sluice: admin on %s\n", admin);
    }
    sl_buf_add_str(&text, SL_STR("sluice: ready, listening on"));
    SL_LIST_FOREACH (it, &d->listeners.active) {
        sl_buf_addf(&text, "%s%s", sep, at_link(it)->name);
        sep = ", ";
    }
    sl_buf_add_char(&text, '\n');
    sl_log_put(sl_buf_str(&text));
    sl_buf_fini(&text);
}

/* The address a client on this machine would use; false for unix sockets. */
static bool is_reachable(const struct sl_listener *l, char ret_text[SL_ADDR_TEXT])
{
    struct sl_addr a = l->bound;

    if (a.sa.sa_family == AF_UNIX)
        return false;
    if (a.sa.sa_family == AF_INET && a.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr))
        a.v6.sin6_addr = in6addr_loopback;
    sl_addr_text(&a, ret_text);
    return true;
}

static void say_what_to_try(const struct sl_daemon *d)
{
    char address[SL_ADDR_TEXT];
    struct sl_buf text = { 0 };

    if (!d->is_new_ca && isatty(STDERR_FILENO) == 0)
        return;
    SL_LIST_FOREACH (it, &d->listeners.active) {
        if (!is_reachable(at_link(it), address))
            continue;
        sl_buf_addf(&text, "sluice: try  curl --proxy http://%s --cacert %s https://example.com/\n",
                    address, d->ca_certificate);
        sl_log_put(sl_buf_str(&text));
        break;
    }
    sl_buf_fini(&text);
}

static void become_ready(struct sl_daemon *d)
{
    d->state = SL_DAEMON_RUNNING;
    SL_LIST_FOREACH (it, &d->listeners.active)
        for (uint32_t i = 0; i < d->n_workers; i++)
            sl_worker_listen(d->workers[i], at_link(it));
    if (d->admin.admin != NULL)
        sl_admin_set_ready(d->admin.admin, !d->is_signer_dead);
    if (d->is_new_ca)
        sl_log(SL_LOG_INFO,
               "made a certificate authority: clients must trust %s, this machine does after "
               "`sluice ca install` as root",
               d->ca_certificate);
    say_ready(d);
    say_what_to_try(d);
    sl_notify_ready();
}

/* -- reports of the workers -- */

static void on_configured(struct sl_daemon *d, const struct sl_fault *fault)
{
    if (d->state == SL_DAEMON_STARTING && fault->err != SL_OK) {
        d->status = sl_cmd_failed(fault->err, fault->text);
        stop(d);
        return;
    }
    if (fault->err != SL_OK)
        sl_log(SL_LOG_ERROR, "a worker goes on with the old configuration: %s", fault->text);
    if (d->state == SL_DAEMON_STARTING && --d->n_pending == 0)
        become_ready(d);
}

/* Clients that come now are told so by the kernel. */
static void close_listeners(struct sl_daemon *d)
{
    SL_LIST_FOREACH (it, &d->listeners.active)
        sl_listener_close(at_link(it));
}

static void on_report(void *arg, const struct sl_worker_report *r)
{
    struct sl_daemon *d = arg;

    if (d->state == SL_DAEMON_STOPPED)
        return;
    switch (r->event) {
    case SL_WORKER_CONFIGURED:
        on_configured(d, &r->fault);
        break;
    case SL_WORKER_UNLISTENED:
        if (--r->listener->n_using == 0)
            sl_listener_close(r->listener);
        break;
    case SL_WORKER_DRAINING:
        if (--d->n_accepting == 0)
            close_listeners(d);
        break;
    case SL_WORKER_DRAINED:
        if (--d->n_pending == 0)
            stop(d);
        break;
    }
}

/* -- signals -- */

static void on_grace_over(void *arg)
{
    sl_log(SL_LOG_WARN, "shutdown_grace is over: closing what is left");
    stop(arg);
}

static void drain(struct sl_daemon *d)
{
    d->state = SL_DAEMON_DRAINING;
    d->n_pending = d->n_accepting = d->n_workers;
    sl_notify_stopping();
    if (d->admin.admin != NULL)
        sl_admin_set_ready(d->admin.admin, false);
    for (uint32_t i = 0; i < d->n_workers; i++)
        sl_worker_drain(d->workers[i]);
    sl_timer_start(d->loop, &d->grace, d->config->shutdown_grace_ms, on_grace_over, d);
}

static void on_end_signal(void *arg, int signum)
{
    struct sl_daemon *d = arg;

    (void)signum;
    if (d->state == SL_DAEMON_RUNNING)
        drain(d);
    else
        stop(d);
}

static void count_reload(const char *result)
{
    struct sl_metric_family *family =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_config_reloads_total",
                         "Reloads of the configuration, by how they ended.", "result");

    sl_metric_add(sl_metric_child(family, (const char *const[]){ result }), 1);
}

/* A path that the shell can open. */
static void say_what_bounds(const struct sl_daemon *d, const char *error)
{
    if (d->config->security.sandbox == SL_SANDBOX_ON && strstr(error, strerror(EACCES)) != NULL)
        sl_log(SL_LOG_INFO, "the sandbox is made at the start: files in directories that were not "
                            "named then need a restart");
}

static void on_reload_signal(void *arg, int signum)
{
    struct sl_daemon *d = arg;
    struct sl_reload_error error = { "" };

    (void)signum;
    if (d->state != SL_DAEMON_RUNNING)
        return;
    sl_notify_reloading();
    if (sl_reload(d, &error) == SL_OK) {
        count_reload("ok");
        sl_log(SL_LOG_INFO, "reloaded %s", d->config->path != NULL ? d->config->path : "defaults");
    } else {
        count_reload("failed");
        sl_log(SL_LOG_ERROR, "reload failed, the old configuration stays in force: %s", error.text);
        say_what_bounds(d, error.text);
    }
    sl_notify_ready();
}

static void on_reopen_signal(void *arg, int signum)
{
    struct sl_daemon *d = arg;

    (void)signum;
    sl_access_log_reopen(d->shared.access_log);
}

static void on_handover_signal(void *arg, int signum)
{
    (void)arg;
    (void)signum;
    sl_log(SL_LOG_WARN, "SIGUSR2: handing sockets over is not supported by this version");
}

static enum sl_err hear_signals(struct sl_daemon *d)
{
    static const struct {
        int signum;
        sl_signal_fn *fn;
    } heard[SL_DAEMON_SIGNALS] = {
        { SIGTERM, on_end_signal },      { SIGINT, on_end_signal },
        { SIGHUP, on_reload_signal },    { SIGUSR1, on_reopen_signal },
        { SIGUSR2, on_handover_signal },
    };

    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < SL_DAEMON_SIGNALS; i++) {
        d->signals[i] = sl_signal_new(d->loop, heard[i].signum, heard[i].fn, d);
        if (d->signals[i] == NULL)
            return SL_LIMIT;
    }
    return SL_OK;
}

/* -- the signer -- */

/* What replaces it needs rights that this process has given up. */
static void on_signer_death(void *arg, unsigned events)
{
    struct sl_daemon *d = arg;

    (void)events;
    sl_watch_free(&d->signer_death);
    d->is_signer_dead = true;
    sl_log(SL_LOG_ERROR, "the signer was killed with its keeper: no certificate can be signed "
                         "before a restart");
    if (d->admin.admin != NULL)
        sl_admin_set_ready(d->admin.admin, false);
}

static void watch_signer(struct sl_daemon *d)
{
    int fd = sl_signer_death_fd(d->signer);

    if (fd < 0)
        return;
    d->signer_death = sl_watch_new(d->loop, fd, on_signer_death, d);
    sl_watch_want(d->signer_death, SL_READABLE);
}

/* -- workers -- */

static uint32_t count_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n > 0 ? (uint32_t)n : 1;
}

static enum sl_err start_workers(struct sl_daemon *d)
{
    uint32_t wanted = d->config->workers != 0 ? (uint32_t)d->config->workers : count_cpus();

    d->workers = sl_zalloc(wanted * sizeof(struct sl_worker *));
    for (; d->n_workers < wanted; d->n_workers++) {
        struct sl_worker *w = sl_worker_new(&(struct sl_worker_conf){
            .owner = d->mailbox, .on_report = on_report, .arg = d, .index = d->n_workers });

        if (w == NULL)
            return SL_LIMIT;
        d->workers[d->n_workers] = w;
        sl_worker_configure(w, d->first);
    }
    d->n_pending = wanted;
    return SL_OK;
}

static bool stop_workers(struct sl_daemon *d)
{
    bool ended = true;

    for (uint32_t i = 0; i < d->n_workers; i++)
        sl_worker_stop(d->workers[i]);
    for (uint32_t i = 0; ended && i < d->n_workers; i++)
        ended = sl_worker_join(d->workers[i]);
    return ended;
}

static void free_workers(struct sl_daemon *d)
{
    for (uint32_t i = 0; i < d->n_workers; i++)
        sl_worker_free(&d->workers[i]);
    sl_free(d->workers);
}

/* -- start and end -- */

/* A proxy needs two descriptors a connection; the soft limit is there for select(2), which is not
 * used. */
static enum sl_err set_process_limits(void)
{
    struct rlimit files = { 0 };

    /* The authority's key must not end up in a core file. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return SL_OK;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur < MIN_FILES ? SL_LIMIT : SL_OK;
}

static enum sl_err init(struct sl_daemon *d)
{
    sl_conn_register();
    sl_listeners_init(&d->listeners);
    d->loop = sl_loop_new();
    if (d->loop == NULL)
        return SL_LIMIT;
    d->mailbox = sl_mailbox_new(d->loop);
    d->shared.leaf_keys = sl_leaf_keys_new();
    d->shared.tickets = sl_ticket_keys_new(TICKET_ROTATE_S);
    d->shared.admission = sl_admission_new(&(struct sl_admission_conf){
        .connections = UINT32_MAX, .connections_per_client = UINT32_MAX });
    watch_signer(d);
    return hear_signals(d);
}

static void fini_admin(struct sl_admin_socket *socket)
{
    sl_admin_free(&socket->admin);
    if (socket->bound.len != 0 && socket->bound.sa.sa_family == AF_UNIX)
        (void)unlink(socket->bound.un.sun_path);
}

/* A worker that hangs may yet wake up and use what it shares: none of that is freed or closed. */
static void leave_workers_behind(const struct sl_daemon *d)
{
    sl_listeners_remove_files(&d->listeners);
    sl_log(SL_LOG_ERROR, "a worker does not end: leaving it behind");
    sl_log_stop();
    _exit(SL_EXIT_FAILED);
}

static void fini(struct sl_daemon *d)
{
    bool ended = stop_workers(d);

    fini_admin(&d->admin);
    if (!ended)
        leave_workers_behind(d);
    sl_listeners_fini(&d->listeners);
    free_workers(d);
    sl_timer_stop(&d->grace);
    sl_memory_watch_stop(&d->memory);
    sl_watch_free(&d->signer_death);
    for (size_t i = 0; i < SL_DAEMON_SIGNALS; i++)
        sl_signal_free(&d->signals[i]);
    sl_mailbox_free(&d->mailbox);
    sl_loop_free(&d->loop);
    sl_snapshot_unref(&d->first);
    sl_access_log_free(&d->shared.access_log);
    sl_admission_free(&d->shared.admission);
    sl_ticket_keys_free(&d->shared.tickets);
    sl_leaf_keys_free(&d->shared.leaf_keys);
    sl_config_free(&d->config);
    sl_signer_unref(&d->signer);
    sl_free(d->state_dir);
    sl_chunk_drain();
    sl_log_stop();
}

/* Where nobody has said what is missing, it is descriptors. */
static int failed(enum sl_err err, const struct sl_reload_error *error)
{
    bool is_unsaid = err == SL_LIMIT && error->text[0] == '\0';

    return sl_cmd_failed(err, is_unsaid ? "no descriptors left: raise the limit of open files"
                                        : error->text);
}

/* What this process gives up: it has to be done while it is alone. */
static enum sl_err enter_sandbox(struct sl_daemon *d, struct sl_config *config,
                                 struct sl_fault *fault)
{
    struct sl_authority files;
    struct sl_signer_paths paths;
    enum sl_err err = sl_authority_find(config, d->state_dir, &files, fault);

    /* Nothing is made for nobody. */
    if (err == SL_OK && config->security.user != NULL)
        err = sl_identity_check(config->security.user, fault);
    if (err != SL_OK)
        return err;
    files.signer = d->signer;
    err = sl_authority_ensure(&files, &d->is_new_ca, fault);
    if (err == SL_OK)
        err = sl_sandbox_enter(config, &files, fault);
    if (err != SL_OK || config->security.sandbox == SL_SANDBOX_OFF)
        return err;
    paths = (struct sl_signer_paths){ .certificate = files.certificate, .key = files.key };
    return sl_signer_seal(d->signer, &paths, fault);
}

/* Reads the configuration and has this process be what it says. */
static enum sl_err prepare(struct sl_daemon *d, struct sl_config **ret_config,
                           struct sl_reload_error *error)
{
    struct sl_yaml_error yaml = { "" };
    struct sl_fault fault = { 0 };
    struct sl_log_conf log;
    enum sl_err err = sl_config_load(&d->options->config, ret_config, &yaml);

    if (err != SL_OK) {
        (void)snprintf(error->text, sizeof(error->text), "%s", yaml.text);
        return err;
    }
    log = sl_generation_log(*ret_config);
    sl_log_configure(&log);
    d->state_dir = sl_authority_state_dir(d->options->state_dir);
    err = enter_sandbox(d, *ret_config, &fault);
    if (err == SL_OK)
        return SL_OK;
    sl_config_free(ret_config);
    (void)snprintf(error->text, sizeof(error->text), "%s", fault.text);
    return err;
}

static int serve(struct sl_daemon *d, struct sl_config *config)
{
    struct sl_reload_error error = { "" };
    enum sl_err err;

    sl_log_start();
    err = init(d);
    if (err == SL_OK)
        err = sl_reload_first(d, config, &error);
    else
        sl_config_free(&config);
    if (err == SL_OK)
        err = start_workers(d);
    sl_snapshot_unref(&d->first);
    if (err == SL_OK)
        sl_loop_run(d->loop);
    else
        d->status = failed(err, &error);
    d->state = SL_DAEMON_STOPPED;
    fini(d);
    return d->status;
}

int sl_cmd_run(const struct sl_options *options)
{
    struct sl_daemon d = { .options = options, .status = SL_EXIT_OK };
    struct sl_config *config = NULL;
    struct sl_reload_error error = { "" };
    struct sl_fault fault = { 0 };
    enum sl_err err;

    sl_profile_leave_to_threads();
    err = set_process_limits();
    if (err != SL_OK)
        return failed(err, &error);
    /* Before there are threads, and while it has all rights: it forks. */
    err = sl_signer_start(SIGNATURES_PER_S, &d.signer, &fault);
    if (err != SL_OK)
        return sl_cmd_failed(err, fault.text);
    err = prepare(&d, &config, &error);
    if (err == SL_OK)
        return serve(&d, config);
    sl_signer_unref(&d.signer);
    sl_free(d.state_dir);
    return failed(err, &error);
}
