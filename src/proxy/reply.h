/* reply.h -- responses of the proxy's own: block pages, problem documents, gRPC status (contract
 * section 6).
 *
 * What comes from the network is escaped; no header, credential or query of the client is shown.
 * Thread: the owner's.
 */
#ifndef SL_PROXY_REPLY_H
#define SL_PROXY_REPLY_H

#include "base/arena.h"
#include "base/err.h"
#include "http/message.h"

struct sl_verdict;

struct sl_reply_conf {
    struct sl_arena *arena;        /**< where the reply lives */
    const struct sl_head *request; /**< NULL when it could not be parsed: then plain text */
    const char *id;
    enum sl_err err;      /**< SL_DENIED for a policy's no */
    uint16_t status;      /**< 0: the one of err */
    struct sl_str reason; /**< shown; empty: the text of err */
    const char *detail;   /**< of the fault, for Proxy-Status and the page; NULL or "": none */
    const struct sl_verdict *verdict; /**< whose headers, status and body override; NULL: none */
};

struct sl_reply {
    struct sl_head head;
    struct sl_str body;
};

/** Chooses the form by the request's Accept and Content-Type. */
void sl_reply_make(const struct sl_reply_conf *conf, struct sl_reply *ret_reply);

#endif
