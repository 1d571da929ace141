/* h1_write.c -- heads in bytes.
 *
 * Invariant: what frames or routes a message is written from the head's own members; fields of
 * these names are left out, so that nobody who changes fields can make a message ambiguous.
 */
#include "base/mem.h"
#include "http/h1_codec.h"
#include "http/uri.h"

static const bool written_here[SL_FIELD_N] = {
    [SL_FIELD_CONNECTION] = true,
    [SL_FIELD_CONTENT_LENGTH] = true,
    [SL_FIELD_HOST] = true,
    [SL_FIELD_KEEP_ALIVE] = true,
    [SL_FIELD_PROXY_CONNECTION] = true,
    [SL_FIELD_TRANSFER_ENCODING] = true,
};

/* Methods that define content: a request without any says so (RFC 9110 section 8.6). */
static const struct sl_str content_methods[] = { { "POST", 4 }, { "PUT", 3 }, { "PATCH", 5 } };

static char *put(char *p, struct sl_str s)
{
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static void write_field(struct sl_buf *out, struct sl_str name, struct sl_str value)
{
    size_t n = name.n + value.n + 4;
    char *p = sl_buf_reserve(out, n);

    p = put(p, name);
    p = put(p, SL_STR(": "));
    p = put(p, value);
    put(p, SL_STR("\r\n"));
    sl_buf_commit(out, n);
}

static void write_length(struct sl_buf *out, uint64_t n)
{
    sl_buf_add_str(out, SL_STR("Content-Length: "));
    sl_buf_add_u64(out, n);
    sl_buf_add_str(out, SL_STR("\r\n"));
}

static void write_coding(struct sl_buf *out)
{
    sl_buf_add_str(out, SL_STR("Transfer-Encoding: chunked\r\n"));
}

/* RFC 9113 section 8.2.3: crumbs of HTTP/2 are one field here. */
static void write_crumbs(struct sl_buf *out, const struct sl_fields *fields)
{
    struct sl_str between = SL_STR("Cookie: ");

    for (uint32_t i = 0; i < fields->n; i++) {
        if (fields->v[i].id != SL_FIELD_COOKIE)
            continue;
        sl_buf_add_str(out, between);
        sl_buf_add_str(out, fields->v[i].value);
        between = SL_STR("; ");
    }
    if (between.n == 2)
        sl_buf_add_str(out, SL_STR("\r\n"));
}

static void write_fields(struct sl_buf *out, const struct sl_head *head)
{
    bool has_crumbs = head->major >= 2;

    if (has_crumbs)
        write_crumbs(out, &head->fields);
    for (uint32_t i = 0; i < head->fields.n; i++) {
        const struct sl_field *f = &head->fields.v[i];

        if ((has_crumbs && f->id == SL_FIELD_COOKIE) || written_here[f->id] ||
            (f->id == SL_FIELD_UPGRADE && !head->wants_upgrade))
            continue;
        write_field(out, f->name, f->value);
    }
}

static bool add_option(struct sl_buf *out, bool is_first, struct sl_str option)
{
    sl_buf_add_str(out, is_first ? SL_STR("Connection: ") : SL_STR(", "));
    sl_buf_add_str(out, option);
    return false;
}

static void write_connection(struct sl_buf *out, const struct sl_head *head, bool close)
{
    bool is_first = true;

    if (close)
        is_first = add_option(out, is_first, SL_STR("close"));
    if (head->wants_upgrade)
        is_first = add_option(out, is_first, SL_STR("upgrade"));
    if (sl_fields_find(&head->fields, SL_FIELD_TE) != NULL)
        is_first = add_option(out, is_first, SL_STR("TE"));
    if (!is_first)
        sl_buf_add_str(out, SL_STR("\r\n"));
}

static void write_authority(struct sl_buf *out, const struct sl_head *head)
{
    bool is_v6 = sl_str_find(head->host, ':') < head->host.n;

    if (is_v6)
        sl_buf_add_char(out, '[');
    sl_buf_add_str(out, head->host);
    if (is_v6)
        sl_buf_add_char(out, ']');
    if (!head->is_connect && head->port == sl_scheme_port(head->scheme))
        return;
    sl_buf_add_char(out, ':');
    sl_buf_add_u64(out, head->port);
}

static void write_target(struct sl_buf *out, const struct sl_head *head)
{
    if (head->is_connect) {
        write_authority(out, head);
        return;
    }
    if (head->is_absolute) {
        sl_buf_add_str(out, head->scheme);
        sl_buf_add_str(out, SL_STR("://"));
        write_authority(out, head);
    }
    if (!head->is_absolute || !sl_str_eq(head->target, SL_STR("*")))
        sl_buf_add_str(out, head->target);
}

static bool is_content_method(struct sl_str method)
{
    for (size_t i = 0; i < SL_LEN(content_methods); i++)
        if (sl_str_eq(method, content_methods[i]))
            return true;
    return false;
}

static void write_request_framing(struct sl_buf *out, const struct sl_head *head)
{
    switch (head->framing) {
    case SL_FRAMING_NONE:
        if (is_content_method(head->method))
            write_length(out, 0);
        break;
    case SL_FRAMING_LENGTH:
        write_length(out, head->content_length);
        break;
    case SL_FRAMING_CHUNKED:
        write_coding(out);
        break;
    case SL_FRAMING_CLOSE:
    case SL_FRAMING_RAW:
        break;
    }
}

void sl_h1_write_request(struct sl_buf *out, const struct sl_head *head, bool close)
{
    sl_buf_add_str(out, head->method);
    sl_buf_add_char(out, ' ');
    write_target(out, head);
    sl_buf_add_str(out, SL_STR(" HTTP/1.1\r\nHost: "));
    write_authority(out, head);
    sl_buf_add_str(out, SL_STR("\r\n"));
    write_fields(out, head);
    write_request_framing(out, head);
    write_connection(out, head, close);
    sl_buf_add_str(out, SL_STR("\r\n"));
}

static void write_status_line(struct sl_buf *out, const struct sl_head *head)
{
    struct sl_str reason = head->reason;

    if (reason.n == 0)
        reason = sl_str_of(sl_status_reason(head->status));
    sl_buf_add_str(out, SL_STR("HTTP/1.1 "));
    sl_buf_add_u64(out, head->status);
    sl_buf_add_char(out, ' ');
    sl_buf_add_str(out, reason);
    sl_buf_add_str(out, SL_STR("\r\n"));
}

static void write_response_framing(struct sl_buf *out, const struct sl_head *head, uint8_t minor)
{
    bool is_bodiless = head->status < 200 || head->status == 204 || head->status == 304;

    switch (head->framing) {
    case SL_FRAMING_NONE:
        if (!is_bodiless)
            write_length(out, 0);
        break;
    case SL_FRAMING_LENGTH:
        if (!is_bodiless || head->status == 304)
            write_length(out, head->content_length);
        break;
    case SL_FRAMING_CHUNKED:
        if (minor != 0)
            write_coding(out);
        break;
    case SL_FRAMING_CLOSE:
    case SL_FRAMING_RAW:
        break;
    }
}

/* A 1.0 peer keeps the connection only when told to, and only where it can see the body's end. */
static bool says_keep_alive(const struct sl_head *head, uint8_t minor, bool close)
{
    bool is_delimited = head->framing == SL_FRAMING_NONE || head->framing == SL_FRAMING_LENGTH;

    return minor == 0 && !close && is_delimited && head->status >= 200;
}

void sl_h1_write_response(struct sl_buf *out, const struct sl_head *head, uint8_t minor, bool close)
{
    write_status_line(out, head);
    write_fields(out, head);
    write_response_framing(out, head, minor);
    if (says_keep_alive(head, minor, close))
        sl_buf_add_str(out, SL_STR("Connection: keep-alive\r\n"));
    else
        write_connection(out, head, close);
    sl_buf_add_str(out, SL_STR("\r\n"));
}

void sl_h1_write_last_chunk(struct sl_buf *out, const struct sl_fields *trailers)
{
    sl_buf_add_str(out, SL_STR("0\r\n"));
    for (uint32_t i = 0; trailers != NULL && i < trailers->n; i++)
        if (!written_here[trailers->v[i].id])
            write_field(out, trailers->v[i].name, trailers->v[i].value);
    sl_buf_add_str(out, SL_STR("\r\n"));
}
