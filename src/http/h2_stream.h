/* h2_stream.h -- one HTTP/2 stream as an http stream: what both roles share.  Private to
 * http/h2_conn, http/h2_server and http/h2_client.
 *
 * It lives until the library is done with it (is_closed) and nobody owns it or could come to.
 * Content is kept until the owner takes it, at most the stream's window of it; what the owner gives
 * is kept until the peer's window lets it go, at most a chunk of it. Thread: the loop's.
 */
#ifndef SL_HTTP_H2_STREAM_H
#define SL_HTTP_H2_STREAM_H

#include "http/h2_conn.h"
#include "http/h2_head.h"

enum sl_h2_recv_state {
    SL_H2_RECV_HEAD,   /**< a head is awaited */
    SL_H2_RECV_BODY,   /**< content, perhaps trailers */
    SL_H2_RECV_END,    /**< the peer has ended its side */
    SL_H2_RECV_TOLD,   /**< and SL_EOF was answered */
    SL_H2_RECV_FAILED, /**< see the fault */
};

enum sl_h2_send_state {
    SL_H2_SEND_HEAD, /**< no final head yet */
    SL_H2_SEND_BODY, /**< content may follow */
    SL_H2_SEND_LAST, /**< the end was asked for, and waits with what is before it */
    SL_H2_SEND_DONE, /**< END_STREAM was written */
};

struct sl_h2_stream {
    struct sl_http_stream base;
    struct sl_loop *loop;
    struct sl_h2_conn *conn; /**< NULL once that was closed, or is done with it */
    int32_t id;              /**< client: -1 before the head was sent */
    struct sl_link in_conn, in_ready, in_incoming;
    unsigned wanted;
    bool is_owned;   /**< handed out, and not closed since */
    bool is_closed;  /**< the library is done with it */
    bool is_told;    /**< that the client is gone */
    bool is_counted; /**< among the connection's n_streams */
    struct sl_arena arena;

    enum sl_h2_recv_state recv;
    struct sl_h2_reader reader; /**< of the section under way */
    struct sl_head head;        /**< the request, or the final response */
    struct sl_fields trailers;
    struct sl_buf in;
    uint64_t body_left; /**< of conf.body_bytes as it was when the stream began */
    int32_t window;     /**< ours, as announced */
    int32_t taken;      /**< by the owner, of the window under measure */
    uint64_t came_ms;   /**< when content came last */
    uint64_t taken_ms;  /**< when that began; 0: waits for content */
    bool is_held;       /**< extended CONNECT not yet accepted: to its owner it has ended */

    enum sl_h2_send_state send;
    struct sl_buf out;
    bool is_begun;              /**< a frame of it was written */
    bool is_deferred;           /**< the library waits for more */
    struct sl_h2_list end_list; /**< trailers to send */

    /* client */
    struct sl_str method;          /**< of the request */
    struct sl_h2_interim *interim; /**< heads that came before the final one, in order */
    bool is_head_taken;            /**< the final head was handed on */
    struct sl_h2_list
        waiting;       /**< extended CONNECT that waits for the peer's settings; n 0: none */
    struct sl_str key; /**< of the handshake that it stands for */
};

struct sl_h2_interim {
    struct sl_h2_interim *next;
    struct sl_head head;
};

struct sl_h2_stream *sl_h2_stream_new(struct sl_h2_conn *c, const struct sl_http_stream_ops *ops);
static inline struct sl_h2_stream *sl_h2_stream_of(struct sl_http_stream *s)
{
    return SL_CONTAINER(s, struct sl_h2_stream, base);
}

/* -- what the library's callbacks tell -- */

/** A field section begins. */
void sl_h2_stream_begin(struct sl_h2_stream *s);
/** A section behind the content came. */
void sl_h2_stream_trailed(struct sl_h2_stream *s);
void sl_h2_stream_data(struct sl_h2_stream *s, struct sl_str content);
/** The peer has ended its side. */
void sl_h2_stream_ended(struct sl_h2_stream *s);
/** END_STREAM was written. */
void sl_h2_stream_sent(struct sl_h2_stream *s);
/** A field section of ours cannot be sent; @a is_first: the peer has not heard of the stream. */
void sl_h2_stream_unsent(struct sl_h2_stream *s, bool is_first, const char *why);
/** The library is done with it; @a code: NGHTTP2_NO_ERROR, or why. */
void sl_h2_stream_closed(struct sl_h2_stream *s, uint32_t code);
/** Lost with its connection. */
void sl_h2_stream_lost(struct sl_h2_stream *s, const struct sl_fault *why);
/** The connection goes, and leaves it to its owner. */
void sl_h2_stream_orphan(struct sl_h2_stream *s);
/** The first failure counts. */
void sl_h2_stream_fail(struct sl_h2_stream *s, enum sl_err err, const char *text);

/** Puts it among the ready when something that its owner wants to hear of is the case. */
void sl_h2_stream_arm(struct sl_h2_stream *s);
/** Those events. */
unsigned sl_h2_stream_events(const struct sl_h2_stream *s);

/** Where content comes from, for the submit calls. */
nghttp2_data_provider sl_h2_stream_provider(struct sl_h2_stream *s);
/** Appends a DATA frame's @a head and @a n bytes of content to the connection's out. */
void sl_h2_stream_write_data(struct sl_h2_stream *s, const uint8_t head[9], size_t n);
/** The head was submitted; @a has_body: content follows. */
void sl_h2_stream_sending(struct sl_h2_stream *s, bool has_body);
/** The owner's close: resets with @a code what has not ended by itself. */
void sl_h2_stream_abandon(struct sl_h2_stream *s, uint32_t code);

/* -- operations of http/http_stream.h that are the same for both roles -- */

enum sl_err sl_h2_stream_recv_body(struct sl_http_stream *s, void *buf, size_t cap, size_t *ret_n);
struct sl_fields *sl_h2_stream_trailers(struct sl_http_stream *s);
enum sl_err sl_h2_stream_send_body(struct sl_http_stream *s, const void *p, size_t n,
                                   size_t *ret_n);
enum sl_err sl_h2_stream_send_end(struct sl_http_stream *s, const struct sl_fields *trailers);
enum sl_err sl_h2_stream_flush(struct sl_http_stream *s);
void sl_h2_stream_want(struct sl_http_stream *s, unsigned events);

#endif
