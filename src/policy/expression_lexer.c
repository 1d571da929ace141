/* expression_lexer.c -- state: the position; it only moves forward. */
#include "policy/expression_lexer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

const char *sl_lexer_show(struct sl_str s, char ret_text[SL_LEXER_SHOWN])
{
    size_t n = 0;

    for (; n < s.n && n < SL_LEXER_SHOWN - 4; n++)
        ret_text[n] = s.p[n] >= ' ' && s.p[n] <= '~' ? s.p[n] : '?';
    snprintf(ret_text + n, SL_LEXER_SHOWN - n, "%s", n < s.n ? "..." : "");
    return ret_text;
}

bool sl_lexer_fail(struct sl_lexer *lex, size_t at, const char *fmt, ...)
{
    va_list ap;

    lex->error->column = at + 1;
    va_start(ap, fmt);
    vsnprintf(lex->error->text, sizeof(lex->error->text), fmt, ap);
    va_end(ap);
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_boundary(char c)
{
    return is_blank(c) || c == '(' || c == ')';
}

static bool is_letter(char c)
{
    return sl_lower(c) >= 'a' && sl_lower(c) <= 'z';
}

bool sl_lexer_is_at_end(const struct sl_lexer *lex)
{
    return lex->pos == lex->text.n;
}

bool sl_lexer_is_at(const struct sl_lexer *lex, char c)
{
    return !sl_lexer_is_at_end(lex) && lex->text.p[lex->pos] == c;
}

bool sl_lexer_is_at_boundary(const struct sl_lexer *lex)
{
    return sl_lexer_is_at_end(lex) || is_boundary(lex->text.p[lex->pos]);
}

void sl_lexer_skip_blanks(struct sl_lexer *lex)
{
    while (!sl_lexer_is_at_end(lex) && is_blank(lex->text.p[lex->pos]))
        lex->pos++;
}

struct sl_str sl_lexer_peek_word(const struct sl_lexer *lex)
{
    size_t end = lex->pos;

    while (end < lex->text.n && (is_letter(lex->text.p[end]) || lex->text.p[end] == '_'))
        end++;
    return sl_str_make(lex->text.p + lex->pos, end - lex->pos);
}

const char *sl_lexer_show_here(const struct sl_lexer *lex, char ret_text[SL_LEXER_SHOWN])
{
    struct sl_str rest = sl_str_skip(lex->text, lex->pos);
    size_t n = 0;

    if (rest.n == 0) {
        snprintf(ret_text, SL_LEXER_SHOWN, "the end");
        return ret_text;
    }
    while (n < rest.n && !is_boundary(rest.p[n]))
        n++;
    return sl_lexer_show(sl_str_head(rest, n > 0 ? n : 1), ret_text);
}

bool sl_lexer_take_keyword(struct sl_lexer *lex, const char *keyword)
{
    struct sl_str word;

    sl_lexer_skip_blanks(lex);
    word = sl_lexer_peek_word(lex);
    if (!sl_str_eq(word, sl_str_of(keyword)))
        return false;
    lex->pos += word.n;
    return true;
}

static bool is_joiner(struct sl_str s)
{
    return sl_str_eq(s, SL_STR("and")) || sl_str_eq(s, SL_STR("or")) || sl_str_eq(s, SL_STR("not"));
}

static bool take_bare(struct sl_lexer *lex, const char *what, struct sl_value *v)
{
    char here[SL_LEXER_SHOWN];
    size_t end = lex->pos;

    while (end < lex->text.n && !is_boundary(lex->text.p[end]) && lex->text.p[end] != '"')
        end++;
    v->text = sl_str_make(lex->text.p + lex->pos, end - lex->pos);
    if (v->text.n == 0 || is_joiner(v->text))
        return sl_lexer_fail(lex, v->at, "expected %s, found %s", what,
                             sl_lexer_show_here(lex, here));
    if (end < lex->text.n && lex->text.p[end] == '"')
        return sl_lexer_fail(lex, end, "a quote inside a value: put the whole value in quotes");
    lex->pos = end;
    return true;
}

/* The length up to the quote that no backslash guards; s.n when there is none. */
static size_t quoted_len(struct sl_str s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    return i < s.n ? i : s.n;
}

static struct sl_str unescape(struct sl_str s, struct sl_arena *a)
{
    char *copy = sl_arena_alloc(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        copy[n++] = s.p[i];
    }
    return sl_str_make(copy, n);
}

/* The cursor stands behind the opening quote. */
static bool take_quoted(struct sl_lexer *lex, struct sl_value *v)
{
    struct sl_str rest = sl_str_skip(lex->text, lex->pos);
    size_t n = quoted_len(rest);

    if (n == rest.n)
        return sl_lexer_fail(lex, v->at, "a quote is opened here and never closed");
    lex->pos += n + 1;
    if (!sl_lexer_is_at_boundary(lex))
        return sl_lexer_fail(lex, lex->pos, "expected a blank behind the closing quote");
    v->text = unescape(sl_str_head(rest, n), lex->arena);
    return true;
}

bool sl_lexer_take_value(struct sl_lexer *lex, const char *what, struct sl_value *ret_value)
{
    struct sl_value v = { 0 };

    sl_lexer_skip_blanks(lex);
    v.at = lex->pos;
    v.is_quoted = sl_lexer_is_at(lex, '"');
    if (v.is_quoted)
        lex->pos++;
    if (!(v.is_quoted ? take_quoted(lex, &v) : take_bare(lex, what, &v)))
        return false;
    *ret_value = v;
    return true;
}

bool sl_lexer_fail_value(struct sl_lexer *lex, const struct sl_value *v, const char *what)
{
    char shown[SL_LEXER_SHOWN];

    return sl_lexer_fail(lex, v->at, "expected %s, found `%s`", what,
                         sl_lexer_show(v->text, shown));
}
