/* err.c -- the table of err.h unrolled into rows; constant but for the lower-case names, which are
 * made once.
 */
#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/str.h"

struct row {
    const char *name; /* as in the table: upper case */
    int http;
    bool is_retryable;
    const char *proxy_status;
    const char *text;
};

static const struct row rows[SL_ERR_N] = {
#define X(name, http, retry, status, text) [SL_##name] = { #name, http, retry, status, text },
    SL_ERR_MAP(X)
#undef X
};

static char names[SL_ERR_N][24];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

static void make_names(void)
{
    for (size_t i = 0; i < SL_ERR_N; i++) {
        sl_assert(strlen(rows[i].name) < sizeof(names[i]));
        for (size_t k = 0; rows[i].name[k] != '\0'; k++)
            names[i][k] = sl_lower(rows[i].name[k]);
    }
}

static const struct row *row_of(enum sl_err err)
{
    sl_assert((unsigned)err < SL_ERR_N);
    return &rows[err];
}

const char *sl_err_name(enum sl_err err)
{
    pthread_once(&names_once, make_names);
    sl_assert((unsigned)err < SL_ERR_N);
    return names[err];
}

const char *sl_err_text(enum sl_err err)
{
    return row_of(err)->text;
}

const char *sl_err_proxy_status(enum sl_err err)
{
    return row_of(err)->proxy_status;
}

int sl_err_http(enum sl_err err)
{
    return row_of(err)->http;
}

bool sl_err_is_retryable(enum sl_err err)
{
    return row_of(err)->is_retryable;
}

enum sl_err sl_fault_set(struct sl_fault *f, enum sl_err err, const char *fmt, ...)
{
    /* Made aside first: an argument may be the old text of the same fault. */
    struct sl_fault made = { .err = err };
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(made.text, sizeof(made.text), fmt, ap);
    va_end(ap);
    *f = made;
    return err;
}

static enum sl_err from_errno(int os_errno)
{
    switch (os_errno) {
    case EAGAIN:
    case EINTR:
        return SL_AGAIN;
    case ECONNREFUSED:
        return SL_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return SL_UNREACHABLE;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return SL_RESET;
    case ETIMEDOUT:
        return SL_CONNECT_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
        return SL_LIMIT;
    default:
        return SL_IO;
    }
}

enum sl_err sl_fault_errno(struct sl_fault *f, int os_errno, const char *what)
{
    char room[64];
    const char *why = strerror_r(os_errno, room, sizeof(room));
    enum sl_err err = sl_fault_set(f, from_errno(os_errno), "%s: %s", what, why);

    f->os_errno = os_errno;
    return err;
}
