/* verdict.h -- what a check said: immutable, reference-counted, shared by cache and exchanges.
 *
 * Thread: any, once made.
 */
#ifndef SL_POLICY_VERDICT_H
#define SL_POLICY_VERDICT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "http/message.h"
#include "policy/vary.h"

/** Changes to a head. */
struct sl_edit {
    struct sl_fields set;    /**< replace or add; several of one name stand together */
    struct sl_fields remove; /**< names; values are empty */
};

struct sl_verdict {
    atomic_uint refs;
    struct sl_arena arena; /**< everything below lives in it */
    bool allow;
    bool is_stale; /**< of the cache, past its time: the service failed, and on_error says stale */
    struct sl_verdict *base;  /**< is_stale: a reference to the one that the slices belong to */
    bool is_failure;          /**< not said by the check: what on_error made of its failure */
    uint16_t status;          /**< deny: of the reply, 200..599 */
    struct sl_str reason;     /**< for the page and the log; may be empty */
    struct sl_fields headers; /**< deny: added to the reply */
    struct sl_str body;       /**< deny: of the reply; p NULL: the proxy's own page */
    struct sl_edit request;   /**< allow: changes to the request */
    struct sl_edit response;  /**< allow: changes to the response */
    bool has_ttl;
    uint32_t ttl_s; /**< what the reply named; 0: do not keep */
    struct sl_vary vary;
};

/** One reference, nothing allowed yet. */
struct sl_verdict *sl_verdict_new(void);
struct sl_verdict *sl_verdict_ref(struct sl_verdict *v);
void sl_verdict_unref(struct sl_verdict **v);

/** The same verdict, marked stale; takes over the reference to @a v. */
struct sl_verdict *sl_verdict_make_stale(struct sl_verdict *v);

/** Appends the names that an edit touches. */
void sl_edit_names(const struct sl_edit *edit, struct sl_fields *names, struct sl_arena *a);

/** Applies an edit to a list of fields, which then borrows from it. */
void sl_edit_apply(const struct sl_edit *edit, struct sl_fields *fields, struct sl_arena *a);

#endif
