/* strict.h -- a second opinion on what a proxy sends: requests in HTTP/1.1 as it alone may write
 * them, and WebSocket frames, read by nothing of the project's.
 *
 * Far stricter than any server: CRLF, single blanks, no blank around a value, Host first, one
 * framing at most.  Slices point into the input.
 */
#ifndef SL_FUZZ_STRICT_H
#define SL_FUZZ_STRICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define STRICT_FIELDS 128

enum strict { STRICT_OK, STRICT_MORE, STRICT_BAD };

struct strict_field {
    struct sl_str name, value;
};

struct strict_framing {
    bool has_length, is_chunked;
    uint64_t length;
};

struct strict_request {
    struct sl_str method, target, host;
    struct strict_field fields[STRICT_FIELDS]; /**< but for Host, Connection and framing */
    unsigned n_fields;
    struct strict_framing framing;
    bool has_connection;
    bool is_upgrade; /**< Connection names it */
    size_t len;      /**< of the head */
};

enum strict strict_head(struct sl_str in, struct strict_request *ret_request);

/** The content behind a head, trailers included: *ret_n bytes on STRICT_OK. */
enum strict strict_body(const struct strict_framing *f, struct sl_str in, size_t *ret_n);

/** Whether these are frames of a WebSocket (RFC 6455 section 5), of a client or a server, the last
 * one perhaps cut, in messages, with nothing behind a close. */
bool strict_frames(struct sl_str in, bool is_from_client);

#endif
