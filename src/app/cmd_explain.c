/* cmd_explain.c -- `sluice explain URL`: the proxy's decisions about one request, without its
 * origin.
 *
 * First what the CONNECT and the ClientHello of an https request meet, then the request itself,
 * each rule with what it came to. Checks are asked as the proxy would, over a gate and a loop of
 * this command's own.  What passes for an address is put to the guard, as the connection would be.
 */
#include <unistd.h>

#include "app/cmd.h"
#include "app/generation.h"
#include "app/options.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/message.h"
#include "http/uri.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/resolve.h"
#include "policy/gate.h"
#include "proxy/exchange.h"
#include "proxy/forward.h"
#include "tls/tls_context.h"
#include "upstream/guard.h"

#define DNS_ENTRIES 100u
#define ALPN_OFFERED SL_STR("h2,http/1.1") /* as browsers and curl do */

struct explain {
    const struct sl_options *options;
    struct sl_config *config;
    struct sl_arena arena;
    struct sl_buf out;
    struct sl_str url;
    struct sl_uri uri;
    struct sl_client client;
    struct sl_head head;    /* as the client would send it */
    struct sl_head forward; /* as the origin would get it */
    struct sl_facts facts;
    char id[SL_ID_LEN + 1];

    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_resolver *resolver;
    struct sl_tls_client_context *tls;
    struct sl_policy *policy;
    struct sl_gate *gate;
    struct sl_ruling ruling; /* of the checks asked last */
};

/* -- the request -- */

static size_t authority_len(struct sl_str s)
{
    size_t n = sl_str_find(s, '/');

    return sl_str_find(sl_str_head(s, n), '?');
}

static bool is_ascii(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

/* Behind a '#' is what clients keep to themselves. */
static struct sl_str without_fragment(struct sl_str url)
{
    return sl_str_head(url, sl_str_find(url, '#'));
}

/* A name as people read it becomes the one that browsers send; all else stays as it is. */
static struct sl_str as_sent(struct sl_str url, struct sl_arena *a)
{
    struct sl_str scheme = sl_str_head(url, sl_str_find(url, ':'));
    struct sl_str rest = sl_str_skip(url, scheme.n + 3);
    struct sl_str authority = sl_str_head(rest, authority_len(rest));
    struct sl_authority to;

    if (is_ascii(authority) || sl_authority_parse(authority, a, &to) != SL_OK)
        return url;
    rest = sl_str_skip(rest, sl_str_find(authority, ':'));
    return sl_arena_printf(a, "%.*s://%.*s%.*s", SL_FMT(scheme), SL_FMT(to.host), SL_FMT(rest));
}

static void add_headers(struct explain *e)
{
    for (uint32_t i = 0; i < e->options->headers.n; i++) {
        struct sl_str rest = sl_str_of(e->options->headers.v[i]), name;

        if (sl_str_next(&rest, ':', &name))
            sl_fields_add(&e->head.fields, &e->arena, name, sl_str_trim(rest));
    }
}

static void learn(struct explain *e, const enum sl_fact *facts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sl_facts_learn(&e->facts, facts[i]);
}

static void learn_size(struct explain *e)
{
    const struct sl_field *length = sl_fields_find(&e->head.fields, SL_FIELD_CONTENT_LENGTH);

    if (sl_fields_find(&e->head.fields, SL_FIELD_TRANSFER_ENCODING) != NULL) {
        e->head.framing = SL_FRAMING_CHUNKED;
        return;
    }
    if (length != NULL) {
        if (!sl_str_to_u64(length->value, &e->head.content_length))
            return;
        e->head.framing = SL_FRAMING_LENGTH;
    }
    e->facts.size = e->head.content_length;
    sl_facts_learn(&e->facts, SL_FACT_SIZE);
}

static bool is_secure(const struct explain *e)
{
    return sl_scheme_port(e->uri.scheme) == 443 || sl_str_eq(e->uri.scheme, SL_STR("wss"));
}

static void learn_connect(struct explain *e)
{
    static const enum sl_fact known[] = { SL_FACT_CLIENT, SL_FACT_USER, SL_FACT_HOST,
                                          SL_FACT_PORT };
    uint16_t port = e->uri.authority.port;

    if (port == 0)
        port = is_secure(e) ? 443 : 80;
    e->facts.client = &e->options->client;
    e->facts.user = sl_str_of(e->options->user);
    e->facts.host = e->uri.authority.host;
    e->facts.port = port;
    learn(e, known, SL_LEN(known));
}

/* Empty outside TLS; an address is not sent as SNI (RFC 6066 section 3). */
static void learn_hello(struct explain *e)
{
    static const enum sl_fact known[] = { SL_FACT_SNI, SL_FACT_ALPN };

    if (is_secure(e) && !e->uri.authority.is_ip)
        e->facts.sni = e->uri.authority.host;
    if (is_secure(e))
        e->facts.alpn = ALPN_OFFERED;
    learn(e, known, SL_LEN(known));
}

/* Another name than the URL's, said inside the tunnel; outside the URL rules over it. */
static void learn_host(struct explain *e)
{
    const struct sl_field *field = sl_fields_find(&e->head.fields, SL_FIELD_HOST);
    struct sl_authority said;

    if (!is_secure(e) || field == NULL ||
        sl_authority_parse(field->value, &e->arena, &said) != SL_OK)
        return;
    e->head.host = said.host;
    if (said.port != 0)
        e->head.port = said.port;
}

/* As the URL has it, or the fields of a handshake. */
static struct sl_str scheme_of(const struct explain *e)
{
    if (!e->forward.wants_upgrade)
        return e->uri.scheme;
    return is_secure(e) ? SL_STR("wss") : SL_STR("ws");
}

static struct sl_client client_of(const struct explain *e)
{
    if (!is_secure(e))
        return (struct sl_client){ 0 };
    return (struct sl_client){ .connect_host = e->facts.host,
                               .connect_port = e->facts.port,
                               .sni = e->facts.sni,
                               .tls_version = "TLSv1.3" };
}

static void learn_request(struct explain *e)
{
    static const enum sl_fact known[] = { SL_FACT_SCHEME, SL_FACT_METHOD, SL_FACT_TARGET,
                                          SL_FACT_HEADERS };
    const char *method = e->options->method;

    e->head = (struct sl_head){ .arena = &e->arena,
                                .method = sl_str_of(method != NULL ? method : "GET"),
                                .scheme = is_secure(e) ? SL_STR("https") : SL_STR("http"),
                                .host = e->uri.authority.host,
                                .port = e->facts.port,
                                .target = e->uri.target,
                                .major = is_secure(e) ? 2 : 1,
                                .minor = is_secure(e) ? 0 : 1,
                                .keep_alive = true };
    add_headers(e);
    learn_host(e);
    learn_size(e);
    e->head.wants_upgrade =
        sl_fields_find(&e->head.fields, SL_FIELD_UPGRADE) != NULL &&
        sl_fields_has_token(&e->head.fields, SL_FIELD_CONNECTION, SL_STR("upgrade"));
    e->client = client_of(e);
    sl_forward_request(&e->client, &e->head, &e->arena, &e->forward);
    e->facts.scheme = scheme_of(e);
    e->facts.method = e->head.method;
    e->facts.fields = &e->forward.fields;
    sl_target_split(e->uri.target, &e->facts.path, &e->facts.query);
    learn(e, known, SL_LEN(known));
}

/* -- rules -- */

static const char *truth_of(const struct explain *e, const struct sl_rule *rule)
{
    static const char *const names[] = {
        [SL_FALSE] = "false", [SL_UNKNOWN] = "not yet known", [SL_TRUE] = "true"
    };

    return rule->when == NULL ? "true" : names[sl_expression_eval(rule->when, &e->facts)];
}

static void write_place(struct explain *e, const struct sl_rule *rule)
{
    if (rule->line != 0 && e->config->path != NULL)
        sl_buf_addf(&e->out, " (%s:%u)", e->config->path, rule->line);
}

static void write_names(struct explain *e, const struct sl_rule *rule)
{
    for (uint32_t i = 0; i < rule->n_names; i++) {
        sl_buf_add_str(&e->out, i == 0 ? SL_STR(", names ") : SL_STR(" "));
        sl_host_pattern_write(&rule->names[i], &e->out);
    }
}

static void write_rule(struct explain *e, const struct sl_rule *rule)
{
    sl_buf_addf(&e->out, "  %.*s", SL_FMT(rule->name));
    write_place(e, rule);
    sl_buf_add_str(&e->out, SL_STR(": "));
    if (rule->when != NULL)
        sl_expression_write(rule->when, &e->out);
    else
        sl_buf_add_str(&e->out, SL_STR("any"));
    write_names(e, rule);
    sl_buf_addf(&e->out, ": %s\n", truth_of(e, rule));
}

static void write_rules(struct explain *e, const struct sl_decision *d)
{
    const struct sl_ruleset *set = sl_policy_ruleset(e->policy);

    for (uint32_t i = 0; i <= d->index && i < sl_ruleset_len(set); i++)
        write_rule(e, sl_ruleset_rule(set, i));
    if (d->decided == SL_DECIDED_DEFAULT)
        sl_buf_add_str(&e->out, SL_STR("  no rule matches: default\n"));
    if (d->in_doubt && d->decided != SL_DECIDED_UNKNOWN)
        sl_buf_add_str(&e->out, SL_STR("  in doubt, which never opens: the rule counts as true\n"));
    if (d->awaits_response)
        sl_buf_add_str(&e->out,
                       SL_STR("  a rule passed over looks at the response, and may still deny\n"));
}

/* -- checks -- */

static void on_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct explain *e = arg;

    e->ruling = *ruling;
    sl_loop_stop(e->loop);
}

static void write_verdicts(struct explain *e)
{
    const struct sl_ruling *r = &e->ruling;

    for (uint32_t i = 0; i < r->n_verdicts; i++) {
        const struct sl_verdict *v = r->verdicts[i];

        sl_buf_addf(&e->out, "  answer %u: %s%s%s%.*s\n", i + 1, v->allow ? "allow" : "deny",
                    v->is_failure ? " (the check failed: on_error)" : "",
                    v->reason.n > 0 ? ", " : "", SL_FMT(v->reason));
    }
}

/* True when all allow. */
static bool ask(struct explain *e, const struct sl_rule *rule, uint32_t phases)
{
    struct sl_question q = { .id = e->id, .facts = &e->facts };

    if (is_secure(e)) {
        q.connect_host = e->facts.host;
        q.connect_port = e->facts.port;
    }
    if ((phases & 1u << SL_PHASE_REQUEST) != 0)
        q.head = &e->forward;
    if (is_secure(e) && q.head != NULL) {
        q.tls_version = "TLSv1.3";
        q.alpn = SL_STR("h2");
    }
    sl_ruling_fini(&e->ruling);
    e->ruling = (struct sl_ruling){ 0 };
    (void)sl_gate_ask_start(
        &(struct sl_gate_ask_conf){
            .gate = e->gate, .rule = rule, .question = &q, .arena = &e->arena, .phases = phases },
        on_ruling, e);
    sl_loop_run(e->loop);
    write_verdicts(e);
    return e->ruling.action == SL_ACTION_ALLOW;
}

static void write_verdict(struct explain *e, const char *verdict, const struct sl_rule *rule)
{
    sl_buf_addf(&e->out, "verdict: %s, by %.*s", verdict, SL_FMT(rule->name));
    write_place(e, rule);
    if (e->ruling.decider != NULL)
        sl_buf_addf(&e->out, " and check %s", sl_check_name(e->ruling.decider));
    if (rule->status != 0)
        sl_buf_addf(&e->out, ", status %u", rule->status);
    if (rule->reason.n > 0)
        sl_buf_addf(&e->out, ", reason: %.*s", SL_FMT(rule->reason));
    sl_buf_add_char(&e->out, '\n');
}

static struct sl_guard *make_guard(const struct sl_config *c)
{
    struct sl_addr own[SL_CONFIG_MAX_LISTENERS + 1];
    size_t n = 0;

    for (uint32_t i = 0; i < c->n_listeners; i++)
        own[n++] = c->listeners[i].address;
    if (c->admin.len != 0)
        own[n++] = c->admin;
    return sl_guard_new(&(struct sl_guard_conf){
        .allow = c->upstream.allow.v, .n_allow = c->upstream.allow.n, .own = own, .n_own = n });
}

/* Of a name it is not said: what it resolves to is not asked for. */
static void write_guard(struct explain *e)
{
    struct sl_guard *guard;
    struct sl_addr addr;

    if (!sl_addr_parse_ip(e->facts.host, &addr))
        return;
    sl_addr_set_port(&addr, e->facts.port);
    guard = make_guard(e->config);
    sl_buf_addf(&e->out, "address guard: %s\n",
                sl_guard_check(guard, &addr) == SL_OK ? "lets it through"
                                                      : "refuses to connect, 403");
    sl_guard_free(&guard);
}

static void pass(struct explain *e, const char *verdict, const struct sl_rule *rule)
{
    write_verdict(e, verdict, rule);
    write_guard(e);
}

/* -- the stages; true: that was all -- */

static bool is_settled(const struct sl_decision *d, enum sl_action action)
{
    return d->decided != SL_DECIDED_UNKNOWN && d->rule->action == action;
}

/* Denied by a check that is asked at the CONNECT. */
static bool is_turned_away(struct explain *e, const struct sl_decision *d, bool *ret_was_asked)
{
    if (!is_settled(d, SL_ACTION_CHECK) || !sl_gate_has_phase(e->gate, d->rule, SL_PHASE_CONNECT))
        return false;
    *ret_was_asked = true;
    return !ask(e, d->rule, 1u << SL_PHASE_CONNECT);
}

static bool explain_connect(struct explain *e, bool *ret_was_asked)
{
    struct sl_decision d = sl_gate_rule(e->gate, &e->facts, SL_STAGE_EARLY);

    sl_buf_addf(&e->out, "CONNECT %.*s:%u\n", SL_FMT(e->facts.host), e->facts.port);
    write_rules(e, &d);
    if (is_settled(&d, SL_ACTION_TUNNEL))
        pass(e, "tunnel", d.rule);
    else if (is_settled(&d, SL_ACTION_REFUSE))
        write_verdict(e, "refuse", d.rule);
    else if (is_turned_away(e, &d, ret_was_asked))
        write_verdict(e, "deny", d.rule);
    else
        return false;
    return true;
}

static bool explain_hello(struct explain *e)
{
    struct sl_decision d = sl_gate_rule(e->gate, &e->facts, SL_STAGE_EARLY);

    sl_buf_addf(&e->out, "ClientHello, server name %s%.*s, protocols %.*s\n",
                e->facts.sni.n > 0 ? "" : "none", SL_FMT(e->facts.sni), SL_FMT(e->facts.alpn));
    write_rules(e, &d);
    if (is_settled(&d, SL_ACTION_TUNNEL)) {
        pass(e, "tunnel", d.rule);
        return true;
    }
    sl_buf_add_str(&e->out, SL_STR("  TLS is opened; the request decides\n"));
    return false;
}

static bool does_pass(struct explain *e, const struct sl_rule *rule, bool was_asked)
{
    uint32_t phases = 1u << SL_PHASE_REQUEST;

    if (!was_asked)
        phases |= 1u << SL_PHASE_CONNECT;
    switch (rule->action) {
    case SL_ACTION_CHECK:
        return ask(e, rule, phases);
    case SL_ACTION_ALLOW:
    case SL_ACTION_TUNNEL:
        return true;
    case SL_ACTION_DENY:
    case SL_ACTION_REFUSE:
        break;
    }
    return false;
}

static void explain_request(struct explain *e, bool was_asked)
{
    struct sl_decision d = sl_gate_rule(e->gate, &e->facts, SL_STAGE_REQUEST);
    struct sl_fault fault = { 0 };

    sl_buf_addf(&e->out, "%.*s %.*s\n", SL_FMT(e->head.method), SL_FMT(e->url));
    write_rules(e, &d);
    if (sl_forward_identity(&e->client, &e->head, d.rule, &fault) != SL_OK)
        sl_buf_addf(&e->out, "verdict: deny, 421, %s\n", fault.text);
    else if (does_pass(e, d.rule, was_asked))
        pass(e, "allow", d.rule);
    else
        write_verdict(e, "deny", d.rule);
}

static void explain(struct explain *e)
{
    bool was_asked = false;

    learn_connect(e);
    if (is_secure(e) && explain_connect(e, &was_asked))
        return;
    learn_hello(e);
    if (is_secure(e) && explain_hello(e))
        return;
    learn_request(e);
    explain_request(e, was_asked);
}

/* -- tools -- */

static enum sl_err make_tools(struct explain *e, struct sl_fault *fault)
{
    const struct sl_config_upstream *up = &e->config->upstream;
    enum sl_err err = sl_tls_client_context_new(
        &(struct sl_tls_client_conf){ .ca_file = up->ca_file }, &e->tls, fault);

    if (err != SL_OK)
        return err;
    e->loop = sl_loop_new();
    if (e->loop == NULL)
        return sl_fault_set(fault, SL_LIMIT, "no descriptors left");
    e->mailbox = sl_mailbox_new(e->loop);
    e->resolver =
        sl_resolver_new(e->loop, &(struct sl_resolver_conf){ .servers = up->nameservers,
                                                             .max_entries = DNS_ENTRIES });
    e->policy = sl_generation_policy(e->config);
    e->gate = sl_gate_new(
        &(struct sl_gate_conf){ .policy = e->policy,
                                .route = { .loop = e->loop,
                                           .resolver = e->resolver,
                                           .tls = e->tls,
                                           .connect_timeout_ms = (uint32_t)up->connect_timeout_ms },
                                .mailbox = e->mailbox });
    sl_id_make(e->id);
    return SL_OK;
}

static void free_tools(struct explain *e)
{
    sl_ruling_fini(&e->ruling);
    sl_gate_free(&e->gate);
    sl_policy_unref(&e->policy);
    sl_resolver_free(&e->resolver);
    sl_tls_client_context_free(&e->tls);
    sl_mailbox_free(&e->mailbox);
    if (e->loop != NULL)
        sl_loop_free(&e->loop);
    sl_buf_fini(&e->out);
    sl_arena_fini(&e->arena);
    sl_chunk_drain();
}

static int load_and_explain(struct explain *e)
{
    struct sl_fault fault = { 0 };
    struct sl_yaml_error error;

    e->url = without_fragment(sl_str_of(e->options->url));
    if (sl_uri_parse(as_sent(e->url, &e->arena), &e->arena, &e->uri) != SL_OK) {
        (void)sl_cmd_failed(SL_BAD_TARGET, "explain: http://host/path or https://host/path "
                                           "expected");
        return SL_EXIT_USAGE;
    }
    if (sl_config_load(&e->options->config, &e->config, &error) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, error.text);
    if (make_tools(e, &fault) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, fault.text);
    explain(e);
    return sl_cmd_print(sl_buf_str(&e->out));
}

int sl_cmd_explain(const struct sl_options *o)
{
    struct explain e = { .options = o };
    int status = load_and_explain(&e);

    free_tools(&e);
    sl_config_free(&e.config);
    return status;
}
