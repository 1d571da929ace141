/* h1_codec.h -- HTTP/1.0 and 1.1 on the wire: strict parsers and writers (RFC 9112).
 *
 * Incremental: feed what there is, get back how much was used.  Nothing ambiguous passes: see the
 * table in tests/unit/test_h1_codec.c.  Pure functions on bytes; no streams, no clock. Thread: the
 * owner's.
 */
#ifndef SL_HTTP_H1_CODEC_H
#define SL_HTTP_H1_CODEC_H

#include "base/buf.h"
#include "http/message.h"

/** Where a request came in: what its target may be and which scheme it means. */
struct sl_h1_origin {
    struct sl_str scheme; /**< "https" inside TLS, else "http" */
    bool is_proxy; /**< directly to the proxy: absolute form and CONNECT; else origin form too */
};

/** Parses a whole request head at the front of @a in.
 *
 * Refused: bare CR or LF, obs-fold, NUL or other CTL, space before the colon, names that are no
 * tokens, a request line with anything but single spaces, HTTP/0.9, versions other than 1.0
 * and 1.1, no or two Host fields (1.1), Host with user information, Content-Length with
 * Transfer-Encoding, Content-Length that is repeated with other values or is no number,
 * Transfer-Encoding other than exactly `chunked`, Transfer-Encoding in 1.0, origin form on a proxy
 * connection (SL_BAD_TARGET), targets with CTL, SP, bytes over 0x7e or '#'.  One empty line before
 * the request line is skipped (RFC 9112 section 2.2). An absolute form's authority replaces Host
 * (RFC 9112 section 3.2.2), but Host must be good all the same. CONNECT wants a port and no
 * content. An expectation other than 100-continue is SL_BAD_REQUEST, other codings are
 * SL_NOT_IMPLEMENTED. Wrong bytes are refused when they come, not only when the head is complete.
 *
 * The caller sets ret_head->arena; the rest is overwritten, and on failure holds what could be
 * read.
 *
 * @param ret_used  bytes of the head, set on SL_OK
 * @return SL_AGAIN when the head is not complete and within limits
 */
enum sl_err sl_h1_parse_request(struct sl_str in, const struct sl_head_limits *limits,
                                const struct sl_h1_origin *origin, struct sl_head *ret_head,
                                size_t *ret_used, struct sl_fault *fault) SL_MUST_USE;

/** Parses a whole response head; @a request decides its framing (HEAD, CONNECT).  Errors:
 * SL_BAD_RESPONSE, SL_RESPONSE_HEADER.  Content-Length other than 0 on 204 or 1xx, both kinds of
 * framing, and 101 that the request did not ask for (SL_UPGRADE_FAILED) are refused.  A reply to
 * HEAD and a 304 have SL_FRAMING_NONE, with content_length when one was given.  @a ret_head as in
 * sl_h1_parse_request. */
enum sl_err sl_h1_parse_response(struct sl_str in, const struct sl_head_limits *limits,
                                 const struct sl_head *request, struct sl_head *ret_head,
                                 size_t *ret_used, struct sl_fault *fault) SL_MUST_USE;

/** Decoder of the chunked coding; zeroed memory is its start.  Chunk extensions are skipped, up to
 * 4 KiB a chunk. */
struct sl_h1_chunked {
    uint8_t state;
    uint8_t n_digits;
    uint32_t ext_bytes;
    uint64_t left; /**< bytes of this chunk to come */
};

/** What the decoder found at the front of the input. */
struct sl_h1_piece {
    size_t skip; /**< framing bytes to consume first */
    size_t data; /**< then as many bytes of content, perhaps 0 */
    bool end;    /**< the last chunk's line is in skip; the trailer section follows */
};

/** Looks at @a in and says what is there; the caller consumes skip and data, wholly: offer no more
 * than can be taken.  Once ended it answers end and 0.  Both 0 and not end:
 * more input is needed.  SL_BAD_FRAMING on anything that RFC 9112 section 7.1 does not allow. */
enum sl_err sl_h1_chunked_next(struct sl_h1_chunked *c, struct sl_str in,
                               struct sl_h1_piece *ret_piece) SL_MUST_USE;

/** Parses the trailer section up to its empty line; SL_AGAIN while incomplete.  Fields that frame,
 * route or authenticate (RFC 9110 section 6.5.1) are dropped. */
enum sl_err sl_h1_parse_trailers(struct sl_str in, const struct sl_head_limits *limits,
                                 struct sl_arena *a, struct sl_fields *ret_fields, size_t *ret_used,
                                 struct sl_fault *fault) SL_MUST_USE;

/** Appends a request head: request line in origin form (absolute when head->is_absolute, authority
 * when is_connect), Host, the fields, framing.  SL_FRAMING_NONE writes `Content-Length: 0` for
 * POST, PUT and PATCH.  Fields that frame or route (Host, Connection, Content-Length,
 * Transfer-Encoding and the like) are written from the head's members alone and left out of
 * head->fields. @a close adds `Connection: close`; wants_upgrade adds `Connection: upgrade` and the
 * Upgrade field that head->fields then holds. */
void sl_h1_write_request(struct sl_buf *out, const struct sl_head *head, bool close);
/** Appends a response head, with framing for a 1.1 peer, or for 1.0 when @a minor is 0: then
 * SL_FRAMING_CHUNKED is written as SL_FRAMING_CLOSE, and the caller closes.  SL_FRAMING_NONE writes
 * `Content-Length: 0` where the status allows content.  The reply to HEAD is written with the
 * framing that GET would have had (SL_FRAMING_LENGTH: content_length; SL_FRAMING_CLOSE: unknown),
 * and the stream sends no content after it.  wants_upgrade as in sl_h1_write_request. */
void sl_h1_write_response(struct sl_buf *out, const struct sl_head *head, uint8_t minor,
                          bool close);
/** Appends "last chunk, trailers, empty line"; @a trailers may be NULL. */
void sl_h1_write_last_chunk(struct sl_buf *out, const struct sl_fields *trailers);

#endif
