/* profile.c -- a running profile is its timer: when that fires, the profiler stops and its file is
 * read.
 *
 * Invariant: is_running exactly while a struct sl_profile is alive.  The profiler writes to a file
 * by name; this one is memory, so nothing is left behind whatever happens.
 */
#include "admin/profile.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#if SL_HAVE_PROFILER
#include <gperftools/profiler.h>
#endif

#include "base/buf.h"
#include "base/mem.h"
#include "io/loop.h"

#define READ_SIZE ((size_t)65536)

struct sl_profile {
    struct sl_timer end;
    int fd; /* of the profiler's file */
    sl_profile_fn *done;
    void *arg;
};

static atomic_bool is_running;

bool sl_profile_parse_seconds(struct sl_str query, uint64_t *ret_seconds)
{
    const struct sl_str name = SL_STR("seconds=");
    uint64_t seconds = SL_PROFILE_DEFAULT_S;
    struct sl_str member;

    while (sl_str_next(&query, '&', &member))
        if (sl_str_has_prefix(member, name) &&
            !sl_str_to_u64(sl_str_skip(member, name.n), &seconds))
            return false;
    if (seconds < 1 || seconds > SL_PROFILE_MAX_S)
        return false;
    *ret_seconds = seconds;
    return true;
}

/* -- the profiler -- */

#if SL_HAVE_PROFILER

static bool profiler_start(const char *path)
{
    return ProfilerStart(path) != 0;
}

static void profiler_stop(void)
{
    ProfilerStop();
}

static void mask_signal(int how)
{
    sigset_t prof;

    sigemptyset(&prof);
    sigaddset(&prof, SIGPROF);
    pthread_sigmask(how, &prof, NULL);
}

void sl_profile_register_thread(void)
{
    mask_signal(SIG_UNBLOCK);
    ProfilerRegisterThread();
}

void sl_profile_leave_to_threads(void)
{
    mask_signal(SIG_BLOCK);
}

#else

static bool profiler_start(const char *path)
{
    (void)path;
    return false;
}

static void profiler_stop(void)
{
}

void sl_profile_register_thread(void)
{
}

void sl_profile_leave_to_threads(void)
{
}

#endif

/* -- the operation -- */

static void on_end(void *arg);

/* Answers the file the profile goes to. */
static enum sl_err begin(int *ret_fd, struct sl_fault *fault)
{
    int fd = memfd_create("sluice-profile", MFD_CLOEXEC);
    char path[32];

    if (fd < 0)
        return sl_fault_set(fault, SL_INTERNAL, "no room for a profile");
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (profiler_start(path)) {
        *ret_fd = fd;
        return SL_OK;
    }
    close(fd);
    return sl_fault_set(fault, SL_INTERNAL, "the profiler does not start");
}

enum sl_err sl_profile_start(const struct sl_profile_conf *conf, sl_profile_fn *done, void *arg,
                             struct sl_profile **ret_profile, struct sl_fault *fault)
{
    struct sl_profile *p;
    int fd = -1;

    if (!SL_HAVE_PROFILER)
        return sl_fault_set(fault, SL_NOT_IMPLEMENTED, "built without the profiler");
    if (atomic_exchange(&is_running, true))
        return sl_fault_set(fault, SL_TOO_MANY, "a profile is being taken");
    if (begin(&fd, fault) != SL_OK) {
        atomic_store(&is_running, false);
        return fault->err;
    }
    p = sl_zalloc(sizeof(*p));
    *p = (struct sl_profile){ .fd = fd, .done = done, .arg = arg };
    sl_timer_start(conf->loop, &p->end, conf->seconds * 1000, on_end, p);
    *ret_profile = p;
    return SL_OK;
}

void sl_profile_cancel(struct sl_profile **profile)
{
    struct sl_profile *p = *profile;

    if (p == NULL)
        return;
    *profile = NULL;
    if (sl_timer_is_armed(&p->end))
        profiler_stop();
    sl_timer_stop(&p->end);
    close(p->fd);
    sl_free(p);
    atomic_store(&is_running, false);
}

static enum sl_err read_profile(int fd, struct sl_buf *out, struct sl_fault *fault)
{
    ssize_t n;

    do {
        n = pread(fd, sl_buf_reserve(out, READ_SIZE), READ_SIZE, (off_t)out->len);
        if (n > 0)
            sl_buf_commit(out, (size_t)n);
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return sl_fault_errno(fault, errno, "read the profile");
    return SL_OK;
}

static void on_end(void *arg)
{
    struct sl_profile *p = arg;
    sl_profile_fn *done = p->done;
    void *done_arg = p->arg;
    struct sl_buf text = { 0 };
    struct sl_fault fault;
    enum sl_err err;

    profiler_stop();
    err = read_profile(p->fd, &text, &fault);
    sl_profile_cancel(&p);
    if (err == SL_OK)
        done(done_arg, sl_buf_str(&text), NULL);
    else
        done(done_arg, SL_STR(""), &fault);
    sl_buf_fini(&text);
}
