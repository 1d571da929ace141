/* h1_send.h -- the outgoing half of an HTTP/1 connection: heads and framing that wait, and the body
 * of the message under way.  Private to http/h1_server and http/h1_client.
 *
 * What waits leaves in one writev with the content behind it, so that a head and the first of its
 * body share a TLS record; content is never copied. Thread: the loop's.
 */
#ifndef SL_HTTP_H1_SEND_H
#define SL_HTTP_H1_SEND_H

#include "base/buf.h"
#include "http/message.h"
#include "io/stream.h"

enum sl_h1_send_state {
    SL_H1_SEND_HEAD, /**< no final head yet */
    SL_H1_SEND_BODY, /**< content may follow */
    SL_H1_SEND_LAST, /**< the message's last byte waits in out */
    SL_H1_SEND_DONE, /**< all of it was handed to the transport */
};

struct sl_h1_send {
    struct sl_stream *stream; /**< borrowed; set by the owner */
    struct sl_buf out;        /**< heads and framing that the transport has not taken; the owner
                                 appends heads */
    size_t offered; /**< bytes in the write that was answered SL_AGAIN last: the next one is no
                       shorter (io/stream.h) */
    enum sl_h1_send_state state;
    enum sl_framing framing;
    uint64_t left; /**< SL_FRAMING_LENGTH: content still to come; chunked: of the chunk announced */
};

void sl_h1_send_fini(struct sl_h1_send *s);

/** A message may begin; gives the memory of the one before back. */
void sl_h1_send_reset(struct sl_h1_send *s);
/** The final head was appended to out, a body framed like this follows. */
void sl_h1_send_begin(struct sl_h1_send *s, enum sl_framing framing, uint64_t content_length);
/** As send_body, send_end and flush of http/http_stream.h; a final error is put into @a fault. */
enum sl_err sl_h1_send_body(struct sl_h1_send *s, struct sl_str content, size_t *ret_n,
                            struct sl_fault *fault) SL_MUST_USE;
enum sl_err sl_h1_send_end(struct sl_h1_send *s, const struct sl_fields *trailers,
                           struct sl_fault *fault) SL_MUST_USE;
enum sl_err sl_h1_send_flush(struct sl_h1_send *s, struct sl_fault *fault) SL_MUST_USE;

#endif
