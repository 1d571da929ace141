/* h1_send.c -- state: HEAD -> BODY -> LAST -> DONE
 *
 * Invariant: once a chunk was announced its size stands, since the announcement may already lie in
 * a write that must be repeated as it was; left counts down what the caller still owes of it.
 */
#include "http/h1_send.h"

#include "base/mem.h"
#include "http/h1_codec.h"

void sl_h1_send_fini(struct sl_h1_send *s)
{
    sl_buf_fini(&s->out);
}

void sl_h1_send_reset(struct sl_h1_send *s)
{
    sl_buf_fini(&s->out);
    s->offered = 0;
    s->state = SL_H1_SEND_HEAD;
}

void sl_h1_send_begin(struct sl_h1_send *s, enum sl_framing framing, uint64_t content_length)
{
    s->framing = framing;
    s->left = framing == SL_FRAMING_LENGTH ? content_length : 0;
    s->state = SL_H1_SEND_BODY;
}

static int add_iov(struct iovec *iov, int n, struct sl_str s)
{
    if (s.n == 0)
        return n;
    iov[n] = (struct iovec){ .iov_base = (void *)(uintptr_t)s.p, .iov_len = s.n };
    return n + 1;
}

static enum sl_err broken(const struct sl_h1_send *s, enum sl_err err, struct sl_fault *fault)
{
    *fault = s->stream->fault;
    fault->err = err;
    return err;
}

/* One write of what waits, content and what ends its chunk.  *ret_n counts the bytes taken behind
 * what waited. */
static enum sl_err offer(struct sl_h1_send *s, struct sl_str content, struct sl_str tail,
                         size_t *ret_n, struct sl_fault *fault)
{
    struct iovec iov[3];
    size_t taken = 0, queued;
    int n = add_iov(iov, 0, sl_buf_str(&s->out));
    enum sl_err err;

    n = add_iov(iov, n, content);
    n = add_iov(iov, n, tail);
    err = sl_stream_writev(s->stream, iov, n, &taken);
    if (err == SL_AGAIN) {
        s->offered = s->out.len + content.n + tail.n;
        return err;
    }
    if (err != SL_OK)
        return broken(s, err, fault);
    s->offered = 0;
    queued = taken < s->out.len ? taken : s->out.len;
    sl_buf_consume(&s->out, queued);
    *ret_n = taken - queued;
    return SL_OK;
}

/* How much of @a n may go under the framing; announces a chunk where one begins.  0: none may. */
static size_t framed(struct sl_h1_send *s, size_t n)
{
    switch (s->framing) {
    case SL_FRAMING_NONE:
        return 0;
    case SL_FRAMING_LENGTH:
        return n <= s->left ? n : 0;
    case SL_FRAMING_CHUNKED:
        if (s->left == 0) {
            sl_buf_addf(&s->out, "%zx\r\n", n);
            s->left = n;
        }
        return n < s->left ? n : (size_t)s->left;
    case SL_FRAMING_CLOSE:
    case SL_FRAMING_RAW:
        return n;
    }
    return 0;
}

/* Content was taken: counts it and keeps what the transport left of the chunk's end. */
static void account(struct sl_h1_send *s, size_t n, struct sl_str tail)
{
    if (s->framing != SL_FRAMING_LENGTH && s->framing != SL_FRAMING_CHUNKED)
        return;
    s->left -= n;
    if (s->left == 0)
        sl_buf_add_str(&s->out, tail);
}

enum sl_err sl_h1_send_body(struct sl_h1_send *s, struct sl_str content, size_t *ret_n,
                            struct sl_fault *fault)
{
    struct sl_str tail = { 0 };
    size_t taken = 0, fits;
    enum sl_err err = SL_OK;

    if (s->state != SL_H1_SEND_BODY || content.n == 0)
        return sl_fault_set(fault, SL_INTERNAL, "content where none may be");
    fits = framed(s, content.n);
    if (fits == 0)
        return sl_fault_set(fault, SL_INTERNAL, "more content than was announced");
    content = sl_str_head(content, fits);
    if (s->framing == SL_FRAMING_CHUNKED && fits == s->left)
        tail = SL_STR("\r\n");
    while (err == SL_OK && taken == 0)
        err = offer(s, content, tail, &taken, fault);
    if (err != SL_OK)
        return err;
    *ret_n = taken < content.n ? taken : content.n;
    account(s, *ret_n, sl_str_skip(tail, taken - *ret_n));
    return SL_OK;
}

enum sl_err sl_h1_send_flush(struct sl_h1_send *s, struct sl_fault *fault)
{
    enum sl_err err = SL_OK;
    size_t none;

    /* A write with content behind what waits is to be repeated whole, by send_body. */
    if (s->offered > s->out.len)
        return SL_AGAIN;
    while (err == SL_OK && s->out.len > 0)
        err = offer(s, (struct sl_str){ 0 }, (struct sl_str){ 0 }, &none, fault);
    return err;
}

static enum sl_err push_last(struct sl_h1_send *s, struct sl_fault *fault)
{
    enum sl_err err = sl_h1_send_flush(s, fault);

    if (err == SL_OK && s->framing == SL_FRAMING_RAW) {
        err = sl_stream_shutdown(s->stream);
        if (err != SL_OK && err != SL_AGAIN)
            return broken(s, err, fault);
    }
    if (err == SL_OK)
        s->state = SL_H1_SEND_DONE;
    return err;
}

enum sl_err sl_h1_send_end(struct sl_h1_send *s, const struct sl_fields *trailers,
                           struct sl_fault *fault)
{
    switch (s->state) {
    case SL_H1_SEND_HEAD:
        return sl_fault_set(fault, SL_INTERNAL, "end of a message without a head");
    case SL_H1_SEND_BODY:
        if (s->left != 0)
            return sl_fault_set(fault, SL_INTERNAL, "less content than was announced");
        if (s->framing == SL_FRAMING_CHUNKED)
            sl_h1_write_last_chunk(&s->out, trailers);
        s->state = SL_H1_SEND_LAST;
        return push_last(s, fault);
    case SL_H1_SEND_LAST:
        return push_last(s, fault);
    case SL_H1_SEND_DONE:
        return SL_OK;
    }
    return SL_INTERNAL;
}
