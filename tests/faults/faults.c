/* faults.c -- preloaded into the proxy: a kernel that does less than it could, logs that take
 * nothing, memory that runs out, and a clock that jumps.
 *
 * FAULTS names a file of one struct faults, shared with the test: which calls are hit, by how much
 * the wall clock is off, and, written here, how often each fault was done.  Only what a kernel may
 * do is done: streams and files take or give fewer bytes, calls are interrupted, readiness was
 * false, a connection that was to be accepted is gone.  Datagrams stay whole.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SHORT_MOST 16 /* bytes that a call that is cut short may move */

enum fault {
    SHORT,
    INTERRUPTED,
    NOT_READY,
    GONE,
    LOG_BROKEN,
    LOG_FULL,
    STDERR_BROKEN,
    OWN_MEMORY, /* what the program itself asks for */
    LIBRARY_MEMORY,
    N_FAULTS
};

struct faults {
    _Atomic int64_t clock_s;           /* added to the wall clock */
    _Atomic uint32_t one_in[N_FAULTS]; /* 0: never */
    _Atomic int32_t until[N_FAULTS];   /* counts calls down; the one that makes it 0 is hit */
    _Atomic uint32_t done[N_FAULTS];
};

static struct faults none, *faults = &none;
static struct {
    uintptr_t begin, end;
} program;
static _Thread_local uint32_t seed = 1;

/* The first object is the program. */
static int on_object(struct dl_phdr_info *o, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (size_t i = 0; i < o->dlpi_phnum; i++)
        if (o->dlpi_phdr[i].p_type == PT_LOAD && (o->dlpi_phdr[i].p_flags & PF_X) != 0) {
            program.begin = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
            program.end = program.begin + o->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(none), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        abort();
    (void)close(fd);
    (void)dl_iterate_phdr(on_object, NULL);
    faults = p;
}

/* The same faults in the same order for every thread of every run. */
static uint32_t chance(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static bool strikes(enum fault fault)
{
    uint32_t one_in = faults->one_in[fault];
    bool hit = one_in != 0 && chance() % one_in == 0;

    if (faults->until[fault] > 0 && --faults->until[fault] == 0)
        hit = true;
    if (hit)
        faults->done[fault]++;
    return hit;
}

static bool fails(enum fault fault, int as)
{
    if (!strikes(fault))
        return false;
    errno = as;
    return true;
}

static size_t cut(size_t n)
{
    return n > 1 && strikes(SHORT) ? 1 + chance() % (n < SHORT_MOST ? n : SHORT_MOST) : n;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t n = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

static bool is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_log(int fd)
{
    return is_file(fd) && (fcntl(fd, F_GETFL) & O_APPEND) != 0;
}

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (real == NULL)                                                                              \
    real = (__typeof__(name) *)(uintptr_t)dlsym(RTLD_NEXT, #name)

/* -- sockets -- */

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    REAL(recv);
    if (fails(INTERRUPTED, EINTR) || fails(NOT_READY, EAGAIN))
        return -1;
    return real(fd, p, is_stream(fd) ? cut(n) : n, flags);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    REAL(recvmsg);
    return fails(INTERRUPTED, EINTR) ? -1 : real(fd, m, flags);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    REAL(send);
    if (is_stream(fd) && (fails(INTERRUPTED, EINTR) || fails(NOT_READY, EAGAIN)))
        return -1;
    return real(fd, p, is_stream(fd) ? cut(n) : n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct msghdr less = *m;
    struct iovec first;

    REAL(sendmsg);
    if (!is_stream(fd) || m->msg_iovlen == 0)
        return real(fd, m, flags);
    if (fails(INTERRUPTED, EINTR) || fails(NOT_READY, EAGAIN))
        return -1;
    first = m->msg_iov[0];
    first.iov_len = cut(first.iov_len);
    if (first.iov_len < m->msg_iov[0].iov_len) {
        less.msg_iov = &first;
        less.msg_iovlen = 1;
    }
    return real(fd, &less, flags);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *n, int flags)
{
    REAL(accept4);
    if (fails(INTERRUPTED, EINTR) || fails(GONE, ECONNABORTED))
        return -1;
    return real(fd, address, n, flags);
}

/* -- files -- */

static bool breaks(int fd)
{
    if (fd == STDERR_FILENO)
        return fails(STDERR_BROKEN, EIO);
    return is_log(fd) && (fails(LOG_BROKEN, EIO) || fails(LOG_FULL, ENOSPC));
}

ssize_t write(int fd, const void *p, size_t n)
{
    REAL(write);
    if (breaks(fd))
        return -1;
    if (!is_file(fd))
        return real(fd, p, n);
    return fails(INTERRUPTED, EINTR) ? -1 : real(fd, p, cut(n));
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    struct iovec first;

    REAL(writev);
    if (!is_file(fd) || n <= 0)
        return real(fd, iov, n);
    if (fails(INTERRUPTED, EINTR))
        return -1;
    first = iov[0];
    first.iov_len = cut(first.iov_len);
    return first.iov_len < iov[0].iov_len ? real(fd, &first, 1) : real(fd, iov, n);
}

ssize_t read(int fd, void *p, size_t n)
{
    REAL(read);
    if (!is_file(fd))
        return real(fd, p, n);
    return fails(INTERRUPTED, EINTR) ? -1 : real(fd, p, cut(n));
}

/* -- memory -- */

static bool is_out_of_memory(void *caller)
{
    bool is_own = (uintptr_t)caller - program.begin < program.end - program.begin;

    return fails(is_own ? OWN_MEMORY : LIBRARY_MEMORY, ENOMEM);
}

void *malloc(size_t n)
{
    REAL(malloc);
    return is_out_of_memory(__builtin_return_address(0)) ? NULL : real(n);
}

void *calloc(size_t n, size_t size)
{
    REAL(calloc);
    return is_out_of_memory(__builtin_return_address(0)) ? NULL : real(n, size);
}

void *realloc(void *p, size_t n)
{
    REAL(realloc);
    return is_out_of_memory(__builtin_return_address(0)) ? NULL : real(p, n);
}

/* -- the wall clock -- */

int clock_gettime(clockid_t id, struct timespec *t)
{
    int failed;

    REAL(clock_gettime);
    failed = real(id, t);
    if (failed == 0 && id == CLOCK_REALTIME)
        t->tv_sec += faults->clock_s;
    return failed;
}

time_t time(time_t *ret)
{
    struct timespec t = { 0 };

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (ret != NULL)
        *ret = t.tv_sec;
    return t.tv_sec;
}
