/* test_config.c -- what the configuration takes, what it refuses, and where it says the fault is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/config.h"
#include "app/config_keys.h"
#include "app/config_value.h"
#include "base/log.h"
#include "base/mem.h"
#include "tls/leaf.h"
#include "tls/tls_context.h"

static const struct sl_config_source file_only = { .path = "f.yaml" };

static struct sl_config *parse_with(const char *text, const struct sl_config_source *source)
{
    struct sl_yaml_error error = { "" };
    struct sl_config *config = NULL;

    if (sl_config_parse(sl_str_of(text), source, &config, &error) != SL_OK)
        fail_msg("%s", error.text);
    return config;
}

static struct sl_config *parse(const char *text)
{
    return parse_with(text, &file_only);
}

static void assert_refused(const char *text, const struct sl_config_source *source,
                           const char *wanted)
{
    struct sl_yaml_error error = { "" };
    struct sl_config *config = NULL;

    if (sl_config_parse(sl_str_of(text), source, &config, &error) == SL_OK)
        fail_msg("taken: %s", text);
    assert_null(config);
    if (strcmp(error.text, wanted) != 0)
        fail_msg("%s\n said \"%s\"\n  not \"%s\"", text, error.text, wanted);
}

static void assert_default_values(const struct sl_config *c)
{
    char text[SL_ADDR_TEXT];

    assert_int_equal(c->n_listeners, 1);
    sl_addr_text(&c->listeners[0].address, text);
    assert_string_equal(text, "127.0.0.1:8080");
    assert_null(c->ca_certificate);
    assert_null(c->ca_key);
    assert_int_equal(c->intercept.leaf_key, SL_LEAF_ECDSA_P256);
    assert_int_equal(c->intercept.leaf_lifetime_ms, 7u * 86400000u);
    assert_int_equal(c->intercept.cache_entries, 65536);
    assert_int_equal(c->intercept.min_version, SL_TLS_1_2);
    assert_true(c->intercept.resumption);
    assert_true(c->upstream.verify);
    assert_false(c->upstream.preconnect);
    assert_null(c->upstream.ca_file);
    assert_null(c->upstream.nameservers);
    assert_int_equal(c->upstream.connect_timeout_ms, 10000);
    assert_int_equal(c->upstream.allow.n, 0);
    assert_int_equal(c->n_checks, 0);
    assert_int_equal(sl_ruleset_len(c->ruleset), 0);
    assert_int_equal(c->fallback, SL_ACTION_ALLOW);
    assert_int_equal(c->limits.header_bytes, 65536);
    assert_int_equal(c->limits.idle_timeout_ms, 120000);
    assert_string_equal(c->log_access, "stderr");
    assert_int_equal(c->log_level, SL_LOG_INFO);
    sl_addr_text(&c->admin, text);
    assert_string_equal(text, "127.0.0.1:9901");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->shutdown_grace_ms, 30000);
}

static void test_defaults(void **state)
{
    static const char *const texts[] = { "",   "# nothing\n", "---\n",
                                         "{}", "~",           "upstream:\nrules:\n" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(texts); i++) {
        struct sl_config *c = parse(texts[i]);

        assert_default_values(c);
        sl_config_free(&c);
    }
    sl_config_free(&(struct sl_config *){ NULL });
}

static const char whole[] =
    "listeners:\n"
    "  - address: 127.0.0.1:0\n"
    "    mode: proxy\n"
    "  - {address: '[::1]:8081'}\n"
    "  - {address: unix:/run/s.sock}\n"
    "ca: {certificate: /c.pem, key: /c.key}\n"
    "intercept: {leaf_key: rsa-2048, leaf_key_scope: host, leaf_lifetime: 24h, cache_entries: 0,\n"
    "            min_version: tls1.3, resumption: off}\n"
    "upstream:\n"
    "  verify: false\n"
    "  ca_file: /ca.pem\n"
    "  nameservers: [127.0.0.1:5353, '::1']\n"
    "  connect_timeout: 500ms\n"
    "  response_timeout: 0\n"
    "  pool: {max_idle_per_origin: 2, max_idle: 3}\n"
    "  preconnect: true\n"
    "  allow_addresses: [127.0.0.0/8, '::1']\n"
    "checks:\n"
    "  - {name: a, url: 'http://127.0.0.1:9000/check?x=1', phase: [connect, request],\n"
    "     on_error: {timeout: allow, bad_reply: stale}, cache: {ttl: 5m, entries: 7, bytes: "
    "1MiB}}\n"
    "  - {name: b, url: 'unix:/run/b.sock:/q', on_error: allow, shadow: true, timeout: 2s}\n"
    "  - {name: c, url: 'https://Check.Example', phase: connect}\n"
    "rules:\n"
    "  - {when: host *.bank.example, do: tunnel}\n"
    "  - {when: 'method POST and size > 10MiB', do: deny, status: 413, reason: too big, name: "
    "big}\n"
    "  - {when: host old.example, do: allow, upstream: {verify: false, preconnect: true}}\n"
    "  - {when: any, do: [check a, b]}\n"
    "  - {do: [check, c]}\n"
    "  - do: check b c\n"
    "default: deny\n"
    "limits: {connections: 5, body_bytes: 1GiB, header_timeout: 1m}\n"
    "log: {access: off, format: json, level: debug}\n"
    "admin: {address: off}\n"
    "workers: 3\n"
    "shutdown_grace: 0\n";

static void assert_whole_settings(const struct sl_config *c)
{
    assert_int_equal(c->n_listeners, 3);
    assert_int_equal(c->listeners[2].address.sa.sa_family, AF_UNIX);
    assert_string_equal(c->ca_certificate, "/c.pem");
    assert_int_equal(c->intercept.leaf_key, SL_LEAF_RSA_2048);
    assert_int_equal(c->intercept.leaf_key_scope, 1);
    assert_int_equal(c->intercept.cache_entries, 0);
    assert_int_equal(c->intercept.min_version, SL_TLS_1_3);
    assert_false(c->intercept.resumption);
    assert_false(c->upstream.verify);
    assert_string_equal(c->upstream.ca_file, "/ca.pem");
    assert_string_equal(c->upstream.nameservers, "127.0.0.1:5353,[::1]:53");
    assert_int_equal(c->upstream.connect_timeout_ms, 500);
    assert_int_equal(c->upstream.response_timeout_ms, 0);
    assert_int_equal(c->upstream.max_idle, 3);
    assert_int_equal(c->upstream.allow.n, 2);
    assert_int_equal(c->upstream.allow.v[0].bits, 104);
    assert_int_equal(c->fallback, SL_ACTION_DENY);
    assert_int_equal(c->limits.body_bytes, 1u << 30);
    assert_int_equal(c->log_format, 1);
    assert_string_equal(c->log_access, "off");
    assert_int_equal(c->admin.len, 0);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->shutdown_grace_ms, 0);
}

static void assert_whole_checks(const struct sl_config *c)
{
    assert_int_equal(c->n_checks, 3);
    assert_string_equal(c->checks[0].name, "a");
    assert_int_equal(c->checks[0].origin.port, 9000);
    assert_string_equal(c->checks[0].target, "/check?x=1");
    assert_int_equal(c->checks[0].phases, 3);
    assert_int_equal(c->checks[0].on_error[SL_CHECK_CONNECT], SL_ON_ERROR_DENY);
    assert_int_equal(c->checks[0].on_error[SL_CHECK_TIMEOUT], SL_ON_ERROR_ALLOW);
    assert_int_equal(c->checks[0].on_error[SL_CHECK_BAD_REPLY], SL_ON_ERROR_STALE);
    assert_int_equal(c->checks[0].ttl_ms, 300000);
    assert_int_equal(c->checks[0].cache_entries, 7);
    assert_int_equal(c->checks[0].cache_bytes, 1 << 20);
    assert_int_equal(c->checks[0].timeout_ms, 500);
    assert_true(c->checks[1].origin.is_unix);
    assert_true(sl_str_eq(c->checks[1].origin.host, SL_STR("/run/b.sock")));
    assert_string_equal(c->checks[1].target, "/q");
    assert_true(c->checks[1].shadow);
    assert_int_equal(c->checks[1].phases, 1 << SL_PHASE_REQUEST);
    assert_int_equal(c->checks[1].on_error[SL_CHECK_OVERLOAD], SL_ON_ERROR_ALLOW);
    assert_true(sl_str_eq(c->checks[2].origin.host, SL_STR("check.example")));
    assert_int_equal(c->checks[2].origin.port, 443);
    assert_true(c->checks[2].origin.tls && c->checks[2].origin.verify);
    assert_string_equal(c->checks[2].target, "/");
}

static void assert_whole_rules(const struct sl_config *c)
{
    const struct sl_rule *rule;

    assert_int_equal(sl_ruleset_len(c->ruleset), 6);
    assert_int_equal(sl_ruleset_rule(c->ruleset, 0)->action, SL_ACTION_TUNNEL);
    rule = sl_ruleset_rule(c->ruleset, 1);
    assert_int_equal(rule->action, SL_ACTION_DENY);
    assert_int_equal(rule->status, 413);
    assert_int_equal(rule->line, 25);
    assert_string_equal(rule->name.p, "big");
    assert_true(sl_str_eq(rule->reason, SL_STR("too big")));
    rule = sl_ruleset_rule(c->ruleset, 2);
    assert_int_equal(rule->verify, SL_FORCE_OFF);
    assert_int_equal(rule->preconnect, SL_FORCE_ON);
    assert_int_equal(rule->http2, SL_INHERIT);
    rule = sl_ruleset_rule(c->ruleset, 3);
    assert_int_equal(rule->action, SL_ACTION_CHECK);
    assert_int_equal(rule->n_checks, 2);
    assert_int_equal(rule->checks[1], 1);
    rule = sl_ruleset_rule(c->ruleset, 4);
    assert_int_equal(rule->checks[0], 2);
    rule = sl_ruleset_rule(c->ruleset, 5);
    assert_int_equal(rule->n_checks, 2);
    assert_string_equal(rule->name.p, "rule-6");
}

static void test_whole(void **state)
{
    struct sl_config *c = parse(whole);

    (void)state;
    assert_whole_settings(c);
    assert_whole_checks(c);
    assert_whole_rules(c);
    sl_config_free(&c);
}

static const struct {
    const char *text, *wanted;
} refused[] = {
    { "upstrem: {}", "f.yaml:1:1: unknown key \"upstrem\"; did you mean \"upstream\"?" },
    { "upstream:\n  verfy: true\n",
      "f.yaml:2:3: unknown key \"upstream.verfy\"; did you mean \"verify\"?" },
    { "listeners[]: {address: a}",
      "f.yaml:1:1: unknown key \"listeners[]\"; did you mean \"listeners\"?" },
    { "upstream.verify: true", "f.yaml:1:1: unknown key \"upstream.verify\"" },
    { "zzz: 1", "f.yaml:1:1: unknown key \"zzz\"" },
    { "- a", "f.yaml:1:1: a map of settings expected, key: value" },
    { "upstream: 1", "f.yaml:1:11: upstream: a map of settings expected" },
    { "upstream: {http2: 2}", "f.yaml:1:19: upstream.http2: true or false expected, not \"2\"" },
    { "limits: {streams: 0}", "f.yaml:1:19: limits.streams: must be between 1 and 10000, not 0" },
    { "upstream: {parent: a}", "f.yaml:1:12: upstream.parent is not supported by this version" },
    { "listeners: [{address: '1.2.3.4:1'}, {address: '1.2.3.4:1'}]",
      "f.yaml:1:47: listeners[].address: 1.2.3.4:1 is taken by listeners[0]" },
    { "listeners: [{address: '[::]:1'}, {address: '0.0.0.0:1'}, {address: '[::1]:1'}]",
      "f.yaml:1:68: listeners[].address: [::]:1 is taken by listeners[0]" },
    { "listeners: [{address: unix:/a}, {address: unix:/b}, {address: unix:/a}]",
      "f.yaml:1:63: listeners[].address: unix:/a is taken by listeners[0]" },
    { "admin: {address: '1.2.3.4:1'}\nlisteners: [{address: '0.0.0.0:1'}]",
      "f.yaml:1:18: admin.address: 0.0.0.0:1 is taken by listeners[0]" },
    { "listeners: [{address: '127.0.0.1:9901'}]",
      "f.yaml:1:1: admin.address: 127.0.0.1:9901 is taken by listeners[0]" },
    { "admin: {address: '0.0.0.0:1'}",
      "f.yaml:1:18: admin.address: 0.0.0.0:1 is neither on loopback nor a unix socket" },
    { "admin: {address: '[2001:db8::1]:1'}",
      "f.yaml:1:18: admin.address: [2001:db8::1]:1 is neither on loopback nor a unix socket" },
    { "listeners: [{address: '1.2.3.4:1', mode: transparent}]",
      "f.yaml:1:42: listeners[].mode: transparent is not supported by this version" },
    { "listeners: [{address: '1.2.3.4:1', tls: {}}]",
      "f.yaml:1:36: listeners[].tls is not supported by this version" },
    { "listeners: [{mode: proxy}]", "f.yaml:1:13: listeners[].address is missing" },
    { "listeners: []", "f.yaml:1:1: listeners: at least one is needed" },
    { "listeners: [{address: example.com:80}]",
      "f.yaml:1:23: listeners[].address: an address such as 127.0.0.1:8080, [::1]:8080 or "
      "unix:/path expected, not \"example.com:80\"" },
    { "listeners: 8080", "f.yaml:1:12: listeners: a list expected" },
    { "listeners: [8080]", "f.yaml:1:13: each item here is a map, {key: value}" },
    { "workers: many", "f.yaml:1:10: workers: a whole number expected, not \"many\"" },
    { "workers: '3'", "f.yaml:1:10: workers: a whole number expected, not \"3\"" },
    { "workers: 0", "f.yaml:1:10: workers: must be between 1 and 1024, not 0" },
    { "workers: -1", "f.yaml:1:10: workers: a whole number expected, not \"-1\"" },
    { "workers: [1]", "f.yaml:1:10: workers: a single value expected, not a list" },
    { "workers: {}", "f.yaml:1:10: workers: a single value expected, not an empty map" },
    { "workers:", "f.yaml:1:9: workers: a value is missing" },
    { "workers: 1\nworkers: 2", "f.yaml:2:1: \"workers\" stands here twice" },
    { "upstream: {verify: 1}", "f.yaml:1:20: upstream.verify: true or false expected, not \"1\"" },
    { "upstream: {connect_timeout: 10}",
      "f.yaml:1:29: upstream.connect_timeout: a duration such as 500ms, 10s, 5m, 24h or 7d "
      "expected, not \"10\"" },
    { "upstream: {connect_timeout: 0s}",
      "f.yaml:1:29: upstream.connect_timeout: must be between 1ms and 1h, not 0s" },
    { "limits: {header_bytes: 64KB}",
      "f.yaml:1:24: limits.header_bytes: a size such as 64KiB, 10MiB or 1GiB expected, not "
      "\"64KB\"" },
    { "limits: {header_bytes: 1GiB}",
      "f.yaml:1:24: limits.header_bytes: must be between 1KiB and 16MiB, not 1GiB" },
    { "limits: {body_bytes: 99999999999GiB}",
      "f.yaml:1:22: limits.body_bytes: a size such as 64KiB, 10MiB or 1GiB expected, not "
      "\"99999999999GiB\"" },
    { "intercept: {leaf_key: dsa}",
      "f.yaml:1:23: intercept.leaf_key: one of ecdsa-p256|rsa-2048 expected, not \"dsa\"" },
    { "upstream: {allow_addresses: [10.0.0.1/8]}",
      "f.yaml:1:30: upstream.allow_addresses: a network such as 10.0.0.0/8 (host bits zero) "
      "expected, not \"10.0.0.1/8\"" },
    { "upstream: {nameservers: [dns.example]}",
      "f.yaml:1:26: upstream.nameservers: an address such as 9.9.9.9:53 expected" },
    { "ca: {certificate: /c.pem}",
      "f.yaml:1:1: ca: certificate and key go together, only one is named" },
    { "log: {access: \"a\\nb\"}",
      "f.yaml:1:15: log.access: text without control characters expected, not \"a?b\"" },
    { "log: {access: \"a\\0b\"}", "f.yaml:1:15: a value must not contain a NUL" },
    /* checks */
    { "checks: [{name: a}]", "f.yaml:1:10: checks[].url is missing" },
    { "checks: [{name: a b, url: 'http://h/'}]",
      "f.yaml:1:17: checks[].name: up to 64 letters, digits, - and _ expected" },
    { "checks: [{name: a, url: 'http://h/'}, {name: a, url: 'http://h/'}]",
      "f.yaml:1:46: a check named \"a\" is there already" },
    { "checks: [{name: a, url: 'ftp://h/'}]",
      "f.yaml:1:25: checks[].url: http://host:port/path, https://host/path or "
      "unix:/socket:/path expected" },
    { "checks: [{name: a, url: 'unix:/s'}]",
      "f.yaml:1:25: checks[].url: http://host:port/path, https://host/path or "
      "unix:/socket:/path expected" },
    { "checks: [{name: a, url: 'http://h/', protocol: icap}]",
      "f.yaml:1:48: checks[].protocol: icap is not supported by this version" },
    { "checks: [{name: a, url: 'http://h/', phase: [request, response]}]",
      "f.yaml:1:55: checks[].phase: response is not supported by this version" },
    { "checks: [{name: a, url: 'http://h/', phase: []}]",
      "f.yaml:1:45: checks[].phase: at least one expected, not an empty list" },
    { "checks: [{name: a, url: 'http://h/', body: 1KiB}]",
      "f.yaml:1:44: checks[].body: values other than 0 are not supported yet" },
    { "checks: [{name: a, url: 'http://h/', body_overflow: deny}]",
      "f.yaml:1:38: checks[].body_overflow is not supported by this version" },
    { "checks: [{name: a, url: 'http://h/', on_error: open}]",
      "f.yaml:1:48: checks[].on_error: one of deny|allow|stale expected" },
    { "checks: [{name: a, url: 'http://h/', on_error: {connect: allow, connect: deny}}]",
      "f.yaml:1:65: \"checks[].on_error.connect\" stands here twice" },
    { "checks: [{name: a, url: 'http://h/', on_error: {timeot: deny}}]",
      "f.yaml:1:49: unknown key \"checks[].on_error.timeot\"; there are connect, timeout, overload "
      "and bad_reply" },
    /* rules */
    { "rules: [{when: any}]", "f.yaml:1:9: rules[].do is missing" },
    { "rules: [{do: block}]",
      "f.yaml:1:14: rules[].do: allow, deny, refuse, tunnel or [check NAME, ...] expected" },
    { "rules: [{do: [allow, deny]}]",
      "f.yaml:1:14: rules[].do: allow, deny, refuse, tunnel or [check NAME, ...] expected" },
    { "rules: [{do: check}]", "f.yaml:1:14: rules[].do: which check? [check NAME, ...]" },
    { "checks: [{name: policy, url: 'http://h/'}]\nrules: [{do: [check, polcy]}]",
      "f.yaml:2:22: there is no check named \"polcy\"; did you mean \"policy\"?" },
    { "rules: [{do: check nobody}]", "f.yaml:1:14: there is no check named \"nobody\"" },
    { "rules: [{do: allow, status: 404}]",
      "f.yaml:1:21: rules[].status: only with deny or refuse" },
    { "rules: [{do: deny, status: 200}]", "f.yaml:1:28: rules[].status: 400 to 599 expected" },
    { "rules: [{do: deny, names: [a.example]}]",
      "f.yaml:1:20: rules[].names: not with deny or refuse, by which nothing passes" },
    { "rules: [{do: allow, names: []}]",
      "f.yaml:1:28: rules[].names: a list of at least one expected" },
    { "rules: [{do: allow, names: a.example}]",
      "f.yaml:1:28: rules[].names: a list of at least one expected" },
    { "rules: [{do: allow, names: [a.example, '*']}]",
      "f.yaml:1:40: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: allow, names: ['*.']}]",
      "f.yaml:1:29: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: allow, names: ['']}]",
      "f.yaml:1:29: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: allow, names: [[a.example]]}]",
      "f.yaml:1:29: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: tunnel, names: [10.0.0.0/8]}]",
      "f.yaml:1:30: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: allow, names: [192.0.2.7]}]",
      "f.yaml:1:29: rules[].names: names expected, as name, *.name or .name" },
    { "rules: [{do: deny, when: [any]}]", "f.yaml:1:26: rules[].when: an expression expected" },
    /* YAML */
    { "a: &x 1\n", "f.yaml:1:4: anchors (&x) are not supported" },
    { "a: &x [1]\n", "f.yaml:1:4: anchors (&x) are not supported" },
    { "a: &x {b: 1}\n", "f.yaml:1:4: anchors (&x) are not supported" },
    { "b: *x\n", "f.yaml:1:4: aliases (*name) are not supported" },
    { "<<: {a: 1}", "f.yaml:1:1: merge keys (<<) are not supported" },
    { "a: !!int 1", "f.yaml:1:4: tags (tag:yaml.org,2002:int) are not supported" },
    { "? [a]\n: b", "f.yaml:1:3: nested more than 32 deep, or a key that is no name" },
    { "workers: 1\n---\nworkers: 2\n", "f.yaml:2:1: a second document" },
    { "a: [", "f.yaml:2:1: did not find expected node content" },
    { "workers: 1\nb: \x01", "f.yaml:2:4: control characters are not allowed" },
    { "\xff", "f.yaml:1:1: invalid leading UTF-8 octet" },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(refused); i++)
        assert_refused(refused[i].text, &file_only, refused[i].wanted);
}

/* The place within the expression, whatever the quoting: `hots` is the wrong word. */
static const struct {
    const char *text, *place;
} places[] = {
    { "rules:\n- when: host a and hots b\n  do: deny\n", "f.yaml:2:20: " },
    { "rules:\n- when: 'host a and hots b'\n  do: deny\n", "f.yaml:2:21: " },
    { "rules:\n- {when: \"host \\\"a\\\" and hots b\", do: deny}\n", "f.yaml:2:26: " },
    { "rules:\n- {when: 'path ~ /''/ and hots b', do: deny}\n", "f.yaml:2:27: " },
    { "rules:\n- when: |\n    host a\n    and hots b\n  do: deny\n", "f.yaml:4:9: " },
    { "rules:\n- when: >-\n    host a\n\n    and hots b\n  do: deny\n", "f.yaml:5:9: " },
    { "rules:\n- when: host a\n    and hots b\n  do: deny\n", "f.yaml:3:9: " },
    { "rules:\n- when: host b\xc3\xbc.example and hots b\n  do: deny\n", "f.yaml:2:29: " },
};

static void test_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(places); i++) {
        struct sl_yaml_error error = { "" };
        struct sl_config *config = NULL;
        struct sl_str text = sl_str_of(places[i].text);

        assert_int_equal(sl_config_parse(text, &file_only, &config, &error), SL_CONFIG);
        if (!sl_str_has_prefix(sl_str_of(error.text), sl_str_of(places[i].place)))
            fail_msg("%s\n said \"%s\", not %s", places[i].text, error.text, places[i].place);
    }
}

static void test_sets(void **state)
{
    static const char *const sets[] = {
        "intercept.cache_entries=0", "upstream.allow_addresses=[127.0.0.0/8]",
        "checks[0].timeout=3s",      "workers=2",
        "log={access: off}",         "upstream.pool.max_idle=9"
    };
    struct sl_config_source source = { .path = "f.yaml", .sets = sets, .n_sets = SL_LEN(sets) };
    struct sl_config *c = parse_with("workers: 7\nupstream: {verify: false, pool: }\n"
                                     "log: {level: warn}\n"
                                     "checks: [{name: a, url: 'http://h/'}]\n",
                                     &source);

    (void)state;
    assert_int_equal(c->intercept.cache_entries, 0);
    assert_int_equal(c->upstream.allow.n, 1);
    assert_false(c->upstream.verify);
    assert_int_equal(c->upstream.max_idle, 9);
    assert_int_equal(c->checks[0].timeout_ms, 3000);
    assert_int_equal(c->workers, 2);
    assert_string_equal(c->log_access, "off");
    assert_int_equal(c->log_level, SL_LOG_INFO);
    sl_config_free(&c);
}

static const struct {
    const char *set, *wanted;
} refused_sets[] = {
    { "workers", "--set workers:1:1: KEY=VALUE expected, such as upstream.verify=true" },
    { "=1", "--set :1:1: KEY=VALUE expected, such as upstream.verify=true" },
    { "workers=x", "--set workers:1:1: workers: a whole number expected, not \"x\"" },
    { "workrs=1", "--set workrs:1:1: unknown key \"workrs\"; did you mean \"workers\"?" },
    { "upstream.x=1", "--set upstream.x:1:1: unknown key \"upstream.x\"" },
    { "workers.x=1", "--set workers.x:1:1: \"workers.x\" leads nowhere: no such item" },
    { "checks[0].timeout=1s",
      "--set checks[0].timeout:1:1: \"checks[0].timeout\" leads nowhere: no such item" },
    { "a.a.a.a.a.a.a.a.a.a.a=1",
      "--set a.a.a.a.a.a.a.a.a.a.a:1:1: \"a.a.a.a.a.a.a.a.a.a.a\" leads nowhere: no such item" },
    { "log=[", "--set log:2:1: did not find expected node content" },
};

static void test_refused_sets(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(refused_sets); i++) {
        struct sl_config_source source = { .path = "f.yaml",
                                           .sets = &refused_sets[i].set,
                                           .n_sets = 1 };

        assert_refused("workers: 1", &source, refused_sets[i].wanted);
    }
}

static void test_flags(void **state)
{
    static const char *const listens[] = { "127.0.0.1:1", "127.0.0.1:2" };
    struct sl_config_source source = { .listens = listens,
                                       .n_listens = 2,
                                       .check_url = "http://127.0.0.1:9000/check" };
    struct sl_config *c = parse_with("listeners: [{address: '127.0.0.1:3'}]\n"
                                     "checks: [{name: a, url: 'http://h/'}]\n"
                                     "rules: [{when: host a, do: check a}]\n",
                                     &source);

    (void)state;
    assert_int_equal(c->n_listeners, 2);
    assert_int_equal(sl_addr_port(&c->listeners[1].address), 2);
    assert_int_equal(c->n_checks, 2);
    assert_string_equal(c->checks[1].name, "cli");
    assert_int_equal(sl_ruleset_len(c->ruleset), 2);
    assert_int_equal(sl_ruleset_rule(c->ruleset, 1)->checks[0], 1);
    assert_non_null(sl_ruleset_rule(c->ruleset, 0)->when);
    sl_config_free(&c);

    assert_refused("checks: [{name: cli, url: 'http://h/'}]", &source,
                   "--check:1:1: a check named \"cli\" is there already");
    source.check_url = "nonsense";
    assert_refused("", &source,
                   "--check:1:1: checks[].url: http://host:port/path, https://host/path or "
                   "unix:/socket:/path expected");
}

static void test_depth(void **state)
{
    char text[200] = "a: ";
    struct sl_yaml_error error;
    struct sl_config *config = NULL;

    (void)state;
    memset(text + 3, '[', 100);
    assert_int_equal(sl_config_parse(sl_str_of(text), &file_only, &config, &error), SL_CONFIG);
    assert_non_null(strstr(error.text, "nested more than 32 deep"));
}

static void test_many_rules(void **state)
{
    struct sl_buf text = { 0 };
    struct sl_config *c = NULL;
    struct sl_yaml_error error = { "" };

    (void)state;
    sl_buf_add_str(&text, SL_STR("rules:\n"));
    for (unsigned i = 0; i < 5000; i++)
        sl_buf_addf(&text, "- {when: host h%u.example, do: deny}\n", i);
    assert_int_equal(sl_config_parse(sl_buf_str(&text), &file_only, &c, &error), SL_OK);
    assert_int_equal(sl_ruleset_len(c->ruleset), 5000);
    assert_int_equal(sl_ruleset_rule(c->ruleset, 4999)->line, 5001);
    sl_config_free(&c);
    sl_buf_fini(&text);
}

static void test_files(void **state)
{
    char path[] = "/tmp/sluice-config-XXXXXX";
    struct sl_config_source source = { .path = path };
    struct sl_yaml_error error = { "" };
    struct sl_config *c = NULL;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "workers: 5\n", 11), 11);
    close(fd);
    assert_int_equal(sl_config_load(&source, &c, &error), SL_OK);
    assert_int_equal(c->workers, 5);
    assert_string_equal(c->path, path);
    sl_config_free(&c);
    setenv("SLUICE_CONFIG", path, 1);
    source.path = NULL;
    assert_int_equal(sl_config_load(&source, &c, &error), SL_OK);
    assert_int_equal(c->workers, 5);
    sl_config_free(&c);
    unlink(path);
    assert_int_equal(sl_config_load(&source, &c, &error), SL_CONFIG);
    assert_non_null(strstr(error.text, "No such file"));
    unsetenv("SLUICE_CONFIG");
    source.path = "/";
    assert_int_equal(sl_config_load(&source, &c, &error), SL_CONFIG);
    assert_string_equal(error.text, "/: is not a file");
}

static void test_value_texts(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } durations[] = { { 0, "0" },      { 1, "1ms" },     { 1500, "1500ms" },
                      { 60000, "1m" }, { 90000, "90s" }, { 86400000, "1d" } };
    char text[32];
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < SL_LEN(durations); i++) {
        sl_value_duration_text(durations[i].ms, text);
        assert_string_equal(text, durations[i].text);
        assert_true(sl_value_duration(sl_str_of(text), &ms));
        assert_int_equal(ms, durations[i].ms);
    }
    sl_value_size_text(65536, text);
    assert_string_equal(text, "64KiB");
    sl_value_size_text(1000, text);
    assert_string_equal(text, "1000");
    assert_false(sl_value_duration(SL_STR("s"), &ms));
    assert_false(sl_value_duration(SL_STR("1.5s"), &ms));
    assert_false(sl_value_duration(SL_STR("99999999999999999999s"), &ms));
    assert_false(sl_value_duration(SL_STR("18446744073709551615d"), &ms));
}

/* What the table says holds for the table itself. */
static void test_table(void **state)
{
    struct sl_buf text = { 0 };
    const struct sl_key *key;

    (void)state;
    for (size_t i = 0; (key = sl_key_at(i)) != NULL; i++) {
        assert_int_equal(sl_key_find(sl_str_of(key->path)).class, SL_KEY_SETTING);
        assert_ptr_equal(sl_key_find(sl_str_of(key->path)).key, key);
        assert_non_null(key->doc);
    }
    sl_key_describe(&text);
    sl_buf_add_char(&text, '\0');
    assert_non_null(strstr(text.p, "upstream.connect_timeout: 10s\n"));
    sl_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_sets),        cmocka_unit_test(test_refused_sets),
        cmocka_unit_test(test_flags),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_rules),  cmocka_unit_test(test_files),
        cmocka_unit_test(test_value_texts), cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
