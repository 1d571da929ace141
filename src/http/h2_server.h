/* h2_server.h -- the server side of an HTTP/2 connection: each stream of the client a request
 * (RFC 9113).
 *
 * Owns the byte stream.  It keeps no clock but for floods: time-outs are the owner's.  Malformed
 * sections end in RST_STREAM, broken framing in GOAWAY, floods in ENHANCE_YOUR_CALM.
 * Thread: the loop's.
 */
#ifndef SL_HTTP_H2_SERVER_H
#define SL_HTTP_H2_SERVER_H

#include "http/http_stream.h"

struct sl_h2_server;

struct sl_h2_server_conf {
    struct sl_loop *loop;
    struct sl_head_limits limits;
    uint32_t max_streams; /**< open at once; more are refused */
    uint64_t body_bytes;  /**< largest request body, 0: no limit; over it SL_BODY_TOO_LARGE */
    /** A request has come, a stream has ended, or the connection has; from the loop. */
    void (*on_change)(void *arg);
    void *arg;
};

/** What a client that knows of HTTP/2 sends first (RFC 9113 section 3.4). */
#define SL_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/** @a preface: bytes already read from @a stream; copied. */
struct sl_h2_server *sl_h2_server_new(const struct sl_h2_server_conf *conf,
                                      struct sl_stream *stream, struct sl_str preface);
/** Closes the byte stream; streams that are still held have failed, and are to be closed all the
 * same. */
void sl_h2_server_free(struct sl_h2_server **srv);

/** The next request.  SL_OK: *ret_stream is the caller's until it closes it.  SL_AGAIN: none now.
 * SL_EOF: the connection has ended.  A head that is refused answers its error *and* sets
 * *ret_stream: it takes one response, or has been reset already and takes none. */
enum sl_err sl_h2_server_next(struct sl_h2_server *srv, struct sl_http_stream **ret_stream,
                              struct sl_fault *ret_fault) SL_MUST_USE;

/** Streams that the client has begun and that have not ended. */
uint32_t sl_h2_server_n_streams(const struct sl_h2_server *srv);
/** Not one frame of the client has come yet. */
bool sl_h2_server_is_new(const struct sl_h2_server *srv);
/** All is said: only the client's end of the connection is waited for. */
bool sl_h2_server_is_over(const struct sl_h2_server *srv);
/** Requests that come from now on go by these; the client is told of what it must know. */
void sl_h2_server_set_limits(struct sl_h2_server *srv, const struct sl_head_limits *limits,
                             uint32_t max_streams, uint64_t body_bytes);
/** No further streams; the connection ends with the last one. */
void sl_h2_server_drain(struct sl_h2_server *srv);

#endif
