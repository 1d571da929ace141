/* regex.h -- PCRE2 patterns that cannot run away.
 *
 * Patterns work on bytes, are not anchored, and are compiled to machine code where the system lets
 * us.  A match has a budget of steps, of depth and of memory.
 * Thread: immutable once compiled; shared by all threads without locks.
 */
#ifndef SL_POLICY_REGEX_H
#define SL_POLICY_REGEX_H

#include "base/str.h"
#include "policy/expression.h"

#define SL_REGEX_MAX_BYTES 4096 /**< of a pattern */

struct sl_regex;

/** Compiles @a source (without delimiters).  On failure answers NULL and fills @a ret_error, its
 * column counting within @a source. */
struct sl_regex *sl_regex_new(struct sl_str source, struct sl_parse_error *ret_error);

/** NULL is a no-op; *re becomes NULL. */
void sl_regex_free(struct sl_regex **re);

/** Unknown when the budget ran out; that is counted in sluice_expression_limit_total. */
enum sl_truth sl_regex_match(const struct sl_regex *re, struct sl_str s);

#endif
