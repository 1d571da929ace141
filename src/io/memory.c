/* memory.c -- each end holds what was written towards it.
 *
 * `state` tells what an end will see once its bytes are read; `peer` is NULL once the other end is
 * closed.  Readiness is looked at again each turn for as long as it is wanted and true.
 */
#include "io/memory.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/stream.h"

enum in_state { IN_OPEN, IN_EOF, IN_RESET };

struct end {
    struct sl_stream base;
    struct sl_loop *loop;
    struct sl_memory_conf conf;
    struct end *peer;
    struct sl_buf in;
    enum in_state state;
    unsigned wanted;
    struct sl_task task;
};

static struct end *end_of(struct sl_stream *s)
{
    return SL_CONTAINER(s, struct end, base);
}

static size_t capped(size_t n, size_t max)
{
    return max != 0 && n > max ? max : n;
}

/* How many more bytes the other end would hold. */
static size_t room(const struct end *e)
{
    if (e->conf.capacity == 0)
        return SIZE_MAX;
    return e->peer->in.len < e->conf.capacity ? e->conf.capacity - e->peer->in.len : 0;
}

static unsigned ready(const struct end *e)
{
    unsigned events = 0;

    if (e->in.len > 0 || e->state != IN_OPEN)
        events |= SL_READABLE;
    if (e->peer == NULL || e->state == IN_RESET || room(e) > 0)
        events |= SL_WRITABLE;
    return events & e->wanted;
}

static void poke(struct end *e)
{
    if (ready(e) != 0)
        sl_task_post(e->loop, &e->task);
}

static void on_task(void *arg)
{
    struct end *e = arg;
    unsigned events = ready(e);

    if (events == 0)
        return;
    sl_task_post_next(e->loop, &e->task);
    e->base.on_ready(e->base.arg, events);
}

static enum sl_err memory_read(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct end *e = end_of(s);
    size_t n = capped(e->in.len < cap ? e->in.len : cap, e->conf.read_max);

    if (e->state == IN_RESET)
        return sl_fault_set(&s->fault, SL_RESET, "read");
    if (n == 0)
        return e->state == IN_EOF ? SL_EOF : SL_AGAIN;
    memcpy(buf, sl_buf_str(&e->in).p, n);
    sl_buf_consume(&e->in, n);
    if (e->peer != NULL)
        poke(e->peer);
    *ret_n = n;
    return SL_OK;
}

static size_t copy_out(struct end *to, const struct iovec *iov, int n_iov, size_t max)
{
    size_t total = 0;

    for (int i = 0; i < n_iov && total < max; i++) {
        size_t n = iov[i].iov_len < max - total ? iov[i].iov_len : max - total;

        sl_buf_add(&to->in, iov[i].iov_base, n);
        total += n;
    }
    return total;
}

static enum sl_err memory_writev(struct sl_stream *s, const struct iovec *iov, int n_iov,
                                 size_t *ret_n)
{
    struct end *e = end_of(s);
    size_t max;

    if (e->peer == NULL || e->state == IN_RESET || e->peer->state != IN_OPEN)
        return sl_fault_set(&s->fault, SL_RESET, "write");
    max = capped(room(e), e->conf.write_max);
    if (max == 0)
        return SL_AGAIN;
    *ret_n = copy_out(e->peer, iov, n_iov, max);
    poke(e->peer);
    return SL_OK;
}

/* The other end sees the end of the bytes; after a reset it keeps seeing that. */
static void end_output(struct end *e)
{
    if (e->peer == NULL)
        return;
    if (e->peer->state == IN_OPEN)
        e->peer->state = IN_EOF;
    poke(e->peer);
}

static enum sl_err memory_shutdown(struct sl_stream *s)
{
    struct end *e = end_of(s);

    if (e->state == IN_RESET)
        return sl_fault_set(&s->fault, SL_RESET, "shutdown");
    end_output(e);
    return SL_OK;
}

static size_t memory_pending(const struct sl_stream *s)
{
    const struct end *e = end_of((struct sl_stream *)(uintptr_t)s);

    return capped(e->in.len, e->conf.read_max);
}

static void memory_want(struct sl_stream *s, unsigned events)
{
    struct end *e = end_of(s);

    e->wanted = events;
    poke(e);
}

static void free_end(void *p)
{
    struct end *e = p;

    sl_buf_fini(&e->in);
    sl_free(e);
}

static void memory_close(struct sl_stream *s)
{
    struct end *e = end_of(s);

    sl_task_cancel(e->loop, &e->task);
    e->wanted = 0;
    if (e->peer != NULL) {
        e->peer->peer = NULL;
        end_output(e);
        e->peer = NULL;
    }
    sl_loop_defer_free(e->loop, e, free_end);
}

static const struct sl_stream_ops memory_ops = {
    .read = memory_read,
    .writev = memory_writev,
    .shutdown = memory_shutdown,
    .pending = memory_pending,
    .want = memory_want,
    .close = memory_close,
};

static struct end *end_new(struct sl_loop *loop, const struct sl_memory_conf *conf)
{
    struct end *e = sl_zalloc(sizeof(*e));

    e->base.ops = &memory_ops;
    e->loop = loop;
    e->conf = *conf;
    e->task = (struct sl_task){ .fn = on_task, .arg = e };
    return e;
}

void sl_memory_pair(struct sl_loop *loop, const struct sl_memory_conf *conf,
                    struct sl_stream **ret_a, struct sl_stream **ret_b)
{
    struct end *a = end_new(loop, conf);
    struct end *b = end_new(loop, conf);

    a->peer = b;
    b->peer = a;
    *ret_a = &a->base;
    *ret_b = &b->base;
}

void sl_memory_reset(struct sl_stream *s)
{
    struct end *peer = end_of(s)->peer;

    if (peer == NULL)
        return;
    peer->state = IN_RESET;
    sl_buf_reset(&peer->in);
    poke(peer);
}
