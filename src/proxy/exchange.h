/* exchange.h -- one request from head to log line: decided, sent on, answered.
 *
 * The same for every version of HTTP: it sees http streams only.  Steps are in steps.c's table;
 * docs/STATES.md shows it. Thread: the loop's.
 */
#ifndef SL_PROXY_EXCHANGE_H
#define SL_PROXY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"

struct sl_env;
struct sl_exchange;
struct sl_http_stream;
struct sl_ruling;

/** What an exchange knows of the connection it came over; lives as long as that. */
struct sl_client {
    uint64_t id; /**< of the connection, for connections upstream that are its own (NTLM) */
    struct sl_addr addr;
    struct sl_str listener;     /**< "127.0.0.1:8080" */
    struct sl_str user;         /**< empty: none */
    struct sl_str connect_host; /**< target of the CONNECT; empty outside a tunnel */
    uint16_t connect_port;
    struct sl_str sni;          /**< of the intercepted TLS, as are the next three */
    struct sl_str alpn_offered; /**< "h2,http/1.1" */
    struct sl_str alpn;         /**< agreed on */
    const char *tls_version;    /**< NULL: no TLS */
    const char *leaf;           /**< "hit" "forged" "none": of the connection's first exchange */
    bool is_pinned;             /**< NTLM or Negotiate was seen: connections upstream are its own */
    const struct sl_ruling *connect_ruling; /**< of checks with phase connect on the CONNECT: what
                                               they deny, every exchange is; NULL: not asked */
};

/** Whether every exchange is denied, since its CONNECT was. */
bool sl_client_is_denied(const struct sl_client *client);

struct sl_exchange_conf {
    struct sl_env *env;               /**< a reference is taken */
    struct sl_client *client;         /**< borrowed until the end */
    struct sl_http_stream *stream;    /**< taken over */
    const struct sl_fault *malformed; /**< the head was: answer that; NULL: it was not; copied */
};

/** Exactly once, from the loop, never from inside start; the exchange is already gone, its stream
 * closed. */
typedef void sl_exchange_fn(void *arg);

/** Registers the metrics and states; once, before the first exchange. */
void sl_exchange_register(void);

struct sl_exchange *sl_exchange_start(const struct sl_exchange_conf *conf, sl_exchange_fn *done,
                                      void *arg);
/** Leaves a log line too. */
void sl_exchange_cancel(struct sl_exchange **exchange);

#endif
