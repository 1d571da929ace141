/* config_keys.c -- the table, and looking things up in it.  Keys of one section stand together. */
#include "app/config_keys.h"

#include "app/config.h"
#include "app/config_value.h"
#include "base/mem.h"
#include "base/suggest.h"

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define TOP(member) offsetof(struct sl_config, member)
#define LISTENER(member) offsetof(struct sl_config_listener, member)
#define CHECK(member) offsetof(struct sl_config_check, member)
#define RULE(member) offsetof(struct sl_config_rule, member)

/* clang-format off */
static const struct sl_key keys[] = {
    { "listeners[].address", SL_KEY_ADDRESS, LISTENER(address), NULL, .doc =
      "where to accept clients: host:port, [v6]:port or unix:/path; port 0 picks a free one" },
    { "listeners[].mode", SL_KEY_WORD, LISTENER(mode), "proxy", .words = "proxy", .later = "transparent", .doc =
      "proxy: HTTP CONNECT and absolute-form requests" },

    { "ca.certificate", SL_KEY_STRING, TOP(ca_certificate), "", .doc =
      "PEM file of the authority, followed by its chain, if any; ca.pem in the state directory when not named" },
    { "ca.key", SL_KEY_STRING, TOP(ca_key), "", .doc =
      "PEM file of the authority's key, mode 0600; ca.key in the state directory when not named" },

    { "intercept.leaf_key", SL_KEY_WORD, TOP(intercept.leaf_key), "ecdsa-p256", .words = "ecdsa-p256|rsa-2048", .doc =
      "key of forged certificates; clients that know no ECDSA get an RSA twin in any case" },
    { "intercept.leaf_key_scope", SL_KEY_WORD, TOP(intercept.leaf_key_scope), "shared", .words = "shared|host", .doc =
      "shared: one key for all certificates, replaced daily; host: one key each" },
    { "intercept.leaf_lifetime", SL_KEY_DURATION, TOP(intercept.leaf_lifetime_ms), "7d", HOUR, 397 * DAY, .doc =
      "validity of forged certificates from now on; never past the authority's own end" },
    { "intercept.cache_entries", SL_KEY_NUMBER, TOP(intercept.cache_entries), "65536", 0, 10000000, .doc =
      "forged certificates kept; 0 forges at every handshake" },
    { "intercept.min_version", SL_KEY_WORD, TOP(intercept.min_version), "tls1.2", .words = "tls1.2|tls1.3", .doc =
      "oldest TLS version that clients may use" },
    { "intercept.resumption", SL_KEY_BOOL, TOP(intercept.resumption), "true", .doc =
      "session tickets for clients, under keys that all workers share and that are rotated" },

    { "upstream.verify", SL_KEY_BOOL, TOP(upstream.verify), "true", .doc =
      "verify the certificates of origins; make exceptions by rules, not here" },
    { "upstream.ca_file", SL_KEY_STRING, TOP(upstream.ca_file), "system", .words = "system", .doc =
      "PEM file of authorities trusted for origins, or system for the system's store" },
    { "upstream.nameservers", SL_KEY_ADDRESSES, TOP(upstream.nameservers), "system", .words = "system", .doc =
      "list of DNS servers, ip or ip:port, or system for those of /etc/resolv.conf" },
    { "upstream.connect_timeout", SL_KEY_DURATION, TOP(upstream.connect_timeout_ms), "10s", 1, HOUR, .doc =
      "for resolution, connecting and TLS together" },
    { "upstream.response_timeout", SL_KEY_DURATION, TOP(upstream.response_timeout_ms), "60s", 0, DAY, .doc =
      "until the first byte of the response's head; 0: none" },
    { "upstream.idle_timeout", SL_KEY_DURATION, TOP(upstream.idle_timeout_ms), "60s", 1, DAY, .doc =
      "how long an idle connection is kept" },
    { "upstream.pool.max_idle_per_origin", SL_KEY_NUMBER, TOP(upstream.max_idle_per_origin), "64", 0, 100000, .doc =
      "idle connections kept for one origin by one worker" },
    { "upstream.pool.max_idle", SL_KEY_NUMBER, TOP(upstream.max_idle), "1024", 0, 1000000, .doc =
      "idle connections kept by one worker in all" },
    { "upstream.http2", SL_KEY_BOOL, TOP(upstream.http2), "true", .doc =
      "offer HTTP/2 to origins" },
    { "upstream.alt_svc", SL_KEY_WORD, TOP(upstream.alt_svc), "strip", .words = "strip|keep", .doc =
      "what becomes of Alt-Svc in responses, which leads clients to HTTP/3 and so past this proxy" },
    { "upstream.preconnect", SL_KEY_BOOL, TOP(upstream.preconnect), "false", .doc =
      "connect while the check is out; DNS and the origin's network then learn the name before the verdict" },
    { "upstream.allow_addresses", SL_KEY_CIDRS, TOP(upstream.allow), "[]", .doc =
      "networks that may be connected to although they are private, local or reserved" },

    { "checks[].name", SL_KEY_NODE, CHECK(name), NULL, .doc =
      "what rules, logs and metrics call it: letters, digits, - and _" },
    { "checks[].url", SL_KEY_NODE, CHECK(url), NULL, .doc =
      "where it answers: http://host:port/path, https://host/path or unix:/socket:/path" },
    { "checks[].protocol", SL_KEY_WORD, CHECK(protocol), "json", .words = "json", .later = "status|opa|icap|grpc", .doc =
      "form of the question" },
    { "checks[].phase", SL_KEY_WORDS, CHECK(phases), "[request]", .words = "connect|request", .later = "response", .doc =
      "when it is asked: at the CONNECT, before each request, or both" },
    { "checks[].body", SL_KEY_SIZE, CHECK(body), "0", 0, 0, .doc =
      "bytes of the request's body to send along; only 0 in this version" },
    { "checks[].timeout", SL_KEY_DURATION, CHECK(timeout_ms), "500ms", 1, 10 * MINUTE, .doc =
      "for the whole question, connecting included" },
    { "checks[].on_error", SL_KEY_NODE, CHECK(on_error), "deny", .words = "deny|allow|stale", .doc =
      "deny, allow or stale when the check fails; or a map with connect, timeout, overload and bad_reply" },
    { "checks[].max_in_flight", SL_KEY_NUMBER, CHECK(max_in_flight), "1024", 1, 1000000, .doc =
      "questions out at once, in the whole process; more count as overload" },
    { "checks[].shadow", SL_KEY_BOOL, CHECK(shadow), "false", .doc =
      "ask, log and count, but do not enforce" },
    { "checks[].cache.ttl", SL_KEY_DURATION, CHECK(ttl_ms), "0s", 0, 365 * DAY, .doc =
      "how long a verdict is kept when the reply names no time" },
    { "checks[].cache.max_ttl", SL_KEY_DURATION, CHECK(max_ttl_ms), "1h", 0, 365 * DAY, .doc =
      "longer times are cut to this" },
    { "checks[].cache.entries", SL_KEY_NUMBER, CHECK(cache_entries), "100000", 0, 10000000, .doc =
      "verdicts kept" },
    { "checks[].cache.bytes", SL_KEY_SIZE, CHECK(cache_bytes), "64MiB", 0, 1024 * GIB, .doc =
      "memory for them" },

    { "rules[].when", SL_KEY_NODE, RULE(when), "any", .doc =
      "condition in the expression language" },
    { "rules[].do", SL_KEY_NODE, RULE(action), NULL, .words = "allow|deny|refuse|tunnel", .doc =
      "allow, deny, refuse, tunnel, or [check NAME, ...]: all must allow" },
    { "rules[].status", SL_KEY_NODE, RULE(status), "", .doc =
      "status of the reply to what is denied or refused, 400..599; 403 when not named" },
    { "rules[].reason", SL_KEY_STRING, RULE(reason), "", .doc =
      "shown on the page and in the log" },
    { "rules[].name", SL_KEY_STRING, RULE(name), "", .doc =
      "what logs and metrics call it; rule-N when not named" },
    { "rules[].names", SL_KEY_NODE, RULE(names), "", .doc =
      "names that SNI, Host and :authority may say in a tunnel to another host, where this rule decides" },
    { "rules[].upstream.verify", SL_KEY_OVERRIDE, RULE(verify), "", .doc =
      "upstream.verify for what this rule decides" },
    { "rules[].upstream.http2", SL_KEY_OVERRIDE, RULE(http2), "", .doc =
      "upstream.http2 for what this rule decides" },
    { "rules[].upstream.preconnect", SL_KEY_OVERRIDE, RULE(preconnect), "", .doc =
      "upstream.preconnect for what this rule decides" },

    { "default", SL_KEY_WORD, TOP(fallback), "allow", .words = "allow|deny", .doc =
      "what happens when no rule matches" },

    { "limits.connections", SL_KEY_NUMBER, TOP(limits.connections), "10000", 1, 10000000, .doc =
      "client connections in all" },
    { "limits.connections_per_client", SL_KEY_NUMBER, TOP(limits.connections_per_client), "1000", 1, 10000000, .doc =
      "client connections from one address" },
    { "limits.header_bytes", SL_KEY_SIZE, TOP(limits.header_bytes), "64KiB", KIB, 16 * MIB, .doc =
      "header section of a message" },
    { "limits.header_count", SL_KEY_NUMBER, TOP(limits.header_count), "200", 1, 10000, .doc =
      "fields of a message" },
    { "limits.uri_bytes", SL_KEY_SIZE, TOP(limits.uri_bytes), "16KiB", 256, MIB, .doc =
      "target of a request" },
    { "limits.body_bytes", SL_KEY_SIZE, TOP(limits.body_bytes), "0", 0, UINT64_MAX, .doc =
      "body of a request; 0: no limit" },
    { "limits.streams", SL_KEY_NUMBER, TOP(limits.streams), "100", 1, 10000, .doc =
      "requests that an HTTP/2 connection of a client may have open at once" },
    { "limits.memory", SL_KEY_SIZE, TOP(limits.memory), "0", 0, UINT64_MAX, .doc =
      "resident memory of the process over which nothing new begins; 0: no limit" },
    { "limits.handshake_timeout", SL_KEY_DURATION, TOP(limits.handshake_timeout_ms), "10s", 1, HOUR, .doc =
      "for the client's TLS handshake" },
    { "limits.header_timeout", SL_KEY_DURATION, TOP(limits.header_timeout_ms), "15s", 1, HOUR, .doc =
      "for a request's head, from its first byte" },
    { "limits.idle_timeout", SL_KEY_DURATION, TOP(limits.idle_timeout_ms), "120s", 1, DAY, .doc =
      "for a client's connection on which nothing happens" },

    { "security.user", SL_KEY_STRING, TOP(security.user), "", .doc =
      "whom to become once started, with the user's first group and no other; only root can" },
    { "security.sandbox", SL_KEY_WORD, TOP(security.sandbox), "on", .words = "on|off", .doc =
      "give up files that are not named here, and system calls that are not needed" },

    { "log.access", SL_KEY_STRING, TOP(log_access), "stderr", .doc =
      "one line an exchange: stderr, stdout, off, or a file" },
    { "log.format", SL_KEY_WORD, TOP(log_format), "text", .words = "text|json", .doc =
      "of both logs" },
    { "log.level", SL_KEY_WORD, TOP(log_level), "info", .words = "error|warn|info|debug", .doc =
      "of the error log on stderr" },

    { "admin.address", SL_KEY_ADDRESS, TOP(admin), "127.0.0.1:9901", .words = "off", .doc =
      "health, metrics and the authority's certificate: host:port on loopback, unix:/path or off" },
    { "workers", SL_KEY_NUMBER, TOP(workers), "auto", 1, 1024, .words = "auto", .doc =
      "threads; auto: one a core" },
    { "shutdown_grace", SL_KEY_DURATION, TOP(shutdown_grace_ms), "30s", 0, DAY, .doc =
      "how long exchanges may take to finish after SIGTERM" },
};
/* clang-format on */

static const struct sl_key_list lists[] = {
    { "listeners", sizeof(struct sl_config_listener), TOP(listeners), TOP(n_listeners),
      SL_CONFIG_MAX_LISTENERS },
    { "checks", sizeof(struct sl_config_check), TOP(check_items), TOP(n_checks),
      SL_CONFIG_MAX_CHECKS },
    { "rules", sizeof(struct sl_config_rule), TOP(rule_items), TOP(n_rules), SL_CONFIG_MAX_RULES },
};

static const char *const later_keys[] = {
    "listeners[].tls", "listeners[].proxy_protocol", "listeners[].users",
    "upstream.parent", "checks[].body_overflow",
};

static bool is_later(struct sl_str path)
{
    for (size_t i = 0; i < SL_LEN(later_keys); i++)
        if (sl_str_eq(path, sl_str_of(later_keys[i])))
            return true;
    return false;
}

static const struct sl_key_list *find_list(struct sl_str path)
{
    for (size_t i = 0; i < SL_LEN(lists); i++)
        if (sl_str_eq(path, sl_str_of(lists[i].path)))
            return &lists[i];
    return NULL;
}

static bool is_below(struct sl_str path, struct sl_str section)
{
    return path.n > section.n && sl_str_has_prefix(path, section) && path.p[section.n] == '.';
}

struct sl_key_match sl_key_find(struct sl_str path)
{
    struct sl_key_match match = { .class = SL_KEY_UNKNOWN, .list = find_list(path) };

    if (match.list != NULL) {
        match.class = SL_KEY_LIST;
        return match;
    }
    for (size_t i = 0; i < SL_LEN(keys); i++) {
        struct sl_str key = sl_str_of(keys[i].path);

        if (sl_str_eq(key, path))
            return (struct sl_key_match){ .class = SL_KEY_SETTING, .key = &keys[i] };
        if (is_below(key, path))
            match.class = SL_KEY_SECTION;
    }
    if (match.class == SL_KEY_UNKNOWN && is_later(path))
        match.class = SL_KEY_LATER;
    return match;
}

const struct sl_key *sl_key_at(size_t index)
{
    return index < SL_LEN(keys) ? &keys[index] : NULL;
}

struct sl_str sl_key_suggest(struct sl_str prefix, struct sl_str name)
{
    struct sl_suggest suggest;

    sl_suggest_init(&suggest, name);
    for (size_t i = 0; i < SL_LEN(keys); i++) {
        struct sl_str rest = sl_str_of(keys[i].path);

        if (!sl_str_has_prefix(rest, prefix))
            continue;
        rest = sl_str_skip(rest, prefix.n);
        rest = sl_str_head(rest, sl_str_find(rest, '.'));
        sl_suggest_offer(&suggest, sl_str_head(rest, sl_str_find(rest, '[')));
    }
    return suggest.best;
}

static void describe_range(const struct sl_key *key, struct sl_buf *out)
{
    char min[32], max[32];

    if (key->max == 0 || key->max == UINT64_MAX)
        return;
    if (key->kind == SL_KEY_DURATION) {
        sl_value_duration_text(key->min, min);
        sl_value_duration_text(key->max, max);
    } else {
        sl_value_size_text(key->min, min);
        sl_value_size_text(key->max, max);
    }
    sl_buf_addf(out, " (%s..%s)", min, max);
}

void sl_key_describe(struct sl_buf *out)
{
    for (size_t i = 0; i < SL_LEN(keys); i++) {
        const struct sl_key *key = &keys[i];

        sl_buf_addf(out, "%s: %s\n    %s", key->path,
                    key->fallback == NULL ? "(required)" : key->fallback, key->doc);
        describe_range(key, out);
        if (key->kind == SL_KEY_WORD)
            sl_buf_addf(out, " [%s]", key->words);
        sl_buf_add_char(out, '\n');
    }
}
