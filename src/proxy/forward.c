/* forward.c -- see the header; nothing is kept. */
#include "proxy/forward.h"

#include "base/mem.h"
#include "http/uri.h"
#include "http/websocket.h"
#include "policy/ruleset.h"
#include "proxy/exchange.h"
#include "proxy/sni.h"

#define VIA_NAME "sluice"

/* A port that is left out is the tunnel's; one that is named is meant. */
static bool is_same_port(const struct sl_client *client, const struct sl_head *request)
{
    if (request->port == client->connect_port)
        return true;
    return request->port == sl_scheme_port(request->scheme) && !request->names_port;
}

static bool is_name_good(const struct sl_client *client, struct sl_str name,
                         const struct sl_rule *rule)
{
    return sl_rule_permits_name(rule, client->connect_host, name) ||
           (client->sni.n != 0 && sl_str_eq(name, client->sni));
}

enum sl_err sl_forward_identity(const struct sl_client *client, const struct sl_head *request,
                                const struct sl_rule *rule, struct sl_fault *fault)
{
    struct sl_str scheme = client->tls_version != NULL ? SL_STR("https") : SL_STR("http");

    if (request->is_connect)
        return sl_fault_set(fault, SL_NOT_IMPLEMENTED, "CONNECT inside a tunnel");
    if (client->connect_host.n == 0)
        return SL_OK;
    if (sl_sni_check(client->sni, client->connect_host, rule, fault) != SL_OK)
        return fault->err;
    if (!sl_str_eq(request->scheme, scheme))
        return sl_fault_set(fault, SL_MISDIRECTED, "%.*s inside %.*s", SL_FMT(request->scheme),
                            SL_FMT(scheme));
    if (is_name_good(client, request->host, rule) && is_same_port(client, request))
        return SL_OK;
    return sl_fault_set(fault, SL_MISDIRECTED, "host %.*s:%u, CONNECT %.*s:%u",
                        SL_FMT(request->host), request->port, SL_FMT(client->connect_host),
                        client->connect_port);
}

static void add_via(struct sl_head *head, const struct sl_head *received, struct sl_arena *arena)
{
    struct sl_str via =
        received->major >= 2
            ? sl_arena_printf(arena, "%u " VIA_NAME, received->major)
            : sl_arena_printf(arena, "%u.%u " VIA_NAME, received->major, received->minor);

    sl_fields_add(&head->fields, arena, SL_STR("Via"), via);
}

static void copy_head(const struct sl_head *from, struct sl_arena *arena, bool is_upgrade,
                      struct sl_head *to)
{
    *to = *from;
    to->arena = arena;
    to->is_absolute = false;
    to->keep_alive = true;
    to->wants_upgrade = is_upgrade;
    to->fields = (struct sl_fields){ 0 };
    sl_fields_copy_end_to_end(&to->fields, arena, &from->fields);
    if (is_upgrade)
        sl_fields_add(&to->fields, arena, SL_STR("Upgrade"), SL_STR("websocket"));
}

void sl_forward_request(const struct sl_client *client, const struct sl_head *request,
                        struct sl_arena *arena, struct sl_head *ret_head)
{
    copy_head(request, arena, sl_ws_is_offer(request), ret_head);
    if (ret_head->wants_upgrade)
        ret_head->framing = SL_FRAMING_NONE;
    if (client->connect_host.n != 0)
        ret_head->port = client->connect_port;
    add_via(ret_head, request, arena);
}

/* The reply to HEAD announces the length that GET would have, where the origin told it. */
void sl_forward_response(const struct sl_head *response, const struct sl_head *request,
                         bool keeps_alt_svc, struct sl_arena *arena, struct sl_head *ret_head)
{
    copy_head(response, arena, response->status == 101 && sl_ws_is_offer(request), ret_head);
    if (!keeps_alt_svc)
        sl_fields_remove_name(&ret_head->fields, SL_STR("alt-svc"));
    if (sl_str_eq(request->method, SL_STR("HEAD")) && response->status >= 200)
        ret_head->framing = sl_fields_find(&response->fields, SL_FIELD_CONTENT_LENGTH) != NULL
                                ? SL_FRAMING_LENGTH
                                : SL_FRAMING_CLOSE;
    if (response->status >= 200)
        add_via(ret_head, response, arena);
}

static struct sl_str scheme_of(const struct sl_head *h)
{
    bool tls = sl_str_eq(h->scheme, SL_STR("https"));

    if (h->wants_upgrade)
        return tls ? SL_STR("wss") : SL_STR("ws");
    return h->scheme;
}

void sl_forward_facts(const struct sl_client *client, const struct sl_head *head,
                      struct sl_facts *ret_facts)
{
    static const enum sl_fact known[] = { SL_FACT_CLIENT, SL_FACT_USER,   SL_FACT_HOST,
                                          SL_FACT_PORT,   SL_FACT_SCHEME, SL_FACT_SNI,
                                          SL_FACT_ALPN,   SL_FACT_METHOD, SL_FACT_TARGET,
                                          SL_FACT_HEADERS };
    struct sl_facts f = { .client = &client->addr,
                          .user = client->user,
                          .host = client->connect_host.n != 0 ? client->connect_host : head->host,
                          .port = head->port,
                          .scheme = scheme_of(head),
                          .sni = client->sni,
                          .alpn = client->alpn_offered,
                          .method = head->method,
                          .fields = &head->fields };

    for (size_t i = 0; i < SL_LEN(known); i++)
        sl_facts_learn(&f, known[i]);
    sl_target_split(head->target, &f.path, &f.query);
    if (head->framing == SL_FRAMING_NONE || head->framing == SL_FRAMING_LENGTH) {
        f.size = head->framing == SL_FRAMING_LENGTH ? head->content_length : 0;
        sl_facts_learn(&f, SL_FACT_SIZE);
    }
    *ret_facts = f;
}
