/* config_yaml.c -- libyaml's events become nodes, by recursion no deeper than SL_YAML_MAX_DEPTH. */
#include "app/config_yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "base/mem.h"

struct builder {
    yaml_parser_t parser;
    struct sl_arena *arena;
    const struct sl_yaml_source *source;
    struct sl_yaml_error *error;
    uint32_t n_nodes;
};

static enum sl_err build_node(struct builder *b, yaml_event_t *event, uint32_t depth,
                              struct sl_yaml_node **ret_node);

static struct sl_yaml_mark mark_of(const struct builder *b, const yaml_mark_t *m)
{
    return (struct sl_yaml_mark){ .source = b->source,
                                  .line = (uint32_t)m->line + 1,
                                  .column = (uint32_t)m->column + 1 };
}

/* The reader counts bytes, everything behind it lines and columns. */
static struct sl_yaml_mark mark_of_offset(const struct sl_yaml_source *source, size_t offset)
{
    struct sl_yaml_mark at = { .source = source, .line = 1, .column = 1 };

    for (size_t i = 0; i < offset && i < source->text.n; i++) {
        at.column++;
        if (source->text.p[i] == '\n') {
            at.line++;
            at.column = 1;
        }
    }
    return at;
}

static enum sl_err syntax_failed(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem != NULL ? p->problem : "not YAML";

    if (p->error == YAML_READER_ERROR)
        return sl_yaml_fail(b->error, mark_of_offset(b->source, p->problem_offset), "%s", problem);
    return sl_yaml_fail(b->error, mark_of(b, &p->problem_mark), "%s", problem);
}

static enum sl_err next_event(struct builder *b, yaml_event_t *event)
{
    return yaml_parser_parse(&b->parser, event) == 1 ? SL_OK : syntax_failed(b);
}

/* An anchor that nothing refers to would be harmless, but whoever writes one means to. */
static enum sl_err check_properties(struct builder *b, const yaml_event_t *event,
                                    const yaml_char_t *tag, const yaml_char_t *anchor)
{
    if (tag != NULL)
        return sl_yaml_fail(b->error, mark_of(b, &event->start_mark),
                            "tags (%.60s) are not supported", (const char *)tag);
    if (anchor != NULL)
        return sl_yaml_fail(b->error, mark_of(b, &event->start_mark),
                            "anchors (&%.60s) are not supported", (const char *)anchor);
    return SL_OK;
}

static enum sl_yaml_style style_of(yaml_scalar_style_t style)
{
    if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE)
        return SL_YAML_SINGLE_QUOTED;
    if (style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
        return SL_YAML_DOUBLE_QUOTED;
    if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
        return SL_YAML_BLOCK;
    return SL_YAML_PLAIN;
}

static enum sl_err build_scalar(struct builder *b, const yaml_event_t *event,
                                struct sl_yaml_node *node)
{
    struct sl_str value = sl_str_make(event->data.scalar.value, event->data.scalar.length);

    node->value = sl_arena_str(b->arena, value);
    node->style = style_of(event->data.scalar.style);
    if (sl_str_find(value, '\0') != value.n)
        return sl_yaml_fail(b->error, node->at, "a value must not contain a NUL");
    return check_properties(b, event, event->data.scalar.tag, event->data.scalar.anchor);
}

static enum sl_err build_list(struct builder *b, struct sl_yaml_node *list, uint32_t depth)
{
    struct sl_yaml_node *child;
    yaml_event_t event;
    enum sl_err err;

    while ((err = next_event(b, &event)) == SL_OK) {
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;

        err = is_end ? SL_OK : build_node(b, &event, depth + 1, &child);
        yaml_event_delete(&event);
        if (is_end || err != SL_OK)
            break;
        sl_yaml_append(list, child);
    }
    return err;
}

static enum sl_err build_key(struct builder *b, yaml_event_t *event, struct sl_yaml_node **ret_key)
{
    enum sl_err err = build_node(b, event, SL_YAML_MAX_DEPTH, ret_key);

    if (err != SL_OK)
        return err;
    if (sl_str_eq((*ret_key)->value, SL_STR("<<")) && (*ret_key)->style == SL_YAML_PLAIN)
        return sl_yaml_fail(b->error, (*ret_key)->at, "merge keys (<<) are not supported");
    return SL_OK;
}

static enum sl_err build_value(struct builder *b, uint32_t depth, struct sl_yaml_node **ret_value)
{
    yaml_event_t event;
    enum sl_err err = next_event(b, &event);

    if (err != SL_OK)
        return err;
    err = build_node(b, &event, depth + 1, ret_value);
    yaml_event_delete(&event);
    return err;
}

static enum sl_err build_map(struct builder *b, struct sl_yaml_node *map, uint32_t depth)
{
    struct sl_yaml_node *key, *value;
    yaml_event_t event;
    enum sl_err err;

    while ((err = next_event(b, &event)) == SL_OK) {
        bool is_end = event.type == YAML_MAPPING_END_EVENT;

        err = is_end ? SL_OK : build_key(b, &event, &key);
        yaml_event_delete(&event);
        if (is_end || err != SL_OK)
            break;
        err = build_value(b, depth, &value);
        if (err != SL_OK)
            break;
        value->key = key->value;
        value->key_at = key->at;
        sl_yaml_append(map, value);
    }
    return err;
}

/* A key is built at the greatest depth, so that it can only be a scalar. */
static enum sl_err check_bounds(struct builder *b, const yaml_event_t *event, uint32_t depth)
{
    struct sl_yaml_mark at = mark_of(b, &event->start_mark);

    if (++b->n_nodes > SL_YAML_MAX_NODES)
        return sl_yaml_fail(b->error, at, "more than %u values", SL_YAML_MAX_NODES);
    if (depth >= SL_YAML_MAX_DEPTH && event->type != YAML_SCALAR_EVENT &&
        event->type != YAML_ALIAS_EVENT)
        return sl_yaml_fail(b->error, at, "nested more than %u deep, or a key that is no name",
                            SL_YAML_MAX_DEPTH);
    return SL_OK;
}

static enum sl_err build_kind(struct builder *b, yaml_event_t *event, uint32_t depth,
                              struct sl_yaml_node *node)
{
    enum sl_err err;

    if (event->type == YAML_SCALAR_EVENT)
        return build_scalar(b, event, node);
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        node->kind = SL_YAML_LIST;
        err = check_properties(b, event, event->data.sequence_start.tag,
                               event->data.sequence_start.anchor);
        return err != SL_OK ? err : build_list(b, node, depth);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        node->kind = SL_YAML_MAP;
        err = check_properties(b, event, event->data.mapping_start.tag,
                               event->data.mapping_start.anchor);
        return err != SL_OK ? err : build_map(b, node, depth);
    }
    return sl_yaml_fail(b->error, node->at, "aliases (*name) are not supported");
}

static enum sl_err build_node(struct builder *b, yaml_event_t *event, uint32_t depth,
                              struct sl_yaml_node **ret_node)
{
    struct sl_yaml_node *node;
    enum sl_err err = check_bounds(b, event, depth);

    if (err != SL_OK)
        return err;
    node = sl_yaml_new(b->arena, SL_YAML_SCALAR, b->source);
    node->at = mark_of(b, &event->start_mark);
    err = build_kind(b, event, depth, node);
    if (err == SL_OK)
        *ret_node = node;
    return err;
}

/* The document's end, and nothing behind it. */
static enum sl_err expect_end(struct builder *b)
{
    yaml_event_t event;
    enum sl_err err = next_event(b, &event);

    if (err != SL_OK)
        return err;
    yaml_event_delete(&event);
    err = next_event(b, &event);
    if (err != SL_OK)
        return err;
    if (event.type != YAML_STREAM_END_EVENT)
        err = sl_yaml_fail(b->error, mark_of(b, &event.start_mark), "a second document");
    yaml_event_delete(&event);
    return err;
}

static enum sl_err build_document(struct builder *b, struct sl_yaml_node **ret_root)
{
    yaml_event_t event;
    enum sl_err err = next_event(b, &event);

    /* The stream's start, then the document's: or the stream's end when there is none. */
    if (err == SL_OK) {
        yaml_event_delete(&event);
        err = next_event(b, &event);
    }
    if (err != SL_OK)
        return err;
    bool is_empty = event.type == YAML_STREAM_END_EVENT;

    yaml_event_delete(&event);
    if (is_empty) {
        *ret_root = sl_yaml_new_scalar(b->arena, b->source, SL_STR(""));
        return SL_OK;
    }
    err = build_value(b, 0, ret_root);
    return err != SL_OK ? err : expect_end(b);
}

enum sl_err sl_yaml_parse(struct sl_arena *a, const struct sl_yaml_source *source,
                          struct sl_yaml_node **ret_root, struct sl_yaml_error *error)
{
    struct builder b = { .arena = a, .source = source, .error = error };
    struct sl_yaml_node *root = NULL;
    enum sl_err err;

    if (source->text.n > SL_YAML_MAX_BYTES)
        return sl_yaml_fail(error, (struct sl_yaml_mark){ source, 1, 1 }, "larger than %zu MiB",
                            SL_YAML_MAX_BYTES >> 20);
    if (yaml_parser_initialize(&b.parser) != 1)
        return sl_yaml_fail(error, (struct sl_yaml_mark){ source, 1, 1 }, "out of memory");
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)source->text.p, source->text.n);
    err = build_document(&b, &root);
    yaml_parser_delete(&b.parser);
    if (err == SL_OK)
        *ret_root = root;
    return err;
}

/* -- trees -- */

struct sl_yaml_node *sl_yaml_new(struct sl_arena *a, enum sl_yaml_kind kind,
                                 const struct sl_yaml_source *source)
{
    struct sl_yaml_node *node = sl_arena_alloc(a, sizeof(*node));

    node->kind = kind;
    node->at = (struct sl_yaml_mark){ .source = source, .line = 1, .column = 1 };
    node->key_at = node->at;
    return node;
}

struct sl_yaml_node *sl_yaml_new_scalar(struct sl_arena *a, const struct sl_yaml_source *source,
                                        struct sl_str value)
{
    struct sl_yaml_node *node = sl_yaml_new(a, SL_YAML_SCALAR, source);

    node->value = sl_arena_str(a, value);
    return node;
}

void sl_yaml_append(struct sl_yaml_node *parent, struct sl_yaml_node *child)
{
    if (parent->last == NULL)
        parent->first = child;
    else
        parent->last->next = child;
    parent->last = child;
}

void sl_yaml_put(struct sl_yaml_node *map, struct sl_str key, struct sl_yaml_node *child)
{
    struct sl_yaml_node *before = NULL;

    child->key = key;
    for (struct sl_yaml_node *n = map->first; n != NULL; before = n, n = n->next) {
        if (!sl_str_eq(n->key, key))
            continue;
        child->next = n->next;
        *(before == NULL ? &map->first : &before->next) = child;
        if (map->last == n)
            map->last = child;
        return;
    }
    sl_yaml_append(map, child);
}

struct sl_yaml_node *sl_yaml_find(const struct sl_yaml_node *map, struct sl_str key)
{
    for (struct sl_yaml_node *n = map->first; n != NULL; n = n->next)
        if (sl_str_eq(n->key, key))
            return n;
    return NULL;
}

struct sl_yaml_node *sl_yaml_at(const struct sl_yaml_node *list, uint64_t index)
{
    struct sl_yaml_node *n = list->first;

    while (n != NULL && index-- > 0)
        n = n->next;
    return n;
}

bool sl_yaml_is_null(const struct sl_yaml_node *node)
{
    if (node->kind != SL_YAML_SCALAR || node->style != SL_YAML_PLAIN)
        return false;
    return node->value.n == 0 || sl_str_eq(node->value, SL_STR("~")) ||
           sl_str_eq(node->value, SL_STR("null"));
}

/* -- places -- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t count_visible(struct sl_str s, size_t end)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n && i < end; i++)
        if (!is_blank(s.p[i]))
            n++;
    return n;
}

/* Steps over one byte of the source, and over the rest of its line and column. */
static size_t step(struct sl_yaml_mark *at, size_t i)
{
    struct sl_str text = at->source->text;

    if (text.p[i] == '\n') {
        at->line++;
        at->column = 1;
    } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
        at->column++;
    }
    return i + 1;
}

static size_t offset_of_line(struct sl_str text, uint32_t line)
{
    size_t i = 0;

    while (--line > 0 && i < text.n)
        i += sl_str_find(sl_str_skip(text, i), '\n') + 1;
    return i;
}

/* Of the first byte of a scalar's value: behind a quote, or below the line of `|` or `>`. */
static size_t start_of(const struct sl_yaml_node *scalar, struct sl_yaml_mark *at)
{
    struct sl_str text = at->source->text;
    size_t i = offset_of_line(text, at->line);
    uint32_t column = at->column;

    at->column = 1;
    while (i < text.n && at->column < column)
        i = step(at, i);
    if (scalar->style == SL_YAML_SINGLE_QUOTED || scalar->style == SL_YAML_DOUBLE_QUOTED)
        return i < text.n ? step(at, i) : i;
    if (scalar->style != SL_YAML_BLOCK)
        return i;
    for (uint32_t line = at->line; i < text.n && at->line == line;)
        i = step(at, i);
    return i;
}

static bool is_escape(const struct sl_yaml_node *scalar, char c)
{
    if (scalar->style == SL_YAML_DOUBLE_QUOTED)
        return c == '\\';
    return scalar->style == SL_YAML_SINGLE_QUOTED && c == '\'';
}

/* Folding and indentation change blanks only, so counting what is not blank finds the place. */
struct sl_yaml_mark sl_yaml_mark_in(const struct sl_yaml_node *scalar, size_t offset)
{
    struct sl_yaml_mark at = scalar->at;
    struct sl_str text = at.source->text;
    size_t left = count_visible(scalar->value, offset);
    bool is_end = left == count_visible(scalar->value, scalar->value.n);
    size_t i = start_of(scalar, &at);

    while (i < text.n && (left > 0 || (!is_end && is_blank(text.p[i])))) {
        if (!is_blank(text.p[i]))
            left--;
        if (is_escape(scalar, text.p[i]) && i + 1 < text.n)
            i = step(&at, i);
        i = step(&at, i);
    }
    return at;
}

enum sl_err sl_yaml_fail(struct sl_yaml_error *error, struct sl_yaml_mark at, const char *fmt, ...)
{
    int n = snprintf(error->text, sizeof(error->text), "%.200s:%u:%u: ", at.source->name, at.line,
                     at.column);
    va_list ap;

    if (n < 0)
        n = 0;
    va_start(ap, fmt);
    (void)vsnprintf(error->text + n, sizeof(error->text) - (size_t)n, fmt, ap);
    va_end(ap);
    for (char *c = error->text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return SL_CONFIG;
}
