/* encode.h -- bytes for other eyes: base64, hex, JSON, HTML, log text, glob.
 *
 * Everything that comes from the network passes through one of these before it is shown.
 * Thread: any.
 */
#ifndef SL_BASE_ENCODE_H
#define SL_BASE_ENCODE_H

#include "base/buf.h"
#include "base/str.h"

/** RFC 4648 section 4, padded. */
void sl_add_base64(struct sl_buf *b, struct sl_str s);
/** Lower-case hex digits. */
void sl_add_hex(struct sl_buf *b, const void *p, size_t n);
/** A JSON string with its quotes (RFC 8259 section 7); all control characters are escaped, bytes
 * that are not UTF-8 become U+FFFD.
 */
void sl_add_json(struct sl_buf *b, struct sl_str s);
/** A JSON string, or {"base64":"..."} when @a s is not UTF-8. */
void sl_add_json_bytes(struct sl_buf *b, struct sl_str s);
/** HTML text or attribute value: & < > " ' escaped, controls dropped, bytes that are not UTF-8
 * become U+FFFD.
 */
void sl_add_html(struct sl_buf *b, struct sl_str s);
/** One field of a text log line: in "..." when it holds a blank, quotes, backslashes and what is
 * not printable ASCII as \xNN, so that no value can look like two fields; "-" when empty.
 */
void sl_add_text(struct sl_buf *b, struct sl_str s);
/** A quoted sf-string (RFC 8941 section 3.3.3): printable ASCII, " and \ escaped, others become
 * '?'. */
void sl_add_sf_string(struct sl_buf *b, struct sl_str s);

/** Well-formed UTF-8 (RFC 3629): no overlong forms, surrogates, or values above U+10FFFF. */
bool sl_is_utf8(struct sl_str s);

/** Whether @a s matches @a glob: `*` any run, `?` one byte.  At most |glob| * |s| steps, no
 * recursion. */
bool sl_glob_match(struct sl_str glob, struct sl_str s);

#endif
