/* intercept.c -- state: PEEK -> (HELLO ->) LEAF -> HANDSHAKE -> (reported and freed)
 *
 * Invariant: stream is non-NULL until the handshake takes it over; get and handshake name the later
 * states.
 */
#include "proxy/intercept.h"

#include "base/mem.h"
#include "http/h2_server.h"
#include "io/loop.h"
#include "io/stream.h"
#include "policy/gate.h"
#include "proxy/first_bytes.h"
#include "proxy/snapshot.h"
#include "proxy/sni.h"
#include "tls/hello.h"
#include "tls/leaf_cache.h"
#include "tls/tls_stream.h"

#define PEEK_ROUND ((size_t)4096)

struct sl_intercept {
    struct sl_intercept_conf conf;
    struct sl_stream *stream;
    struct sl_timer deadline;
    struct sl_timer hurry; /* PEEK, in a drain */
    struct sl_task begin;  /* the preface may hold all that is needed */
    struct sl_hello hello;
    struct sl_leaf_get *get;
    const char *leaf; /* "hit" or "forged", once there is one */
    struct sl_tls_handshake *handshake;
    sl_intercept_fn *done;
    void *arg;
};

static void on_begin(void *arg);
static void on_deadline(void *arg);
static sl_ready_fn on_ready;
static sl_leaf_get_fn on_leaf;
static sl_tls_handshake_fn on_handshake;

struct sl_intercept *sl_intercept_start(const struct sl_intercept_conf *conf, sl_intercept_fn *done,
                                        void *arg)
{
    struct sl_intercept *op = sl_zalloc(sizeof(*op));
    struct sl_loop *loop = conf->env->loop;

    *op = (struct sl_intercept){ .conf = *conf, .stream = conf->stream, .done = done, .arg = arg };
    op->begin = (struct sl_task){ .fn = on_begin, .arg = op };
    sl_stream_on_ready(op->stream, on_ready, op);
    sl_timer_start(loop, &op->deadline, conf->env->conf->limits.handshake_timeout_ms, on_deadline,
                   op);
    sl_task_post(loop, &op->begin);
    return op;
}

bool sl_intercept_is_peeking(const struct sl_intercept *op)
{
    return op->get == NULL && op->handshake == NULL;
}

void sl_intercept_set_env(struct sl_intercept *op, struct sl_env *env)
{
    sl_assert(sl_intercept_is_peeking(op));
    op->conf.env = env;
}

void sl_intercept_hurry(struct sl_intercept *op, uint32_t ms)
{
    if (sl_intercept_is_peeking(op))
        sl_timer_start(op->conf.env->loop, &op->hurry, ms, on_deadline, op);
}

void sl_intercept_cancel(struct sl_intercept **intercept)
{
    struct sl_intercept *op = *intercept;

    if (op == NULL)
        return;
    *intercept = NULL;
    sl_timer_stop(&op->deadline);
    sl_timer_stop(&op->hurry);
    sl_task_cancel(op->conf.env->loop, &op->begin);
    sl_leaf_get_cancel(&op->get);
    sl_tls_handshake_cancel(&op->handshake);
    sl_stream_close(&op->stream);
    sl_free(op);
}

static void finish(struct sl_intercept *op, const struct sl_intercept_result *result)
{
    struct sl_intercept_result r = *result;
    sl_intercept_fn *done = op->done;
    void *arg = op->arg;

    if (r.kind != SL_INTERCEPT_FAILED && r.stream == NULL) {
        r.stream = op->stream;
        op->stream = NULL;
        sl_stream_want(r.stream, 0);
    }
    sl_intercept_cancel(&op);
    done(arg, &r);
}

static void unopened(struct sl_intercept *op, enum sl_intercept_kind kind)
{
    finish(op, &(struct sl_intercept_result){ .kind = kind });
}

/* A client that knows its origin speaks HTTP/2 says so at once (RFC 9113 section 3.3). */
static enum sl_err look_for_http2(struct sl_intercept *op, struct sl_str in)
{
    struct sl_str preface = SL_STR(SL_H2_PREFACE);

    if (!sl_str_has_prefix(preface, sl_str_head(in, preface.n)))
        return SL_BAD_VERSION;
    if (in.n < preface.n)
        return SL_AGAIN;
    finish(op, &(struct sl_intercept_result){ .kind = SL_INTERCEPT_HTTP, .http2 = true });
    return SL_OK;
}

static void fail(struct sl_intercept *op, const struct sl_fault *fault)
{
    struct sl_fault copy = *fault;

    finish(op, &(struct sl_intercept_result){
                   .kind = SL_INTERCEPT_FAILED, .leaf = op->leaf, .fault = &copy });
}

static void open_tls(struct sl_intercept *op, struct sl_leaf *leaf)
{
    struct sl_env *env = op->conf.env;

    op->handshake =
        sl_tls_accept_start(&(struct sl_tls_accept_conf){ .loop = env->loop,
                                                          .context = env->tls_server,
                                                          .lower = op->stream,
                                                          .preface = sl_buf_str(op->conf.preface),
                                                          .leaf = leaf },
                            on_handshake, op);
    op->stream = NULL;
    sl_buf_fini(op->conf.preface);
    sl_leaf_unref(&leaf);
}

/* The leaf names what the client asked for: the SNI, or the CONNECT host without one. */
static struct sl_str leaf_host(const struct sl_intercept *op)
{
    const struct sl_facts *f = op->conf.facts;

    return f->sni.n != 0 ? f->sni : f->host;
}

static void get_leaf(struct sl_intercept *op)
{
    struct sl_env *env = op->conf.env;
    struct sl_leaf_conf conf = env->conf->leaf;
    struct sl_leaf *leaf;

    if (!op->hello.offers_ecdsa)
        conf.kind = SL_LEAF_RSA_2048;
    sl_stream_want(op->stream, 0);
    leaf = sl_leaf_cache_get(env->conf->leaf_cache, env->conf->ca, &conf, leaf_host(op));
    if (leaf != NULL) {
        op->leaf = "hit";
        open_tls(op, leaf);
        return;
    }
    op->get = sl_leaf_get_start(&(struct sl_leaf_get_conf){ .cache = env->conf->leaf_cache,
                                                            .ca = env->conf->ca,
                                                            .keys = env->conf->leaf_keys,
                                                            .leaf = conf,
                                                            .loop = env->loop,
                                                            .mailbox = env->mailbox,
                                                            .signer = env->signer },
                                leaf_host(op), on_leaf, op);
}

static void learn_hello(struct sl_intercept *op)
{
    struct sl_facts *f = op->conf.facts;

    f->sni = op->hello.sni;
    f->alpn = op->hello.alpn;
    sl_facts_learn(f, SL_FACT_SNI);
    sl_facts_learn(f, SL_FACT_ALPN);
}

/* One name per exchange: an SNI that is not the CONNECT host is a way round the check.  Unless the
 * rule that says tunnel names it, it is opened, and each request inside needs a rule that does. */
static bool is_tunnel(const struct sl_intercept *op)
{
    const struct sl_facts *f = op->conf.facts;
    struct sl_decision d = sl_gate_rule(op->conf.env->gate, f, SL_STAGE_EARLY);

    return d.decided != SL_DECIDED_UNKNOWN && d.rule->action == SL_ACTION_TUNNEL &&
           sl_rule_permits_name(d.rule, f->host, leaf_host(op));
}

static void on_hello(struct sl_intercept *op)
{
    sl_timer_stop(&op->hurry);
    learn_hello(op);
    if (is_tunnel(op))
        unopened(op, SL_INTERCEPT_TUNNEL);
    else
        get_leaf(op);
}

/* Looks at what is there; SL_AGAIN when more is needed, else the end was reported or begun. */
static enum sl_err look(struct sl_intercept *op)
{
    struct sl_str in = sl_buf_str(op->conf.preface);
    struct sl_fault fault = { 0 };
    enum sl_err err = in.n == 0 ? SL_AGAIN : look_for_http2(op, in);

    if (err == SL_OK || err == SL_AGAIN)
        return err;
    switch (sl_first_bytes(in)) {
    case SL_FIRST_UNKNOWN:
        return SL_AGAIN;
    case SL_FIRST_HTTP:
        unopened(op, SL_INTERCEPT_HTTP);
        return SL_OK;
    case SL_FIRST_OPAQUE:
        unopened(op, SL_INTERCEPT_OPAQUE);
        return SL_OK;
    case SL_FIRST_TLS:
        break;
    }
    err = sl_sni_parse(in, op->conf.arena, &op->hello, &fault);
    if (err == SL_AGAIN)
        return SL_AGAIN;
    if (err == SL_OK)
        on_hello(op);
    else
        fail(op, &fault);
    return SL_OK;
}

static void peek(struct sl_intercept *op)
{
    while (look(op) == SL_AGAIN) {
        enum sl_err err = sl_stream_read_more(op->stream, op->conf.preface, PEEK_ROUND);

        if (err == SL_OK)
            continue;
        if (err == SL_AGAIN)
            sl_stream_want(op->stream, SL_READABLE);
        else
            fail(op, &(struct sl_fault){ .err = err == SL_EOF ? SL_CANCELLED : err,
                                         .text = "client closed before the first bytes" });
        return;
    }
}

static void on_begin(void *arg)
{
    peek(arg);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    peek(arg);
}

static void on_leaf(void *arg, struct sl_leaf *leaf, bool forged, const struct sl_fault *fault)
{
    struct sl_intercept *op = arg;

    op->get = NULL;
    if (leaf == NULL) {
        fail(op, fault);
        return;
    }
    op->leaf = forged ? "forged" : "hit";
    open_tls(op, leaf);
}

static void on_handshake(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct sl_intercept *op = arg;
    struct sl_tls_info info;

    op->handshake = NULL;
    if (stream == NULL) {
        fail(op, fault);
        return;
    }
    sl_tls_stream_info(stream, &info);
    finish(op, &(struct sl_intercept_result){ .kind = SL_INTERCEPT_TLS,
                                              .stream = stream,
                                              .tls_version = info.version,
                                              .http2 = info.http2,
                                              .leaf = info.resumed ? "none" : op->leaf });
}

static void on_deadline(void *arg)
{
    struct sl_intercept *op = arg;
    struct sl_fault fault = { 0 };

    sl_fault_set(&fault, SL_REQUEST_TIMEOUT, "%s",
                 op->handshake != NULL ? "TLS handshake not complete in time" : "tunnel silent");
    fail(op, &fault);
}
