/* expression.h -- conditions over facts: the language of `when`, `explain` and log filters.
 *
 *     expr  = term { "or" term }     term = factor { "and" factor }
 *     factor = "not" factor | "(" expr ")" | atom
 *     atom  = "any" | "host" P | "host" "in" FILE | "sni" P | "port" N | "scheme" S | "method" M
 *           | "path" GLOB | "query" GLOB | "header" NAME GLOB | "type" GLOB | "status" N
 *           | "client" CIDR | "dst" CIDR | "user" NAME | "alpn" NAME
 *           | "size" ( ">" | ">=" | "<" | "<=" ) N [ "KiB" | "MiB" | "GiB" ]
 *     P     = name | "*." name | "." name | address | CIDR            (policy/host_pattern.h)
 *     GLOB  = value, `*` any run, `?` one byte | "~" "/" PCRE2 pattern "/"  (policy/regex.h)
 *
 * A value ends at a blank or a parenthesis, or stands in "..." with \" and \\.  In /.../ a slash is
 * written \/, and flags stand inside: /(?i)track/.  Patterns are not anchored.  Words of the
 * language are lower case; a value that spells `and`, `or`, `not` (or `in` after `host`) is quoted.
 *
 * Meaning of the atoms, where it is not plain: methods and header names fold case.  `header` is
 * true when any line of that name matches, false when there is none.  `type` sees the media type
 * alone, in lower case, without parameters.  `user` and `sni` are false when there is none.
 *
 * Thread: immutable once parsed; shared by all threads without locks.
 */
#ifndef SL_POLICY_EXPRESSION_H
#define SL_POLICY_EXPRESSION_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "policy/facts.h"

#define SL_EXPRESSION_MAX_BYTES ((size_t)65536)
#define SL_EXPRESSION_MAX_DEPTH 64 /**< parentheses and `not` inside each other */

struct sl_expression;

/** Ordered, so that `and` is the minimum and `or` the maximum. */
enum sl_truth { SL_FALSE, SL_UNKNOWN, SL_TRUE };

struct sl_parse_error {
    size_t column;  /**< 1-based byte offset into the text */
    char text[160]; /**< what was expected or is wrong; one line, NUL-terminated */
};

/** Compiles @a text.  List files (`host in FILE`) are read now; a relative FILE counts from the
 * working directory.
 *
 * @return SL_OK, or SL_CONFIG with @a ret_error filled and *ret untouched
 */
enum sl_err sl_expression_parse(struct sl_str text, struct sl_expression **ret,
                                struct sl_parse_error *ret_error) SL_MUST_USE;

/** NULL is a no-op; *e becomes NULL. */
void sl_expression_free(struct sl_expression **e);

/** Three-valued (Kleene): a fact that is not known makes its atom unknown, and so does a pattern
 * that hits its match limit (counted in sluice_expression_limit_total). */
enum sl_truth sl_expression_eval(const struct sl_expression *e, const struct sl_facts *facts);

/** SL_FACT_BIT of every fact that some atom looks at. */
uint32_t sl_expression_needs(const struct sl_expression *e);

typedef void sl_file_fn(void *arg, const char *path);

/** Each list file that it was made with, as it was named. */
void sl_expression_each_file(const struct sl_expression *e, sl_file_fn *fn, void *arg);

/** Appends the canonical text: hosts and networks in normal form, the fewest parentheses.  Parsing
 * it gives the same expression. */
void sl_expression_write(const struct sl_expression *e, struct sl_buf *out);

#endif
