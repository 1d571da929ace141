/* suggest.h -- "did you mean ...?": the candidate nearest to a word that was mistyped.
 *
 * Thread: the owner's.
 */
#ifndef SL_BASE_SUGGEST_H
#define SL_BASE_SUGGEST_H

#include <stddef.h>

#include "base/str.h"

struct sl_suggest {
    struct sl_str wanted;
    struct sl_str best; /**< empty: nothing is near */
    size_t distance;    /**< of best */
};

void sl_suggest_init(struct sl_suggest *s, struct sl_str wanted);
/** Offers a candidate, which is borrowed. */
void sl_suggest_offer(struct sl_suggest *s, struct sl_str candidate);

#endif
