/* tls_internal.h -- what the files of the TLS stream share; nothing outside src/tls/ includes it.
 *
 * contexts (tls_context.c) <- sessions (tls_sessions.c);  handshake (tls_handshake.c) <- stream
 * (tls_stream.c) <- faults (tls_fault.c).  An SSL made for an origin has the key of its remembered
 * session as app data (NULL: not to be remembered); the SSL_CTX of a client context has that
 * context as app data, NULL once it is freed; that of a server has its ticket keys.
 * Thread: the loop's.
 */
#ifndef SL_TLS_TLS_INTERNAL_H
#define SL_TLS_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

struct sl_loop;
struct sl_stream;
struct sl_ticket_keys;
struct sl_tls_client_context;
struct sl_tls_server_context;

/** Sessions with origins: least recently used first out.  Zeroed memory plus init is empty. */
struct sl_tls_sessions {
    struct sl_map by_key;
    struct sl_link by_use; /**< most recently used first */
    uint32_t max;
};

void sl_tls_sessions_init(struct sl_tls_sessions *s, uint32_t max);
void sl_tls_sessions_fini(struct sl_tls_sessions *s);
/** Borrowed; NULL when there is none that an origin might still accept. */
SSL_SESSION *sl_tls_sessions_get(struct sl_tls_sessions *s, struct sl_str key);
/** Takes @a session over; it replaces an older one. */
void sl_tls_sessions_put(struct sl_tls_sessions *s, struct sl_str key, SSL_SESSION *session);
void sl_tls_sessions_drop(struct sl_tls_sessions *s, struct sl_str key);

SSL_CTX *sl_tls_server_context_ssl(const struct sl_tls_server_context *ctx); /**< borrowed */
SSL_CTX *sl_tls_client_context_ssl(const struct sl_tls_client_context *ctx); /**< borrowed */
struct sl_tls_sessions *sl_tls_client_context_sessions(struct sl_tls_client_context *ctx);

/** A new key now, whatever the age of the newest. */
void sl_ticket_keys_rotate(struct sl_ticket_keys *keys);

/** A certificate that says where its issuer is to be had (RFC 5280 section 4.2.2.1), and came
 * without it: clients that go and look find nothing wrong. */
#define SL_X509_V_ERR_INCOMPLETE X509_V_ERR_APPLICATION_VERIFICATION

/** Describes what the library's error queue says about @a ssl, and empties the queue. */
enum sl_err sl_tls_fault_set(struct sl_fault *f, SSL *ssl);

/** Takes @a ssl and @a lower over; copies @a preface. */
struct sl_stream *sl_tls_stream_new(struct sl_loop *loop, SSL *ssl, struct sl_stream *lower,
                                    struct sl_str preface);
/** The key under which a session of this stream is remembered: heap, taken over. */
void sl_tls_stream_remember(struct sl_stream *s, char *session_key);
const SSL *sl_tls_stream_ssl(const struct sl_stream *s); /**< borrowed */
/** One more step; only until it has answered SL_OK.  SL_AGAIN: SL_READABLE is reported when another
 * step may get on.  Anything else is final, see fault. */
enum sl_err sl_tls_stream_handshake(struct sl_stream *s) SL_MUST_USE;

#endif
