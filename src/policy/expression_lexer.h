/* expression_lexer.h -- a cursor over the text of an expression; private to expression_parse.c.
 *
 * Functions that answer bool have filled the error when they answer false, unless they only look.
 */
#ifndef SL_POLICY_EXPRESSION_LEXER_H
#define SL_POLICY_EXPRESSION_LEXER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "policy/expression.h"

#define SL_LEXER_SHOWN 40 /**< room for a piece of the text in an error */

struct sl_lexer {
    struct sl_str text;
    size_t pos;
    struct sl_arena *arena;       /**< where quoted values are copied to */
    struct sl_parse_error *error; /**< filled by the first failure */
};

/** A value as it stood in the text; bare ones are slices of the text. */
struct sl_value {
    struct sl_str text;
    size_t at; /**< offset of its first byte, or of its quote */
    bool is_quoted;
};

/** Fills the error for offset @a at; answers false. */
bool sl_lexer_fail(struct sl_lexer *lex, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** "expected WHAT, found `VALUE`". */
bool sl_lexer_fail_value(struct sl_lexer *lex, const struct sl_value *v, const char *what);

/** Printable and cut short; answers @a ret_text. */
const char *sl_lexer_show(struct sl_str s, char ret_text[SL_LEXER_SHOWN]);
/** The same for what stands at the cursor; "the end" at the end. */
const char *sl_lexer_show_here(const struct sl_lexer *lex, char ret_text[SL_LEXER_SHOWN]);

bool sl_lexer_is_at_end(const struct sl_lexer *lex);
bool sl_lexer_is_at(const struct sl_lexer *lex, char c);
/** At the end, a blank or a parenthesis: where a value may stop. */
bool sl_lexer_is_at_boundary(const struct sl_lexer *lex);
void sl_lexer_skip_blanks(struct sl_lexer *lex);

/** The letters at the cursor, not taken. */
struct sl_str sl_lexer_peek_word(const struct sl_lexer *lex);
/** Skips blanks and takes @a keyword when it is the next word; only looks otherwise. */
bool sl_lexer_take_keyword(struct sl_lexer *lex, const char *keyword);
/** Skips blanks and takes a bare or quoted value; @a what says what was expected. */
bool sl_lexer_take_value(struct sl_lexer *lex, const char *what, struct sl_value *ret_value);

#endif
