/* expression_parse.c -- state: a cursor and the depth; recursive descent, one token ahead.
 *
 * Functions that answer bool or a node have filled the error when they answer false or NULL.
 * Nodes live in the expression's arena from the start, so a failure anywhere frees all of them.
 */
#include "base/mem.h"
#include "base/suggest.h"
#include "http/message.h"
#include "policy/expression_lexer.h"
#include "policy/expression_node.h"
#include "policy/host_set.h"
#include "policy/regex.h"

struct parser {
    struct sl_lexer lex;
    unsigned depth;
    struct sl_expression *e;
};

typedef bool value_fn(struct parser *p, struct sl_node *n);

/* Values, a function a form */

static struct sl_str lower_copy(struct parser *p, struct sl_str s)
{
    char *copy = sl_arena_alloc(&p->e->arena, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        copy[i] = sl_lower(s.p[i]);
    return sl_str_make(copy, s.n);
}

static void own(struct parser *p, struct sl_node *n)
{
    n->next_owner = p->e->owners;
    p->e->owners = n;
}

static bool parse_none(struct parser *p, struct sl_node *n)
{
    (void)p;
    (void)n;
    return true;
}

static bool parse_list_file(struct parser *p, struct sl_node *n)
{
    struct sl_fault fault = { 0 };
    struct sl_value v;
    char *path;
    enum sl_err err;

    if (!sl_lexer_take_value(&p->lex, "a list file", &v))
        return false;
    n->text = sl_arena_str(&p->e->arena, v.text);
    path = sl_str_dup(v.text);
    err = sl_host_set_load(path, &n->set, &fault);
    sl_free(path);
    if (err != SL_OK)
        return sl_lexer_fail(&p->lex, v.at, "%s",
                             fault.text[0] != '\0' ? fault.text : sl_err_text(err));
    own(p, n);
    return true;
}

static bool parse_host(struct parser *p, struct sl_node *n)
{
    static const char what[] = "a name, *.name, .name, an address or a CIDR";
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, what, &v))
        return false;
    if (n->kind == SL_NODE_HOST && !v.is_quoted && sl_str_eq(v.text, SL_STR("in")))
        return parse_list_file(p, n);
    if (!sl_host_pattern_parse(v.text, &p->e->arena, &n->host))
        return sl_lexer_fail_value(&p->lex, &v, what);
    return true;
}

static bool parse_cidr(struct parser *p, struct sl_node *n)
{
    static const char what[] = "an address or a CIDR without host bits";
    struct sl_value v;

    n->host.kind = SL_HOST_NET;
    if (!sl_lexer_take_value(&p->lex, what, &v))
        return false;
    return sl_cidr_parse(v.text, &n->host.net) || sl_lexer_fail_value(&p->lex, &v, what);
}

static bool parse_port(struct parser *p, struct sl_node *n)
{
    static const char what[] = "a port, 1 to 65535";
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, what, &v))
        return false;
    if (!sl_str_to_u64(v.text, &n->number) || n->number < 1 || n->number > 65535)
        return sl_lexer_fail_value(&p->lex, &v, what);
    return true;
}

static bool parse_status(struct parser *p, struct sl_node *n)
{
    static const char what[] = "a status, 100 to 599";
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, what, &v))
        return false;
    if (!sl_str_to_u64(v.text, &n->number) || n->number < 100 || n->number > 599)
        return sl_lexer_fail_value(&p->lex, &v, what);
    return true;
}

static bool parse_scheme(struct parser *p, struct sl_node *n)
{
    static const char what[] = "http, https, ws, wss or tcp";
    static const char *const schemes[] = { "http", "https", "ws", "wss", "tcp" };
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, what, &v))
        return false;
    n->text = lower_copy(p, v.text);
    for (size_t i = 0; i < SL_LEN(schemes); i++) {
        if (sl_str_eq(n->text, sl_str_of(schemes[i])))
            return true;
    }
    return sl_lexer_fail_value(&p->lex, &v, what);
}

static bool parse_method(struct parser *p, struct sl_node *n)
{
    struct sl_value v;
    char *upper;

    if (!sl_lexer_take_value(&p->lex, "a method", &v))
        return false;
    if (!sl_is_token(v.text))
        return sl_lexer_fail_value(&p->lex, &v, "a method");
    upper = sl_arena_alloc(&p->e->arena, v.text.n);
    for (size_t i = 0; i < v.text.n; i++)
        upper[i] =
            v.text.p[i] >= 'a' && v.text.p[i] <= 'z' ? (char)(v.text.p[i] - 32) : v.text.p[i];
    n->text = sl_str_make(upper, v.text.n);
    return true;
}

static bool parse_name(struct parser *p, struct sl_node *n)
{
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, "a name", &v))
        return false;
    if (v.text.n == 0)
        return sl_lexer_fail_value(&p->lex, &v, "a name");
    n->text = sl_arena_str(&p->e->arena, v.text);
    return true;
}

/* The length up to the slash that no backslash guards; s.n when there is none. */
static size_t regex_len(struct sl_str s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != '/')
        i += s.p[i] == '\\' ? 2 : 1;
    return i < s.n ? i : s.n;
}

static bool parse_regex(struct parser *p, struct sl_node *n)
{
    struct sl_parse_error inner;
    struct sl_str rest;
    size_t start;

    sl_lexer_skip_blanks(&p->lex);
    if (!sl_lexer_is_at(&p->lex, '/'))
        return sl_lexer_fail(&p->lex, p->lex.pos, "expected /pattern/ behind ~");
    start = ++p->lex.pos;
    rest = sl_str_skip(p->lex.text, start);
    n->text = sl_arena_str(&p->e->arena, sl_str_head(rest, regex_len(rest)));
    if (n->text.n == rest.n)
        return sl_lexer_fail(&p->lex, start - 1,
                             "a pattern is opened here and never closed with /");
    p->lex.pos = start + n->text.n + 1;
    if (!sl_lexer_is_at_boundary(&p->lex))
        return sl_lexer_fail(&p->lex, p->lex.pos,
                             "expected a blank behind the pattern; flags stand inside: /(?i)x/");
    n->regex = sl_regex_new(n->text, &inner);
    if (n->regex == NULL)
        return sl_lexer_fail(&p->lex, start + inner.column - 1, "%s", inner.text);
    own(p, n);
    return true;
}

static bool parse_glob(struct parser *p, struct sl_node *n)
{
    struct sl_value v;

    sl_lexer_skip_blanks(&p->lex);
    if (sl_lexer_is_at(&p->lex, '~')) {
        p->lex.pos++;
        return parse_regex(p, n);
    }
    if (!sl_lexer_take_value(&p->lex, "a value with * and ?, or ~ /pattern/", &v))
        return false;
    /* Media types fold case; what they are held against is lower case already. */
    n->text = n->kind == SL_NODE_TYPE ? lower_copy(p, v.text) : sl_arena_str(&p->e->arena, v.text);
    return true;
}

static bool parse_header(struct parser *p, struct sl_node *n)
{
    struct sl_value v;

    if (!sl_lexer_take_value(&p->lex, "a header name", &v))
        return false;
    if (!sl_is_token(v.text))
        return sl_lexer_fail_value(&p->lex, &v, "a header name");
    /* It would never be true, and a rule that denies would never deny; or with Via, always. */
    if (!sl_field_may_travel(v.text) || sl_field_id(v.text) == SL_FIELD_VIA)
        return sl_lexer_fail_value(&p->lex, &v, "a header that goes on to the origin as it is");
    n->name = lower_copy(p, v.text);
    return parse_glob(p, n);
}

static bool take_compare(struct parser *p, enum sl_compare *ret_compare)
{
    bool is_greater, has_equal;

    sl_lexer_skip_blanks(&p->lex);
    is_greater = sl_lexer_is_at(&p->lex, '>');
    if (!is_greater && !sl_lexer_is_at(&p->lex, '<'))
        return sl_lexer_fail(&p->lex, p->lex.pos, "expected >, >=, < or <= behind `size`");
    p->lex.pos++;
    has_equal = sl_lexer_is_at(&p->lex, '=');
    if (has_equal)
        p->lex.pos++;
    if (is_greater)
        *ret_compare = has_equal ? SL_COMPARE_GE : SL_COMPARE_GT;
    else
        *ret_compare = has_equal ? SL_COMPARE_LE : SL_COMPARE_LT;
    return true;
}

/* Cuts the unit off the end; how far its number is shifted, 0 without a unit. */
static unsigned cut_unit(struct sl_str *s)
{
    static const char *const units[] = { "KiB", "MiB", "GiB" };

    for (unsigned i = 0; i < SL_LEN(units); i++) {
        if (sl_str_has_suffix(*s, sl_str_of(units[i]))) {
            *s = sl_str_head(*s, s->n - 3);
            return 10 * (i + 1);
        }
    }
    return 0;
}

static bool parse_size(struct parser *p, struct sl_node *n)
{
    static const char what[] = "a size such as 4096, 64KiB, 10MiB or 1GiB";
    struct sl_str digits;
    struct sl_value v;
    unsigned shift;

    if (!take_compare(p, &n->compare) || !sl_lexer_take_value(&p->lex, what, &v))
        return false;
    digits = v.text;
    shift = cut_unit(&digits);
    if (!sl_str_to_u64(digits, &n->number) || n->number > UINT64_MAX >> shift)
        return sl_lexer_fail_value(&p->lex, &v, what);
    n->number <<= shift;
    return true;
}

/* Grammar */

static const struct {
    const char *word;
    uint32_t needs;
    value_fn *parse;
} atoms[] = {
#define X(kind, word, fact, value) [SL_NODE_##kind] = { #word, SL_ATOM_NEEDS(fact), parse_##value },
    SL_ATOM_MAP(X)
#undef X
};

/* The atom that was probably meant, or NULL. */
static const char *nearest(struct sl_str s)
{
    struct sl_suggest suggest;

    sl_suggest_init(&suggest, s);
    for (size_t i = 0; i < SL_LEN(atoms); i++)
        sl_suggest_offer(&suggest, sl_str_of(atoms[i].word));
    return suggest.best.p;
}

static struct sl_node *node_new(struct parser *p, enum sl_node_kind kind)
{
    struct sl_node *n = sl_arena_alloc(&p->e->arena, sizeof(*n));

    n->kind = kind;
    return n;
}

static bool fail_word(struct parser *p, struct sl_str word)
{
    char shown[SL_LEXER_SHOWN];
    const char *meant = nearest(word);

    if (word.n == 0)
        return sl_lexer_fail(&p->lex, p->lex.pos,
                             "expected a condition such as `host` or `any`, found %s",
                             sl_lexer_show_here(&p->lex, shown));
    if (meant != NULL)
        return sl_lexer_fail(&p->lex, p->lex.pos, "unknown condition `%s`; did you mean `%s`?",
                             sl_lexer_show(word, shown), meant);
    return sl_lexer_fail(&p->lex, p->lex.pos, "unknown condition `%s`", sl_lexer_show(word, shown));
}

/* Where a word may stop: `size>1`, `path~/x/` and `path"x"` are clear, `host.example` is not. */
static bool is_word_done(const struct parser *p)
{
    return sl_lexer_is_at_boundary(&p->lex) || strchr("<>~\"", p->lex.text.p[p->lex.pos]) != NULL;
}

static struct sl_node *parse_atom(struct parser *p)
{
    struct sl_str word = sl_lexer_peek_word(&p->lex);
    struct sl_node *n;
    size_t kind = 0;

    while (kind < SL_LEN(atoms) && !sl_str_eq(word, sl_str_of(atoms[kind].word)))
        kind++;
    if (kind == SL_LEN(atoms)) {
        fail_word(p, word);
        return NULL;
    }
    p->lex.pos += word.n;
    if (!is_word_done(p)) {
        sl_lexer_fail(&p->lex, p->lex.pos, "expected a blank behind `%s`", atoms[kind].word);
        return NULL;
    }
    n = node_new(p, (enum sl_node_kind)kind);
    p->e->needs |= atoms[kind].needs;
    return atoms[kind].parse(p, n) ? n : NULL;
}

static struct sl_node *parse_or(struct parser *p);
static struct sl_node *parse_factor(struct parser *p);

static struct sl_node *parse_group(struct parser *p)
{
    size_t opened = p->lex.pos++;
    struct sl_node *n = parse_or(p);
    char here[SL_LEXER_SHOWN];

    if (n == NULL)
        return NULL;
    if (!sl_lexer_is_at(&p->lex, ')')) {
        sl_lexer_fail(&p->lex, p->lex.pos, "expected `and`, `or` or the ) for column %zu, found %s",
                      opened + 1, sl_lexer_show_here(&p->lex, here));
        return NULL;
    }
    p->lex.pos++;
    return n;
}

static struct sl_node *parse_not(struct parser *p)
{
    struct sl_node *n = node_new(p, SL_NODE_NOT);

    n->children = parse_factor(p);
    return n->children != NULL ? n : NULL;
}

static struct sl_node *parse_factor(struct parser *p)
{
    struct sl_node *n;

    sl_lexer_skip_blanks(&p->lex);
    if (p->depth > SL_EXPRESSION_MAX_DEPTH) {
        sl_lexer_fail(&p->lex, p->lex.pos, "nested deeper than %d", SL_EXPRESSION_MAX_DEPTH);
        return NULL;
    }
    p->depth++;
    if (sl_lexer_take_keyword(&p->lex, "not"))
        n = parse_not(p);
    else if (sl_lexer_is_at(&p->lex, '('))
        n = parse_group(p);
    else
        n = parse_atom(p);
    p->depth--;
    return n;
}

static struct sl_node *parse_chain(struct parser *p, enum sl_node_kind kind, const char *joiner,
                                   struct sl_node *(*operand)(struct parser *p))
{
    struct sl_node *first = operand(p);
    struct sl_node *list, **end;

    if (first == NULL || !sl_lexer_take_keyword(&p->lex, joiner))
        return first;
    list = node_new(p, kind);
    list->children = first;
    end = &first->next;
    do {
        *end = operand(p);
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    } while (sl_lexer_take_keyword(&p->lex, joiner));
    return list;
}

static struct sl_node *parse_and(struct parser *p)
{
    return parse_chain(p, SL_NODE_AND, "and", parse_factor);
}

static struct sl_node *parse_or(struct parser *p)
{
    return parse_chain(p, SL_NODE_OR, "or", parse_and);
}

static bool parse_all(struct parser *p)
{
    char here[SL_LEXER_SHOWN];

    if (p->lex.text.n > SL_EXPRESSION_MAX_BYTES)
        return sl_lexer_fail(&p->lex, SL_EXPRESSION_MAX_BYTES, "longer than %zu bytes",
                             SL_EXPRESSION_MAX_BYTES);
    if (sl_str_find(p->lex.text, '\0') < p->lex.text.n)
        return sl_lexer_fail(&p->lex, sl_str_find(p->lex.text, '\0'), "a NUL byte");
    p->e->root = parse_or(p);
    if (p->e->root == NULL)
        return false;
    return sl_lexer_is_at_end(&p->lex) ||
           sl_lexer_fail(&p->lex, p->lex.pos, "expected `and`, `or` or the end, found %s",
                         sl_lexer_show_here(&p->lex, here));
}

enum sl_err sl_expression_parse(struct sl_str text, struct sl_expression **ret,
                                struct sl_parse_error *ret_error)
{
    struct sl_expression *e = sl_zalloc(sizeof(*e));
    struct parser p = { .lex = { .text = text, .arena = &e->arena, .error = ret_error }, .e = e };

    if (!parse_all(&p)) {
        sl_expression_free(&e);
        return SL_CONFIG;
    }
    *ret = e;
    return SL_OK;
}

void sl_expression_each_file(const struct sl_expression *e, sl_file_fn *fn, void *arg)
{
    for (const struct sl_node *n = e->owners; n != NULL; n = n->next_owner)
        if (n->set != NULL)
            fn(arg, n->text.p);
}

void sl_expression_free(struct sl_expression **e)
{
    if (*e == NULL)
        return;
    for (struct sl_node *n = (*e)->owners; n != NULL; n = n->next_owner) {
        sl_host_set_free(&n->set);
        sl_regex_free(&n->regex);
    }
    sl_arena_fini(&(*e)->arena);
    sl_free(*e);
    *e = NULL;
}
