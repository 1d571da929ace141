/* pem_file.c -- one read, into a buffer that never grows. */
#include "tls/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((off_t)1048576)

static enum sl_err file_fault(struct sl_fault *fault, const char *path)
{
    int os_errno = errno;

    if (os_errno == ENOENT)
        (void)sl_fault_set(fault, SL_CONFIG, "%s: no such file; make a CA with `sluice ca init`",
                           path);
    else
        (void)sl_fault_set(fault, SL_CONFIG, "%s: %s", path, strerror(os_errno));
    fault->os_errno = os_errno;
    return SL_CONFIG;
}

/* The mode is that of the descriptor read, never of a name that may change meanwhile. */
static enum sl_err check_file(int fd, const char *path, mode_t forbidden, struct sl_fault *fault)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return file_fault(fault, path);
    if (!S_ISREG(st.st_mode))
        return sl_fault_set(fault, SL_CONFIG, "%s: not a regular file", path);
    if (st.st_size > FILE_MAX)
        return sl_fault_set(fault, SL_CONFIG, "%s: larger than 1 MiB, no PEM file", path);
    if ((st.st_mode & forbidden) != 0)
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: group or others may read this key (mode %04o); run chmod 600 %s",
                            path, (unsigned)(st.st_mode & 07777), path);
    return SL_OK;
}

static enum sl_err read_all(int fd, const char *path, struct sl_buf *out, struct sl_fault *fault)
{
    /* Room for all at once: a buffer that grows would leave copies of a key behind. */
    char *room = sl_buf_reserve(out, (size_t)FILE_MAX);

    while (out->len < (size_t)FILE_MAX) {
        ssize_t n = read(fd, room + out->len, (size_t)FILE_MAX - out->len);

        if (n == 0)
            return SL_OK;
        if (n < 0 && errno != EINTR)
            return file_fault(fault, path);
        if (n > 0)
            sl_buf_commit(out, (size_t)n);
    }
    return sl_fault_set(fault, SL_CONFIG, "%s: larger than 1 MiB, no PEM file", path);
}

enum sl_err sl_pem_read(const char *path, mode_t forbidden, struct sl_buf *out,
                        struct sl_fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    enum sl_err err;

    if (fd < 0)
        return file_fault(fault, path);
    err = check_file(fd, path, forbidden, fault);
    if (err == SL_OK)
        err = read_all(fd, path, out, fault);
    (void)close(fd);
    return err;
}

void sl_pem_wipe(struct sl_buf *b)
{
    if (b->p != NULL)
        OPENSSL_cleanse(b->p, b->cap);
    sl_buf_fini(b);
}

int sl_pem_refuse_passphrase(char *buf, int size, int writing, void *was_asked)
{
    (void)buf;
    (void)size;
    (void)writing;
    if (was_asked != NULL)
        *(bool *)was_asked = true;
    return -1;
}
