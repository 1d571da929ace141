/* stream.h -- bytes in order, both ways: the interface of tcp, tls, memory and tunnelled streams.
 *
 * Bytes are pulled: nothing arrives unless it is read, so not reading is backpressure.  No
 * operation calls back; readiness is reported from the loop only, through one callback, for the
 * events asked for. A stream has one owner, and only the owner closes it. Thread: the loop's.
 */
#ifndef SL_IO_STREAM_H
#define SL_IO_STREAM_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

struct sl_stream;

typedef void sl_ready_fn(void *arg, unsigned events);

struct sl_stream_ops {
    /** SL_OK with *ret_n > 0; SL_AGAIN; SL_EOF; anything else is final, see fault. */
    enum sl_err (*read)(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n);
    /** SL_OK with *ret_n > 0 bytes taken, perhaps not all; SL_AGAIN: offer the same bytes again (or
     * those and more behind them); anything else is final. */
    enum sl_err (*writev)(struct sl_stream *s, const struct iovec *iov, int n_iov, size_t *ret_n);
    /** Ends the outgoing direction (FIN, close_notify).  SL_OK, SL_AGAIN, or final. */
    enum sl_err (*shutdown)(struct sl_stream *s);
    /** Bytes a read would return without asking the kernel. */
    size_t (*pending)(const struct sl_stream *s);
    /** Sets the events to report: SL_READABLE | SL_WRITABLE or 0.  Level-triggered; what is pending
     * counts.
     */
    void (*want)(struct sl_stream *s, unsigned events);
    /** Ends it at once and frees at the end of the turn.  Without a goodbye once there is a fault.
     */
    void (*close)(struct sl_stream *s);
};

/** The base of every implementation; its first member. */
struct sl_stream {
    const struct sl_stream_ops *ops;
    sl_ready_fn *on_ready; /**< set by the owner */
    void *arg;
    struct sl_fault fault; /**< why the last final error happened */
};

static inline SL_MUST_USE enum sl_err sl_stream_read(struct sl_stream *s, void *buf, size_t cap,
                                                     size_t *ret_n)
{
    return s->ops->read(s, buf, cap, ret_n);
}

static inline SL_MUST_USE enum sl_err sl_stream_writev(struct sl_stream *s, const struct iovec *iov,
                                                       int n_iov, size_t *ret_n)
{
    return s->ops->writev(s, iov, n_iov, ret_n);
}

static inline SL_MUST_USE enum sl_err sl_stream_write(struct sl_stream *s, const void *p, size_t n,
                                                      size_t *ret_n)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };

    return s->ops->writev(s, &iov, 1, ret_n);
}

static inline SL_MUST_USE enum sl_err sl_stream_shutdown(struct sl_stream *s)
{
    return s->ops->shutdown(s);
}

static inline size_t sl_stream_pending(const struct sl_stream *s)
{
    return s->ops->pending(s);
}

static inline void sl_stream_want(struct sl_stream *s, unsigned events)
{
    s->ops->want(s, events);
}

/** Reads at most @a cap bytes onto the end of @a out. */
static inline SL_MUST_USE enum sl_err sl_stream_read_more(struct sl_stream *s, struct sl_buf *out,
                                                          size_t cap)
{
    char *room = sl_buf_reserve(out, cap);
    size_t n = 0;
    enum sl_err err = sl_stream_read(s, room, cap, &n);

    if (err == SL_OK)
        sl_buf_commit(out, n);
    return err;
}

/** Sets who hears of readiness. */
static inline void sl_stream_on_ready(struct sl_stream *s, sl_ready_fn *fn, void *arg)
{
    s->on_ready = fn;
    s->arg = arg;
}

/** Closes and sets *s to NULL; NULL is a no-op. */
static inline void sl_stream_close(struct sl_stream **s)
{
    struct sl_stream *gone = *s;

    if (gone == NULL)
        return;
    *s = NULL;
    gone->ops->close(gone);
}

/** Closes so that the peer cannot take it for a proper end: no close_notify, RST over TCP. */
static inline void sl_stream_cut(struct sl_stream **s)
{
    if (*s != NULL && (*s)->fault.err == SL_OK)
        (*s)->fault.err = SL_CANCELLED;
    sl_stream_close(s);
}

#endif
