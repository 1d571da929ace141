/* h2_head.c -- reading, then writing; both are tables and pure functions. */
#include "http/h2_head.h"

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/chars.h"
#include "http/uri.h"
#include "http/websocket.h"

/* What a field costs beyond its bytes (RFC 9113 section 6.5.2). */
#define FIELD_OVERHEAD 32u
/* Over the limit this many times, a section is an attack and no mistake. */
#define BOMB_FACTOR 16u
#define WEBSOCKET_KEY_BYTES 16u

/* -- reading -- */

static struct sl_str *pseudo_field(struct sl_h2_reader *r, struct sl_str name)
{
    const struct {
        struct sl_str name;
        struct sl_str *value;
    } pseudo[] = {
        { SL_STR(":method"), &r->method },       { SL_STR(":scheme"), &r->scheme },
        { SL_STR(":authority"), &r->authority }, { SL_STR(":path"), &r->path },
        { SL_STR(":protocol"), &r->protocol },   { SL_STR(":status"), &r->status },
    };

    for (size_t i = 0; i < SL_LEN(pseudo); i++)
        if (sl_str_eq(name, pseudo[i].name))
            return pseudo[i].value;
    return NULL;
}

static bool is_over(const struct sl_h2_reader *r, uint64_t factor)
{
    return r->count > factor * r->limits->header_count ||
           r->bytes > factor * r->limits->header_bytes;
}

bool sl_h2_reader_is_bomb(const struct sl_h2_reader *r)
{
    return is_over(r, BOMB_FACTOR);
}

static bool is_pseudo_name(struct sl_str name)
{
    return name.n != 0 && name.p[0] == ':';
}

void sl_h2_reader_skip(struct sl_h2_reader *r, struct sl_str name, struct sl_str value)
{
    r->count += !is_pseudo_name(name);
    r->bytes += name.n + value.n + FIELD_OVERHEAD;
}

void sl_h2_reader_add(struct sl_h2_reader *r, struct sl_str name, struct sl_str value)
{
    bool is_pseudo = is_pseudo_name(name);

    sl_h2_reader_skip(r, name, value);
    if (is_over(r, 1))
        return;
    value = sl_arena_str(r->arena, value);
    if (!is_pseudo) {
        sl_fields_add(&r->fields, r->arena, sl_arena_str(r->arena, name), value);
        return;
    }
    if (pseudo_field(r, name) != NULL)
        *pseudo_field(r, name) = value;
}

static enum sl_err read_length(struct sl_head *head, bool *ret_has_length)
{
    const struct sl_field *f = sl_fields_find(&head->fields, SL_FIELD_CONTENT_LENGTH);

    *ret_has_length = f != NULL;
    if (f == NULL)
        return SL_OK;
    if (sl_fields_count(&head->fields, SL_FIELD_CONTENT_LENGTH) > 1)
        return SL_BAD_FRAMING;
    return sl_str_to_u64(f->value, &head->content_length) ? SL_OK : SL_BAD_FRAMING;
}

static enum sl_err read_authority(const struct sl_h2_reader *r, struct sl_str text,
                                  struct sl_authority *ret_auth, struct sl_fault *fault)
{
    if (text.n == 0)
        return sl_fault_set(fault, SL_BAD_HOST, "no :authority");
    if (sl_authority_parse(text, r->arena, ret_auth) != SL_OK)
        return sl_fault_set(fault, SL_BAD_HOST, "malformed :authority");
    return SL_OK;
}

static bool is_plain_connect(const struct sl_h2_reader *r)
{
    return sl_str_eq(r->method, SL_STR("CONNECT")) && r->protocol.n == 0;
}

/* RFC 9113 section 8.3.1: Host may stand in for :authority, and may not differ from it. */
static enum sl_err settle_host(const struct sl_h2_reader *r, struct sl_head *head,
                               struct sl_fault *fault)
{
    const struct sl_field *host = sl_fields_find(&head->fields, SL_FIELD_HOST);
    struct sl_authority named = { .port = 0 }, other = { .port = 0 };
    enum sl_err err;

    if (sl_scheme_port(head->scheme) == 0 && !is_plain_connect(r))
        return sl_fault_set(fault, SL_BAD_TARGET, ":scheme is neither http nor https");
    if (sl_fields_count(&head->fields, SL_FIELD_HOST) > 1)
        return sl_fault_set(fault, SL_BAD_HOST, "more than one Host field");
    err = read_authority(r, r->authority.n == 0 && host != NULL ? host->value : r->authority,
                         &named, fault);
    if (err != SL_OK)
        return err;
    head->host = named.host;
    head->names_port = named.port != 0;
    head->port = head->names_port ? named.port : sl_scheme_port(head->scheme);
    if (host == NULL || r->authority.n == 0)
        return SL_OK;
    err = read_authority(r, host->value, &other, fault);
    if (err == SL_OK && (!sl_str_eq(named.host, other.host) || named.port != other.port))
        err = sl_fault_set(fault, SL_BAD_HOST, "Host differs from :authority");
    return err;
}

/* As strict as for HTTP/1, since that is what it may be written into. */
static enum sl_err settle_target(const struct sl_h2_reader *r, struct sl_head *head,
                                 struct sl_fault *fault)
{
    struct sl_str t = r->path;

    head->target = t;
    if (t.n > r->limits->uri_bytes)
        return sl_fault_set(fault, SL_URI_TOO_LONG, "%zu bytes of :path", t.n);
    if (t.n == 0 || sl_char_span(t.p, t.p + t.n, SL_CHAR_TARGET) != t.n)
        return sl_fault_set(fault, SL_BAD_TARGET, "malformed :path");
    if (t.p[0] == '/' || (sl_str_eq(t, SL_STR("*")) && sl_str_eq(head->method, SL_STR("OPTIONS"))))
        return SL_OK;
    return sl_fault_set(fault, SL_BAD_TARGET, ":path is no path");
}

static enum sl_err settle_content(struct sl_head *head, bool ends, struct sl_fault *fault)
{
    const struct sl_field *expect = sl_fields_find(&head->fields, SL_FIELD_EXPECT);
    bool has_length;

    if (read_length(head, &has_length) != SL_OK)
        return sl_fault_set(fault, SL_BAD_FRAMING, "malformed content-length");
    if (ends)
        head->framing = SL_FRAMING_NONE;
    else
        head->framing = has_length ? SL_FRAMING_LENGTH : SL_FRAMING_CHUNKED;
    if (expect != NULL && !sl_str_ieq(expect->value, SL_STR("100-continue")))
        return sl_fault_set(fault, SL_BAD_REQUEST, "unknown expectation");
    head->expects_continue = expect != NULL && head->framing != SL_FRAMING_NONE;
    return SL_OK;
}

static void add(struct sl_head *head, struct sl_str name, struct sl_str value)
{
    sl_fields_add(&head->fields, head->arena, name, value);
}

/* RFC 8441 section 5 backwards: rules, checks and HTTP/1 origins see the handshake of RFC 6455.
 * The key is ours; what the origin makes of it goes no further. */
static enum sl_err read_as_upgrade(struct sl_head *head, struct sl_fault *fault)
{
    unsigned char key[WEBSOCKET_KEY_BYTES];
    struct sl_buf text = { 0 };

    sl_random(key, sizeof(key));
    sl_add_base64(&text, sl_str_make(key, sizeof(key)));
    sl_fields_remove_name(&head->fields, SL_STR("sec-websocket-key"));
    add(head, SL_STR("upgrade"), SL_STR("websocket"));
    add(head, SL_STR("sec-websocket-key"), sl_arena_str(head->arena, sl_buf_str(&text)));
    sl_buf_fini(&text);
    head->method = SL_STR("GET");
    head->framing = SL_FRAMING_NONE;
    head->wants_upgrade = head->is_extended = true;
    if (sl_ws_is_offer(head))
        return SL_OK;
    return sl_fault_set(fault, SL_BAD_REQUEST, "extended CONNECT without sec-websocket-version 13");
}

static enum sl_err settle_method(const struct sl_h2_reader *r, bool ends, struct sl_head *head,
                                 struct sl_fault *fault)
{
    if (!sl_str_eq(head->method, SL_STR("CONNECT")))
        return SL_OK;
    head->is_connect = is_plain_connect(r);
    if (head->is_connect)
        return head->port != 0 ? SL_OK : sl_fault_set(fault, SL_BAD_HOST, "CONNECT wants a port");
    if (!sl_str_ieq(r->protocol, SL_STR("websocket")))
        return sl_fault_set(fault, SL_NOT_IMPLEMENTED, "extended CONNECT for another protocol");
    if (ends)
        return sl_fault_set(fault, SL_BAD_REQUEST, "extended CONNECT that has ended");
    return read_as_upgrade(head, fault);
}

static enum sl_err check_size(const struct sl_h2_reader *r, struct sl_fault *fault)
{
    if (!is_over(r, 1))
        return SL_OK;
    return sl_fault_set(fault, SL_HEADER_TOO_LARGE, "%u fields, %llu bytes of header", r->count,
                        (unsigned long long)r->bytes);
}

enum sl_err sl_h2_read_request(const struct sl_h2_reader *r, bool ends, struct sl_head *ret_head,
                               struct sl_fault *fault)
{
    struct sl_head *head = ret_head;
    enum sl_err err = check_size(r, fault);

    *head = (struct sl_head){ .arena = r->arena,
                              .method = r->method,
                              .scheme = r->scheme,
                              .major = 2,
                              .keep_alive = true,
                              .fields = r->fields };
    if (err == SL_OK)
        err = settle_content(head, ends, fault);
    if (err == SL_OK)
        err = settle_host(r, head, fault);
    if (err == SL_OK)
        err = settle_method(r, ends, head, fault);
    if (err == SL_OK && !head->is_connect)
        err = settle_target(r, head, fault);
    return err;
}

static bool is_bodiless(const struct sl_head *head, struct sl_str method)
{
    return head->status < 200 || head->status == 204 || head->status == 304 ||
           sl_str_eq(method, SL_STR("HEAD"));
}

enum sl_err sl_h2_read_response(const struct sl_h2_reader *r, struct sl_str method, bool ends,
                                struct sl_head *ret_head, struct sl_fault *fault)
{
    struct sl_head *head = ret_head;
    uint64_t status;
    bool has_length;

    *head = (struct sl_head){ .arena = r->arena, .major = 2, .keep_alive = true };
    if (is_over(r, 1))
        return sl_fault_set(fault, SL_RESPONSE_HEADER, "%llu bytes of response header",
                            (unsigned long long)r->bytes);
    head->fields = r->fields;
    if (!sl_str_to_u64(r->status, &status) || status < 100 || status > 599)
        return sl_fault_set(fault, SL_BAD_RESPONSE, "malformed :status");
    head->status = (uint16_t)status;
    if (read_length(head, &has_length) != SL_OK)
        return sl_fault_set(fault, SL_BAD_RESPONSE, "malformed content-length");
    if (ends || is_bodiless(head, method))
        head->framing = SL_FRAMING_NONE;
    else
        head->framing = has_length ? SL_FRAMING_LENGTH : SL_FRAMING_CHUNKED;
    return SL_OK;
}

enum sl_err sl_h2_read_trailers(const struct sl_h2_reader *r, struct sl_fields *ret_fields,
                                struct sl_fault *fault)
{
    enum sl_err err = check_size(r, fault);

    if (err != SL_OK)
        return err;
    *ret_fields = (struct sl_fields){ .n = 0 };
    for (uint32_t i = 0; i < r->fields.n; i++)
        if (sl_field_may_trail(&r->fields.v[i]))
            sl_fields_add(ret_fields, r->arena, r->fields.v[i].name, r->fields.v[i].value);
    return SL_OK;
}

/* -- writing -- */

/* What frames or routes a message is written from the head's members, or has no place in HTTP/2
 * (RFC 9113 section 8.2.2). */
static const bool not_copied[SL_FIELD_N] = {
    [SL_FIELD_CONNECTION] = true,
    [SL_FIELD_CONTENT_LENGTH] = true,
    [SL_FIELD_HOST] = true,
    [SL_FIELD_HTTP2_SETTINGS] = true,
    [SL_FIELD_KEEP_ALIVE] = true,
    [SL_FIELD_PROXY_CONNECTION] = true,
    [SL_FIELD_TRANSFER_ENCODING] = true,
    [SL_FIELD_UPGRADE] = true,
};

/* Pseudo-fields and Content-Length beside the fields. */
#define EXTRA_FIELDS 6u

static void put(struct sl_h2_list *list, struct sl_str name, struct sl_str value)
{
    list->v[list->n++] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name.p,
                                       .namelen = name.n,
                                       .value = (uint8_t *)(uintptr_t)value.p,
                                       .valuelen = value.n };
}

static struct sl_str lower(struct sl_arena *a, struct sl_str name)
{
    char *p;
    size_t i = 0;

    while (i < name.n && (name.p[i] < 'A' || name.p[i] > 'Z'))
        i++;
    if (i == name.n)
        return name;
    p = sl_arena_alloc(a, name.n);
    for (i = 0; i < name.n; i++)
        p[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] - 'A' + 'a') : name.p[i];
    return sl_str_make(p, name.n);
}

static void put_fields(struct sl_h2_list *list, const struct sl_fields *fields, struct sl_arena *a)
{
    for (uint32_t i = 0; i < fields->n; i++)
        if (!not_copied[fields->v[i].id])
            put(list, lower(a, fields->v[i].name), fields->v[i].value);
}

static void begin_list(struct sl_h2_list *list, const struct sl_fields *fields, struct sl_arena *a)
{
    *list = (struct sl_h2_list){
        .v = sl_arena_alloc(a, (fields->n + EXTRA_FIELDS) * sizeof(nghttp2_nv)),
    };
}

static void put_length(struct sl_h2_list *list, const struct sl_head *head)
{
    put(list, SL_STR("content-length"),
        sl_arena_printf(head->arena, "%llu", (unsigned long long)head->content_length));
}

static struct sl_str authority_of(const struct sl_head *head)
{
    bool is_v6 = sl_str_find(head->host, ':') < head->host.n;
    const char *open = is_v6 ? "[" : "", *close = is_v6 ? "]" : "";

    if (head->port == sl_scheme_port(head->scheme))
        return is_v6 ? sl_arena_printf(head->arena, "[%.*s]", SL_FMT(head->host)) : head->host;
    return sl_arena_printf(head->arena, "%s%.*s%s:%u", open, SL_FMT(head->host), close,
                           (unsigned)head->port);
}

static void put_method(struct sl_h2_list *list, const struct sl_head *head)
{
    if (!head->wants_upgrade) {
        put(list, SL_STR(":method"), head->method);
        return;
    }
    put(list, SL_STR(":method"), SL_STR("CONNECT"));
    put(list, SL_STR(":protocol"), SL_STR("websocket"));
}

void sl_h2_write_request(const struct sl_head *head, struct sl_h2_list *ret_list)
{
    begin_list(ret_list, &head->fields, head->arena);
    put_method(ret_list, head);
    put(ret_list, SL_STR(":scheme"), head->scheme);
    put(ret_list, SL_STR(":authority"), authority_of(head));
    put(ret_list, SL_STR(":path"), head->target);
    put_fields(ret_list, &head->fields, head->arena);
    if (head->framing == SL_FRAMING_LENGTH)
        put_length(ret_list, head);
}

void sl_h2_write_response(const struct sl_head *head, bool bodiless, struct sl_h2_list *ret_list)
{
    bool says_length = head->framing == SL_FRAMING_LENGTH ||
                       (bodiless && head->framing == SL_FRAMING_NONE && head->content_length != 0);

    begin_list(ret_list, &head->fields, head->arena);
    put(ret_list, SL_STR(":status"), sl_arena_printf(head->arena, "%03u", (unsigned)head->status));
    put_fields(ret_list, &head->fields, head->arena);
    if (says_length && head->status >= 200 && head->status != 204)
        put_length(ret_list, head);
}

void sl_h2_write_trailers(const struct sl_fields *fields, struct sl_arena *arena,
                          struct sl_h2_list *ret_list)
{
    begin_list(ret_list, fields, arena);
    put_fields(ret_list, fields, arena);
}
