/* hello.h -- a ClientHello read from raw bytes before anything is answered (RFC 8446
 * section 4.1.2).
 *
 * Pure function on bytes, fuzzed.  Handles a hello over any number of segments and records.
 * Thread: any.
 */
#ifndef SL_TLS_HELLO_H
#define SL_TLS_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define SL_HELLO_MAX                                                                               \
    ((size_t)65536) /**< bytes of records, headers included; over it SL_TLS_PROTOCOL */

struct sl_hello {
    struct sl_str sni;  /**< as sent, in the arena; empty when there was none */
    struct sl_str alpn; /**< protocols joined by ",", in the arena; empty when there were none */
    bool offers_ecdsa;  /**< can be shown a P-256 leaf: has ecdsa_secp256r1_sha256 among its
                           signature algorithms, if it sent any, and TLS 1.3 or an ECDSA cipher
                           with P-256 among its groups, if it sent any */
    bool offers_tls13;
};

/** SL_OK, SL_AGAIN while the message is incomplete, SL_TLS_PROTOCOL when it is no ClientHello. */
enum sl_err sl_hello_parse(struct sl_str in, struct sl_arena *a,
                           struct sl_hello *ret_hello) SL_MUST_USE;

#endif
