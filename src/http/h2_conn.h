/* h2_conn.h -- an HTTP/2 connection below its role: the byte stream, the library's session, the
 * streams, and who hears of what.  Private to http/h2_server and http/h2_client.
 *
 * Embedded.  The library is entered from two places only, reading and pushing; what its callbacks
 * learn is noted on streams, and their owners hear of it when the library has returned.  Its memory
 * must outlive a call of on_change: owners free themselves with sl_loop_defer_free.
 * Thread: the loop's.
 */
#ifndef SL_HTTP_H2_CONN_H
#define SL_HTTP_H2_CONN_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/h2_frames.h"
#include "http/h2_guard.h"
#include "http/h2_head.h"
#include "http/h2_strict.h"
#include "http/http_stream.h"

/* The library's default, and what a peer may send on a stream before its first word from us. */
#define SL_H2_WINDOW_MIN 65535
/* 1 Gbit/s over 100 ms are 12.5 MB under way. */
#define SL_H2_WINDOW_MAX (16 * 1024 * 1024)
/* What the streams of one connection may have beyond the minimum, together. */
#define SL_H2_WINDOW_EXTRA (32 * 1024 * 1024)

enum sl_h2_conn_state {
    SL_H2_OPEN,
    SL_H2_GOING,  /**< GOAWAY was sent or came: no new streams, those that are go on */
    SL_H2_LINGER, /**< all is said; reading on, so that the peer gets to see it */
    SL_H2_ENDED,  /**< the byte stream is closed, every stream has failed or ended */
};

struct sl_h2_conn;
struct sl_h2_stream;

/** What a server and a client do differently. */
struct sl_h2_role {
    bool is_server;
    const struct sl_http_stream_ops *ops; /**< of streams that the peer opens */
    /** A whole field section came; @a ends: and nothing after it. */
    void (*on_section)(struct sl_h2_stream *s, bool ends);
    /** The library refuses the section, and resets the stream. */
    void (*on_malformed)(struct sl_h2_stream *s);
    /** The peer's settings came; NULL: they are of no interest. */
    void (*on_settings)(struct sl_h2_conn *c);
    /** Bytes came from the peer; NULL: of no interest. */
    void (*on_sign_of_life)(struct sl_h2_conn *c);
};

struct sl_h2_conn_conf {
    struct sl_loop *loop;
    const struct sl_h2_role *role;
    struct sl_head_limits limits;
    uint32_t max_streams; /**< that the peer may have open at once */
    uint64_t body_bytes;  /**< largest body that a stream may bring, 0: no limit */
};

struct sl_h2_conn {
    struct sl_h2_conn_conf conf;
    struct sl_stream *stream; /**< owned; NULL once closed */
    nghttp2_session *ng;
    struct sl_buf out;       /**< frames that the transport has not taken */
    struct sl_link streams;  /**< struct sl_h2_stream */
    struct sl_link ready;    /**< those whose owners are to hear of something */
    struct sl_link incoming; /**< server: requests nobody has asked for yet */
    uint32_t n_streams;
    int32_t extra; /**< sum of what windows have beyond their minimum */
    struct sl_h2_frames frames;
    struct sl_h2_guard guard;
    struct sl_h2_strict strict;
    struct sl_h2_reader refused; /**< what a section measures that belongs to no stream of ours */
    enum sl_h2_conn_state state;
    bool is_changed;              /**< on_change is due */
    bool is_settled;              /**< the peer's SETTINGS came */
    bool is_flooded;              /**< the guard has spoken */
    bool is_deaf;                 /**< the peer broke the protocol: what else it sends is dropped */
    bool is_refusing;             /**< the header block under way is for nothing */
    bool is_running;              /**< inside run(), which pushes and tells by itself */
    size_t lingered;              /**< bytes read in SL_H2_LINGER */
    struct sl_fault fault;        /**< why it ended, if for a fault */
    struct sl_task wake, again;   /**< in this turn, in the next */
    void (*on_change)(void *arg); /**< a request came, a stream is done, the peer's settings or the
                                     state changed; from the loop; set by the owner */
    void *arg;
};

/** on_change and arg are set by the owner before; takes @a stream over; @a preface: bytes already
 * read from it, copied. */
void sl_h2_conn_init(struct sl_h2_conn *c, const struct sl_h2_conn_conf *conf,
                     struct sl_stream *stream, struct sl_str preface);
/** Closes; no callback runs afterwards.  The owner frees the rest with sl_h2_conn_release from a
 * deferred free. */
void sl_h2_conn_close(struct sl_h2_conn *c);
void sl_h2_conn_release(struct sl_h2_conn *c);

/** Something was submitted: goes on later in this turn. */
void sl_h2_conn_kick(struct sl_h2_conn *c);
/** on_change is due. */
void sl_h2_conn_changed(struct sl_h2_conn *c);
/** The owner of @a s is to hear of something. */
void sl_h2_conn_ready(struct sl_h2_conn *c, struct sl_h2_stream *s);
/** Tells the peer, if anything changes for it. */
void sl_h2_conn_set_limits(struct sl_h2_conn *c, const struct sl_head_limits *limits,
                           uint32_t max_streams);
/** No new streams: says GOAWAY.  Once the last stream is done the connection ends. */
void sl_h2_conn_drain(struct sl_h2_conn *c);
/** Every stream is lost, and the connection ends without a word. */
void sl_h2_conn_fail(struct sl_h2_conn *c, enum sl_err err, const char *text);

#endif
