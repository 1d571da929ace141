/* first_bytes.h -- what a client that just got its tunnel is talking, told by its first bytes.
 *
 * Pure function on bytes, fuzzed: once it has told, more bytes never change the answer.
 * Thread: any.
 */
#ifndef SL_PROXY_FIRST_BYTES_H
#define SL_PROXY_FIRST_BYTES_H

#include "base/str.h"

enum sl_first_bytes {
    SL_FIRST_UNKNOWN, /**< too few bytes to tell */
    SL_FIRST_TLS,
    SL_FIRST_HTTP, /**< an HTTP/1 request line may begin here */
    SL_FIRST_OPAQUE,
};

enum sl_first_bytes sl_first_bytes(struct sl_str in);

#endif
