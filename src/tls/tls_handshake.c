/* tls_handshake.c -- state: one stream stepped until its handshake ends -> (reported and freed)
 *
 * Invariants: the stream is never NULL while the handshake lives; a fault found while the SSL was
 * set up lies on the stream, and the first step, from the loop, reports it.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/addr.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/stream.h"
#include "tls/ca.h"
#include "tls/leaf.h"
#include "tls/tls_context.h"
#include "tls/tls_internal.h"
#include "tls/tls_stream.h"

enum side { CLIENT, UPSTREAM, N_SIDES };

struct sl_tls_handshake {
    struct sl_loop *loop;
    struct sl_stream *stream;
    struct sl_task first;
    sl_tls_handshake_fn *done;
    void *arg;
};

/* -- counters -- */

static const char *const side_names[N_SIDES] = { "client", "upstream" };
static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;
static struct sl_metric *handshakes[N_SIDES][2][2]; /* by TLS 1.3 or not, by resumed or not */
static struct sl_metric_family *failures_family;
static _Atomic(struct sl_metric *) failures[N_SIDES][SL_ERR_N];

static void make_metrics(void)
{
    static const char *const versions[2] = { "TLSv1.2", "TLSv1.3" };
    static const char *const resumed[2] = { "false", "true" };
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_handshakes_total",
                         "TLS handshakes that ended well.", "side,version,resumed");

    for (int i = 0; i < N_SIDES * 4; i++) {
        const char *values[] = { side_names[i / 4], versions[i / 2 % 2], resumed[i % 2] };

        handshakes[i / 4][i / 2 % 2][i % 2] = sl_metric_child(f, values);
    }
    failures_family =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_handshake_failures_total",
                         "TLS handshakes that failed, by the name of the error.", "side,reason");
}

static enum side side_of(const SSL *ssl)
{
    return SSL_is_server(ssl) ? CLIENT : UPSTREAM;
}

static void count_success(const SSL *ssl)
{
    bool is_13 = SSL_version(ssl) >= TLS1_3_VERSION;
    bool is_resumed = SSL_session_reused(ssl) == 1;

    sl_metric_add(handshakes[side_of(ssl)][is_13][is_resumed], 1);
}

/* Made when first needed, so that a page of metrics is not a list of things that never happened. */
static void count_failure(enum side side, enum sl_err err)
{
    struct sl_metric *m = atomic_load_explicit(&failures[side][err], memory_order_acquire);

    if (m == NULL) {
        const char *values[] = { side_names[side], sl_err_name(err) };

        m = sl_metric_child(failures_family, values);
        atomic_store_explicit(&failures[side][err], m, memory_order_release);
    }
    sl_metric_add(m, 1);
}

/* -- steps -- */

/* Reports last, after the handshake is gone, so done() may free its owner. */
static void finish(struct sl_tls_handshake *hs, const struct sl_fault *fault)
{
    struct sl_stream *stream = hs->stream;
    sl_tls_handshake_fn *done = hs->done;
    void *arg = hs->arg;

    sl_task_cancel(hs->loop, &hs->first);
    sl_free(hs);
    if (fault != NULL)
        sl_stream_close(&stream);
    else
        sl_stream_on_ready(stream, NULL, NULL);
    done(arg, stream, fault);
}

/* A session that the origin chokes on must not be offered for ever. */
static void drop_session(struct sl_tls_handshake *hs)
{
    const SSL *ssl = sl_tls_stream_ssl(hs->stream);
    struct sl_tls_client_context *ctx;
    const char *key;

    if (SSL_is_server(ssl))
        return;
    ctx = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    key = SSL_get_app_data(ssl);
    if (ctx != NULL && key != NULL)
        sl_tls_sessions_drop(sl_tls_client_context_sessions(ctx), sl_str_of(key));
}

static void fail(struct sl_tls_handshake *hs)
{
    struct sl_fault fault = hs->stream->fault;

    count_failure(side_of(sl_tls_stream_ssl(hs->stream)), fault.err);
    drop_session(hs);
    finish(hs, &fault);
}

static void step(struct sl_tls_handshake *hs)
{
    enum sl_err err = sl_tls_stream_handshake(hs->stream);

    if (err == SL_AGAIN)
        return;
    if (err != SL_OK) {
        fail(hs);
        return;
    }
    count_success(sl_tls_stream_ssl(hs->stream));
    finish(hs, NULL);
}

static void on_progress(void *arg, unsigned events)
{
    (void)events;
    step(arg);
}

static void on_first(void *arg)
{
    step(arg);
}

static struct sl_tls_handshake *start(struct sl_loop *loop, struct sl_stream *stream,
                                      sl_tls_handshake_fn *done, void *arg)
{
    struct sl_tls_handshake *hs = sl_zalloc(sizeof(*hs));

    pthread_once(&metrics_once, make_metrics);
    *hs = (struct sl_tls_handshake){ .loop = loop, .stream = stream, .done = done, .arg = arg };
    sl_stream_on_ready(stream, on_progress, hs);
    hs->first.fn = on_first;
    hs->first.arg = hs;
    sl_task_post(loop, &hs->first);
    return hs;
}

void sl_tls_handshake_cancel(struct sl_tls_handshake **hs)
{
    struct sl_tls_handshake *h = *hs;

    if (h == NULL)
        return;
    *hs = NULL;
    sl_task_cancel(h->loop, &h->first);
    sl_stream_close(&h->stream);
    sl_free(h);
}

/* -- towards a client -- */

/* The stack alone is the caller's; NULL for an authority that clients know. */
static STACK_OF(X509) * chain_of(const struct sl_ca *ca)
{
    size_t n = sl_ca_chain_len(ca);
    STACK_OF(X509) * chain;

    if (n == 0)
        return NULL;
    chain = sk_X509_new_reserve(NULL, (int)n);
    sl_mem_need(chain != NULL);
    for (size_t i = 0; i < n; i++)
        sk_X509_push(chain, sl_ca_chain_at(ca, i));
    return chain;
}

/* In one call: set one by one, certificate and key are compared once more, for 1 us. */
static void attach_leaf(struct sl_stream *stream, SSL *ssl, const struct sl_leaf *leaf)
{
    STACK_OF(X509) *chain = chain_of(sl_leaf_ca(leaf));

    ERR_clear_error();
    if (SSL_use_cert_and_key(ssl, sl_leaf_cert(leaf), sl_leaf_key(leaf), chain, 1) != 1)
        (void)sl_tls_fault_set(&stream->fault, ssl);
    sk_X509_free(chain);
}

struct sl_tls_handshake *sl_tls_accept_start(const struct sl_tls_accept_conf *conf,
                                             sl_tls_handshake_fn *done, void *arg)
{
    SSL *ssl = SSL_new(sl_tls_server_context_ssl(conf->context));
    struct sl_stream *stream;

    sl_mem_need(ssl != NULL);
    SSL_set_accept_state(ssl);
    stream = sl_tls_stream_new(conf->loop, ssl, conf->lower, conf->preface);
    attach_leaf(stream, ssl, conf->leaf);
    return start(conf->loop, stream, done, arg);
}

/* -- towards an origin -- */

static void verify_name(SSL *ssl, struct sl_str host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    sl_mem_need(X509_VERIFY_PARAM_set1_host(param, host.p, host.n) == 1);
}

static void verify_addr(SSL *ssl, const struct sl_addr *addr)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (addr->sa.sa_family == AF_INET)
        sl_mem_need(X509_VERIFY_PARAM_set1_ip(param, (const void *)&addr->v4.sin_addr, 4) == 1);
    else
        sl_mem_need(X509_VERIFY_PARAM_set1_ip(param, (const void *)&addr->v6.sin6_addr, 16) == 1);
}

static bool names_its_issuer_s_place(X509 *cert)
{
    AUTHORITY_INFO_ACCESS *places = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    bool is_named = false;

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(places); i++)
        is_named |=
            OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(places, i)->method) == NID_ad_ca_issuers;
    AUTHORITY_INFO_ACCESS_free(places);
    return is_named;
}

/* Changes no outcome, only what it is called. */
static int on_verified(int ok, X509_STORE_CTX *ctx)
{
    if (ok == 0 && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
        X509_STORE_CTX_get_error_depth(ctx) == 0 &&
        names_its_issuer_s_place(X509_STORE_CTX_get_current_cert(ctx)))
        X509_STORE_CTX_set_error(ctx, SL_X509_V_ERR_INCOMPLETE);
    return ok;
}

static void set_name(SSL *ssl, const struct sl_tls_connect_conf *conf)
{
    struct sl_str name = conf->name.n != 0 ? conf->name : conf->host;
    struct sl_addr addr;
    char *sni;

    SSL_set_verify(ssl, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verified);
    if (sl_addr_parse_ip(name, &addr)) {
        verify_addr(ssl, &addr);
        return;
    }
    verify_name(ssl, name);
    sni = sl_str_dup(name);
    (void)SSL_set_tlsext_host_name(ssl, sni);
    sl_free(sni);
}

static void offer_session(struct sl_stream *stream, SSL *ssl,
                          const struct sl_tls_connect_conf *conf)
{
    struct sl_buf key = { 0 };
    SSL_SESSION *session;

    if (!conf->verify)
        return;
    sl_buf_addf(&key, "%.*s:%u", SL_FMT(conf->host), conf->port);
    if (conf->name.n != 0)
        sl_buf_addf(&key, " as %.*s", SL_FMT(conf->name));
    session = sl_tls_sessions_get(sl_tls_client_context_sessions(conf->context), sl_buf_str(&key));
    if (session != NULL)
        SSL_set_session(ssl, session);
    sl_tls_stream_remember(stream, sl_str_dup(sl_buf_str(&key)));
    sl_buf_fini(&key);
}

/* The context offers http/1.1 alone. */
static void offer_http2(SSL *ssl)
{
    static const unsigned char names[] = "\x02h2\x08http/1.1";

    sl_mem_need(SSL_set_alpn_protos(ssl, names, sizeof(names) - 1) == 0);
}

struct sl_tls_handshake *sl_tls_connect_start(const struct sl_tls_connect_conf *conf,
                                              sl_tls_handshake_fn *done, void *arg)
{
    SSL *ssl = SSL_new(sl_tls_client_context_ssl(conf->context));
    struct sl_stream *stream;

    sl_mem_need(ssl != NULL);
    SSL_set_connect_state(ssl);
    stream = sl_tls_stream_new(conf->loop, ssl, conf->lower, SL_STR(""));
    set_name(ssl, conf);
    if (conf->http2)
        offer_http2(ssl);
    offer_session(stream, ssl, conf);
    return start(conf->loop, stream, done, arg);
}
