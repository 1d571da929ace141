/* h2_head.h -- heads between the field lists of HTTP/2 and struct sl_head (RFC 9113 section 8).
 *
 * The library below has decoded HPACK and refused what section 8.2 calls malformed: upper case,
 * connection-specific fields, pseudo-fields that are missing, unknown, repeated or late.  What is
 * left is decided here, by the same rules as for HTTP/1: the canonical host, the target's
 * characters, limits.
 * Thread: the owner's.
 */
#ifndef SL_HTTP_H2_HEAD_H
#define SL_HTTP_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "http/message.h"

/** Collects one field section; zeroed but for its first two members it is empty. */
struct sl_h2_reader {
    struct sl_arena *arena; /**< where names and values go; borrowed */
    const struct sl_head_limits *limits;
    struct sl_fields fields; /**< without pseudo-fields */
    struct sl_str method, scheme, authority, path, protocol, status;
    uint64_t bytes; /**< of names and values, also of those not kept */
    uint32_t count; /**< of fields, also of those not kept */
};

/** Counts only, of a section that is not wanted. */
void sl_h2_reader_skip(struct sl_h2_reader *r, struct sl_str name, struct sl_str value);
/** Keeps a copy; once a limit is exceeded it only counts. */
void sl_h2_reader_add(struct sl_h2_reader *r, struct sl_str name, struct sl_str value);
/** Whether the section is so far over its limits that the connection is not worth it. */
bool sl_h2_reader_is_bomb(const struct sl_h2_reader *r);

/** @a ends: no content follows.  Errors as sl_h1_parse_request; on failure *ret_head holds what
 * could be read.  An extended CONNECT for `websocket` reads as the GET with Upgrade that it stands
 * for, with a key of our own; one for another protocol is SL_NOT_IMPLEMENTED. */
enum sl_err sl_h2_read_request(const struct sl_h2_reader *r, bool ends, struct sl_head *ret_head,
                               struct sl_fault *fault) SL_MUST_USE;
/** The response to a request with @a method. */
enum sl_err sl_h2_read_response(const struct sl_h2_reader *r, struct sl_str method, bool ends,
                                struct sl_head *ret_head, struct sl_fault *fault) SL_MUST_USE;
/** Fields that may not trail are left out. */
enum sl_err sl_h2_read_trailers(const struct sl_h2_reader *r, struct sl_fields *ret_fields,
                                struct sl_fault *fault) SL_MUST_USE;

/** A field list ready to be submitted; in the arena of what it was made of. */
struct sl_h2_list {
    nghttp2_nv *v;
    size_t n;
};

/** Pseudo-fields from the head's members, Content-Length from its framing, names in lower case.  An
 * upgrade to WebSocket becomes an extended CONNECT (RFC 8441 section 5). */
void sl_h2_write_request(const struct sl_head *head, struct sl_h2_list *ret_list);
/** @a bodiless: no content follows whatever the framing says (HEAD, 204, 304), which then tells
 * what the length would be. */
void sl_h2_write_response(const struct sl_head *head, bool bodiless, struct sl_h2_list *ret_list);
void sl_h2_write_trailers(const struct sl_fields *fields, struct sl_arena *arena,
                          struct sl_h2_list *ret_list);

#endif
