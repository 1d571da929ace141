/* http_stream.c -- the pump, and what both clients count.
 *
 * Invariant: the source is read only when the sink has taken all that was read before, so the chunk
 * is the whole of what is under way.
 */
#include "http/http_stream.h"

#include "base/buf.h"

#define INTERIM_MAX 32u

enum sl_err sl_http_stream_count_interim(struct sl_http_stream *s, size_t n,
                                         const struct sl_head_limits *limits)
{
    size_t left = limits->header_bytes - s->interim_bytes;

    if (s->n_interim == INTERIM_MAX || n > left)
        return sl_fault_set(&s->fault, SL_BAD_RESPONSE, "too many interim responses");
    s->n_interim++;
    s->interim_bytes += (uint32_t)n;
    return SL_OK;
}

void sl_pump_fini(struct sl_pump *p)
{
    sl_chunk_put(p->chunk);
    p->chunk = NULL;
    p->off = p->len = 0;
}

static enum sl_pump_state after_write(enum sl_err err, enum sl_pump_state done)
{
    if (err == SL_OK)
        return done;
    return err == SL_AGAIN ? SL_PUMP_WAIT_WRITE : SL_PUMP_SINK_FAILED;
}

/* Whoever reads no more for now must not leave the other side waiting for what is queued. */
static enum sl_pump_state pause(struct sl_pump *p, enum sl_pump_state why)
{
    sl_pump_fini(p);
    return after_write(p->to->ops->flush(p->to), why);
}

/* The trailers that may go on, in place. */
static const struct sl_fields *trailers_of(struct sl_pump *p)
{
    struct sl_fields *trailers = p->from->ops->trailers(p->from);

    if (p->drops_trailers)
        trailers->n = 0;
    for (uint32_t i = 0; p->no_trailers != NULL && i < p->no_trailers->n; i++)
        sl_fields_remove_name(trailers, p->no_trailers->v[i].name);
    return trailers->n > 0 ? trailers : NULL;
}

static enum sl_pump_state finish(struct sl_pump *p)
{
    const struct sl_fields *trailers = trailers_of(p);

    sl_pump_fini(p);
    p->source_ended = true;
    return after_write(p->to->ops->send_end(p->to, trailers), SL_PUMP_DONE);
}

static void tap(struct sl_pump *p)
{
    size_t n = p->tap(p->tap_arg, sl_str_make(p->chunk, p->len));

    p->is_refused = n < p->len;
    p->len = n;
}

static enum sl_err fill(struct sl_pump *p)
{
    enum sl_err err;

    if (p->chunk == NULL)
        p->chunk = sl_chunk_get();
    p->off = p->len = 0;
    err = p->from->ops->recv_body(p->from, p->chunk, SL_CHUNK_SIZE, &p->len);
    if (err == SL_OK && p->tap != NULL)
        tap(p);
    return err;
}

/* SL_OK once the chunk is empty. */
static enum sl_err drain(struct sl_pump *p)
{
    while (p->off < p->len) {
        size_t n = 0;
        enum sl_err err = p->to->ops->send_body(p->to, p->chunk + p->off, p->len - p->off, &n);

        if (err != SL_OK)
            return err;
        p->off += n;
    }
    return SL_OK;
}

enum sl_pump_state sl_pump_run(struct sl_pump *p)
{
    size_t moved = 0;
    enum sl_err err;

    for (;;) {
        err = drain(p);
        if (err != SL_OK)
            return after_write(err, SL_PUMP_WAIT_WRITE);
        moved += p->len;
        if (p->source_ended)
            return finish(p);
        if (p->is_refused)
            return pause(p, SL_PUMP_REFUSED);
        if (moved >= SL_PUMP_ROUND)
            return pause(p, SL_PUMP_WAIT_READ);
        err = fill(p);
        if (err == SL_EOF)
            return finish(p);
        if (err == SL_AGAIN)
            return pause(p, SL_PUMP_WAIT_READ);
        if (err != SL_OK)
            return SL_PUMP_SOURCE_FAILED;
    }
}
