/* h1_recv.c -- state: HEAD -> BODY -> (TRAILERS) -> END -> TOLD -> (GONE), or FAILED from anywhere
 *
 * Invariant: p is NULL exactly when len is 0, but inside fill.  The decoder of the chunked coding
 * has seen every byte before off, and none behind it.
 */
#include "http/h1_recv.h"

#include "base/mem.h"

static void release(struct sl_h1_recv *r)
{
    if (r->cap == SL_CHUNK_SIZE)
        sl_chunk_put(r->p);
    else
        sl_free(r->p);
    r->p = NULL;
    r->off = r->len = r->cap = 0;
}

void sl_h1_recv_fini(struct sl_h1_recv *r)
{
    release(r);
}

static void grow(struct sl_h1_recv *r, size_t cap)
{
    struct sl_h1_recv old = *r;

    r->p = cap == SL_CHUNK_SIZE ? sl_chunk_get() : sl_alloc(cap);
    r->cap = cap;
    r->off = 0;
    if (old.len > 0)
        memcpy(r->p, old.p + old.off, old.len);
    release(&old);
}

/* Makes sure that at least one byte fits behind what is there. */
static size_t make_room(struct sl_h1_recv *r)
{
    if (r->p == NULL) {
        grow(r, SL_CHUNK_SIZE);
    } else if (r->len == r->cap) {
        grow(r, 2 * r->cap);
    } else if (r->off + r->len == r->cap) {
        memmove(r->p, r->p + r->off, r->len);
        r->off = 0;
    }
    return r->cap - r->off - r->len;
}

void sl_h1_recv_stash(struct sl_h1_recv *r, struct sl_str s)
{
    while (s.n > 0) {
        struct sl_str part = sl_str_head(s, make_room(r));

        memcpy(r->p + r->off + r->len, part.p, part.n);
        r->len += part.n;
        s = sl_str_skip(s, part.n);
    }
}

static enum sl_err read_into(struct sl_h1_recv *r, void *p, size_t cap, size_t *ret_n)
{
    enum sl_err err = sl_stream_read(r->stream, p, cap, ret_n);

    r->is_starved = err == SL_AGAIN;
    r->is_eof = r->is_eof || err == SL_EOF;
    return err;
}

enum sl_err sl_h1_recv_fill(struct sl_h1_recv *r)
{
    size_t n = 0;
    size_t room = make_room(r);
    enum sl_err err = read_into(r, r->p + r->off + r->len, room, &n);

    if (err == SL_OK)
        r->len += n;
    else if (r->len == 0)
        release(r);
    return err;
}

void sl_h1_recv_consume(struct sl_h1_recv *r, size_t n)
{
    sl_assert(n <= r->len);
    r->off += n;
    r->len -= n;
    if (r->len == 0)
        release(r);
}

void sl_h1_recv_reset(struct sl_h1_recv *r)
{
    r->state = SL_H1_RECV_HEAD;
    r->is_starved = false;
    r->arena = NULL;
    r->trailers = (struct sl_fields){ 0 };
}

void sl_h1_recv_begin(struct sl_h1_recv *r, const struct sl_head *head, uint64_t max_bytes)
{
    r->framing = head->framing;
    r->left = head->content_length;
    if (head->framing == SL_FRAMING_CHUNKED)
        r->left = max_bytes != 0 ? max_bytes : UINT64_MAX;
    r->chunked = (struct sl_h1_chunked){ 0 };
    r->arena = head->arena;
    r->is_starved = false;
    r->state = SL_H1_RECV_BODY;
    if (r->framing == SL_FRAMING_NONE || (r->framing == SL_FRAMING_LENGTH && r->left == 0))
        r->state = SL_H1_RECV_END;
}

void sl_h1_recv_raw(struct sl_h1_recv *r)
{
    r->framing = SL_FRAMING_RAW;
    r->is_starved = false;
    r->state = SL_H1_RECV_BODY;
}

enum sl_err sl_h1_recv_broken(const struct sl_h1_recv *r, enum sl_err err, struct sl_fault *fault)
{
    *fault = r->stream->fault;
    fault->err = err;
    return err;
}

/* Input that the codec refuses has one code in requests and another in responses. */
static enum sl_err refused(struct sl_h1_recv *r, enum sl_err err, struct sl_fault *fault)
{
    r->state = SL_H1_RECV_FAILED;
    if (!r->is_response)
        return sl_fault_set(fault, err, "request body: %s", sl_err_text(err));
    if (err == SL_HEADER_TOO_LARGE)
        return sl_fault_set(fault, SL_RESPONSE_HEADER, "trailer section too large");
    return sl_fault_set(fault, SL_BAD_RESPONSE, "response body: %s", sl_err_text(err));
}

static enum sl_err told(struct sl_h1_recv *r)
{
    r->state = SL_H1_RECV_TOLD;
    return SL_EOF;
}

/* What the end of the transport means where this body stands.  A peer that vanished without TLS's
 * close_notify may have been cut off by somebody on the way: such an end proves nothing. */
static enum sl_err ended(struct sl_h1_recv *r, struct sl_fault *fault)
{
    bool is_clean = r->stream->fault.err != SL_RESET;

    if (r->framing == SL_FRAMING_RAW || (r->framing == SL_FRAMING_CLOSE && is_clean))
        return told(r);
    r->state = SL_H1_RECV_FAILED;
    if (r->is_response)
        return sl_fault_set(fault, SL_RESPONSE_CUT, "connection closed inside the response body");
    return sl_fault_set(fault, SL_CANCELLED, "connection closed inside the request body");
}

/* The transport gave no bytes: says why. */
static enum sl_err stopped(struct sl_h1_recv *r, enum sl_err err, struct sl_fault *fault)
{
    if (err == SL_AGAIN)
        return err;
    if (err == SL_EOF)
        return ended(r, fault);
    r->state = SL_H1_RECV_FAILED;
    return sl_h1_recv_broken(r, err, fault);
}

/* Bytes as they come: those read ahead first. */
static enum sl_err take(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n)
{
    struct sl_str part = sl_str_head(sl_h1_recv_ahead(r), buf.iov_len);

    if (part.n == 0)
        return read_into(r, buf.iov_base, buf.iov_len, ret_n);
    memcpy(buf.iov_base, part.p, part.n);
    sl_h1_recv_consume(r, part.n);
    *ret_n = part.n;
    return SL_OK;
}

static enum sl_err recv_unframed(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                 struct sl_fault *fault)
{
    enum sl_err err = take(r, buf, ret_n);

    return err == SL_OK ? SL_OK : stopped(r, err, fault);
}

static enum sl_err recv_counted(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                struct sl_fault *fault)
{
    enum sl_err err;

    if (buf.iov_len > r->left)
        buf.iov_len = (size_t)r->left;
    err = take(r, buf, ret_n);
    if (err != SL_OK)
        return stopped(r, err, fault);
    r->left -= *ret_n;
    if (r->left == 0)
        r->state = SL_H1_RECV_END;
    return SL_OK;
}

static enum sl_err recv_trailers(struct sl_h1_recv *r, struct sl_fault *fault)
{
    for (;;) {
        size_t used = 0;
        enum sl_err err = sl_h1_parse_trailers(sl_h1_recv_ahead(r), r->limits, r->arena,
                                               &r->trailers, &used, fault);

        if (err == SL_OK) {
            sl_h1_recv_consume(r, used);
            return told(r);
        }
        if (err != SL_AGAIN)
            return refused(r, err, fault);
        err = sl_h1_recv_fill(r);
        if (err != SL_OK)
            return stopped(r, err, fault);
    }
}

/* Takes the coding off @a in; content goes to @a out, which may be where in begins. */
static enum sl_err decode(struct sl_h1_recv *r, struct sl_str in, char *out, size_t *ret_used,
                          size_t *ret_n)
{
    struct sl_str rest = in;
    struct sl_h1_piece piece = { 0 };
    size_t n = 0;

    while (rest.n > 0 && !piece.end) {
        enum sl_err err = sl_h1_chunked_next(&r->chunked, rest, &piece);

        if (err != SL_OK)
            return err;
        if (piece.skip + piece.data == 0 && !piece.end)
            break;
        if (piece.data > r->left)
            return SL_BODY_TOO_LARGE;
        memmove(out + n, rest.p + piece.skip, piece.data);
        n += piece.data;
        r->left -= piece.data;
        rest = sl_str_skip(rest, piece.skip + piece.data);
    }
    if (piece.end)
        r->state = SL_H1_RECV_TRAILERS;
    *ret_used = in.n - rest.n;
    *ret_n = n;
    return SL_OK;
}

/* Nothing was read ahead: the caller's buffer takes the coded bytes, content then moves over the
 * framing between. */
static enum sl_err decode_in_place(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                   struct sl_fault *fault)
{
    struct sl_str in;
    size_t n, used;
    enum sl_err err = read_into(r, buf.iov_base, buf.iov_len, &n);

    if (err != SL_OK)
        return stopped(r, err, fault);
    in = sl_str_make(buf.iov_base, n);
    /* Content moves towards the front only, so what lies behind the bytes used is still there. */
    err = decode(r, in, buf.iov_base, &used, ret_n);
    if (err != SL_OK)
        return refused(r, err, fault);
    sl_h1_recv_stash(r, sl_str_skip(in, used));
    return SL_OK;
}

static enum sl_err decode_ahead(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                struct sl_fault *fault)
{
    size_t used;
    struct sl_str in = sl_str_head(sl_h1_recv_ahead(r), buf.iov_len);
    enum sl_err err = decode(r, in, buf.iov_base, &used, ret_n);

    if (err != SL_OK)
        return refused(r, err, fault);
    sl_h1_recv_consume(r, used);
    if (used > 0)
        return SL_OK;
    err = sl_h1_recv_fill(r);
    return err == SL_OK ? SL_OK : stopped(r, err, fault);
}

static enum sl_err recv_chunked(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                struct sl_fault *fault)
{
    size_t n = 0;

    while (n == 0 && r->state == SL_H1_RECV_BODY) {
        enum sl_err err =
            r->len > 0 ? decode_ahead(r, buf, &n, fault) : decode_in_place(r, buf, &n, fault);

        if (err != SL_OK)
            return err;
    }
    if (n == 0)
        return recv_trailers(r, fault);
    *ret_n = n;
    return SL_OK;
}

static enum sl_err recv_content(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                                struct sl_fault *fault)
{
    switch (r->framing) {
    case SL_FRAMING_NONE:
        return told(r);
    case SL_FRAMING_LENGTH:
        return recv_counted(r, buf, ret_n, fault);
    case SL_FRAMING_CHUNKED:
        return recv_chunked(r, buf, ret_n, fault);
    case SL_FRAMING_CLOSE:
    case SL_FRAMING_RAW:
        return recv_unframed(r, buf, ret_n, fault);
    }
    return sl_fault_set(fault, SL_INTERNAL, "framing %d", (int)r->framing);
}

static enum sl_err gone(const struct sl_h1_recv *r, struct sl_fault *fault)
{
    if (!r->is_eof)
        return sl_h1_recv_broken(r, r->stream->fault.err, fault);
    if (r->is_response)
        return sl_fault_set(fault, SL_RESET, "connection closed after the response");
    return sl_fault_set(fault, SL_CANCELLED, "client closed before the response");
}

enum sl_err sl_h1_recv_body(struct sl_h1_recv *r, struct iovec buf, size_t *ret_n,
                            struct sl_fault *fault)
{
    switch (r->state) {
    case SL_H1_RECV_HEAD:
        return sl_fault_set(fault, SL_INTERNAL, "body asked for before its head");
    case SL_H1_RECV_BODY:
        return recv_content(r, buf, ret_n, fault);
    case SL_H1_RECV_TRAILERS:
        return recv_trailers(r, fault);
    case SL_H1_RECV_END:
    case SL_H1_RECV_TOLD:
        return told(r);
    case SL_H1_RECV_GONE:
        return gone(r, fault);
    case SL_H1_RECV_FAILED:
        return fault->err;
    }
    return SL_INTERNAL;
}

bool sl_h1_recv_look(struct sl_h1_recv *r)
{
    enum sl_err err = sl_h1_recv_fill(r);

    if (err == SL_OK || err == SL_AGAIN)
        return false;
    /* Inside TLS a side is ended with close_notify; a bare FIN is a client that died. */
    if (err == SL_EOF && r->tolerates_half_close && r->stream->fault.err == SL_OK)
        return false;
    r->state = SL_H1_RECV_GONE;
    return true;
}

bool sl_h1_recv_is_complete(const struct sl_h1_recv *r)
{
    return r->state == SL_H1_RECV_END || r->state == SL_H1_RECV_TOLD || r->state == SL_H1_RECV_GONE;
}

bool sl_h1_recv_is_ready(const struct sl_h1_recv *r)
{
    if (r->state == SL_H1_RECV_END)
        return true;
    return r->state < SL_H1_RECV_END && r->len > 0 && !r->is_starved;
}

/* With a next message waiting in the buffer, or a failure, nobody reads: readiness that is never
 * used up would be reported for ever. */
bool sl_h1_recv_is_listening(const struct sl_h1_recv *r)
{
    if (r->is_eof || r->state > SL_H1_RECV_TOLD)
        return false;
    return r->state != SL_H1_RECV_TOLD || r->len == 0;
}
