/* origin.h -- who is at the other end, and how a connection to it is made: dial, then TLS for
 * https.
 *
 * Thread: the loop's.
 */
#ifndef SL_UPSTREAM_ORIGIN_H
#define SL_UPSTREAM_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct sl_connect;
struct sl_guard;
struct sl_loop;
struct sl_resolver;
struct sl_stream;
struct sl_tls_client_context;

/** Which HTTP a connection speaks. */
enum sl_http_choice {
    SL_HTTP_1,
    SL_HTTP_ANY, /**< what TLS agrees on (ALPN); HTTP/1 without TLS */
    SL_HTTP_2,   /**< by prior knowledge (RFC 9113 section 3.3) */
};

/** What makes two connections interchangeable. */
struct sl_origin {
    struct sl_str host; /**< canonical name or literal, or the path of a unix socket */
    struct sl_str name; /**< with tls: what it is called and has to prove; empty: host */
    uint16_t port;
    bool is_unix;
    bool tls;
    bool verify; /**< the certificate; with tls */
    enum sl_http_choice http;
    uint64_t owner; /**< 0: any client may use the connection; else this client only (NTLM) */
};

/** Appends the key of @a o: equal keys, interchangeable connections. */
void sl_origin_key(const struct sl_origin *o, struct sl_buf *out);

/** In place of names and sockets, for tests and embedding programs: a connected stream, then the
 * callee's, or NULL for refused.  Runs from the loop. */
typedef struct sl_stream *sl_open_fn(void *arg, const struct sl_origin *origin);

/** How to get there: one a worker and configuration. */
struct sl_route {
    struct sl_loop *loop;
    struct sl_resolver *resolver;
    struct sl_tls_client_context *tls;
    const struct sl_guard *guard; /**< NULL: any address */
    uint32_t connect_timeout_ms;  /**< resolution, racing and TLS together */
    sl_open_fn *open;             /**< NULL: resolve, guard, connect */
    void *open_arg;
};

/** What was reached. */
struct sl_peer {
    struct sl_addr addr;
    const char *tls_version; /**< static, NULL without TLS */
    bool http2;              /**< what the connection speaks */
};

/** Exactly once, from the loop, never from inside start; the connect is already gone. */
typedef void sl_connect_fn(void *arg, struct sl_stream *stream, const struct sl_peer *peer,
                           const struct sl_fault *fault);

/** @a route is borrowed until the end, @a origin only during the call. */
struct sl_connect *sl_connect_start(const struct sl_route *route, const struct sl_origin *origin,
                                    sl_connect_fn *done, void *arg);
void sl_connect_cancel(struct sl_connect **connect);

#endif
