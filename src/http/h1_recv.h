/* h1_recv.h -- the incoming half of an HTTP/1 connection: what was read ahead, and the body of the
 * message under way.  Private to http/h1_server and http/h1_client.
 *
 * Content goes from the transport straight into the caller's buffer where nothing was read ahead;
 * the chunked coding is taken out in place.  The read-ahead buffer exists only while it holds
 * bytes. Thread: the loop's.
 */
#ifndef SL_HTTP_H1_RECV_H
#define SL_HTTP_H1_RECV_H

#include "http/h1_codec.h"
#include "io/stream.h"

enum sl_h1_recv_state {
    SL_H1_RECV_HEAD,     /**< a head is awaited */
    SL_H1_RECV_BODY,     /**< content is to come */
    SL_H1_RECV_TRAILERS, /**< the last chunk came, its trailer section not wholly */
    SL_H1_RECV_END,      /**< the message is complete */
    SL_H1_RECV_TOLD,     /**< and SL_EOF was answered */
    SL_H1_RECV_GONE,     /**< and the peer closed meanwhile */
    SL_H1_RECV_FAILED,   /**< a final error was answered, it stands in the fault */
};

struct sl_h1_recv {
    struct sl_stream *stream;            /**< borrowed; set by the owner */
    const struct sl_head_limits *limits; /**< borrowed; bounds trailers; set by the owner */
    bool tolerates_half_close; /**< a peer that ended its side is still there; set by the owner */
    bool is_response;          /**< which error codes malformed input has */
    bool is_starved;           /**< the last read of the transport gave nothing */
    bool is_eof;               /**< the transport answered SL_EOF */
    char *p; /**< read ahead: a chunk while cap is SL_CHUNK_SIZE, else a heap block, or NULL */
    size_t off, len, cap;
    enum sl_h1_recv_state state;
    enum sl_framing framing;
    uint64_t left; /**< SL_FRAMING_LENGTH: bytes to come; chunked: bytes still within the limit */
    struct sl_h1_chunked chunked;
    struct sl_arena *arena; /**< borrowed; where trailers go */
    struct sl_fields trailers;
};

/** Gives the read-ahead buffer back, whatever is in it. */
void sl_h1_recv_fini(struct sl_h1_recv *r);

/** What was read and not yet consumed; valid until the next call. */
static inline struct sl_str sl_h1_recv_ahead(const struct sl_h1_recv *r)
{
    return sl_str_make(r->len != 0 ? r->p + r->off : "", r->len);
}
/** Appends to what was read ahead. */
void sl_h1_recv_stash(struct sl_h1_recv *r, struct sl_str s);
/** Reads more, behind what is there; answers as sl_stream_read does.  Growth ends where the parser
 * of what is collected says that it is too much. */
enum sl_err sl_h1_recv_fill(struct sl_h1_recv *r) SL_MUST_USE;
/** Drops @a n bytes at the front of what was read ahead. */
void sl_h1_recv_consume(struct sl_h1_recv *r, size_t n);

/** A head is awaited: forgets the message before, not what was read ahead. */
void sl_h1_recv_reset(struct sl_h1_recv *r);
/** After a head: its body follows.  @a max_bytes bounds a chunked body, 0: no limit. */
void sl_h1_recv_begin(struct sl_h1_recv *r, const struct sl_head *head, uint64_t max_bytes);
/** From here on bytes without framing (101, CONNECT). */
void sl_h1_recv_raw(struct sl_h1_recv *r);
/** As recv_body of http/http_stream.h; a final error is put into @a fault. */
enum sl_err sl_h1_recv_body(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                            struct sl_fault *fault) SL_MUST_USE;
/** After a complete message: reads to learn whether the peer is still there.  True when it has
 * gone; recv_body then says how. */
bool sl_h1_recv_look(struct sl_h1_recv *r);

bool sl_h1_recv_is_complete(const struct sl_h1_recv *r);
/** Whether sl_h1_recv_body, or a look at what was read ahead, gets on without the transport. */
bool sl_h1_recv_is_ready(const struct sl_h1_recv *r);
/** Whether readability of the transport is of interest. */
bool sl_h1_recv_is_listening(const struct sl_h1_recv *r);

/** Puts the transport's failure @a err into @a fault and answers it. */
enum sl_err sl_h1_recv_broken(const struct sl_h1_recv *r, enum sl_err err, struct sl_fault *fault);

#endif
