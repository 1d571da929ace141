/* h1_server.h -- the server side of an HTTP/1 connection: requests out of a byte stream, one at a
 * time.
 *
 * Owns the byte stream.  Pipelined requests wait in the buffer until the one before is closed.  It
 * keeps no clock: time-outs are the owner's, by what sl_h1_server_next and is_idle tell. Thread:
 * the loop's.
 */
#ifndef SL_HTTP_H1_SERVER_H
#define SL_HTTP_H1_SERVER_H

#include "http/h1_codec.h"
#include "http/http_stream.h"

struct sl_h1_server;

struct sl_h1_server_conf {
    struct sl_loop *loop;
    struct sl_head_limits limits;
    struct sl_h1_origin origin; /**< slices in it are static */
    bool tolerates_half_close;  /**< a client that ended its side still gets its answer; else it has
                                   gone */
    uint64_t body_bytes;        /**< largest request body, 0: no limit; over it SL_BODY_TOO_LARGE */
};

/** @a preface: bytes already read from @a stream; copied. */
struct sl_h1_server *sl_h1_server_new(const struct sl_h1_server_conf *conf,
                                      struct sl_stream *stream, struct sl_str preface);
/** Closes the byte stream and the request under way. */
void sl_h1_server_free(struct sl_h1_server **srv);

/** The next request.  SL_OK: *ret_stream is the caller's until it closes it.  SL_AGAIN: not yet,
 * wait for readiness.  SL_EOF: the peer closed between requests, or the last exchange ended the
 * connection; SL_AGAIN may come before that: closing a connection that was not read to its end
 * could destroy the last response before the peer has seen it. A malformed head answers
 * its error *and* sets *ret_stream: a stream that can still send one response, after which the
 * connection ends; recv_head on it gives what could be parsed, perhaps an empty head. SL_RESET and
 * the like: the transport failed, *ret_stream is NULL. */
enum sl_err sl_h1_server_next(struct sl_h1_server *srv, struct sl_http_stream **ret_stream,
                              struct sl_fault *ret_fault) SL_MUST_USE;

/** The head under way is waited for no longer: a stream that can still send one response, like that
 * of a malformed head; its fault is @a err.  NULL when not one byte of a head has come. */
struct sl_http_stream *sl_h1_server_give_up(struct sl_h1_server *srv, enum sl_err err);

/** Hears of readability while no request is under way. */
void sl_h1_server_on_ready(struct sl_h1_server *srv, sl_ready_fn *fn, void *arg);
/** True when not one byte of a next request has come. */
bool sl_h1_server_is_idle(const struct sl_h1_server *srv);
/** Requests that come from now on go by these; none is under way. */
void sl_h1_server_set_limits(struct sl_h1_server *srv, const struct sl_head_limits *limits,
                             uint64_t body_bytes);
/** No request after the one under way: its response says `Connection: close`. */
void sl_h1_server_drain(struct sl_h1_server *srv);
/** Gives the byte stream and what was read ahead to the caller (CONNECT, after its reply was sent),
 * and ends the server.  @a ret_preface is appended to. */
struct sl_stream *sl_h1_server_detach(struct sl_h1_server **srv, struct sl_buf *ret_preface);

#endif
