/* config_policy.c -- checks first, since rules name them. */
#include "app/config_policy.h"

#include <sys/un.h>

#include "app/config.h"
#include "app/config_value.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "http/message.h"
#include "http/uri.h"
#include "policy/gate.h"

#define MAX_NAME 64

struct maker {
    struct sl_config *config;
    struct sl_yaml_error *error;
};

static const char *const class_names[] = {
#define X(id, name) [SL_CHECK_##id] = name,
    SL_CHECK_CLASS_MAP(X)
#undef X
};

/* -- checks -- */

static bool is_name(struct sl_str s)
{
    if (s.n == 0 || s.n > MAX_NAME)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = sl_lower(s.p[i]);

        if (!sl_is_digit(c) && (c < 'a' || c > 'z') && c != '-' && c != '_')
            return false;
    }
    return true;
}

static bool find_check(const struct sl_config *config, uint32_t n, struct sl_str name,
                       uint32_t *ret_index)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!sl_str_eq(sl_str_of(config->checks[i].name), name))
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

static enum sl_err make_check_name(struct maker *m, uint32_t index)
{
    const struct sl_yaml_node *node = m->config->check_items[index].name;
    uint32_t other;

    if (node->kind != SL_YAML_SCALAR || !is_name(node->value))
        return sl_yaml_fail(m->error, node->at,
                            "checks[].name: up to %d letters, digits, - and _ expected", MAX_NAME);
    if (find_check(m->config, index, node->value, &other))
        return sl_yaml_fail(m->error, node->at, "a check named \"%s\" is there already",
                            node->value.p);
    m->config->checks[index].name = node->value.p;
    return SL_OK;
}

static bool is_target(struct sl_str s)
{
    if (s.n == 0 || s.p[0] != '/')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    return true;
}

/* unix:/path:/uri */
static bool parse_unix_url(struct sl_str url, struct sl_check_conf *check)
{
    struct sl_str path = sl_str_head(url, sl_str_find(url, ':'));
    struct sl_str target = sl_str_skip(url, path.n + 1);

    if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return false;
    if (!is_target(target))
        return false;
    check->origin = (struct sl_origin){ .host = path, .is_unix = true };
    check->target = target.p;
    return true;
}

static bool parse_http_url(struct sl_str url, struct sl_arena *a, struct sl_check_conf *check)
{
    struct sl_uri uri;

    if (sl_uri_parse(url, a, &uri) != SL_OK)
        return false;
    bool is_tls = sl_str_eq(uri.scheme, SL_STR("https"));

    if (!is_tls && !sl_str_eq(uri.scheme, SL_STR("http")))
        return false;
    check->origin = (struct sl_origin){
        .host = uri.authority.host,
        .port = uri.authority.port != 0 ? uri.authority.port : sl_scheme_port(uri.scheme),
        .tls = is_tls,
        .verify = is_tls,
    };
    check->target = sl_arena_str(a, uri.target).p;
    return true;
}

static enum sl_err make_check_url(struct maker *m, uint32_t index)
{
    const struct sl_yaml_node *node = m->config->check_items[index].url;
    struct sl_str prefix = SL_STR("unix:");
    struct sl_check_conf *check = &m->config->checks[index];
    bool is_good = false;

    if (node->kind == SL_YAML_SCALAR && sl_str_has_prefix(node->value, prefix))
        is_good = parse_unix_url(sl_str_skip(node->value, prefix.n), check);
    else if (node->kind == SL_YAML_SCALAR)
        is_good = parse_http_url(node->value, &m->config->arena, check);
    if (is_good)
        return SL_OK;
    return sl_yaml_fail(m->error, node->at,
                        "checks[].url: http://host:port/path, https://host/path or "
                        "unix:/socket:/path expected");
}

static enum sl_err parse_on_error(struct maker *m, const struct sl_yaml_node *node,
                                  enum sl_on_error *ret)
{
    uint32_t word;

    if (node->kind != SL_YAML_SCALAR || !sl_value_word(node->value, "deny|allow|stale", &word))
        return sl_yaml_fail(m->error, node->at,
                            "checks[].on_error: one of deny|allow|stale expected");
    *ret = (enum sl_on_error)word;
    return SL_OK;
}

static enum sl_err find_class(struct maker *m, const struct sl_yaml_node *node, size_t *ret_class)
{
    for (size_t i = 0; i < SL_CHECK_CLASS_N; i++) {
        if (!sl_str_eq(node->key, sl_str_of(class_names[i])))
            continue;
        *ret_class = i;
        return SL_OK;
    }
    return sl_yaml_fail(m->error, node->key_at,
                        "unknown key \"checks[].on_error.%.60s\"; there are connect, timeout, "
                        "overload and bad_reply",
                        node->key.p);
}

static enum sl_err check_new(struct maker *m, const struct sl_yaml_node *map,
                             const struct sl_yaml_node *node)
{
    if (sl_yaml_find(map, node->key) == node)
        return SL_OK;
    return sl_yaml_fail(m->error, node->key_at, "\"checks[].on_error.%s\" stands here twice",
                        node->key.p);
}

/* Zero is deny, so a class that the map leaves out denies. */
static enum sl_err make_check_on_error(struct maker *m, uint32_t index)
{
    const struct sl_yaml_node *node = m->config->check_items[index].on_error;
    enum sl_on_error *on_error = m->config->checks[index].on_error;
    enum sl_err err = SL_OK;
    size_t class = 0;

    if (node->kind != SL_YAML_MAP) {
        err = parse_on_error(m, node, &on_error[0]);
        for (size_t i = 1; i < SL_CHECK_CLASS_N; i++)
            on_error[i] = on_error[0];
        return err;
    }
    for (const struct sl_yaml_node *n = node->first; n != NULL && err == SL_OK; n = n->next) {
        err = find_class(m, n, &class);
        if (err == SL_OK)
            err = check_new(m, node, n);
        if (err == SL_OK)
            err = parse_on_error(m, n, &on_error[class]);
    }
    return err;
}

static enum sl_err make_check(struct maker *m, uint32_t index)
{
    const struct sl_config_check *item = &m->config->check_items[index];
    struct sl_check_conf *check = &m->config->checks[index];
    enum sl_err err;

    *check = (struct sl_check_conf){
        .phases = item->phases,
        .timeout_ms = (uint32_t)item->timeout_ms,
        .max_in_flight = (uint32_t)item->max_in_flight,
        .shadow = item->shadow,
        .ttl_ms = item->ttl_ms,
        .max_ttl_ms = item->max_ttl_ms,
        .cache_entries = (uint32_t)item->cache_entries,
        .cache_bytes = item->cache_bytes,
    };
    err = make_check_name(m, index);
    if (err == SL_OK)
        err = make_check_url(m, index);
    return err != SL_OK ? err : make_check_on_error(m, index);
}

/* -- rules -- */

static enum sl_err unknown_check(struct maker *m, const struct sl_yaml_node *node,
                                 struct sl_str name)
{
    struct sl_suggest suggest;

    sl_suggest_init(&suggest, name);
    for (uint32_t i = 0; i < m->config->n_checks; i++)
        sl_suggest_offer(&suggest, sl_str_of(m->config->checks[i].name));
    if (suggest.best.n == 0)
        return sl_yaml_fail(m->error, node->at, "there is no check named \"%.*s\"",
                            SL_FMT(sl_str_head(name, 60)));
    return sl_yaml_fail(m->error, node->at,
                        "there is no check named \"%.*s\"; did you mean \"%.*s\"?",
                        SL_FMT(sl_str_head(name, 60)), SL_FMT(suggest.best));
}

static enum sl_err add_check(struct maker *m, const struct sl_yaml_node *node, struct sl_str name,
                             struct sl_rule *rule)
{
    uint32_t *checks = (uint32_t *)(uintptr_t)rule->checks;

    if (rule->n_checks == SL_GATE_MAX_CHECKS)
        return sl_yaml_fail(m->error, node->at, "rules[].do: more than %u checks",
                            SL_GATE_MAX_CHECKS);
    if (!find_check(m->config, m->config->n_checks, name, &checks[rule->n_checks]))
        return unknown_check(m, node, name);
    rule->n_checks++;
    return SL_OK;
}

/* "NAME NAME", or "check NAME" in a later item of a list. */
static enum sl_err add_checks_of_text(struct maker *m, const struct sl_yaml_node *node,
                                      struct sl_str names, struct sl_rule *rule)
{
    const struct sl_str verb = SL_STR("check ");
    enum sl_err err = SL_OK;
    struct sl_str name;

    if (sl_str_has_prefix(names, verb))
        names = sl_str_skip(names, verb.n);
    while (err == SL_OK && sl_str_next(&names, ' ', &name))
        if (name.n > 0)
            err = add_check(m, node, name, rule);
    return err;
}

static enum sl_err bad_action(struct maker *m, const struct sl_yaml_node *node)
{
    return sl_yaml_fail(m->error, node->at,
                        "rules[].do: allow, deny, refuse, tunnel or [check NAME, ...] expected");
}

static enum sl_err make_action(struct maker *m, const struct sl_yaml_node *node,
                               struct sl_rule *rule)
{
    const struct sl_yaml_node *first = node->kind == SL_YAML_LIST ? node->first : node;
    struct sl_str check = SL_STR("check"), verb;
    uint32_t word;
    enum sl_err err;

    if (first == NULL)
        return bad_action(m, node);
    verb = first->value;
    if (sl_value_word(verb, "allow|deny|refuse|tunnel", &word)) {
        rule->action = (enum sl_action)word;
        return first == node || first->next == NULL ? SL_OK : bad_action(m, node);
    }
    rule->action = SL_ACTION_CHECK;
    if (!sl_str_eq(sl_str_head(verb, sl_str_find(verb, ' ')), check))
        return bad_action(m, node);
    err = add_checks_of_text(m, first, sl_str_trim(sl_str_skip(verb, check.n)), rule);
    if (first != node)
        for (const struct sl_yaml_node *n = first->next; n != NULL && err == SL_OK; n = n->next)
            err = add_checks_of_text(m, n, n->value, rule);
    if (err == SL_OK && rule->n_checks == 0)
        err = sl_yaml_fail(m->error, node->at, "rules[].do: which check? [check NAME, ...]");
    return err;
}

static enum sl_err make_status(struct maker *m, const struct sl_yaml_node *node,
                               struct sl_rule *rule)
{
    uint64_t status;

    if (node == NULL)
        return SL_OK;
    if (rule->action != SL_ACTION_DENY && rule->action != SL_ACTION_REFUSE)
        return sl_yaml_fail(m->error, node->key_at, "rules[].status: only with deny or refuse");
    if (!sl_str_to_u64(node->value, &status) || status < 400 || status > 599)
        return sl_yaml_fail(m->error, node->at, "rules[].status: 400 to 599 expected");
    rule->status = (uint16_t)status;
    return SL_OK;
}

/* An exception is named: not by an address, and not all at once. */
static enum sl_err add_name(struct maker *m, const struct sl_yaml_node *node, struct sl_rule *rule)
{
    struct sl_host_pattern *names = (struct sl_host_pattern *)(uintptr_t)rule->names;
    struct sl_host_pattern *name = &names[rule->n_names];

    if (node->kind != SL_YAML_SCALAR ||
        !sl_host_pattern_parse(node->value, &m->config->arena, name) || name->kind == SL_HOST_NET)
        return sl_yaml_fail(m->error, node->at,
                            "rules[].names: names expected, as name, *.name or .name");
    rule->n_names++;
    return SL_OK;
}

static enum sl_err make_names(struct maker *m, const struct sl_yaml_node *node,
                              struct sl_rule *rule)
{
    enum sl_err err = SL_OK;
    uint32_t n = 0;

    if (node == NULL)
        return SL_OK;
    if (rule->action == SL_ACTION_DENY || rule->action == SL_ACTION_REFUSE)
        return sl_yaml_fail(m->error, node->key_at,
                            "rules[].names: not with deny or refuse, by which nothing passes");
    if (node->kind != SL_YAML_LIST || node->first == NULL)
        return sl_yaml_fail(m->error, node->at, "rules[].names: a list of at least one expected");
    for (const struct sl_yaml_node *i = node->first; i != NULL; i = i->next)
        n++;
    rule->names = sl_arena_alloc(&m->config->arena, n * sizeof(*rule->names));
    for (const struct sl_yaml_node *i = node->first; i != NULL && err == SL_OK; i = i->next)
        err = add_name(m, i, rule);
    return err;
}

static enum sl_err make_when(struct maker *m, const struct sl_yaml_node *node, struct sl_rule *rule)
{
    struct sl_parse_error problem = { .column = 1 };

    if (node->kind != SL_YAML_SCALAR)
        return sl_yaml_fail(m->error, node->at, "rules[].when: an expression expected");
    if (sl_expression_parse(node->value, &rule->when, &problem) == SL_OK)
        return SL_OK;
    return sl_yaml_fail(m->error, sl_yaml_mark_in(node, problem.column - 1), "%s", problem.text);
}

/* Rules that flags made stand in no line. */
static uint32_t line_of(const struct maker *m, const struct sl_config_rule *item)
{
    const struct sl_yaml_mark *at = &item->action->key_at;

    return at->source->name == m->config->path ? at->line : 0;
}

/* The request has gone up by the time its response is known: all that is left to do is to keep the
 * response back. */
static enum sl_err check_response_rule(struct maker *m, const struct sl_config_rule *item,
                                       struct sl_rule *rule)
{
    if (rule->when == NULL || (sl_expression_needs(rule->when) & SL_FACTS_OF_RESPONSE) == 0 ||
        rule->action == SL_ACTION_DENY || rule->action == SL_ACTION_REFUSE)
        return SL_OK;
    sl_expression_free(&rule->when);
    return sl_yaml_fail(m->error, item->when->at,
                        "rules[].when: type and status are known with the response: only deny or "
                        "refuse can come of them");
}

static enum sl_err make_rule(struct maker *m, const struct sl_config_rule *item)
{
    uint32_t checks[SL_GATE_MAX_CHECKS];
    struct sl_rule rule = {
        .checks = checks,
        .reason = sl_str_of(item->reason),
        .name = sl_str_of(item->name),
        .line = line_of(m, item),
        .verify = (enum sl_override)item->verify,
        .preconnect = (enum sl_override)item->preconnect,
        .http2 = (enum sl_override)item->http2,
    };
    enum sl_err err = make_action(m, item->action, &rule);

    if (err == SL_OK)
        err = make_status(m, item->status, &rule);
    if (err == SL_OK)
        err = make_names(m, item->names, &rule);
    if (err == SL_OK)
        err = make_when(m, item->when, &rule);
    if (err == SL_OK)
        err = check_response_rule(m, item, &rule);
    if (err != SL_OK)
        return err;
    sl_ruleset_add(m->config->ruleset, &rule);
    return SL_OK;
}

enum sl_err sl_config_policy(struct sl_config *config, struct sl_yaml_error *error)
{
    struct maker m = { .config = config, .error = error };
    enum sl_err err = SL_OK;

    config->checks =
        sl_arena_alloc(&config->arena, (config->n_checks + 1) * sizeof(*config->checks));
    for (uint32_t i = 0; i < config->n_checks && err == SL_OK; i++)
        err = make_check(&m, i);
    config->ruleset = sl_ruleset_new((enum sl_action)config->fallback);
    for (uint32_t i = 0; i < config->n_rules && err == SL_OK; i++)
        err = make_rule(&m, &config->rule_items[i]);
    return err;
}
