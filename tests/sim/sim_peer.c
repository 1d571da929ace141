/* sim_peer.c -- a peer is polled once a turn: nothing but handshakes is driven
 * by readiness. */
#include "sim_peer.h"

#include "base/mem.h"
#include "tls/ca.h"
#include "tls/leaf.h"

/* -- the tap: another stream with its bytes counted -- */

struct tap {
    struct sl_stream base;
    struct sl_loop *loop;
    struct sl_stream *lower;
    uint64_t *n_moves;
    uint64_t *n_wakes; /* of the proxy; NULL for a tap of our own */
    size_t n_skip;     /* bytes to swallow first */
};

static struct tap *tap_of(struct sl_stream *s)
{
    return SL_CONTAINER(s, struct tap, base);
}

static enum sl_err tap_skip(struct tap *t)
{
    char drop[64];
    size_t n = 0;

    while (t->n_skip != 0) {
        size_t cap = t->n_skip < sizeof(drop) ? t->n_skip : sizeof(drop);
        enum sl_err err = sl_stream_read(t->lower, drop, cap, &n);

        if (err != SL_OK)
            return err;
        ++*t->n_moves;
        t->n_skip -= n;
    }
    return SL_OK;
}

static enum sl_err tap_read(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct tap *t = tap_of(s);
    enum sl_err err = tap_skip(t);

    if (err == SL_OK)
        err = sl_stream_read(t->lower, buf, cap, ret_n);
    if (err != SL_AGAIN)
        ++*t->n_moves;
    s->fault = t->lower->fault;
    return err;
}

static enum sl_err tap_writev(struct sl_stream *s, const struct iovec *iov, int n_iov,
                              size_t *ret_n)
{
    struct tap *t = tap_of(s);
    enum sl_err err = sl_stream_writev(t->lower, iov, n_iov, ret_n);

    if (err != SL_AGAIN)
        ++*t->n_moves;
    s->fault = t->lower->fault;
    return err;
}

static enum sl_err tap_shutdown(struct sl_stream *s)
{
    ++*tap_of(s)->n_moves;
    return sl_stream_shutdown(tap_of(s)->lower);
}

static size_t tap_pending(const struct sl_stream *s)
{
    return sl_stream_pending(SL_CONTAINER(s, const struct tap, base)->lower);
}

static void tap_want(struct sl_stream *s, unsigned events)
{
    sl_stream_want(tap_of(s)->lower, events);
}

static void tap_close(struct sl_stream *s)
{
    struct tap *t = tap_of(s);

    ++*t->n_moves;
    sl_stream_close(&t->lower);
    sl_loop_defer_free(t->loop, t, sl_free);
}

static void on_lower_ready(void *arg, unsigned events)
{
    struct tap *t = arg;

    if (t->n_wakes != NULL)
        ++*t->n_wakes;
    t->base.on_ready(t->base.arg, events);
}

static struct sl_stream *tap_new(struct sim_peer *p, struct sl_stream *lower, size_t n_skip)
{
    static const struct sl_stream_ops ops = {
        .read = tap_read,
        .writev = tap_writev,
        .shutdown = tap_shutdown,
        .pending = tap_pending,
        .want = tap_want,
        .close = tap_close,
    };
    struct tap *t = sl_zalloc(sizeof(*t));

    *t = (struct tap){ .base = { .ops = &ops },
                       .loop = p->loop,
                       .lower = lower,
                       .n_moves = p->n_moves,
                       .n_skip = n_skip };
    sl_stream_on_ready(lower, on_lower_ready, t);
    return &t->base;
}

/* -- the peer
 * -----------------------------------------------------------------------------------
 */

void sim_peer_init(struct sim_peer *p, const struct sl_memory_conf *conf,
                   struct sl_stream **ret_other)
{
    struct sl_stream *other;

    sl_memory_pair(p->loop, conf, &p->raw, &other);
    p->stream = p->raw;
    *ret_other = tap_new(p, other, 0);
    tap_of(*ret_other)->n_wakes = p->n_wakes;
}

void sim_peer_close(struct sim_peer *p)
{
    if (p->raw == NULL)
        return;
    ++*p->n_moves;
    if (p->stream == NULL)
        sl_tls_handshake_cancel(&p->hs);
    sl_stream_close(&p->stream);
    p->raw = NULL;
}

void sim_peer_fini(struct sim_peer *p)
{
    sim_peer_close(p);
    sl_buf_fini(&p->got);
}

void sim_peer_reset(struct sim_peer *p)
{
    if (p->raw == NULL)
        return;
    ++*p->n_moves;
    sl_memory_reset(p->raw);
    sim_peer_close(p);
}

void sim_peer_read(struct sim_peer *p)
{
    enum sl_err err = SL_OK;

    while (p->stream != NULL && p->end == SL_OK && err == SL_OK) {
        size_t n = 0;

        err = sl_stream_read(p->stream, sl_buf_reserve(&p->got, 4096), 4096, &n);
        sl_buf_commit(&p->got, n);
        if (err != SL_OK && err != SL_AGAIN)
            p->end = err;
        if (err != SL_AGAIN)
            ++*p->n_moves;
    }
}

enum sl_err sim_peer_say(struct sim_peer *p, const char *text)
{
    struct sl_str rest = sl_str_skip(sl_str_of(text), p->n_said);

    while (rest.n != 0) {
        size_t n = 0;
        enum sl_err err =
            p->stream == NULL ? SL_RESET : sl_stream_write(p->stream, rest.p, rest.n, &n);

        if (err != SL_OK)
            return err;
        ++*p->n_moves;
        p->n_said += n;
        rest = sl_str_skip(rest, n);
    }
    p->n_said = 0;
    return SL_OK;
}

static bool has_seen(struct sim_peer *p, const char *text)
{
    struct sl_str in = sl_str_skip(sl_buf_str(&p->got), p->n_seen);
    const char *at = memmem(in.p, in.n, text, strlen(text));

    if (at == NULL)
        return false;
    p->n_seen += (size_t)(at - in.p) + strlen(text);
    return true;
}

static void on_handshake(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct sim_peer *p = arg;

    p->hs = NULL;
    ++*p->n_moves;
    p->stream = stream;
    if (stream != NULL)
        return;
    p->raw = NULL;
    p->end = fault->err;
}

static void start_accept(struct sim_peer *p, struct sl_stream *lower)
{
    struct sl_leaf_conf conf = { .kind = SL_LEAF_ECDSA_P256, .lifetime_s = 86400 };
    struct sl_fault fault;
    struct sl_leaf *leaf =
        sl_leaf_forge(p->tls->ca, p->tls->keys, &conf, sl_str_of(p->at->text), &fault);

    p->hs = sl_tls_accept_start(
        &(struct sl_tls_accept_conf){
            .loop = p->loop, .context = p->tls->server, .lower = lower, .leaf = leaf },
        on_handshake, p);
    sl_leaf_unref(&leaf);
}

static void start_connect(struct sim_peer *p, struct sl_stream *lower)
{
    p->hs = sl_tls_connect_start(&(struct sl_tls_connect_conf){ .loop = p->loop,
                                                                .context = p->tls->client,
                                                                .lower = lower,
                                                                .host = sl_str_of(p->at->text),
                                                                .port = 443,
                                                                .verify = true },
                                 on_handshake, p);
}

/* One poll starts the handshake, the next ones see how it ended. */
static bool shake(struct sim_peer *p)
{
    static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    size_t n_skip = p->at->verb == SIM_HELLO ? sizeof(established) - 1 : 0;

    if (p->hs != NULL) {
        /* A proxy whose reply is not read need not read the rest of the
         * ClientHello. */
        if (n_skip != 0)
            (void)tap_skip(tap_of(p->under_tls));
        return false;
    }
    if (p->raw == NULL || p->stream != p->raw)
        return true;
    p->stream = NULL;
    p->under_tls = tap_new(p, p->raw, n_skip);
    if (p->role == SIM_ORIGIN)
        start_accept(p, p->under_tls);
    else
        start_connect(p, p->under_tls);
    return false;
}

/* What nobody hears is said too. */
static bool say(struct sim_peer *p)
{
    do {
        if (sim_peer_say(p, p->at->text) == SL_AGAIN)
            return false;
        p->n_said = 0;
    } while (++p->n_times < p->at->n_times);
    p->n_times = 0;
    return true;
}

static bool shut(struct sim_peer *p)
{
    return p->stream != NULL && sl_stream_shutdown(p->stream) != SL_AGAIN;
}

/* True when the step at hand is done. */
static bool step(struct sim_peer *p)
{
    switch (p->at->verb) {
    case SIM_SEND:
        return say(p);
    case SIM_AWAIT:
        return has_seen(p, p->at->text);
    case SIM_TLS:
    case SIM_HELLO:
        return shake(p);
    case SIM_END:
        return p->end != SL_OK;
    case SIM_SHUT:
        return shut(p);
    case SIM_CLOSE:
        sim_peer_close(p);
        return true;
    case SIM_RESET:
        sim_peer_reset(p);
        return true;
    case SIM_STOP:
    case SIM_QUIET:
    case SIM_WAIT:
    case SIM_DRAIN:
    case SIM_RELOAD:
        return false;
    }
    return false;
}

/* What comes before a handshake is its own. */
static void read_for_script(struct sim_peer *p)
{
    if (p->at->verb != SIM_TLS && p->at->verb != SIM_HELLO)
        sim_peer_read(p);
}

void sim_peer_poll(struct sim_peer *p)
{
    if (p->is_silent)
        return;
    read_for_script(p);
    while (step(p)) {
        ++*p->n_moves;
        p->at++;
        read_for_script(p);
    }
}
