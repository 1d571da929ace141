/* h1_codec.c -- a head is looked at in place until its end is there, then copied into the arena
 * once and parsed from that copy.
 *
 * Invariant: nothing is allocated before the head is complete and within its limits, so a peer that
 * sends slowly costs no memory each time it is asked again.
 */
#include "http/h1_codec.h"

#include "base/mem.h"
#include "http/h1_lexer.h"
#include "http/uri.h"

/* Each option is compared with each field's name when the fields are copied. */
#define OPTIONS_MAX 32u

static const struct sl_h1_dialect of_request = {
    SL_BAD_REQUEST, SL_BAD_VERSION, SL_BAD_FRAMING, SL_NOT_IMPLEMENTED, SL_HEADER_TOO_LARGE,
};
static const struct sl_h1_dialect of_response = {
    SL_BAD_RESPONSE, SL_BAD_RESPONSE, SL_BAD_RESPONSE, SL_BAD_RESPONSE, SL_RESPONSE_HEADER,
};
static const struct sl_h1_dialect of_trailers = {
    SL_BAD_FRAMING, SL_BAD_FRAMING, SL_BAD_FRAMING, SL_BAD_FRAMING, SL_HEADER_TOO_LARGE,
};

enum option {
    OPTION_CLOSE = 1,
    OPTION_KEEP_ALIVE = 2,
    OPTION_UPGRADE = 4,
};

struct parser {
    struct sl_h1_lexer lex;
    struct sl_head *head;
    struct sl_str host; /* of the Host field */
    unsigned n_hosts, n_options, options;
    bool has_length, has_coding, has_upgrade, has_expect;
};

typedef enum sl_err field_fn(struct parser *p, struct sl_str value);

static enum sl_err fail(const struct parser *p, enum sl_err err, const char *why)
{
    return sl_h1_lexer_fail(&p->lex, err, why);
}

static enum sl_err on_host(struct parser *p, struct sl_str value)
{
    p->n_hosts++;
    p->host = value;
    return SL_OK;
}

static enum sl_err on_length(struct parser *p, struct sl_str value)
{
    uint64_t n;

    if (p->has_length)
        return fail(p, p->lex.dialect->framing, "more than one Content-Length");
    if (!sl_str_to_u64(value, &n) || n > INT64_MAX)
        return fail(p, p->lex.dialect->framing, "Content-Length is no number");
    p->has_length = true;
    p->head->content_length = n;
    return SL_OK;
}

static enum sl_err on_coding(struct parser *p, struct sl_str value)
{
    if (p->has_coding)
        return fail(p, p->lex.dialect->framing, "more than one Transfer-Encoding");
    if (!sl_str_ieq(value, SL_STR("chunked")))
        return fail(p, p->lex.dialect->coding, "Transfer-Encoding other than chunked");
    p->has_coding = true;
    return SL_OK;
}

static unsigned option_of(struct sl_str option)
{
    static const struct {
        struct sl_str name;
        enum option option;
    } options[] = {
        { { "keep-alive", 10 }, OPTION_KEEP_ALIVE },
        { { "close", 5 }, OPTION_CLOSE },
        { { "upgrade", 7 }, OPTION_UPGRADE },
    };

    for (size_t i = 0; i < SL_LEN(options); i++)
        if (sl_str_ieq(option, options[i].name))
            return options[i].option;
    return 0;
}

static enum sl_err on_connection(struct parser *p, struct sl_str value)
{
    struct sl_str option;

    while (sl_str_next(&value, ',', &option)) {
        if (++p->n_options > OPTIONS_MAX)
            return fail(p, p->lex.dialect->malformed, "too many connection options");
        p->options |= option_of(option);
    }
    return SL_OK;
}

static enum sl_err on_upgrade(struct parser *p, struct sl_str value)
{
    p->has_upgrade |= value.n != 0;
    return SL_OK;
}

static enum sl_err on_expect(struct parser *p, struct sl_str value)
{
    const struct sl_head *head = p->head;

    if (head->method.n == 0)
        return SL_OK;
    if (head->minor == 1 && !sl_str_ieq(value, SL_STR("100-continue")))
        return fail(p, p->lex.dialect->malformed, "expectation other than 100-continue");
    p->has_expect = true;
    return SL_OK;
}

static field_fn *const field_fns[SL_FIELD_N] = {
    [SL_FIELD_CONNECTION] = on_connection,
    [SL_FIELD_CONTENT_LENGTH] = on_length,
    [SL_FIELD_EXPECT] = on_expect,
    [SL_FIELD_HOST] = on_host,
    [SL_FIELD_TRANSFER_ENCODING] = on_coding,
    [SL_FIELD_UPGRADE] = on_upgrade,
};

/* All lines up to the empty one. */
static enum sl_err read_fields(struct parser *p, struct sl_str section)
{
    struct sl_fields *fields = &p->head->fields;
    struct sl_str name, value;
    enum sl_err err = SL_OK;

    while (err == SL_OK && section.n > 2) {
        err = sl_h1_read_field(&p->lex, &section, &name, &value);
        if (err != SL_OK)
            break;
        if (fields->n == p->lex.limits->header_count)
            return fail(p, p->lex.dialect->too_large, "too many fields");
        sl_fields_add(fields, p->head->arena, name, value);
        if (field_fns[fields->v[fields->n - 1].id] != NULL)
            err = field_fns[fields->v[fields->n - 1].id](p, value);
    }
    return err;
}

/* The same slice of the copy. */
static struct sl_str moved(struct sl_str s, const char *from, const char *to)
{
    return s.n == 0 ? s : sl_str_make(to + (s.p - from), s.n);
}

static enum sl_err take_head(struct parser *p, struct sl_str in, const struct sl_h1_start *line)
{
    struct sl_head *head = p->head;
    struct sl_str copy = sl_arena_str(head->arena, in);

    head->method = moved(line->method, in.p, copy.p);
    head->target = moved(line->target, in.p, copy.p);
    head->reason = moved(line->reason, in.p, copy.p);
    head->status = line->status;
    head->major = line->major;
    head->minor = line->minor;
    return read_fields(p, sl_str_skip(copy, line->len));
}

/* What holds for both kinds of message. */
static enum sl_err settle_connection(struct parser *p)
{
    struct sl_head *head = p->head;

    if (p->has_coding && p->has_length)
        return fail(p, p->lex.dialect->framing, "Content-Length with Transfer-Encoding");
    if (p->has_coding && head->minor == 0)
        return fail(p, p->lex.dialect->framing, "Transfer-Encoding in HTTP/1.0");
    head->keep_alive = (p->options & OPTION_CLOSE) == 0 &&
                       (head->minor == 1 || (p->options & OPTION_KEEP_ALIVE) != 0);
    head->wants_upgrade = head->minor == 1 && (p->options & OPTION_UPGRADE) != 0 && p->has_upgrade;
    return SL_OK;
}

/* RFC 9110 section 10.1.1: a 1.0 client means nothing by it, and knows no 100; it must not travel
 * on in a 1.1 request. */
static void settle_expectation(struct parser *p)
{
    struct sl_head *head = p->head;

    if (p->has_expect && head->minor == 0)
        sl_fields_remove_name(&head->fields, SL_STR("expect"));
    head->expects_continue = p->has_expect && head->minor == 1 && head->framing != SL_FRAMING_NONE;
}

static enum sl_err settle_request_framing(struct parser *p)
{
    struct sl_head *head = p->head;

    if (head->is_connect && (p->has_coding || head->content_length != 0))
        return fail(p, SL_BAD_FRAMING, "content with CONNECT");
    if (p->has_coding)
        head->framing = SL_FRAMING_CHUNKED;
    else if (p->has_length && !head->is_connect)
        head->framing = SL_FRAMING_LENGTH;
    settle_expectation(p);
    return SL_OK;
}

/* Host must be good even where the target replaces it (RFC 9112 section 3.2). */
static enum sl_err settle_host(struct parser *p)
{
    struct sl_head *head = p->head;
    struct sl_authority auth;

    if (p->n_hosts > 1)
        return fail(p, SL_BAD_HOST, "more than one Host field");
    if (p->n_hosts == 0 && head->minor == 0)
        return SL_OK;
    if (p->n_hosts == 0)
        return fail(p, SL_BAD_HOST, "no Host field");
    if (sl_authority_parse(p->host, head->arena, &auth) != SL_OK)
        return fail(p, SL_BAD_HOST, "malformed Host field");
    head->host = auth.host;
    head->port = auth.port;
    return SL_OK;
}

static enum sl_err settle_authority_form(struct parser *p, const struct sl_h1_origin *origin)
{
    struct sl_head *head = p->head;
    struct sl_authority auth;

    if (!origin->is_proxy)
        return fail(p, SL_BAD_TARGET, "CONNECT to something that is no proxy");
    if (sl_authority_parse(head->target, head->arena, &auth) != SL_OK || auth.port == 0)
        return fail(p, SL_BAD_TARGET, "CONNECT wants host:port");
    head->host = auth.host;
    head->port = auth.port;
    head->target = SL_STR("");
    return SL_OK;
}

static enum sl_err settle_origin_form(struct parser *p, const struct sl_h1_origin *origin)
{
    struct sl_head *head = p->head;

    if (origin->is_proxy)
        return fail(p, SL_BAD_TARGET, "not a proxy request");
    if (head->host.n == 0)
        return fail(p, SL_BAD_HOST, "no Host field");
    return SL_OK;
}

/* RFC 9112 section 3.2.4: OPTIONS with neither path nor query is about the server as a whole. */
static bool means_asterisk(const struct sl_head *head, struct sl_str target)
{
    return sl_str_eq(head->method, SL_STR("OPTIONS")) && sl_str_eq(target, SL_STR("/")) &&
           !sl_str_has_suffix(head->target, target);
}

static enum sl_err settle_absolute_form(struct parser *p)
{
    struct sl_head *head = p->head;
    struct sl_uri uri;

    if (sl_uri_parse(head->target, head->arena, &uri) != SL_OK)
        return fail(p, SL_BAD_TARGET, "malformed absolute target");
    if (!sl_str_has_prefix(uri.scheme, SL_STR("http")))
        return fail(p, SL_BAD_TARGET, "neither http nor https");
    head->is_absolute = true;
    head->scheme = uri.scheme;
    head->host = uri.authority.host;
    head->port = uri.authority.port;
    head->target = means_asterisk(head, uri.target) ? SL_STR("*") : uri.target;
    return SL_OK;
}

static enum sl_err settle_target(struct parser *p, const struct sl_h1_origin *origin)
{
    struct sl_head *head = p->head;
    enum sl_err err;

    if (head->is_connect)
        return settle_authority_form(p, origin);
    if (head->target.p[0] == '/')
        err = settle_origin_form(p, origin);
    else if (sl_str_eq(head->target, SL_STR("*")) && sl_str_eq(head->method, SL_STR("OPTIONS")))
        err = settle_origin_form(p, origin);
    else
        err = settle_absolute_form(p);
    head->names_port = head->port != 0;
    if (err == SL_OK && !head->names_port)
        head->port = sl_scheme_port(head->scheme);
    return err;
}

static enum sl_err settle_request(struct parser *p, const struct sl_h1_origin *origin)
{
    enum sl_err err = settle_connection(p);

    p->head->scheme = origin->scheme;
    p->head->is_connect = sl_str_eq(p->head->method, SL_STR("CONNECT"));
    if (err == SL_OK)
        err = settle_request_framing(p);
    if (err == SL_OK)
        err = settle_host(p);
    if (err == SL_OK)
        err = settle_target(p, origin);
    return err;
}

/* A CR without its LF counts: what follows decides. */
static size_t blank_len(struct sl_str in)
{
    if (in.n == 1 && in.p[0] == '\r')
        return 1;
    return sl_str_has_prefix(in, SL_STR("\r\n")) ? 2 : 0;
}

/* size: a pure function: what it needs and what it gives are all in its parameters. */
enum sl_err sl_h1_parse_request(struct sl_str in, const struct sl_head_limits *limits,
                                const struct sl_h1_origin *origin, struct sl_head *ret_head,
                                size_t *ret_used, struct sl_fault *fault)
{
    struct parser p = { .lex = { &of_request, limits, fault }, .head = ret_head };
    struct sl_h1_start line = { .len = 0 };
    size_t len, blank = blank_len(in);
    enum sl_err err;

    *ret_head = (struct sl_head){ .arena = ret_head->arena };
    in = sl_str_skip(in, blank);
    err = sl_h1_read_request_line(&p.lex, in, &line);
    if (err == SL_OK)
        err = sl_h1_find_end(&p.lex, in, line.len, &len);
    if (err != SL_OK)
        return err;
    err = take_head(&p, sl_str_head(in, len), &line);
    if (err == SL_OK)
        err = settle_request(&p, origin);
    if (err == SL_OK)
        *ret_used = blank + len;
    return err;
}

/* RFC 9110 section 7.8: only what was asked for, and it must say what it is. */
static enum sl_err settle_upgrade(struct parser *p, const struct sl_head *request)
{
    const struct sl_field *to = sl_fields_find(&p->head->fields, SL_FIELD_UPGRADE);

    if (!request->wants_upgrade)
        return fail(p, SL_UPGRADE_FAILED, "101 without an upgrade asked for");
    if (!p->head->wants_upgrade)
        return fail(p, SL_UPGRADE_FAILED, "101 without the upgrade in it");
    if (sl_fields_count(&p->head->fields, SL_FIELD_UPGRADE) != 1 ||
        !sl_fields_has_token(&request->fields, SL_FIELD_UPGRADE, to->value))
        return fail(p, SL_UPGRADE_FAILED, "101 to another protocol than asked for");
    p->head->framing = SL_FRAMING_RAW;
    return SL_OK;
}

/* Servers do say `Content-Length: 0` with these; any other length would be a second message. */
static enum sl_err settle_bodiless(struct parser *p)
{
    if (p->has_coding || p->head->content_length != 0)
        return fail(p, SL_BAD_RESPONSE, "framing on a response without content");
    return SL_OK;
}

/* RFC 9112 section 6.3, in its order. */
static enum sl_err settle_response_framing(struct parser *p, const struct sl_head *request)
{
    struct sl_head *head = p->head;
    unsigned hundreds = head->status / 100u;

    if (head->status == 101)
        return settle_upgrade(p, request);
    if (hundreds == 1 || head->status == 204)
        return settle_bodiless(p);
    if (request->is_connect && hundreds == 2)
        head->framing = SL_FRAMING_RAW;
    else if (head->status == 304 || sl_str_eq(request->method, SL_STR("HEAD")))
        head->framing = SL_FRAMING_NONE;
    else if (p->has_coding)
        head->framing = SL_FRAMING_CHUNKED;
    else
        head->framing = p->has_length ? SL_FRAMING_LENGTH : SL_FRAMING_CLOSE;
    return SL_OK;
}

/* size: a pure function: what it needs and what it gives are all in its parameters. */
enum sl_err sl_h1_parse_response(struct sl_str in, const struct sl_head_limits *limits,
                                 const struct sl_head *request, struct sl_head *ret_head,
                                 size_t *ret_used, struct sl_fault *fault)
{
    struct parser p = { .lex = { &of_response, limits, fault }, .head = ret_head };
    struct sl_h1_start line = { .len = 0 };
    size_t len;
    enum sl_err err;

    *ret_head = (struct sl_head){ .arena = ret_head->arena };
    err = sl_h1_read_status_line(&p.lex, in, &line);
    if (err == SL_OK)
        err = sl_h1_find_end(&p.lex, in, line.len, &len);
    if (err != SL_OK)
        return err;
    err = take_head(&p, sl_str_head(in, len), &line);
    if (err == SL_OK)
        err = settle_connection(&p);
    if (err == SL_OK)
        err = settle_response_framing(&p, request);
    if (err != SL_OK)
        return err;
    if (ret_head->framing == SL_FRAMING_CLOSE || ret_head->framing == SL_FRAMING_RAW)
        ret_head->keep_alive = false;
    *ret_used = len;
    return SL_OK;
}

/* size: a pure function: what it needs and what it gives are all in its parameters. */
enum sl_err sl_h1_parse_trailers(struct sl_str in, const struct sl_head_limits *limits,
                                 struct sl_arena *a, struct sl_fields *ret_fields, size_t *ret_used,
                                 struct sl_fault *fault)
{
    const struct sl_h1_lexer lex = { &of_trailers, limits, fault };
    struct sl_fields fields = { .n = 0 };
    struct sl_field f;
    struct sl_str section;
    size_t len;
    enum sl_err err = sl_h1_find_end(&lex, in, 0, &len);

    if (err != SL_OK)
        return err;
    section = sl_arena_str(a, sl_str_head(in, len));
    for (uint32_t n = 0; section.n > 2; n++) {
        if (n == limits->header_count)
            return sl_h1_lexer_fail(&lex, SL_HEADER_TOO_LARGE, "too many trailer fields");
        err = sl_h1_read_field(&lex, &section, &f.name, &f.value);
        if (err != SL_OK)
            return err;
        f.id = sl_field_id(f.name);
        if (sl_field_may_trail(&f))
            sl_fields_add(&fields, a, f.name, f.value);
    }
    *ret_fields = fields;
    *ret_used = len;
    return SL_OK;
}
