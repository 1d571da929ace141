/* question.h -- what a check is asked, in the json form (version 1).
 *
 * The text is everything but id and client.  Two questions with the same text, client address and
 * user are the same question. Thread: the owner's.
 */
#ifndef SL_POLICY_QUESTION_H
#define SL_POLICY_QUESTION_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "policy/facts.h"

enum sl_phase { SL_PHASE_CONNECT, SL_PHASE_REQUEST };

struct sl_question {
    enum sl_phase phase;
    const char *id;               /**< of the exchange */
    const struct sl_facts *facts; /**< client, user, host, port, scheme, sni, method, fields... */
    struct sl_str
        connect_host; /**< target of the CONNECT the request came through, empty for none */
    uint16_t connect_port;
    const char *tls_version;    /**< towards the client, NULL outside TLS */
    struct sl_str alpn;         /**< agreed on with the client, empty for none */
    const struct sl_head *head; /**< the request as it will be sent; NULL in phase connect; its host
                                   is told, as a field, when it is not that of facts */
    struct sl_str text; /**< written by sl_question_write: the document without id and client */
};

/** Writes q->text into @a a. */
void sl_question_write(struct sl_question *q, struct sl_arena *a);

/** A copy that outlives its exchange, text included; everything in @a a.  Of the head only host,
 * target and framing come along. */
struct sl_question *sl_question_copy(const struct sl_question *q, struct sl_arena *a);

/** Appends the whole document. */
void sl_question_document(const struct sl_question *q, struct sl_buf *out);

#endif
