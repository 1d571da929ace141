/* config_yaml.h -- YAML text as a tree of nodes, each of which knows where it stands.
 *
 * A strict subset: one document, no aliases, merges or tags, so that a small file cannot become a
 * large tree. Nodes live in the arena that they were made in, and so does the text. Thread: the
 * owner's.
 */
#ifndef SL_APP_CONFIG_YAML_H
#define SL_APP_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define SL_YAML_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define SL_YAML_MAX_DEPTH 32u
#define SL_YAML_MAX_NODES 1000000u

/** What was wrong, one line: "file:line:column: what". */
struct sl_yaml_error {
    char text[512];
};

struct sl_yaml_source {
    const char *name; /**< of the file, or the flag: in front of messages */
    struct sl_str text;
};

/** A place; line and column count characters from 1. */
struct sl_yaml_mark {
    const struct sl_yaml_source *source;
    uint32_t line, column;
};

enum sl_yaml_kind { SL_YAML_SCALAR, SL_YAML_LIST, SL_YAML_MAP };

enum sl_yaml_style { SL_YAML_PLAIN, SL_YAML_SINGLE_QUOTED, SL_YAML_DOUBLE_QUOTED, SL_YAML_BLOCK };

struct sl_yaml_node {
    enum sl_yaml_kind kind;
    enum sl_yaml_style style;
    struct sl_yaml_mark at;
    struct sl_str value;               /**< SCALAR; NUL behind it */
    struct sl_str key;                 /**< in a MAP: the name it stands under */
    struct sl_yaml_mark key_at;        /**< where that name stands */
    struct sl_yaml_node *first, *last; /**< LIST, MAP: children */
    struct sl_yaml_node *next;         /**< sibling */
};

/** Parses @a source, which is kept.  An empty document is a null scalar.
 *
 * @return SL_OK, or SL_CONFIG with @a error filled and *ret_root untouched
 */
enum sl_err sl_yaml_parse(struct sl_arena *a, const struct sl_yaml_source *source,
                          struct sl_yaml_node **ret_root, struct sl_yaml_error *error) SL_MUST_USE;

/** A node of one's own, at line 1, column 1 of @a source. */
struct sl_yaml_node *sl_yaml_new(struct sl_arena *a, enum sl_yaml_kind kind,
                                 const struct sl_yaml_source *source);
struct sl_yaml_node *sl_yaml_new_scalar(struct sl_arena *a, const struct sl_yaml_source *source,
                                        struct sl_str value);
/** Appends to a LIST or MAP. */
void sl_yaml_append(struct sl_yaml_node *parent, struct sl_yaml_node *child);
/** Puts @a child under @a key in a MAP, in place of what stood there. */
void sl_yaml_put(struct sl_yaml_node *map, struct sl_str key, struct sl_yaml_node *child);
/** The child of a MAP, or NULL. */
struct sl_yaml_node *sl_yaml_find(const struct sl_yaml_node *map, struct sl_str key);
/** The child of a LIST, or NULL. */
struct sl_yaml_node *sl_yaml_at(const struct sl_yaml_node *list, uint64_t index);
/** An empty value, `~` or `null`. */
bool sl_yaml_is_null(const struct sl_yaml_node *node);

/** Where byte @a offset of a scalar's value stands in its source: through quotes, escapes, folded
 * and indented lines. */
struct sl_yaml_mark sl_yaml_mark_in(const struct sl_yaml_node *scalar, size_t offset);

/** Fills @a error with "source:line:column: text" and answers SL_CONFIG. */
enum sl_err sl_yaml_fail(struct sl_yaml_error *error, struct sl_yaml_mark at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
