/* syscalls.c -- one table of what is needed, and one of what is needed with certain arguments. */
#include "app/syscalls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Names that an architecture or the library does not know are passed over.  Nothing here starts a
 * program, looks into another process, changes an identity or mounts. */
static const char *const needed[] = {
    /* descriptors */
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fcntl64",
    "lseek",
    "_llseek",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "pwrite64",
    "pwritev",
    "read",
    "readv",
    "write",
    "writev",
    /* waiting */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    /* the network */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    /* files, as far as they may be opened */
    "access",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fchmod",
    "fdatasync",
    "fstat",
    "fstat64",
    "fstatfs",
    "fsync",
    "ftruncate",
    "getcwd",
    "getdents",
    "getdents64",
    "lstat",
    "memfd_create",
    "newfstatat",
    "open",
    "openat",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
    "umask",
    "unlink",
    "unlinkat",
    /* memory */
    "brk",
    "madvise",
    "mincore",
    "mlock",
    "mlock2",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "munlock",
    "munmap",
    /* threads */
    "exit",
    "exit_group",
    "futex",
    "futex_time64",
    "get_robust_list",
    "getcpu",
    "gettid",
    "membarrier",
    "restart_syscall",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_setaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "arch_prctl",
    /* signals */
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sigaltstack",
    "sigreturn",
    "wait4",
    "waitid",
    /* time */
    "clock_getres",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "times",
    /* what one is told about oneself */
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getuid",
    "prlimit64",
    "setrlimit",
    "sysinfo",
    "ugetrlimit",
    "uname",
#if SL_SANITIZED
    /* The finder of leaks is a process that stops the others and looks into them. */
    "clone",
    "kill",
    "personality",
    "prctl",
    "process_vm_readv",
    "ptrace",
    "tgkill",
#endif
};

struct rule {
    const char *name;
    struct scmp_arg_cmp argument;
};

#define IS(index, value)                                                                           \
    {                                                                                              \
        (index), SCMP_CMP_EQ, (scmp_datum_t)(value), 0                                             \
    }
#define HAS(index, bit)                                                                            \
    {                                                                                              \
        (index), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bit), (scmp_datum_t)(bit)                      \
    }

static const struct rule with_arguments[] = {
    { "socket", IS(0, AF_UNIX) },
    { "socket", IS(0, AF_INET) },
    { "socket", IS(0, AF_INET6) },
    { "socket", IS(0, AF_NETLINK) }, /* the machine's own addresses */
    { "clone", HAS(0, CLONE_THREAD) },
    { "ioctl", IS(1, FIONBIO) },
    { "ioctl", IS(1, FIOCLEX) },
    { "ioctl", IS(1, FIONREAD) },
    { "ioctl", IS(1, TCGETS) }, /* isatty */
    { "ioctl", IS(1, TIOCGWINSZ) },
    { "ioctl", IS(1, SIOCGIFINDEX) },
    { "ioctl", IS(1, SIOCGIFNAME) },
    { "prctl", IS(0, PR_CAPBSET_READ) },
    { "prctl", IS(0, PR_GET_NAME) },
    { "prctl", IS(0, PR_SET_NAME) },
    { "prctl", IS(0, PR_SET_VMA) },
};

static int add(scmp_filter_ctx filter, const struct rule *rule, unsigned n_arguments)
{
    int call = seccomp_syscall_resolve_name(rule->name);
    int rc;

    if (call == __NR_SCMP_ERROR)
        return 0;
    rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, n_arguments, &rule->argument);
    /* Pseudo calls, of other architectures, cannot be told apart by their arguments. */
    return rc == -EDOM || rc == -EEXIST ? 0 : rc;
}

static int add_all(scmp_filter_ctx filter)
{
    /* Signals to itself, as abort() sends. */
    const struct rule to_itself[] = {
        { "kill", IS(0, getpid()) },
        { "tgkill", IS(0, getpid()) },
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < SL_LEN(needed); i++)
        rc = add(filter, &(struct rule){ .name = needed[i] }, 0);
    for (size_t i = 0; rc == 0 && i < SL_LEN(with_arguments); i++)
        rc = add(filter, &with_arguments[i], 1);
    for (size_t i = 0; rc == 0 && i < SL_LEN(to_itself); i++)
        rc = add(filter, &to_itself[i], 1);
    return rc;
}

enum sl_err sl_syscalls_restrict(struct sl_fault *fault)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = filter != NULL ? add_all(filter) : -ENOMEM;

    /* The kernel's own error, for the log. */
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? SL_OK
                   : sl_fault_set(fault, SL_NOT_IMPLEMENTED, "no seccomp: %s", strerror(-rc));
}
