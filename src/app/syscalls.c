/* syscalls.c -- one table of what is needed, and one of what is needed with certain arguments. */
#include "app/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Names that an architecture or the library does not know are passed over.  Nothing here starts a
 * program, looks into another process, changes an identity or mounts. */
/* clang-format off */
static const char *const needed[] = {
    /* descriptors */
    "close", "close_range", "dup", "dup2", "dup3", "lseek", "_llseek", "pipe", "pipe2",
    "pread64", "preadv", "pwrite64", "pwritev", "read", "readv", "write", "writev",
    /* waiting */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "eventfd", "eventfd2", "poll", "ppoll", "pselect6", "select",
    /* the network */
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
    "listen", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt",
    "shutdown", "socketpair",
    /* files, as far as they may be opened */
    "access", "faccessat", "faccessat2", "fadvise64", "fdatasync", "fstat", "fstat64",
    "fstatfs", "fsync", "ftruncate", "getcwd", "getdents", "getdents64", "lstat",
    "memfd_create", "newfstatat", "readlink", "readlinkat", "stat", "statfs", "statx", "umask",
    "unlink", "unlinkat",
    /* memory */
    "brk", "madvise", "mincore", "mlock", "mlock2", "mmap", "mmap2", "mprotect", "mremap",
    "munlock", "munmap",
    /* threads */
    "exit", "exit_group", "futex", "futex_time64", "getcpu", "gettid", "membarrier",
    "restart_syscall", "rseq", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield",
    "set_robust_list", "set_tid_address", "arch_prctl",
    /* signals */
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "sigaltstack", "sigreturn", "wait4", "waitid",
    /* time */
    "clock_getres", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
    "times",
    /* what one is told about oneself */
    "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getpid", "getppid", "getrandom",
    "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "getuid", "setrlimit",
    "sysinfo", "ugetrlimit", "uname",
#if SL_SANITIZED
    /* The finder of leaks is a process that stops the others and looks into them. */
    "clone", "kill", "personality", "prctl", "process_vm_readv", "ptrace", "tgkill",
#endif
};
/* clang-format on */

#define MOST_ARGUMENTS 2

struct rule {
    const char *name;
    unsigned n;
    struct scmp_arg_cmp arguments[MOST_ARGUMENTS];
};

#define IS(index, value)                                                                           \
    {                                                                                              \
        (index), SCMP_CMP_EQ, (scmp_datum_t)(value), 0                                             \
    }
#define HAS(index, bits)                                                                           \
    {                                                                                              \
        (index), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), (scmp_datum_t)(bits)                    \
    }
#define LACKS(index, bits)                                                                         \
    {                                                                                              \
        (index), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), 0                                       \
    }

static const struct rule with_arguments[] = {
    /* Nobody gets a program that runs as its owner. */
    { "open", 1, { LACKS(2, S_ISUID | S_ISGID) } },
    { "openat", 1, { LACKS(3, S_ISUID | S_ISGID) } },
    { "fchmod", 1, { IS(1, S_IRUSR | S_IWUSR) } }, /* of unix sockets */
    /* Not those that have signals sent to others. */
    { "fcntl", 1, { IS(1, F_DUPFD) } },
    { "fcntl", 1, { IS(1, F_DUPFD_CLOEXEC) } },
    { "fcntl", 1, { IS(1, F_GETFD) } },
    { "fcntl", 1, { IS(1, F_SETFD) } },
    { "fcntl", 1, { IS(1, F_GETFL) } },
    { "fcntl", 1, { IS(1, F_SETFL) } },
    { "socket", 1, { IS(0, AF_UNIX) } },
    { "socket", 1, { IS(0, AF_INET) } },
    { "socket", 1, { IS(0, AF_INET6) } },
    { "socket", 2, { IS(0, AF_NETLINK), IS(2, NETLINK_ROUTE) } }, /* the machine's own addresses */
    { "clone", 1, { HAS(0, CLONE_THREAD) } },
    { "prlimit64", 1, { IS(0, 0) } },
    { "ioctl", 1, { IS(1, FIONBIO) } },
    { "ioctl", 1, { IS(1, FIOCLEX) } },
    { "ioctl", 1, { IS(1, FIONREAD) } },
    { "ioctl", 1, { IS(1, TCGETS) } }, /* isatty */
    { "ioctl", 1, { IS(1, TIOCGWINSZ) } },
    { "ioctl", 1, { IS(1, SIOCGIFINDEX) } },
    { "ioctl", 1, { IS(1, SIOCGIFNAME) } },
    { "prctl", 1, { IS(0, PR_CAPBSET_READ) } },
    { "prctl", 1, { IS(0, PR_GET_NAME) } },
    { "prctl", 1, { IS(0, PR_SET_NAME) } },
    { "prctl", 1, { IS(0, PR_SET_VMA) } },
};

static int add(scmp_filter_ctx filter, const struct rule *rule)
{
    int call = seccomp_syscall_resolve_name(rule->name);
    int rc;

    if (call == __NR_SCMP_ERROR)
        return 0;
    rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, rule->n, rule->arguments);
    /* Pseudo calls, of other architectures, cannot be told apart by their arguments. */
    return rc == -EDOM || rc == -EEXIST ? 0 : rc;
}

static int add_all(scmp_filter_ctx filter)
{
    /* Signals to itself, as abort() sends. */
    const struct rule to_itself[] = {
        { "kill", 1, { IS(0, getpid()) } },
        { "tgkill", 1, { IS(0, getpid()) } },
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < SL_LEN(needed); i++)
        rc = add(filter, &(struct rule){ .name = needed[i] });
    for (size_t i = 0; rc == 0 && i < SL_LEN(with_arguments); i++)
        rc = add(filter, &with_arguments[i]);
    for (size_t i = 0; rc == 0 && i < SL_LEN(to_itself); i++)
        rc = add(filter, &to_itself[i]);
    return rc;
}

enum sl_err sl_syscalls_restrict(struct sl_fault *fault)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = filter != NULL ? add_all(filter) : -ENOMEM;

    /* A call of another architecture is an attack; the kernel's own error is for the log. */
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? SL_OK
                   : sl_fault_set(fault, SL_NOT_IMPLEMENTED, "no seccomp: %s", strerror(-rc));
}
