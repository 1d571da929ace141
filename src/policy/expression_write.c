/* expression_write.c -- state: none; the tree as text again. */
#include "base/mem.h"
#include "policy/expression_node.h"

static const char *const words[] = {
#define X(kind, word, fact, value) [SL_NODE_##kind] = #word,
    SL_ATOM_MAP(X)
#undef X
};

static void add_word(struct sl_buf *out, const char *word)
{
    sl_buf_add_str(out, sl_str_of(word));
}

static bool is_keyword(struct sl_str s)
{
    return sl_str_eq(s, SL_STR("and")) || sl_str_eq(s, SL_STR("or")) ||
           sl_str_eq(s, SL_STR("not")) || sl_str_eq(s, SL_STR("in"));
}

static bool needs_quotes(struct sl_str s)
{
    if (s.n == 0 || s.p[0] == '~' || is_keyword(s))
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if (strchr(" \t\r\n()\"", s.p[i]) != NULL)
            return true;
    }
    return false;
}

static void add_value(struct sl_buf *out, struct sl_str s)
{
    if (!needs_quotes(s)) {
        sl_buf_add_str(out, s);
        return;
    }
    sl_buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            sl_buf_add_char(out, '\\');
        sl_buf_add_char(out, s.p[i]);
    }
    sl_buf_add_char(out, '"');
}

static void write_cidr(const struct sl_node *n, struct sl_buf *out)
{
    sl_buf_add_char(out, ' ');
    sl_host_pattern_write(&n->host, out);
}

static void write_name(const struct sl_node *n, struct sl_buf *out)
{
    sl_buf_add_char(out, ' ');
    add_value(out, n->text);
}

/* A host may be called "in", or any other word of the language. */
static void write_host(const struct sl_node *n, struct sl_buf *out)
{
    if (n->set != NULL) {
        add_word(out, " in");
        write_name(n, out);
    } else if (n->host.kind == SL_HOST_NAME) {
        sl_buf_add_char(out, ' ');
        add_value(out, n->host.name);
    } else {
        write_cidr(n, out);
    }
}

static void write_number(const struct sl_node *n, struct sl_buf *out)
{
    sl_buf_addf(out, " %llu", (unsigned long long)n->number);
}

static void write_glob(const struct sl_node *n, struct sl_buf *out)
{
    if (n->regex == NULL) {
        write_name(n, out);
        return;
    }
    add_word(out, " ~ /");
    sl_buf_add_str(out, n->text);
    sl_buf_add_char(out, '/');
}

static void write_header(const struct sl_node *n, struct sl_buf *out)
{
    sl_buf_add_char(out, ' ');
    add_value(out, n->name);
    write_glob(n, out);
}

static void write_size(const struct sl_node *n, struct sl_buf *out)
{
    static const char *const compares[] = {
        [SL_COMPARE_GT] = ">",
        [SL_COMPARE_GE] = ">=",
        [SL_COMPARE_LT] = "<",
        [SL_COMPARE_LE] = "<=",
    };
    static const char *const units[] = { "", "KiB", "MiB", "GiB" };
    uint64_t number = n->number;
    size_t unit = 0;

    while (number != 0 && number % 1024 == 0 && unit + 1 < SL_LEN(units)) {
        number /= 1024;
        unit++;
    }
    sl_buf_addf(out, " %s %llu%s", compares[n->compare], (unsigned long long)number, units[unit]);
}

static void write_value(const struct sl_node *n, struct sl_buf *out)
{
    switch (n->kind) {
    case SL_NODE_HOST:
    case SL_NODE_SNI:
        write_host(n, out);
        return;
    case SL_NODE_CLIENT:
    case SL_NODE_DST:
        write_cidr(n, out);
        return;
    case SL_NODE_PORT:
    case SL_NODE_STATUS:
        write_number(n, out);
        return;
    case SL_NODE_SCHEME:
    case SL_NODE_METHOD:
    case SL_NODE_USER:
    case SL_NODE_ALPN:
        write_name(n, out);
        return;
    case SL_NODE_PATH:
    case SL_NODE_QUERY:
    case SL_NODE_TYPE:
        write_glob(n, out);
        return;
    case SL_NODE_HEADER:
        write_header(n, out);
        return;
    case SL_NODE_SIZE:
        write_size(n, out);
        return;
    case SL_NODE_ANY:
    case SL_NODE_AND:
    case SL_NODE_OR:
    case SL_NODE_NOT:
        return;
    }
}

static void write_node(const struct sl_node *n, struct sl_buf *out);

/* Only an `or` inside an `and`, and either inside a `not`, bind looser than their parent. */
static void write_child(const struct sl_node *parent, const struct sl_node *c, struct sl_buf *out)
{
    bool is_list = c->kind == SL_NODE_AND || c->kind == SL_NODE_OR;
    bool is_looser = parent->kind == SL_NODE_NOT
                         ? is_list
                         : parent->kind == SL_NODE_AND && c->kind == SL_NODE_OR;

    if (is_looser)
        sl_buf_add_char(out, '(');
    write_node(c, out);
    if (is_looser)
        sl_buf_add_char(out, ')');
}

static void write_list(const struct sl_node *n, const char *joiner, struct sl_buf *out)
{
    for (const struct sl_node *c = n->children; c != NULL; c = c->next) {
        if (c != n->children)
            add_word(out, joiner);
        write_child(n, c, out);
    }
}

static void write_node(const struct sl_node *n, struct sl_buf *out)
{
    if (n->kind == SL_NODE_AND) {
        write_list(n, " and ", out);
    } else if (n->kind == SL_NODE_OR) {
        write_list(n, " or ", out);
    } else if (n->kind == SL_NODE_NOT) {
        add_word(out, "not ");
        write_child(n, n->children, out);
    } else {
        add_word(out, words[n->kind]);
        write_value(n, out);
    }
}

void sl_expression_write(const struct sl_expression *e, struct sl_buf *out)
{
    write_node(e->root, out);
}
