/* vary.h -- what a verdict depends on: the parts of a question that make its key in the cache.
 *
 * Thread: any.
 */
#ifndef SL_POLICY_VARY_H
#define SL_POLICY_VARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct sl_question;

/* clang-format off */
#define SL_VARY_MAP(X) \
    X(CLIENT, "client") X(USER, "user") X(METHOD, "method") X(SCHEME, "scheme") X(HOST, "host") \
    X(PORT, "port") X(PATH, "path") X(TARGET, "target")
/* clang-format on */

enum sl_vary_part {
#define X(id, name) SL_VARY_##id,
    SL_VARY_MAP(X)
#undef X
        SL_VARY_N
};

#define SL_VARY_MAX_HEADERS 4
#define SL_VARY_MAX_NAME 64

struct sl_vary {
    bool all;       /**< everything that was asked, id and client port apart */
    uint32_t parts; /**< bit set of enum sl_vary_part; unless all */
    uint8_t n_headers;
    char headers[SL_VARY_MAX_HEADERS][SL_VARY_MAX_NAME]; /**< lower case, sorted by arrival */
};

/** Adds one member of a reply's `vary`: a part's name or "header:NAME".  False when it is neither,
 * or there are too many headers. */
bool sl_vary_add(struct sl_vary *v, struct sl_str member) __attribute__((warn_unused_result));

bool sl_vary_eq(const struct sl_vary *a, const struct sl_vary *b);

/** Appends the key of @a q under @a v. */
void sl_vary_key(const struct sl_vary *v, const struct sl_question *q, struct sl_buf *out);

#endif
