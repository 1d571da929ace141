/* reply.c -- form by form: what the client can read best, then the fields that all of them share.
 */
#include "proxy/reply.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"
#include "http/uri.h"
#include "policy/verdict.h"
#include "proxy/reply_page.h"

enum form { FORM_PLAIN, FORM_PAGE, FORM_PROBLEM, FORM_GRPC };

/* What is to be said, once defaults are settled. */
struct saying {
    const struct sl_reply_conf *conf;
    enum form form;
    uint16_t status;
    struct sl_str reason; /* not empty */
    struct sl_str detail; /* perhaps empty */
    struct sl_buf body;
};

/* -- choosing -- */

/* The type alone of "type; parameter". */
static struct sl_str media_type(struct sl_str value)
{
    return sl_str_trim(sl_str_head(value, sl_str_find(value, ';')));
}

static bool accepts_html(const struct sl_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        struct sl_str rest = fields->v[i].value, part;

        if (fields->v[i].id != SL_FIELD_ACCEPT)
            continue;
        while (sl_str_next(&rest, ',', &part))
            if (sl_str_ieq(media_type(part), SL_STR("text/html")))
                return true;
    }
    return false;
}

/* "application/grpc", "application/grpc+proto"; not grpc-web, which reads HTTP statuses. */
static bool is_grpc(const struct sl_fields *fields)
{
    const struct sl_field *f = sl_fields_find(fields, SL_FIELD_CONTENT_TYPE);
    struct sl_str type = f == NULL ? SL_STR("") : media_type(f->value);

    return sl_str_ieq(sl_str_head(type, sl_str_find(type, '+')), SL_STR("application/grpc"));
}

static enum form form_for(const struct sl_head *request)
{
    if (request == NULL)
        return FORM_PLAIN;
    if (is_grpc(&request->fields))
        return FORM_GRPC;
    return accepts_html(&request->fields) ? FORM_PAGE : FORM_PROBLEM;
}

static uint16_t status_for(const struct sl_reply_conf *conf)
{
    int http = sl_err_http(conf->err);

    if (conf->verdict != NULL && conf->verdict->status != 0)
        return conf->verdict->status;
    if (conf->status != 0)
        return conf->status;
    return http == 0 ? 500 : (uint16_t)http;
}

static struct sl_str reason_for(const struct sl_reply_conf *conf)
{
    if (conf->reason.n != 0)
        return conf->reason;
    if (conf->verdict != NULL && conf->verdict->reason.n != 0)
        return conf->verdict->reason;
    return sl_str_of(sl_err_text(conf->err));
}

static bool has_body(uint16_t status)
{
    return status >= 200 && status != 204 && status != 205 && status != 304;
}

/* After these nobody knows where the next request begins, or whether one will be sent. */
static bool ends_connection(enum sl_err err)
{
    static const enum sl_err ends[] = {
        SL_BAD_REQUEST,      SL_BAD_TARGET,   SL_BAD_HOST,        SL_BAD_FRAMING,    SL_BAD_VERSION,
        SL_HEADER_TOO_LARGE, SL_URI_TOO_LONG, SL_REQUEST_TIMEOUT, SL_BODY_TOO_LARGE,
    };

    for (size_t i = 0; i < SL_LEN(ends); i++)
        if (ends[i] == err)
            return true;
    return false;
}

/* -- bodies -- */

static struct sl_str host_shown(const struct sl_reply_conf *conf)
{
    const struct sl_head *r = conf->request;

    if (r->host.n == 0 || r->port == 0 || r->port == sl_scheme_port(r->scheme))
        return r->host;
    return sl_arena_printf(conf->arena, "%.*s:%u", SL_FMT(r->host), (unsigned)r->port);
}

static void write_page(struct saying *s)
{
    sl_reply_page_write(&s->body, &(struct sl_reply_page){ .err = s->conf->err,
                                                           .status = s->status,
                                                           .host = host_shown(s->conf),
                                                           .reason = s->reason,
                                                           .detail = s->detail,
                                                           .id = sl_str_of(s->conf->id) });
}

static struct sl_str whole_reason(const struct saying *s)
{
    if (s->detail.n == 0)
        return s->reason;
    return sl_arena_printf(s->conf->arena, "%.*s: %.*s", SL_FMT(s->reason), SL_FMT(s->detail));
}

static void write_problem(struct saying *s)
{
    sl_buf_add_str(&s->body, SL_STR("{\"type\":\"about:blank\",\"title\":"));
    sl_add_json(&s->body, sl_str_of(sl_status_reason(s->status)));
    sl_buf_addf(&s->body, ",\"status\":%u,\"detail\":", (unsigned)s->status);
    sl_add_json(&s->body, whole_reason(s));
    sl_buf_add_str(&s->body, SL_STR(",\"instance\":"));
    sl_add_json(&s->body, sl_arena_printf(s->conf->arena, "urn:sluice:exchange:%s", s->conf->id));
    sl_buf_add_str(&s->body, SL_STR("}\n"));
}

static void write_plain(struct saying *s)
{
    sl_buf_addf(&s->body, "%u %s: ", (unsigned)s->status, sl_status_reason(s->status));
    sl_buf_add_str(&s->body, whole_reason(s));
    sl_buf_addf(&s->body, "\nsluice, request %s\n", s->conf->id);
}

/* Answers the type of what it wrote. */
static struct sl_str write_own_body(struct saying *s)
{
    switch (s->form) {
    case FORM_PAGE:
        write_page(s);
        return SL_STR("text/html; charset=utf-8");
    case FORM_PROBLEM:
        write_problem(s);
        return SL_STR("application/problem+json");
    case FORM_PLAIN:
        write_plain(s);
        return SL_STR("text/plain; charset=utf-8");
    case FORM_GRPC:
        return SL_STR("application/grpc");
    }
    return SL_STR("");
}

static struct sl_str write_verdict_body(struct saying *s)
{
    struct sl_str body = s->conf->verdict->body;

    sl_buf_add_str(&s->body, body);
    if (body.n != 0 && body.p[0] == '<')
        return SL_STR("text/html; charset=utf-8");
    return SL_STR("text/plain; charset=utf-8");
}

/* -- fields -- */

static void add(struct sl_head *head, const char *name, struct sl_str value)
{
    sl_fields_add(&head->fields, head->arena, sl_str_of(name), value);
}

/* What was put together in a buf, kept in the arena. */
static struct sl_str keep(struct sl_arena *a, struct sl_buf *b)
{
    struct sl_str kept = sl_arena_str(a, sl_buf_str(b));

    sl_buf_fini(b);
    return kept;
}

static struct sl_str proxy_status(const struct saying *s)
{
    const char *error = sl_err_proxy_status(s->conf->err);
    struct sl_buf b = { 0 };

    sl_buf_add_str(&b, SL_STR("sluice"));
    if (error[0] != '\0')
        sl_buf_addf(&b, "; error=%s", error);
    sl_buf_add_str(&b, SL_STR("; details="));
    sl_add_sf_string(&b, s->detail.n != 0 ? s->detail : s->reason);
    return keep(s->conf->arena, &b);
}

static void add_content_fields(struct saying *s, struct sl_head *head)
{
    bool is_ours =
        s->form == FORM_GRPC || s->conf->verdict == NULL || s->conf->verdict->body.p == NULL;
    struct sl_str type = is_ours ? write_own_body(s) : write_verdict_body(s);

    add(head, "Content-Type", type);
    add(head, "X-Content-Type-Options", SL_STR("nosniff"));
    if (is_ours && s->form == FORM_PAGE)
        add(head, "Content-Security-Policy",
            SL_STR("default-src 'none'; style-src 'unsafe-inline'"));
}

static void add_common_fields(const struct saying *s, struct sl_head *head)
{
    char date[30];

    add(head, "Cache-Control", SL_STR("no-store"));
    add(head, "Proxy-Status", proxy_status(s));
    sl_clock_http_date((time_t)(sl_clock_us() / 1000000), date);
    add(head, "Date", sl_arena_str(head->arena, sl_str_of(date)));
    if (s->conf->err == SL_CHECK_FAILED || s->conf->err == SL_TOO_MANY || s->conf->err == SL_LIMIT)
        add(head, "Retry-After", SL_STR("1"));
}

/* A field of the verdict takes the place of ours; two of its own with one name both stay. */
static void add_verdict_fields(const struct saying *s, struct sl_head *head)
{
    const struct sl_fields *given = &s->conf->verdict->headers;

    for (uint32_t i = 0; i < given->n; i++)
        if (s->form != FORM_GRPC || given->v[i].id != SL_FIELD_CONTENT_TYPE)
            sl_fields_remove_name(&head->fields, given->v[i].name);
    for (uint32_t i = 0; i < given->n; i++)
        if (s->form != FORM_GRPC || given->v[i].id != SL_FIELD_CONTENT_TYPE)
            sl_fields_add(&head->fields, head->arena, sl_arena_str(head->arena, given->v[i].name),
                          sl_arena_str(head->arena, given->v[i].value));
}

/* -- gRPC -- */

/* As clients map what does not come from a gRPC server (gRPC, "HTTP to gRPC status code mapping");
 * a denial is one whatever status it was given. */
static const char *grpc_status(const struct saying *s)
{
    if (s->conf->err == SL_DENIED)
        return "7";
    switch (s->status) {
    case 400:
        return "13";
    case 401:
        return "16";
    case 403:
        return "7";
    case 404:
        return "12";
    case 429:
    case 502:
    case 503:
    case 504:
        return "14";
    default:
        return "2";
    }
}

/* A blank at either end would be no part of the field's value. */
static bool is_kept_in_grpc(struct sl_str text, size_t i)
{
    if (text.p[i] == ' ')
        return i != 0 && i + 1 != text.n;
    return text.p[i] > ' ' && text.p[i] <= '~' && text.p[i] != '%';
}

/* Percent-Byte-Encoded of the gRPC wire format: printable ASCII but '%' stays. */
static struct sl_str grpc_message(const struct saying *s)
{
    struct sl_str text = whole_reason(s);
    struct sl_buf b = { 0 };

    for (size_t i = 0; i < text.n; i++) {
        if (is_kept_in_grpc(text, i))
            sl_buf_add_char(&b, text.p[i]);
        else
            sl_buf_addf(&b, "%%%02X", (unsigned)(unsigned char)text.p[i]);
    }
    return keep(s->conf->arena, &b);
}

static void add_grpc_fields(const struct saying *s, struct sl_head *head)
{
    add(head, "Grpc-Status", sl_str_of(grpc_status(s)));
    add(head, "Grpc-Message", grpc_message(s));
}

/* ---------------------------------------------------------------------------------------------- */

static void settle(const struct sl_reply_conf *conf, struct saying *s)
{
    struct sl_str detail = sl_str_of(conf->detail);

    *s = (struct saying){ .conf = conf,
                          .form = form_for(conf->request),
                          .status = status_for(conf),
                          .reason = reason_for(conf) };
    if (!sl_str_eq(detail, s->reason))
        s->detail = detail;
}

static void set_framing(const struct saying *s, struct sl_reply *reply)
{
    if (s->form == FORM_GRPC || !has_body(s->status)) {
        reply->head.framing = SL_FRAMING_NONE;
        reply->body = SL_STR("");
        return;
    }
    reply->head.framing = SL_FRAMING_LENGTH;
    reply->head.content_length = reply->body.n;
}

void sl_reply_make(const struct sl_reply_conf *conf, struct sl_reply *ret_reply)
{
    struct sl_head *head = &ret_reply->head;
    struct saying s;

    settle(conf, &s);
    *ret_reply = (struct sl_reply){ .head = { .arena = conf->arena,
                                              .status = s.form == FORM_GRPC ? 200 : s.status,
                                              .major = 1,
                                              .minor = 1,
                                              .keep_alive = !ends_connection(conf->err) } };
    head->reason = sl_str_of(sl_status_reason(head->status));
    add_content_fields(&s, head);
    add_common_fields(&s, head);
    if (s.form == FORM_GRPC)
        add_grpc_fields(&s, head);
    if (conf->verdict != NULL)
        add_verdict_fields(&s, head);
    ret_reply->body = keep(conf->arena, &s.body);
    set_framing(&s, ret_reply);
}
