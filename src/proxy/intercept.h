/* intercept.h -- what a client does with its tunnel: wait for the first bytes, and open TLS if it
 * is that.
 *
 * PEEK (first bytes) -> HELLO -> LEAF -> HANDSHAKE.  Rules are asked again once the ClientHello is
 * known: one that says tunnel leaves it unopened. Thread: the loop's.
 */
#ifndef SL_PROXY_INTERCEPT_H
#define SL_PROXY_INTERCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "policy/facts.h"

struct sl_env;
struct sl_intercept;
struct sl_stream;

enum sl_intercept_kind {
    SL_INTERCEPT_TLS,    /**< stream is the opened one */
    SL_INTERCEPT_HTTP,   /**< plain HTTP; preface holds its first bytes */
    SL_INTERCEPT_OPAQUE, /**< something else; preface holds its first bytes */
    SL_INTERCEPT_TUNNEL, /**< TLS that a rule leaves unopened; preface holds the ClientHello */
    SL_INTERCEPT_FAILED, /**< see fault; the stream is closed */
};

struct sl_intercept_conf {
    struct sl_env *env;       /**< borrowed until the end, or until another is set */
    struct sl_stream *stream; /**< taken over */
    struct sl_buf *preface;   /**< bytes already read from it; borrowed until the end, added to */
    struct sl_facts *facts; /**< of the connection: host and port are those of the CONNECT; sni and
                               alpn are learnt here; borrowed until the end */
    struct sl_arena *arena; /**< for what is learnt; borrowed until the end */
};

struct sl_intercept_result {
    enum sl_intercept_kind kind;
    struct sl_stream *stream; /**< the callee's; NULL when FAILED */
    const char *tls_version;  /**< TLS */
    bool http2;               /**< TLS, HTTP: it speaks HTTP/2 */
    const char *leaf;         /**< TLS: "hit", "forged", or "none" for a resumed session; FAILED:
                                 how the client's was come by, NULL when it got none */
    const struct sl_fault *fault; /**< FAILED */
};

/** Exactly once, from the loop, never from inside start; the operation is already gone. */
typedef void sl_intercept_fn(void *arg, const struct sl_intercept_result *result);

struct sl_intercept *sl_intercept_start(const struct sl_intercept_conf *conf, sl_intercept_fn *done,
                                        void *arg);
/** Whether the first bytes are still awaited: nothing has been decided about them. */
bool sl_intercept_is_peeking(const struct sl_intercept *op);
/** Goes by a reload's @a env from now on; only while it is peeking. */
void sl_intercept_set_env(struct sl_intercept *op, struct sl_env *env);
/** The first bytes have to come within @a ms (a drain); what begins with them keeps its time. */
void sl_intercept_hurry(struct sl_intercept *op, uint32_t ms);
/** Closes the stream. */
void sl_intercept_cancel(struct sl_intercept **op);

#endif
