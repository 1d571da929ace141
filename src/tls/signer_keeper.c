/* signer_keeper.c -- waits for the process that signs, and starts another should it die. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/capability.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tls/signer_internal.h"

#define SECOND_US 1000000u
/* After one that lived for less than a second, before the next. */
#define PAUSE_MS 100
#define KEY_MEMORY ((size_t)256 * 1024)
#define KEY_MEMORY_UNIT 32

/* Whoever stops the proxy signals the whole group, or every process of the service, and the proxy
 * goes on to forge until it has drained: the end is that of its socket. */
static void ignore_signals(void)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE };

    for (size_t i = 0; i < SL_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
}

/* Under a limit it is allocations that would fail, later. */
static bool may_lock_all(void)
{
    struct rlimit locked = { 0 };
    bool is_able = geteuid() == 0 && prctl(PR_CAPBSET_READ, CAP_IPC_LOCK, 0, 0, 0) == 1;

    return is_able || (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY);
}

/* Where not all of the memory may be locked, private keys have a part that is. */
static void lock_memory(void)
{
    if (may_lock_all())
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    else
        (void)CRYPTO_secure_malloc_init(KEY_MEMORY, KEY_MEMORY_UNIT);
}

/* Of root's, to read and make files that are others', and to lock what memory is still to come. */
static void shed_rights(void)
{
    struct sl_fault fault = { 0 };

    if (sl_capability_keep(SL_CAPABILITY(CAP_DAC_OVERRIDE) | SL_CAPABILITY(CAP_IPC_LOCK), &fault) !=
        SL_OK)
        sl_log(SL_LOG_WARN, "sluice-signer keeps its rights: %s", fault.text);
}

/* What the kernel or the limits of the system do not allow is done without.  The keeper as well as
 * the signer: who traces the one has the other. */
static void harden(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)prctl(PR_SET_NAME, "sluice-signer");
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Standard error stays, for those who look for the cause of a death. */
static int keep_only(int fd)
{
    int kept = STDERR_FILENO + 1, null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int standard = STDIN_FILENO; null >= 0 && standard < STDERR_FILENO; standard++)
        (void)dup2(null, standard);
    if (fd != kept && dup2(fd, kept) < 0)
        return fd;
    (void)close_range((unsigned)kept + 1, ~0u, 0);
    return kept;
}

/* One that finds no room is one of many, and they say the same. */
static void say_lost(int fd)
{
    const struct sl_signer_message m = { 0 };

    (void)send(fd, &m, sl_signer_size(&m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool is_deserted(int fd)
{
    struct pollfd proxy = { .fd = fd };

    return poll(&proxy, 1, 0) > 0 && (proxy.revents & POLLHUP) != 0;
}

/* Back when it has died.  It hears itself when the proxy has gone, unless it hangs. */
static void await_death(pid_t pid, int fd)
{
    struct pollfd ends[] = { { .fd = pidfd_open(pid, 0), .events = POLLIN }, { .fd = fd } };

    while (ends[0].fd >= 0 && poll(ends, SL_LEN(ends), -1) < 0 && errno == EINTR)
        continue;
    if ((ends[1].revents & POLLHUP) != 0)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (ends[0].fd >= 0)
        (void)close(ends[0].fd);
}

/* Without room for a process there may be some later. */
static void live_once(int fd, uint32_t rate, struct sl_signer_bounds *bounds)
{
    pid_t pid = fork();

    if (pid == 0) {
        harden();
        lock_memory();
        shed_rights();
        sl_signer_serve(fd, rate, bounds);
        _exit(0);
    }
    if (pid > 0)
        await_death(pid, fd);
}

_Noreturn void sl_signer_keep(int fd, uint32_t rate, pid_t parent)
{
    static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    struct sl_signer_bounds *bounds =
        mmap(NULL, sizeof(*bounds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ignore_signals();
    harden();
    fd = keep_only(fd);
    while (bounds != MAP_FAILED && getppid() == parent && !is_deserted(fd)) {
        uint64_t start_us = sl_mono_us();

        live_once(fd, rate, bounds);
        say_lost(fd);
        if (sl_mono_us() - start_us < SECOND_US)
            (void)nanosleep(&pause, NULL);
    }
    _exit(0);
}
