/* probe.c -- what the process can do that serves clients, tried from inside: preloaded, it does so
 * when the first client is accepted, in the worker that accepts, and writes a line a try to the
 * file that PROBE names: "what: 0", or the number of the error.  PROBE_FILES are files to be read,
 * by colons.  PROBE_MISSING, "landlock" or "seccomp", is a part of the kernel that is not there. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int report = -1;
static atomic_flag is_done = ATOMIC_FLAG_INIT;

/* Before there is a sandbox. */
__attribute__((constructor)) static void open_report(void)
{
    const char *path = getenv("PROBE");

    if (path != NULL)
        report = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void tell(const char *what, long result)
{
    (void)dprintf(report, "%s: %d\n", what, result < 0 ? errno : 0);
}

static void try_file(const char *path, int flags)
{
    int fd = open(path, flags);

    tell(path, fd);
    if (fd >= 0)
        (void)close(fd);
}

static void try_files(void)
{
    const char *named = getenv("PROBE_FILES");
    char *files = strdup(named != NULL ? named : ""), *rest = files, *path;

    while ((path = strsep(&rest, ":")) != NULL)
        if (*path != '\0')
            try_file(path, O_RDONLY);
    free(files);
}

static void try_calls(void)
{
    char *const none[] = { NULL };
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    tell("fork", child);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    tell("execve", execve("/nonexistent", none, none));
    tell("ptrace", ptrace(PTRACE_SEIZE, getppid(), 0, 0));
    tell("kill", kill(getppid(), 0));
    tell("setuid", setuid(0));
    tell("mount", mount("none", "/nonexistent", "none", 0, ""));
    tell("unshare", (long)syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */));
    tell("bpf", (long)syscall(SYS_bpf, 0, NULL, 0));
    tell("io_uring_setup", (long)syscall(SYS_io_uring_setup, 0, NULL));
    tell("perf_event_open", (long)syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    tell("process_vm_writev", (long)syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0));
    tell("prlimit", prlimit(getppid(), RLIMIT_CORE, NULL, &(struct rlimit){ 0 }));
    tell("sched_setaffinity", sched_setaffinity(getppid(), 0, NULL));
    tell("signals to others", fcntl(report, F_SETOWN, getppid()));
    tell("set-user-id", fchmod(report, 04755));
    tell("set-user-id when made", open("/nonexistent/x", O_WRONLY | O_CREAT, 04755));
    tell("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    tell("end", 0);
}

/* The call of that number is not there, as on a kernel that is older. */
static int is_taken_away(long number)
{
    const char *missing = getenv("PROBE_MISSING");

    if (missing == NULL)
        return 0;
    return strcmp(missing, "landlock") == 0 ? number >= 444 && number <= 446
                                            : number == SYS_seccomp;
}

__attribute__((nothrow)) long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list args;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (!is_taken_away(number))
        return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    errno = ENOSYS;
    return -1;
}

__attribute__((nothrow)) int prctl(int option, ...)
{
    static int (*real)(int, ...);
    unsigned long a[4];
    va_list args;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "prctl");
    va_start(args, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(args, unsigned long);
    va_end(args);
    if (option != PR_SET_SECCOMP || !is_taken_away(SYS_seccomp))
        return real(option, a[0], a[1], a[2], a[3]);
    errno = EINVAL;
    return -1;
}

int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags)
{
    static int (*real)(int, __SOCKADDR_ARG, socklen_t *, int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "accept4");
    if (report >= 0 && !atomic_flag_test_and_set(&is_done)) {
        try_files();
        try_calls();
    }
    return real(fd, addr, len, flags);
}
