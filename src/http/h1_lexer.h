/* h1_lexer.h -- start lines and field lines of HTTP/1, in place: what is a line and what are its
 * parts (RFC 9112 sections 2 to 5).  Private to http/h1_codec.
 *
 * Nothing is allocated or kept: asking again from the start as more bytes come costs time alone,
 * and no more than the limits allow. Thread: any.
 */
#ifndef SL_HTTP_H1_LEXER_H
#define SL_HTTP_H1_LEXER_H

#include "base/err.h"
#include "base/str.h"
#include "http/h1_codec.h"

/** The same fault has one code in requests and another in responses. */
struct sl_h1_dialect {
    enum sl_err malformed, version, framing, coding, too_large;
};

struct sl_h1_lexer {
    const struct sl_h1_dialect *dialect;
    const struct sl_head_limits *limits;
    struct sl_fault *fault;
};

/** A start line; slices of the input. */
struct sl_h1_start {
    struct sl_str method, target; /**< request */
    struct sl_str reason;         /**< response */
    uint16_t status;              /**< response: 100..599 */
    uint8_t major, minor;         /**< 1 and 0 or 1 */
    size_t len;                   /**< bytes of the line, CR LF included */
};

/** Sets the fault and answers @a err. */
enum sl_err sl_h1_lexer_fail(const struct sl_h1_lexer *lex, enum sl_err err, const char *why);

/** The line at the front of @a in; refuses it as soon as its first wrong byte is there. */
enum sl_err sl_h1_read_request_line(const struct sl_h1_lexer *lex, struct sl_str in,
                                    struct sl_h1_start *ret_line) SL_MUST_USE;
enum sl_err sl_h1_read_status_line(const struct sl_h1_lexer *lex, struct sl_str in,
                                   struct sl_h1_start *ret_line) SL_MUST_USE;

/** Finds the empty line that ends the section which begins at @a start: *ret_len counts from the
 * front of @a in, the empty line included.  Hops from one line end to the next, so that a bare LF
 * is seen at once and incomplete input costs little. */
enum sl_err sl_h1_find_end(const struct sl_h1_lexer *lex, struct sl_str in, size_t start,
                           size_t *ret_len) SL_MUST_USE;

/** Cuts a field line off the front of a section that sl_h1_find_end() has seen the end of: its last
 * bytes are CR LF, so that looking at the byte behind a span is safe. */
enum sl_err sl_h1_read_field(const struct sl_h1_lexer *lex, struct sl_str *section,
                             struct sl_str *ret_name, struct sl_str *ret_value) SL_MUST_USE;

#endif
