/* tls_stream.h -- TLS as one more stream, over any stream.
 *
 * A handshake is an operation; its result is a stream that owns the one below.  A record is read
 * with one read of the stream below where it can be (read-ahead); small writes given as one writev
 * become one record. Thread: the loop's.
 */
#ifndef SL_TLS_TLS_STREAM_H
#define SL_TLS_TLS_STREAM_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct sl_leaf;
struct sl_loop;
struct sl_stream;
struct sl_tls_client_context;
struct sl_tls_handshake;
struct sl_tls_server_context;

/** Exactly once, from the loop, never from inside start.
 *
 * @param stream  the opened stream, the callee's; NULL on failure, when the one below was closed
 * @param fault   SL_TLS_PROTOCOL, SL_TLS_VERSION, SL_TLS_ALERT (with the alert's name in text: a
 * client that rejects the forged leaf sends `unknown ca`, `bad certificate` or `certificate
 * unknown`), SL_CERT_*, SL_RESET, SL_EOF; NULL on success
 */
typedef void sl_tls_handshake_fn(void *arg, struct sl_stream *stream, const struct sl_fault *fault);

struct sl_tls_accept_conf {
    struct sl_loop *loop;
    struct sl_tls_server_context *context;
    struct sl_stream *lower; /**< taken over */
    struct sl_str preface;   /**< bytes already read from lower (the ClientHello); copied */
    struct sl_leaf *leaf;    /**< a reference is taken */
};

/** The server's side: no deadline of its own. */
struct sl_tls_handshake *sl_tls_accept_start(const struct sl_tls_accept_conf *conf,
                                             sl_tls_handshake_fn *done, void *arg);

struct sl_tls_connect_conf {
    struct sl_loop *loop;
    struct sl_tls_client_context *context;
    struct sl_stream *lower; /**< taken over */
    struct sl_str host;      /**< canonical: who is at the other end */
    uint16_t port;           /**< with host and name, the key of the remembered session */
    struct sl_str
        name;    /**< SNI when no address, and what the certificate is verified for; empty: host */
    bool verify; /**< false: any certificate will do; such sessions are not remembered */
    bool http2;  /**< offers h2 before http/1.1 (RFC 7301) */
};

/** The client's side: no deadline of its own. */
struct sl_tls_handshake *sl_tls_connect_start(const struct sl_tls_connect_conf *conf,
                                              sl_tls_handshake_fn *done, void *arg);

/** Closes the stream below; the callback will not run. */
void sl_tls_handshake_cancel(struct sl_tls_handshake **hs);

/** Facts for logs, of a stream that a handshake gave. */
struct sl_tls_info {
    const char *version; /**< "TLSv1.3", static */
    const char *cipher;  /**< static */
    bool resumed;
    bool http2; /**< h2 was agreed on */
};
void sl_tls_stream_info(const struct sl_stream *s, struct sl_tls_info *ret_info);

#endif
