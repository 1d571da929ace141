/* first_bytes.h -- what a client that just got its tunnel is talking, told by its first bytes.
 *
 * Pure functions on bytes, fuzzed: once they have told, more bytes never change the answer.
 * Thread: any.
 */
#ifndef SL_PROXY_FIRST_BYTES_H
#define SL_PROXY_FIRST_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum sl_first_bytes {
    SL_FIRST_UNKNOWN, /**< too few bytes to tell */
    SL_FIRST_TLS,
    SL_FIRST_HTTP, /**< an HTTP/1 request line may begin here */
    SL_FIRST_OPAQUE,
};

enum sl_first_bytes sl_first_bytes(struct sl_str in);

/** Of a tunnel where anything may pass: TLS is what some server may read a ClientHello from, in
 * records of its time or with other records in front; all else is opaque, and told at once. */
enum sl_first_bytes sl_first_hello(struct sl_str in);

/** Where in its first line a client is whose bytes were opaque; zero at their begin. */
struct sl_request_line {
    uint8_t state;
};

/** Looks at the next bytes.  False when they name HTTP in the first line, so that some server may
 * take it for a request whatever it begins with: they must not go on. */
bool sl_request_line_pass(struct sl_request_line *line, struct sl_str bytes);

#endif
