/* http_stream.h -- one request and its responses, whatever the version of HTTP: the interface that
 * the exchange pumps between.
 *
 * A server-side stream receives one request head and body and sends interim and final responses; a
 * client-side stream the reverse.  Bytes are pulled, as in io/stream.h: no operation calls back,
 * readiness comes from the loop through one callback.  Implementations: http/h1_server.h,
 * http/h1_client.h (and h2 later).
 * Thread: the loop's.
 */
#ifndef SL_HTTP_HTTP_STREAM_H
#define SL_HTTP_HTTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "http/message.h"
#include "io/stream.h"

struct sl_http_stream;

struct sl_http_stream_ops {
    /** Server: the request, already there.  Client: interim (1xx) heads, then the final one;
     * SL_AGAIN while incomplete.  The head lives until the stream is closed.  SL_EOF: the peer
     * closed before a byte of it.
     */
    enum sl_err (*recv_head)(struct sl_http_stream *s, const struct sl_head **ret_head);
    /** Content without framing.  SL_OK with *ret_n > 0, SL_AGAIN, SL_EOF at its proper end, or a
     * final error (SL_RESPONSE_CUT, SL_BAD_FRAMING, SL_BODY_TOO_LARGE...).  After 101: raw bytes.
     * Once SL_EOF was answered SL_READABLE is reported only when the peer closes the connection;
     * recv_body then answers SL_CANCELLED (from a client) or SL_RESET. */
    enum sl_err (*recv_body)(struct sl_http_stream *s, void *buf, size_t cap, size_t *ret_n);
    /** Trailer fields, once recv_body answered SL_EOF; never NULL, perhaps empty; the caller may
     * take some out. */
    struct sl_fields *(*trailers)(struct sl_http_stream *s);
    /** Queues a head.  head->framing and content_length say how the body will be sent: the codec
     * writes Content-Length or Transfer-Encoding itself, and Connection as this connection needs
     * it. head->fields must be end-to-end only.  With status 101 the stream is raw from here on. */
    enum sl_err (*send_head)(struct sl_http_stream *s, const struct sl_head *head);
    /** Takes what it can: SL_OK with *ret_n > 0; SL_AGAIN: offer the same bytes again. */
    enum sl_err (*send_body)(struct sl_http_stream *s, const void *p, size_t n, size_t *ret_n);
    /** Ends the message; @a trailers may be NULL.  SL_AGAIN until all of it was handed to the
     * transport: call again when writable.  In raw mode it half-closes. */
    enum sl_err (*send_end)(struct sl_http_stream *s, const struct sl_fields *trailers);
    /** Pushes out what was queued; SL_AGAIN when some is left. */
    enum sl_err (*flush)(struct sl_http_stream *s);
    /** Events to report: SL_READABLE (recv_* may get on, or the peer is gone), SL_WRITABLE. */
    void (*want)(struct sl_http_stream *s, unsigned events);
    /** Done with it.  When both messages ended properly the connection lives on; else it is closed.
     */
    void (*close)(struct sl_http_stream *s);
};

/** The base of every implementation; its first member. */
struct sl_http_stream {
    const struct sl_http_stream_ops *ops;
    sl_ready_fn *on_ready; /**< set by the owner */
    void *arg;
    struct sl_fault fault;             /**< why the last final error happened */
    uint64_t n_received;               /**< bytes of content received so far, framing not counted */
    uint64_t n_sent;                   /**< bytes of content sent so far */
    uint32_t n_interim, interim_bytes; /**< client: heads before the final one, all together */
    bool is_gone;      /**< server: the client has given the request up, or what it was to get
                          cannot be sent; on_ready runs for it once, whatever is wanted */
    bool has_response; /**< client: a byte of a response came; none yet means that a retry is safe
                          where the method allows it */
    bool is_refused;  /**< client: the peer has said that it did nothing with the request, which may
                         be sent again whatever its method (RFC 9113 section 8.7) */
    bool wants_http1; /**< client: and it is to come over HTTP/1.1 then */
};

/** Client: an interim head of @a n bytes came.  They live as long as the exchange, so all of them
 * together may not be larger than one head, nor very many: else SL_BAD_RESPONSE. */
enum sl_err sl_http_stream_count_interim(struct sl_http_stream *s, size_t n,
                                         const struct sl_head_limits *limits) SL_MUST_USE;

/** A pump's step: how far a body could be moved now. */
enum sl_pump_state {
    SL_PUMP_WAIT_READ,     /**< the source has nothing now */
    SL_PUMP_WAIT_WRITE,    /**< the sink takes nothing now */
    SL_PUMP_DONE,          /**< end and trailers were handed on */
    SL_PUMP_SOURCE_FAILED, /**< see from->fault */
    SL_PUMP_SINK_FAILED,   /**< see to->fault */
    SL_PUMP_REFUSED,       /**< by the tap, and what it let pass has gone out */
};

/** One direction of a relay.  Holds a chunk only while bytes are under way. */
struct sl_pump {
    struct sl_http_stream *from, *to;
    char *chunk;     /**< SL_CHUNK_SIZE bytes or NULL */
    size_t off, len; /**< what is in it and not yet taken */
    bool source_ended;
    bool is_refused; /**< the tap has let no more pass */
    const struct sl_fields
        *no_trailers;    /**< names that are not handed on as trailers; NULL: none */
    bool drops_trailers; /**< hands on none at all */
    size_t (*tap)(void *arg, struct sl_str bytes); /**< sees what is to pass, as it comes, and
                                                      answers how much of it may: with less than all
                                                      the pump ends; NULL: nobody */
    void *tap_arg;
};

/** Moves what can be moved, at most SL_PUMP_ROUND bytes so that no connection starves the others;
 * when the round is used up it answers SL_PUMP_WAIT_READ and the source stays ready. */
enum sl_pump_state sl_pump_run(struct sl_pump *p);
/** Gives the chunk back. */
void sl_pump_fini(struct sl_pump *p);

#define SL_PUMP_ROUND ((size_t)256 * 1024)

/** Closes and sets *s to NULL; NULL is a no-op. */
static inline void sl_http_stream_close(struct sl_http_stream **s)
{
    struct sl_http_stream *gone = *s;

    if (gone == NULL)
        return;
    *s = NULL;
    gone->ops->close(gone);
}

#endif
