/* expression_node.h -- the tree behind an expression; private to expression_*.c.
 *
 * Nodes and texts live in the expression's arena; list files and compiled patterns do not, so the
 * nodes that own one are chained.
 */
#ifndef SL_POLICY_EXPRESSION_NODE_H
#define SL_POLICY_EXPRESSION_NODE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "policy/expression.h"
#include "policy/facts.h"
#include "policy/host_pattern.h"

struct sl_host_set;
struct sl_regex;

/* clang-format off */
/* atom, its word, the fact it looks at (N: none), the form of its value */
#define SL_ATOM_MAP(X) \
    X(ANY,    any,    N,       none)   \
    X(HOST,   host,   HOST,    host)   \
    X(PORT,   port,   PORT,    port)   \
    X(SCHEME, scheme, SCHEME,  scheme) \
    X(METHOD, method, METHOD,  method) \
    X(PATH,   path,   TARGET,  glob)   \
    X(QUERY,  query,  TARGET,  glob)   \
    X(HEADER, header, HEADERS, header) \
    X(TYPE,   type,   TYPE,    glob)   \
    X(STATUS, status, STATUS,  status) \
    X(CLIENT, client, CLIENT,  cidr)   \
    X(USER,   user,   USER,    name)   \
    X(SNI,    sni,    SNI,     host)   \
    X(DST,    dst,    DST,     cidr)   \
    X(SIZE,   size,   SIZE,    size)   \
    X(ALPN,   alpn,   ALPN,    name)
/* clang-format on */

/** The bits an atom needs, from the third column. */
#define SL_ATOM_NEEDS(fact) (SL_FACT_BIT(SL_FACT_##fact) & (SL_FACT_BIT(SL_FACT_N) - 1))

enum sl_node_kind {
#define X(kind, word, fact, value) SL_NODE_##kind,
    SL_ATOM_MAP(X)
#undef X
        SL_NODE_AND,
    SL_NODE_OR,
    SL_NODE_NOT,
};

enum sl_compare { SL_COMPARE_GT, SL_COMPARE_GE, SL_COMPARE_LT, SL_COMPARE_LE };

struct sl_node {
    enum sl_node_kind kind;
    struct sl_node *children;    /**< AND, OR: two or more; NOT: one */
    struct sl_node *next;        /**< the parent's next child */
    struct sl_node *next_owner;  /**< the next node with a set or a regex */
    struct sl_host_pattern host; /**< HOST, SNI; CLIENT and DST use its net */
    struct sl_host_set *set;     /**< HOST: `in FILE`; else NULL */
    struct sl_regex *regex;      /**< globs: the compiled text; else NULL */
    struct sl_str text;          /**< glob or pattern, name, scheme, method, FILE */
    struct sl_str name;          /**< HEADER: lower case */
    uint64_t number;             /**< PORT, STATUS, SIZE */
    enum sl_compare compare;     /**< SIZE */
};

struct sl_expression {
    struct sl_arena arena;
    struct sl_node *root;
    struct sl_node *owners;
    uint32_t needs;
};

#endif
