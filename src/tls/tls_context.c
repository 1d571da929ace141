/* tls_context.c -- one SSL_CTX a side and worker: making one costs 130 us, and connections of
 * different contexts contend less for reference counts.
 *
 * Invariants: every server context answers to the same session id context, so that a ticket of one
 * worker is good at another; a ticket carries the subject names of the leaf it was issued under and
 * is good under the same names only.
 */
#include "tls/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "tls/ticket_keys.h"
#include "tls/tls_internal.h"

#define GROUPS "X25519:P-256:P-384:P-521"
#define TLS13_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* What browsers offer: a client without forward secrecy and AEAD has no business here... */
#define SERVER_CIPHERS "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!AESCCM"
/* ...but origins are as old as they are. */
#define CLIENT_CIPHERS                                                                             \
    "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:RSA+AESGCM:RSA+AES:"     \
    "!aNULL:!eNULL:!PSK:!SRP:!DSS:!AESCCM:!ARIA:!CAMELLIA"

static const unsigned char alpn_http1[] = "\x08http/1.1";
static const unsigned char alpn_served[] = "\x02h2\x08http/1.1\x08http/1.0";

struct sl_tls_server_context {
    SSL_CTX *ssl;
};

struct sl_tls_client_context {
    SSL_CTX *ssl;
    struct sl_tls_sessions sessions;
};

/* -- key log, for people who debug with a packet capture -- */

static pthread_once_t keylog_once = PTHREAD_ONCE_INIT;
static int keylog_fd = -1;

static void open_keylog(void)
{
    const char *path = secure_getenv("SSLKEYLOGFILE");

    if (path == NULL || *path == '\0')
        return;
    keylog_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (keylog_fd < 0)
        sl_log(SL_LOG_WARN, "SSLKEYLOGFILE: %s: %s", path, strerror(errno));
    else
        sl_log(SL_LOG_WARN, "SSLKEYLOGFILE: the keys of all TLS connections are written to %s",
               path);
}

static void on_keylog(const SSL *ssl, const char *line)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s\n", line);

    (void)ssl;
    /* One write: workers append to one file, and a lost line is only a lost line. */
    if (n > 0 && (size_t)n < sizeof(text) && write(keylog_fd, text, (size_t)n) < 0)
        return;
}

/* -- both sides -- */

static SSL_CTX *new_ssl_ctx(const SSL_METHOD *method, const char *ciphers)
{
    SSL_CTX *ssl = SSL_CTX_new(method);

    sl_mem_need(ssl != NULL);
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set1_groups_list(ssl, GROUPS);
    SSL_CTX_set_ciphersuites(ssl, TLS13_CIPHERS);
    SSL_CTX_set_cipher_list(ssl, ciphers);
    pthread_once(&keylog_once, open_keylog);
    if (keylog_fd >= 0)
        SSL_CTX_set_keylog_callback(ssl, on_keylog);
    return ssl;
}

const char *sl_tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

/* -- towards clients -- */

/* size: six parameters are the library's choice. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    /* The library has checked the list's form; what we speak, best first, decides (RFC 7301). */
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, alpn_served,
                              sizeof(alpn_served) - 1, in, in_len) == OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The subjectAltName as it stands in the leaf: what a client that resumes takes for verified. */
static struct sl_str subject_names(const SSL *ssl)
{
    const X509 *cert = SSL_get_certificate(ssl);
    int at = cert == NULL ? -1 : X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
    const ASN1_OCTET_STRING *der;

    if (at < 0)
        return SL_STR("");
    der = X509_EXTENSION_get_data(X509_get_ext(cert, at));
    return sl_str_make(ASN1_STRING_get0_data(der), (size_t)ASN1_STRING_length(der));
}

static int on_ticket_made(SSL *ssl, void *arg)
{
    struct sl_str names = subject_names(ssl);

    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), names.p, names.n);
}

static bool is_for_same_names(const SSL *ssl, SSL_SESSION *session)
{
    void *data = NULL;
    size_t len = 0;

    if (SSL_SESSION_get0_ticket_appdata(session, &data, &len) != 1 || len == 0)
        return false;
    return sl_str_eq(sl_str_make(data, len), subject_names(ssl));
}

/* size: six parameters are the library's choice. */
static SSL_TICKET_RETURN on_ticket_shown(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                         size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    bool is_opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;

    (void)name;
    (void)name_len;
    (void)arg;
    if (!is_opened || !is_for_same_names(ssl, session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static void set_tickets(SSL_CTX *ssl, struct sl_ticket_keys *keys)
{
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (keys == NULL) {
        /* Without tickets TLS 1.3 would fall back to ones that name a cached session. */
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return;
    }
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_session_ticket_cb(ssl, on_ticket_made, on_ticket_shown, NULL);
    sl_ticket_keys_attach(keys, ssl);
}

struct sl_tls_server_context *sl_tls_server_context_new(const struct sl_tls_server_conf *conf)
{
    static const unsigned char id[] = "sluice";
    struct sl_tls_server_context *ctx = sl_zalloc(sizeof(*ctx));

    ctx->ssl = new_ssl_ctx(TLS_server_method(), SERVER_CIPHERS);
    if (conf->min_version == SL_TLS_1_3)
        SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_3_VERSION);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* The leaf comes with its chain; else the library would look for one at every handshake. */
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_id_context(ctx->ssl, id, sizeof(id) - 1);
    SSL_CTX_set_alpn_select_cb(ctx->ssl, on_alpn, NULL);
    set_tickets(ctx->ssl, conf->tickets);
    return ctx;
}

void sl_tls_server_context_free(struct sl_tls_server_context **ctx)
{
    if (*ctx == NULL)
        return;
    SSL_CTX_free((*ctx)->ssl);
    sl_free(*ctx);
    *ctx = NULL;
}

SSL_CTX *sl_tls_server_context_ssl(const struct sl_tls_server_context *ctx)
{
    return ctx->ssl;
}

/* -- towards origins -- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct sl_tls_client_context *ctx = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *key = SSL_get_app_data(ssl);

    if (ctx == NULL || key == NULL)
        return 0;
    sl_tls_sessions_put(&ctx->sessions, sl_str_of(key), session);
    return 1;
}

static void set_sessions(struct sl_tls_client_context *ctx, uint32_t max)
{
    sl_tls_sessions_init(&ctx->sessions, max);
    SSL_CTX_set_app_data(ctx->ssl, ctx);
    if (max == 0) {
        SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
        return;
    }
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx->ssl, on_session);
}

static enum sl_err load_trust(SSL_CTX *ssl, const char *ca_file, struct sl_fault *fault)
{
    const char *why;
    unsigned long e;

    ERR_clear_error();
    if (ca_file == NULL)
        return SSL_CTX_set_default_verify_paths(ssl) == 1
                   ? SL_OK
                   : sl_fault_set(fault, SL_CONFIG, "cannot load the system's trusted CAs");
    if (SSL_CTX_load_verify_file(ssl, ca_file) == 1)
        return SL_OK;
    e = ERR_peek_error();
    why = ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    ERR_clear_error();
    return sl_fault_set(fault, SL_CONFIG, "%s: cannot load trusted CAs: %s; give a PEM file",
                        ca_file, why != NULL ? why : "no certificate in it");
}

enum sl_err sl_tls_client_context_new(const struct sl_tls_client_conf *conf,
                                      struct sl_tls_client_context **ret_ctx,
                                      struct sl_fault *fault)
{
    struct sl_tls_client_context *ctx = sl_zalloc(sizeof(*ctx));
    enum sl_err err;

    ctx->ssl = new_ssl_ctx(TLS_client_method(), CLIENT_CIPHERS);
    SSL_CTX_set_alpn_protos(ctx->ssl, alpn_http1, sizeof(alpn_http1) - 1);
    set_sessions(ctx, conf->max_sessions);
    err = load_trust(ctx->ssl, conf->ca_file, fault);
    if (err != SL_OK)
        sl_tls_client_context_free(&ctx);
    else
        *ret_ctx = ctx;
    return err;
}

void sl_tls_client_context_free(struct sl_tls_client_context **ctx)
{
    struct sl_tls_client_context *c = *ctx;

    if (c == NULL)
        return;
    *ctx = NULL;
    /* Streams still open hold the SSL_CTX, and may yet be given a session. */
    SSL_CTX_set_app_data(c->ssl, NULL);
    SSL_CTX_free(c->ssl);
    sl_tls_sessions_fini(&c->sessions);
    sl_free(c);
}

SSL_CTX *sl_tls_client_context_ssl(const struct sl_tls_client_context *ctx)
{
    return ctx->ssl;
}

struct sl_tls_sessions *sl_tls_client_context_sessions(struct sl_tls_client_context *ctx)
{
    return &ctx->sessions;
}
