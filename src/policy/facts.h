/* facts.h -- what is known about a connection or an exchange at some moment.
 *
 * Rules are put to a set of facts, not to a connection: the same rule is asked early with few facts
 * and again later with more.  A fact counts only when its bit stands in `known`; a known fact may
 * still be empty, which means "there is none" (no user, no SNI).  Everything is borrowed.
 * Thread: the owner's.
 */
#ifndef SL_POLICY_FACTS_H
#define SL_POLICY_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/str.h"
#include "http/message.h"

enum sl_fact {
    SL_FACT_CLIENT,
    SL_FACT_USER,
    SL_FACT_HOST,
    SL_FACT_PORT,
    SL_FACT_SCHEME,
    SL_FACT_SNI,
    SL_FACT_ALPN,
    SL_FACT_DST,
    SL_FACT_METHOD,
    SL_FACT_TARGET, /**< path and query */
    SL_FACT_HEADERS,
    SL_FACT_SIZE,
    SL_FACT_STATUS,
    SL_FACT_TYPE,
    SL_FACT_N
};

/** The bit of a fact in `known` and in sl_expression_needs(). */
#define SL_FACT_BIT(fact) (1u << (unsigned)(fact))
/** What only a response brings. */
#define SL_FACTS_OF_RESPONSE (SL_FACT_BIT(SL_FACT_STATUS) | SL_FACT_BIT(SL_FACT_TYPE))

struct sl_facts {
    uint32_t known;               /**< SL_FACT_BIT of each fact below that counts */
    const struct sl_addr *client; /**< CLIENT: the peer's address (after PROXY protocol) */
    struct sl_str user;           /**< USER: authenticated name, empty for none */
    struct sl_str host;           /**< HOST: canonical (http/uri.h), no port */
    uint16_t port;                /**< PORT */
    struct sl_str scheme;         /**< SCHEME: http https ws wss tcp */
    struct sl_str sni;            /**< SNI: canonical, empty for none */
    struct sl_str alpn;           /**< ALPN: what the client offers, "h2,http/1.1"; may be empty */
    const struct sl_addr *dst;    /**< DST: the resolved address, or the original destination */
    struct sl_str method;         /**< METHOD */
    struct sl_str path;           /**< TARGET: up to the first '?' */
    struct sl_str query;          /**< TARGET: behind the first '?', empty for none */
    const struct sl_fields *fields; /**< HEADERS: of the request */
    uint64_t size;                  /**< SIZE: content-length, 0 without a body; a chunked body
                                       leaves the fact unknown */
    uint16_t status;                /**< STATUS: of the response */
    struct sl_str type;             /**< TYPE: the response's content-type as received, or empty */
};

static inline bool sl_facts_know(const struct sl_facts *f, enum sl_fact fact)
{
    return (f->known & SL_FACT_BIT(fact)) != 0;
}

static inline void sl_facts_learn(struct sl_facts *f, enum sl_fact fact)
{
    f->known |= SL_FACT_BIT(fact);
}

#endif
