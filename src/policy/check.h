/* check.h -- a check service: its settings, its cache, and asking it.
 *
 * A check is shared by all workers; each worker has a client of it with connections of its own.
 * Identical questions in flight are asked once in the whole process.  A check that fails is a
 * verdict too: what on_error says of that class of failure.
 */
#ifndef SL_POLICY_CHECK_H
#define SL_POLICY_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/question.h"
#include "policy/verdict.h"
#include "upstream/origin.h"

struct sl_ask;
struct sl_check;
struct sl_check_client;
struct sl_mailbox;

/* clang-format off */
#define SL_CHECK_CLASS_MAP(X) \
    X(CONNECT, "connect") X(TIMEOUT, "timeout") X(OVERLOAD, "overload") X(BAD_REPLY, "bad_reply")
/* clang-format on */

enum sl_check_class {
#define X(id, name) SL_CHECK_##id,
    SL_CHECK_CLASS_MAP(X)
#undef X
        SL_CHECK_CLASS_N
};

enum sl_on_error { SL_ON_ERROR_DENY, SL_ON_ERROR_ALLOW, SL_ON_ERROR_STALE };

struct sl_check_conf {
    const char *name;        /**< copied */
    struct sl_origin origin; /**< where it is; copied */
    const char *target;      /**< path and query of the question, "/check"; copied */
    uint32_t phases;         /**< bit set of enum sl_phase */
    uint32_t timeout_ms;     /**< connecting included */
    enum sl_on_error on_error[SL_CHECK_CLASS_N];
    uint32_t max_in_flight; /**< in the whole process; over it: overload */
    bool shadow;            /**< ask, log and count, but do not enforce (policy/gate.h) */
    uint64_t ttl_ms;        /**< when the reply names none */
    uint64_t max_ttl_ms;
    uint32_t cache_entries;
    uint64_t cache_bytes; /**< of the verdicts kept and what they answer */
};

struct sl_check *sl_check_new(const struct sl_check_conf *conf);
/** No client may be left. */
void sl_check_free(struct sl_check **check);
const char *sl_check_name(const struct sl_check *check);
bool sl_check_has_phase(const struct sl_check *check, enum sl_phase phase);
bool sl_check_is_shadow(const struct sl_check *check);
/** Logs and counts what a check in shadow mode would have denied; nothing when it allows. */
void sl_check_report_shadow(const struct sl_check *check, const struct sl_question *q,
                            const struct sl_verdict *verdict);

/** A verdict from the cache, with a reference for the caller, or NULL. */
struct sl_verdict *sl_check_cached(struct sl_check *check, const struct sl_question *q,
                                   uint64_t now_ms);

struct sl_check_client_conf {
    struct sl_check *check;
    struct sl_route route;      /**< without guard: the operator named the service */
    struct sl_mailbox *mailbox; /**< of route.loop */
};

struct sl_check_client *sl_check_client_new(const struct sl_check_client_conf *conf);
/** Every ask must have ended; questions still out for others are given up, and asked again by
 * those. */
void sl_check_client_free(struct sl_check_client **client);

/** Exactly once, from the loop, never from inside start; the ask is already gone.
 *
 * @param verdict  a reference for the callee, never NULL
 */
typedef void sl_ask_fn(void *arg, struct sl_verdict *verdict);

/** @a q is borrowed until the end; q->text is written. */
struct sl_ask *sl_ask_start(struct sl_check_client *client, const struct sl_question *q,
                            sl_ask_fn *done, void *arg);
void sl_ask_cancel(struct sl_ask **ask);

#endif
