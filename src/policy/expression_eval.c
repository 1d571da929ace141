/* expression_eval.c -- state: none; a walk over a tree that never changes.
 *
 * Recursion is bounded by SL_EXPRESSION_MAX_DEPTH, which the parser enforces.
 */
#include "base/encode.h"
#include "base/mem.h"
#include "policy/expression_node.h"
#include "policy/host_set.h"
#include "policy/regex.h"

/* RFC 6838 section 4.2: 127 characters a side and the slash. */
#define TYPE_MAX 255

typedef enum sl_truth atom_fn(const struct sl_node *n, const struct sl_facts *f);

static enum sl_truth truth(bool is)
{
    return is ? SL_TRUE : SL_FALSE;
}

static enum sl_truth match_text(const struct sl_node *n, struct sl_str s)
{
    return n->regex != NULL ? sl_regex_match(n->regex, s) : truth(sl_glob_match(n->text, s));
}

static enum sl_truth eval_any(const struct sl_node *n, const struct sl_facts *f)
{
    (void)n;
    (void)f;
    return SL_TRUE;
}

static enum sl_truth eval_host(const struct sl_node *n, const struct sl_facts *f)
{
    if (n->set != NULL)
        return truth(sl_host_set_match(n->set, f->host));
    return truth(sl_host_pattern_match(&n->host, f->host));
}

static enum sl_truth eval_sni(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(f->sni.n > 0 && sl_host_pattern_match(&n->host, f->sni));
}

static enum sl_truth eval_port(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(n->number == f->port);
}

static enum sl_truth eval_scheme(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(sl_str_eq(n->text, f->scheme));
}

/* Origins may fold case although RFC 9110 section 9.1 does not: `post` is no way round a rule. */
static enum sl_truth eval_method(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(sl_str_ieq(n->text, f->method));
}

static enum sl_truth eval_path(const struct sl_node *n, const struct sl_facts *f)
{
    return match_text(n, f->path);
}

static enum sl_truth eval_query(const struct sl_node *n, const struct sl_facts *f)
{
    return match_text(n, f->query);
}

static enum sl_truth eval_header(const struct sl_node *n, const struct sl_facts *f)
{
    enum sl_truth result = SL_FALSE;
    uint32_t n_fields = f->fields != NULL ? f->fields->n : 0;

    for (uint32_t i = 0; i < n_fields && result != SL_TRUE; i++) {
        const struct sl_field *field = &f->fields->v[i];
        enum sl_truth one = SL_FALSE;

        if (sl_str_ieq(field->name, n->name))
            one = match_text(n, field->value);
        if (one > result)
            result = one;
    }
    return result;
}

static enum sl_truth eval_type(const struct sl_node *n, const struct sl_facts *f)
{
    struct sl_str type = sl_str_trim(sl_str_head(f->type, sl_str_find(f->type, ';')));
    char lower[TYPE_MAX];

    if (type.n > sizeof(lower))
        return SL_UNKNOWN;
    for (size_t i = 0; i < type.n; i++)
        lower[i] = sl_lower(type.p[i]);
    return match_text(n, sl_str_make(lower, type.n));
}

static enum sl_truth eval_status(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(n->number == f->status);
}

static enum sl_truth eval_client(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(f->client != NULL && sl_cidr_has(&n->host.net, f->client));
}

static enum sl_truth eval_dst(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(f->dst != NULL && sl_cidr_has(&n->host.net, f->dst));
}

static enum sl_truth eval_user(const struct sl_node *n, const struct sl_facts *f)
{
    return truth(sl_str_eq(n->text, f->user));
}

static enum sl_truth eval_size(const struct sl_node *n, const struct sl_facts *f)
{
    switch (n->compare) {
    case SL_COMPARE_GT:
        return truth(f->size > n->number);
    case SL_COMPARE_GE:
        return truth(f->size >= n->number);
    case SL_COMPARE_LT:
        return truth(f->size < n->number);
    case SL_COMPARE_LE:
        return truth(f->size <= n->number);
    }
    return SL_UNKNOWN;
}

static enum sl_truth eval_alpn(const struct sl_node *n, const struct sl_facts *f)
{
    struct sl_str rest = f->alpn;
    struct sl_str offered;

    while (sl_str_next(&rest, ',', &offered)) {
        if (sl_str_eq(offered, n->text))
            return SL_TRUE;
    }
    return SL_FALSE;
}

static const struct {
    atom_fn *eval;
    uint32_t needs;
} atoms[] = {
#define X(kind, word, fact, value) [SL_NODE_##kind] = { eval_##word, SL_ATOM_NEEDS(fact) },
    SL_ATOM_MAP(X)
#undef X
};

static enum sl_truth eval_atom(const struct sl_node *n, const struct sl_facts *f)
{
    if ((atoms[n->kind].needs & ~f->known) != 0)
        return SL_UNKNOWN;
    return atoms[n->kind].eval(n, f);
}

static enum sl_truth eval_node(const struct sl_node *n, const struct sl_facts *f);

static enum sl_truth eval_and(const struct sl_node *n, const struct sl_facts *f)
{
    enum sl_truth result = SL_TRUE;

    for (const struct sl_node *c = n->children; c != NULL && result != SL_FALSE; c = c->next) {
        enum sl_truth one = eval_node(c, f);

        result = one < result ? one : result;
    }
    return result;
}

static enum sl_truth eval_or(const struct sl_node *n, const struct sl_facts *f)
{
    enum sl_truth result = SL_FALSE;

    for (const struct sl_node *c = n->children; c != NULL && result != SL_TRUE; c = c->next) {
        enum sl_truth one = eval_node(c, f);

        result = one > result ? one : result;
    }
    return result;
}

static enum sl_truth eval_node(const struct sl_node *n, const struct sl_facts *f)
{
    if (n->kind == SL_NODE_AND)
        return eval_and(n, f);
    if (n->kind == SL_NODE_OR)
        return eval_or(n, f);
    if (n->kind == SL_NODE_NOT)
        return (enum sl_truth)(SL_TRUE - eval_node(n->children, f));
    return eval_atom(n, f);
}

enum sl_truth sl_expression_eval(const struct sl_expression *e, const struct sl_facts *facts)
{
    return eval_node(e->root, facts);
}

uint32_t sl_expression_needs(const struct sl_expression *e)
{
    return e->needs;
}
