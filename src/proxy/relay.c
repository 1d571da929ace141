/* relay.c -- two directions, each FLOWING -> FINISHING (source ended, end not yet passed on) ->
 * ENDED, or from the client REFUSED: what was read must not go on.  The client's may begin as HELD:
 * what is read is kept in the preface.
 *
 * A direction holds a chunk only while bytes are under way.
 */
#include "proxy/relay.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/stream.h"
#include "proxy/first_bytes.h"

#define HELD_ROUND ((size_t)4096)
#define ROUND_CHUNKS 16 /* chunks a direction moves before others get their turn */

enum flow { HELD, FLOWING, FINISHING, ENDED, REFUSED };

struct direction {
    struct sl_stream *from, *to;
    struct sl_request_line *line; /* NULL: not looked at */
    enum flow flow;
    char *chunk;
    size_t off, len;
    uint64_t n_bytes;
};

struct sl_relay {
    struct sl_loop *loop;
    struct sl_stream *client, *upstream;
    struct direction out, back; /* client to upstream, upstream to client */
    uint32_t idle_timeout_ms;
    uint64_t last_ms; /* a byte moved */
    struct sl_timer idle;
    struct sl_task step;
    struct sl_buf preface;
    sl_relay_first_fn *first;
    struct sl_str refusal;
    sl_relay_fn *done;
    void *arg;
};

static void on_step(void *arg);
static void on_idle(void *arg);
static sl_ready_fn on_ready;

/* Whoever looks for a request line looks at each byte once, before it goes on. */
static void look(struct direction *d, struct sl_str bytes)
{
    if (d->line != NULL && !sl_request_line_pass(d->line, bytes))
        d->flow = REFUSED;
}

struct sl_relay *sl_relay_start(const struct sl_relay_conf *conf, sl_relay_fn *done, void *arg)
{
    struct sl_relay *r = sl_zalloc(sizeof(*r));

    *r = (struct sl_relay){ .loop = conf->loop,
                            .client = conf->client,
                            .upstream = conf->upstream,
                            .out = { .from = conf->client,
                                     .to = conf->upstream,
                                     .line = conf->line,
                                     .flow = conf->first != NULL ? HELD : FLOWING },
                            .back = { .from = conf->upstream, .to = conf->client, .flow = FLOWING },
                            .idle_timeout_ms = conf->idle_timeout_ms,
                            .last_ms = sl_loop_now_ms(conf->loop),
                            .first = conf->first,
                            .refusal = conf->refusal,
                            .done = done,
                            .arg = arg };
    sl_buf_add_str(&r->preface, conf->preface);
    look(&r->out, conf->preface);
    r->step = (struct sl_task){ .fn = on_step, .arg = r };
    sl_stream_on_ready(r->client, on_ready, r);
    sl_stream_on_ready(r->upstream, on_ready, r);
    sl_timer_start(r->loop, &r->idle, r->idle_timeout_ms, on_idle, r);
    sl_task_post(r->loop, &r->step);
    return r;
}

void sl_relay_cancel(struct sl_relay **relay)
{
    struct sl_relay *r = *relay;

    if (r == NULL)
        return;
    *relay = NULL;
    sl_timer_stop(&r->idle);
    sl_task_cancel(r->loop, &r->step);
    sl_chunk_put(r->out.chunk);
    sl_chunk_put(r->back.chunk);
    sl_buf_fini(&r->preface);
    sl_stream_close(&r->client);
    sl_stream_close(&r->upstream);
    sl_free(r);
}

void sl_relay_count(const struct sl_relay *r, struct sl_relay_result *ret_result)
{
    *ret_result =
        (struct sl_relay_result){ .bytes_in = r->out.n_bytes, .bytes_out = r->back.n_bytes };
}

static void finish(struct sl_relay *r, enum sl_err err)
{
    struct sl_relay_result result;
    sl_relay_fn *done = r->done;
    void *arg = r->arg;

    sl_relay_count(r, &result);
    result.err = err;
    sl_relay_cancel(&r);
    done(arg, &result);
}

static enum sl_err drain_chunk(struct direction *d)
{
    while (d->len != 0) {
        size_t n = 0;
        enum sl_err err = sl_stream_write(d->to, d->chunk + d->off, d->len, &n);

        if (err != SL_OK)
            return err;
        d->off += n;
        d->len -= n;
        d->n_bytes += n;
    }
    return SL_OK;
}

static enum sl_err fill_chunk(struct direction *d)
{
    size_t n = 0;
    enum sl_err err;

    if (d->chunk == NULL)
        d->chunk = sl_chunk_get();
    err = sl_stream_read(d->from, d->chunk, SL_CHUNK_SIZE, &n);
    d->off = 0;
    d->len = n;
    if (err == SL_OK) {
        look(d, sl_str_make(d->chunk, n));
        return SL_OK;
    }
    sl_chunk_put(d->chunk);
    d->chunk = NULL;
    return err;
}

/* SL_OK when there is more to do at once, SL_AGAIN when it must wait, or the end of the relay. */
static enum sl_err move(struct direction *d)
{
    for (int i = 0; d->flow == FLOWING && i < ROUND_CHUNKS; i++) {
        enum sl_err err = drain_chunk(d);

        if (err == SL_OK)
            err = fill_chunk(d);
        if (err == SL_EOF)
            d->flow = FINISHING;
        else if (err != SL_OK)
            return err;
    }
    if (d->flow == REFUSED)
        return SL_BAD_REQUEST;
    if (d->flow == FINISHING) {
        enum sl_err err = sl_stream_shutdown(d->to);

        if (err != SL_OK)
            return err;
        d->flow = ENDED;
    }
    return SL_OK;
}

static enum sl_err read_more(struct sl_relay *r)
{
    size_t before = r->preface.len;
    enum sl_err err = sl_stream_read_more(r->client, &r->preface, HELD_ROUND);

    look(&r->out, sl_str_skip(sl_buf_str(&r->preface), before));
    return err;
}

/* As much as is taken at once: the close says it too. */
static void say_refusal(struct sl_relay *r)
{
    struct sl_str s = r->back.n_bytes + r->back.len == 0 ? r->refusal : SL_STR("");
    size_t n = 0;

    while (s.n != 0 && sl_stream_write(r->client, s.p, s.n, &n) == SL_OK)
        s = sl_str_skip(s, n);
}

static enum sl_err ask_first(struct sl_relay *r)
{
    enum sl_err err = r->first(r->arg, sl_buf_str(&r->preface));

    if (err == SL_OK)
        r->out.flow = FLOWING;
    else if (err != SL_AGAIN)
        say_refusal(r);
    return err;
}

/* An end tells too: what has come is all, and no server makes sense of half a beginning. */
static enum sl_err hold(struct sl_relay *r)
{
    while (r->out.flow == HELD) {
        enum sl_err err = ask_first(r);

        if (err == SL_AGAIN)
            err = read_more(r);
        if (err == SL_EOF)
            r->out.flow = FINISHING;
        else if (err != SL_OK)
            return err;
    }
    return SL_OK;
}

static enum sl_err send_preface(struct sl_relay *r)
{
    if (r->out.flow == REFUSED)
        return SL_BAD_REQUEST;
    while (r->preface.len != 0) {
        struct sl_str s = sl_buf_str(&r->preface);
        size_t n = 0;
        enum sl_err err = sl_stream_write(r->upstream, s.p, s.n, &n);

        if (err != SL_OK)
            return err;
        sl_buf_consume(&r->preface, n);
        r->out.n_bytes += n;
    }
    return SL_OK;
}

/* Interest follows from where each direction stands. */
static void set_interest(struct sl_relay *r)
{
    bool is_held = r->out.flow == HELD;
    bool out_blocked =
        r->out.len != 0 || r->out.flow == FINISHING || (r->preface.len != 0 && !is_held);
    bool back_blocked = r->back.len != 0 || r->back.flow == FINISHING;
    unsigned client = 0, upstream = 0;

    if (is_held || (r->out.flow == FLOWING && !out_blocked))
        client |= SL_READABLE;
    if (r->back.flow == FLOWING && !back_blocked)
        upstream |= SL_READABLE;
    if (out_blocked)
        upstream |= SL_WRITABLE;
    if (back_blocked)
        client |= SL_WRITABLE;
    sl_stream_want(r->client, client);
    sl_stream_want(r->upstream, upstream);
}

static bool is_final(enum sl_err err)
{
    return err != SL_OK && err != SL_AGAIN;
}

static void run(struct sl_relay *r)
{
    uint64_t before = r->out.n_bytes + r->back.n_bytes;
    enum sl_err out = hold(r), back = is_final(out) ? out : move(&r->back);

    if (out == SL_OK)
        out = send_preface(r);
    if (out == SL_OK)
        out = move(&r->out);
    if (is_final(out)) {
        finish(r, out);
        return;
    }
    if (is_final(back)) {
        finish(r, back);
        return;
    }
    if (r->out.flow == ENDED && r->back.flow == ENDED) {
        finish(r, SL_OK);
        return;
    }
    if (r->out.n_bytes + r->back.n_bytes != before)
        r->last_ms = sl_loop_now_ms(r->loop);
    set_interest(r);
}

static void on_step(void *arg)
{
    run(arg);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    run(arg);
}

/* Armed once; moved on only when it fires, so that traffic costs no timer operations. */
static void on_idle(void *arg)
{
    struct sl_relay *r = arg;
    uint64_t quiet = sl_loop_now_ms(r->loop) - r->last_ms;

    if (quiet >= r->idle_timeout_ms)
        finish(r, SL_READ_TIMEOUT);
    else
        sl_timer_start(r->loop, &r->idle, r->idle_timeout_ms - quiet, on_idle, r);
}
