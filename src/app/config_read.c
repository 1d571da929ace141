/* config_read.c -- walks the tree and the table together.
 *
 * A scope is a map being read: the path in front of its keys ("" at the top, "checks[].cache.") and
 * the struct that their offsets count from.
 */
#include "app/config_read.h"

#include <inttypes.h>
#include <stdio.h>

#include "app/config.h"
#include "app/config_keys.h"
#include "app/config_value.h"
#include "base/mem.h"

#define MAX_PATH 128

struct reader {
    struct sl_config *config;
    struct sl_yaml_error *error;
};

struct scope {
    char prefix[MAX_PATH];
    void *base;
};

struct target {
    const struct sl_key *key;
    const struct sl_yaml_node *node;
    void *at;
};

static enum sl_err read_map(struct reader *r, const struct scope *scope,
                            const struct sl_yaml_node *map);

/* -- single values -- */

static enum sl_err fail(struct reader *r, const struct target *t, const char *wanted)
{
    const struct sl_yaml_node *n = t->node;

    if (n->kind == SL_YAML_SCALAR)
        return sl_yaml_fail(r->error, n->at, "%s: %s, not \"%.60s\"", t->key->path, wanted,
                            n->value.p);
    return sl_yaml_fail(r->error, n->at, "%s: %s, not %s %s", t->key->path, wanted,
                        n->first == NULL ? "an empty" : "a",
                        n->kind == SL_YAML_LIST ? "list" : "map");
}

static bool is_word(const struct target *t)
{
    uint32_t place;

    return t->key->words != NULL && sl_value_word(t->node->value, t->key->words, &place);
}

static enum sl_err read_bool(struct reader *r, const struct target *t)
{
    bool value;

    if (t->node->style != SL_YAML_PLAIN || !sl_value_bool(t->node->value, &value))
        return fail(r, t, "true or false expected");
    memcpy(t->at, &value, sizeof(value));
    return SL_OK;
}

static enum sl_err read_override(struct reader *r, const struct target *t)
{
    bool value;
    uint32_t override;

    if (t->node->style != SL_YAML_PLAIN || !sl_value_bool(t->node->value, &value))
        return fail(r, t, "true or false expected");
    override = value ? SL_FORCE_ON : SL_FORCE_OFF;
    memcpy(t->at, &override, sizeof(override));
    return SL_OK;
}

static enum sl_err store_in_range(struct reader *r, const struct target *t, uint64_t value,
                                  void (*to_text)(uint64_t value, char ret_text[32]))
{
    char min[32], max[32];

    if (value >= t->key->min && value <= t->key->max) {
        memcpy(t->at, &value, sizeof(value));
        return SL_OK;
    }
    to_text(t->key->min, min);
    to_text(t->key->max, max);
    if (t->key->min == t->key->max)
        return sl_yaml_fail(r->error, t->node->at, "%s: values other than %s are not supported yet",
                            t->key->path, min);
    return sl_yaml_fail(r->error, t->node->at, "%s: must be between %s and %s, not %.60s",
                        t->key->path, min, max, t->node->value.p);
}

static void number_text(uint64_t value, char ret_text[32])
{
    (void)snprintf(ret_text, 32, "%" PRIu64, value);
}

static enum sl_err read_number(struct reader *r, const struct target *t)
{
    uint64_t value = 0;

    if (is_word(t)) {
        memcpy(t->at, &value, sizeof(value));
        return SL_OK;
    }
    if (t->node->style != SL_YAML_PLAIN || !sl_str_to_u64(t->node->value, &value))
        return fail(r, t, "a whole number expected");
    return store_in_range(r, t, value, number_text);
}

static enum sl_err read_size(struct reader *r, const struct target *t)
{
    uint64_t value;

    if (!sl_value_size(t->node->value, &value))
        return fail(r, t, "a size such as 64KiB, 10MiB or 1GiB expected");
    return store_in_range(r, t, value, sl_value_size_text);
}

static enum sl_err read_duration(struct reader *r, const struct target *t)
{
    uint64_t value;

    if (!sl_value_duration(t->node->value, &value))
        return fail(r, t, "a duration such as 500ms, 10s, 5m, 24h or 7d expected");
    return store_in_range(r, t, value, sl_value_duration_text);
}

static enum sl_err parse_word(struct reader *r, const struct target *t, uint32_t *ret_place)
{
    const char *later = t->key->later;
    char wanted[128];
    uint32_t place;

    if (t->node->kind == SL_YAML_SCALAR && sl_value_word(t->node->value, t->key->words, ret_place))
        return SL_OK;
    if (t->node->kind == SL_YAML_SCALAR && later != NULL &&
        sl_value_word(t->node->value, later, &place))
        return sl_yaml_fail(r->error, t->node->at, "%s: %s is not supported by this version",
                            t->key->path, t->node->value.p);
    (void)snprintf(wanted, sizeof(wanted), "one of %s expected", t->key->words);
    return fail(r, t, wanted);
}

static enum sl_err read_word(struct reader *r, const struct target *t)
{
    uint32_t place;
    enum sl_err err = parse_word(r, t, &place);

    if (err == SL_OK)
        memcpy(t->at, &place, sizeof(place));
    return err;
}

static enum sl_err read_words(struct reader *r, const struct target *t)
{
    uint32_t set = 0, place = 0;
    const struct sl_yaml_node *first = t->node->kind == SL_YAML_LIST ? t->node->first : t->node;

    for (const struct sl_yaml_node *n = first; n != NULL; n = n->next) {
        enum sl_err err =
            parse_word(r, &(struct target){ .key = t->key, .node = n, .at = NULL }, &place);

        if (err != SL_OK)
            return err;
        set |= 1u << place;
        if (n == t->node)
            break;
    }
    if (set == 0)
        return fail(r, t, "at least one expected");
    memcpy(t->at, &set, sizeof(set));
    return SL_OK;
}

static enum sl_err read_string(struct reader *r, const struct target *t)
{
    const char *value = is_word(t) ? NULL : t->node->value.p;

    if (sl_value_has_control(t->node->value))
        return fail(r, t, "text without control characters expected");
    if (t->node->value.n == 0)
        return fail(r, t, "a value expected");
    memcpy(t->at, &value, sizeof(value));
    return SL_OK;
}

static enum sl_err read_address(struct reader *r, const struct target *t)
{
    struct sl_addr addr = { 0 };

    if (!is_word(t) && !sl_value_address(t->node->value, &addr))
        return fail(r, t, "an address such as 127.0.0.1:8080, [::1]:8080 or unix:/path expected");
    memcpy(t->at, &addr, sizeof(addr));
    return SL_OK;
}

/* -- lists of values -- */

static enum sl_err expect_list(struct reader *r, const struct target *t)
{
    if (t->node->kind != SL_YAML_LIST)
        return fail(r, t, "a list, [a, b], expected");
    for (const struct sl_yaml_node *n = t->node->first; n != NULL; n = n->next)
        if (n->kind != SL_YAML_SCALAR)
            return sl_yaml_fail(r->error, n->at, "%s: a plain value expected", t->key->path);
    return SL_OK;
}

static enum sl_err add_nameserver(struct reader *r, const struct target *t,
                                  const struct sl_yaml_node *item, struct sl_buf *out)
{
    char text[SL_ADDR_TEXT];
    struct sl_addr addr;
    bool has_ip = sl_addr_parse_ip(item->value, &addr);

    if (has_ip)
        sl_addr_set_port(&addr, 53);
    else if (!sl_addr_parse(item->value, &addr) || sl_addr_port(&addr) == 0)
        return sl_yaml_fail(r->error, item->at, "%s: an address such as 9.9.9.9:53 expected",
                            t->key->path);
    sl_addr_text(&addr, text);
    sl_buf_addf(out, "%s%s", out->len > 0 ? "," : "", text);
    return SL_OK;
}

static enum sl_err read_addresses(struct reader *r, const struct target *t)
{
    const char *value = NULL;
    struct sl_buf text = { 0 };
    enum sl_err err;

    if (t->node->kind == SL_YAML_SCALAR && is_word(t)) {
        memcpy(t->at, &value, sizeof(value));
        return SL_OK;
    }
    err = expect_list(r, t);
    if (err == SL_OK && t->node->first == NULL)
        err = fail(r, t, "at least one expected");
    if (err != SL_OK)
        return err;
    for (const struct sl_yaml_node *n = t->node->first; n != NULL && err == SL_OK; n = n->next)
        err = add_nameserver(r, t, n, &text);
    value = sl_arena_str(&r->config->arena, sl_buf_str(&text)).p;
    sl_buf_fini(&text);
    if (err == SL_OK)
        memcpy(t->at, &value, sizeof(value));
    return err;
}

static uint32_t count_children(const struct sl_yaml_node *node)
{
    uint32_t n = 0;

    for (const struct sl_yaml_node *c = node->first; c != NULL; c = c->next)
        n++;
    return n;
}

static enum sl_err read_cidrs(struct reader *r, const struct target *t)
{
    struct sl_config_cidrs cidrs = { 0 };
    enum sl_err err = expect_list(r, t);

    if (err != SL_OK)
        return err;
    cidrs.v = sl_arena_alloc(&r->config->arena, (count_children(t->node) + 1) * sizeof(*cidrs.v));
    for (const struct sl_yaml_node *n = t->node->first; n != NULL; n = n->next)
        if (!sl_cidr_parse(n->value, &cidrs.v[cidrs.n++]))
            return sl_yaml_fail(r->error, n->at,
                                "%s: a network such as 10.0.0.0/8 (host bits zero) expected, not "
                                "\"%.60s\"",
                                t->key->path, n->value.p);
    memcpy(t->at, &cidrs, sizeof(cidrs));
    return SL_OK;
}

static enum sl_err read_node(struct reader *r, const struct target *t)
{
    (void)r;
    memcpy(t->at, &t->node, sizeof(t->node));
    return SL_OK;
}

/* -- by kind -- */

static const struct {
    enum sl_err (*read)(struct reader *r, const struct target *t);
    bool takes_list;
} kinds[] = {
    [SL_KEY_BOOL] = { read_bool, false },         [SL_KEY_OVERRIDE] = { read_override, false },
    [SL_KEY_NUMBER] = { read_number, false },     [SL_KEY_SIZE] = { read_size, false },
    [SL_KEY_DURATION] = { read_duration, false }, [SL_KEY_WORD] = { read_word, false },
    [SL_KEY_WORDS] = { read_words, true },        [SL_KEY_STRING] = { read_string, false },
    [SL_KEY_ADDRESS] = { read_address, false },   [SL_KEY_ADDRESSES] = { read_addresses, true },
    [SL_KEY_CIDRS] = { read_cidrs, true },        [SL_KEY_NODE] = { read_node, true },
};

static enum sl_err read_setting(struct reader *r, const struct target *t)
{
    if (sl_yaml_is_null(t->node))
        return sl_yaml_fail(r->error, t->node->at, "%s: a value is missing", t->key->path);
    if (!kinds[t->key->kind].takes_list && t->node->kind != SL_YAML_SCALAR)
        return fail(r, t, "a single value expected");
    return kinds[t->key->kind].read(r, t);
}

/* Of the keys directly in the scope of @a prefix and in the sections below, but not in its lists'
 * items. */
static enum sl_err read_defaults(struct reader *r, const struct scope *scope)
{
    static const struct sl_yaml_source kept = { .name = "default" };
    struct sl_str prefix = sl_str_of(scope->prefix);
    const struct sl_key *key;

    for (size_t i = 0; (key = sl_key_at(i)) != NULL; i++) {
        struct sl_str path = sl_str_of(key->path);
        struct sl_str rest = sl_str_skip(path, prefix.n);
        struct sl_yaml_source text = { .name = "default" };
        struct sl_yaml_node *node;
        enum sl_err err;

        if (!sl_str_has_prefix(path, prefix) || sl_str_find(rest, '[') != rest.n ||
            key->fallback == NULL || key->fallback[0] == '\0')
            continue;
        text.text = sl_str_of(key->fallback);
        err = sl_yaml_parse(&r->config->arena, &text, &node, r->error);
        if (err != SL_OK)
            return err;
        node->at.source = &kept;
        err = read_setting(r, &(struct target){ key, node, (char *)scope->base + key->offset });
        if (err != SL_OK)
            return err;
    }
    return SL_OK;
}

/* -- maps and lists -- */

static enum sl_err check_required(struct reader *r, const struct scope *scope,
                                  const struct sl_yaml_node *map)
{
    struct sl_str prefix = sl_str_of(scope->prefix);
    const struct sl_key *key;

    for (size_t i = 0; (key = sl_key_at(i)) != NULL; i++) {
        struct sl_str path = sl_str_of(key->path);

        if (key->fallback != NULL || !sl_str_has_prefix(path, prefix))
            continue;
        if (sl_yaml_find(map, sl_str_skip(path, prefix.n)) == NULL)
            return sl_yaml_fail(r->error, map->at, "%s is missing", key->path);
    }
    return SL_OK;
}

static enum sl_err read_item(struct reader *r, const struct scope *scope,
                             const struct sl_yaml_node *node)
{
    enum sl_err err;

    if (node->kind != SL_YAML_MAP)
        return sl_yaml_fail(r->error, node->at, "each item here is a map, {key: value}");
    err = read_map(r, scope, node);
    return err != SL_OK ? err : check_required(r, scope, node);
}

/* The first item gets the defaults, the others a copy of them. */
static enum sl_err read_items(struct reader *r, const struct sl_key_list *list,
                              const struct sl_yaml_node *node, char *items)
{
    struct scope scope = { .base = items };
    char *end = items;
    enum sl_err err;

    (void)snprintf(scope.prefix, sizeof(scope.prefix), "%s[].", list->path);
    err = read_defaults(r, &scope);
    for (const struct sl_yaml_node *c = node->first; c != NULL; c = c->next) {
        memmove(end, items, list->item_size);
        end += list->item_size;
    }
    for (const struct sl_yaml_node *c = node->first; c != NULL && err == SL_OK; c = c->next) {
        err = read_item(r, &scope, c);
        scope.base = (char *)scope.base + list->item_size;
    }
    return err;
}

static enum sl_err read_list(struct reader *r, const struct sl_key_list *list,
                             const struct sl_yaml_node *node)
{
    char *config = (char *)r->config;
    uint32_t n = count_children(node);
    enum sl_err err;
    char *items;

    if (sl_yaml_is_null(node))
        return SL_OK;
    if (node->kind != SL_YAML_LIST)
        return sl_yaml_fail(r->error, node->at, "%s: a list expected", list->path);
    if (n > list->max)
        return sl_yaml_fail(r->error, node->at, "%s: more than %u items", list->path, list->max);
    items = sl_arena_alloc(&r->config->arena, (n + 1) * list->item_size);
    err = read_items(r, list, node, items);
    if (err != SL_OK)
        return err;
    memcpy(config + list->v_offset, &items, sizeof(items));
    memcpy(config + list->n_offset, &n, sizeof(n));
    return SL_OK;
}

static enum sl_err read_section(struct reader *r, const struct scope *outer, struct sl_str path,
                                const struct sl_yaml_node *node)
{
    struct scope scope = { .base = outer->base };

    if (sl_yaml_is_null(node))
        return SL_OK;
    if (node->kind != SL_YAML_MAP)
        return sl_yaml_fail(r->error, node->at, "%.*s: a map of settings expected", SL_FMT(path));
    (void)snprintf(scope.prefix, sizeof(scope.prefix), "%.*s.", SL_FMT(path));
    return read_map(r, &scope, node);
}

static enum sl_err unknown_key(struct reader *r, const struct scope *scope,
                               const struct sl_yaml_node *node)
{
    struct sl_str near = sl_key_suggest(sl_str_of(scope->prefix), node->key);

    if (near.n == 0)
        return sl_yaml_fail(r->error, node->key_at, "unknown key \"%s%.60s\"", scope->prefix,
                            node->key.p);
    return sl_yaml_fail(r->error, node->key_at, "unknown key \"%s%.60s\"; did you mean \"%.*s\"?",
                        scope->prefix, node->key.p, SL_FMT(near));
}

/* `.` and `[` are ours, to write paths with. */
static bool is_plain_name(struct sl_str key)
{
    return sl_str_find(key, '.') == key.n && sl_str_find(key, '[') == key.n;
}

static enum sl_err read_entry(struct reader *r, const struct scope *scope,
                              const struct sl_yaml_node *node)
{
    char path[MAX_PATH];
    struct sl_key_match match = { .class = SL_KEY_UNKNOWN };
    int n = snprintf(path, sizeof(path), "%s%s", scope->prefix, node->key.p);

    if (n >= 0 && (size_t)n < sizeof(path) && is_plain_name(node->key))
        match = sl_key_find(sl_str_of(path));
    switch (match.class) {
    case SL_KEY_SETTING:
        return read_setting(
            r, &(struct target){ match.key, node, (char *)scope->base + match.key->offset });
    case SL_KEY_SECTION:
        return read_section(r, scope, sl_str_of(path), node);
    case SL_KEY_LIST:
        return read_list(r, match.list, node);
    case SL_KEY_LATER:
        return sl_yaml_fail(r->error, node->key_at, "%s is not supported by this version", path);
    case SL_KEY_UNKNOWN:
        break;
    }
    return unknown_key(r, scope, node);
}

static enum sl_err read_map(struct reader *r, const struct scope *scope,
                            const struct sl_yaml_node *map)
{
    for (const struct sl_yaml_node *n = map->first; n != NULL; n = n->next) {
        enum sl_err err = read_entry(r, scope, n);

        if (err != SL_OK)
            return err;
        /* After reading: a map of unknown keys has ended there, so this walk is short. */
        if (sl_yaml_find(map, n->key) != n)
            return sl_yaml_fail(r->error, n->key_at, "\"%s%.60s\" stands here twice", scope->prefix,
                                n->key.p);
    }
    return SL_OK;
}

enum sl_err sl_config_read(struct sl_config *config, const struct sl_yaml_node *root,
                           struct sl_yaml_error *error)
{
    struct reader r = { .config = config, .error = error };
    struct scope top = { .base = config };
    enum sl_err err = read_defaults(&r, &top);

    if (err != SL_OK || sl_yaml_is_null(root))
        return err;
    if (root->kind != SL_YAML_MAP)
        return sl_yaml_fail(error, root->at, "a map of settings expected, key: value");
    return read_map(&r, &top, root);
}
