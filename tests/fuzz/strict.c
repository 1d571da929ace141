/* strict.c -- lines end in CRLF and hold neither of the two; everything else follows from that. */
#include "strict.h"

#include <ctype.h>
#include <strings.h>

static bool is_token(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && memchr("!#$%&'*+-.^_`|~", s.p[i], 15) == NULL)
            return false;
    return s.n != 0;
}

static bool is_visible(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.n != 0;
}

static bool is_value(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return s.n == 0 || (strchr(" \t", s.p[0]) == NULL && strchr(" \t", s.p[s.n - 1]) == NULL);
}

static bool is_named(struct sl_str name, const char *want)
{
    return name.n == strlen(want) && strncasecmp(name.p, want, name.n) == 0;
}

/* Cuts a line off the front. */
static enum strict next_line(struct sl_str *in, struct sl_str *ret_line)
{
    const char *lf = memchr(in->p, '\n', in->n);
    size_t n = lf != NULL ? (size_t)(lf - in->p) : in->n;
    const char *cr = memchr(in->p, '\r', n);

    if (lf == NULL)
        return cr == NULL || cr == in->p + n - 1 ? STRICT_MORE : STRICT_BAD;
    if (n == 0 || cr != lf - 1)
        return STRICT_BAD;
    *ret_line = sl_str_make(in->p, n - 1);
    *in = sl_str_make(lf + 1, in->n - n - 1);
    return STRICT_OK;
}

static bool read_request_line(struct sl_str line, struct strict_request *r)
{
    static const char version[] = " HTTP/1.1";
    const char *blank = memchr(line.p, ' ', line.n);
    size_t n_version = sizeof(version) - 1, n_method;

    if (blank == NULL || line.n < n_version ||
        memcmp(line.p + line.n - n_version, version, n_version) != 0)
        return false;
    n_method = (size_t)(blank - line.p);
    if (n_method + 1 + n_version > line.n)
        return false;
    r->method = sl_str_make(line.p, n_method);
    r->target = sl_str_make(blank + 1, line.n - n_version - n_method - 1);
    return is_token(r->method) && is_visible(r->target);
}

static bool read_length(struct sl_str value, struct strict_framing *f)
{
    if (f->has_length || value.n == 0 || value.n > 19)
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (!isdigit((unsigned char)value.p[i]))
            return false;
        f->length = f->length * 10 + (uint64_t)(value.p[i] - '0');
    }
    f->has_length = true;
    return true;
}

/* The three that a proxy of ours says, in its own order and letters. */
static bool read_connection(struct sl_str value, struct strict_request *r)
{
    static const char *const known[] = { "close", "upgrade", "TE" };
    size_t at = 0;

    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(known[i]);

        if (value.n - at < n || memcmp(value.p + at, known[i], n) != 0)
            continue;
        r->is_upgrade |= i == 1;
        at += n;
        if (value.n - at > 2 && memcmp(value.p + at, ", ", 2) == 0)
            at += 2;
    }
    if (r->has_connection || at != value.n || at == 0)
        return false;
    r->has_connection = true;
    return true;
}

static bool stays_between_hops(struct sl_str name)
{
    return is_named(name, "keep-alive") || is_named(name, "http2-settings") ||
           (name.n > 6 && strncasecmp(name.p, "proxy-", 6) == 0);
}

static bool take_field(struct sl_str name, struct sl_str value, struct strict_request *r)
{
    struct strict_framing *f = &r->framing;

    if (!is_token(name) || !is_value(value) || stays_between_hops(name))
        return false;
    if (is_named(name, "host")) {
        if (r->host.n != 0 || r->n_fields != 0 || !is_visible(value))
            return false;
        r->host = value;
        return true;
    }
    if (is_named(name, "content-length"))
        return !f->is_chunked && read_length(value, f);
    if (is_named(name, "transfer-encoding")) {
        if (f->has_length || f->is_chunked || value.n != 7 || memcmp(value.p, "chunked", 7) != 0)
            return false;
        f->is_chunked = true;
        return true;
    }
    if (is_named(name, "connection"))
        return read_connection(value, r);
    if (r->n_fields == STRICT_FIELDS)
        return false;
    r->fields[r->n_fields++] = (struct strict_field){ name, value };
    return true;
}

static bool split_field(struct sl_str line, struct strict_field *ret)
{
    const char *colon = memchr(line.p, ':', line.n);
    size_t n;

    if (colon == NULL)
        return false;
    n = (size_t)(colon - line.p);
    if (line.n < n + 2 || colon[1] != ' ')
        return false;
    *ret = (struct strict_field){ sl_str_make(line.p, n), sl_str_make(colon + 2, line.n - n - 2) };
    return true;
}

enum strict strict_head(struct sl_str in, struct strict_request *ret_request)
{
    struct strict_request *r = ret_request;
    struct sl_str rest = in, line;
    struct strict_field f;
    enum strict err = next_line(&rest, &line);

    memset(r, 0, sizeof(*r));
    if (err == STRICT_OK && !read_request_line(line, r))
        return STRICT_BAD;
    while (err == STRICT_OK && (err = next_line(&rest, &line)) == STRICT_OK && line.n != 0)
        if (!split_field(line, &f) || !take_field(f.name, f.value, r) || r->host.n == 0)
            return STRICT_BAD;
    if (err != STRICT_OK)
        return err;
    r->len = (size_t)(rest.p - in.p);
    return r->host.n != 0 ? STRICT_OK : STRICT_BAD;
}

/* RFC 9110 section 6.5.1: a trailer that would frame, route or authenticate. */
static bool may_trail(struct sl_str name)
{
    static const char *const never[] = {
        "content-length", "transfer-encoding", "host",   "connection", "te",
        "trailer",        "authorization",     "cookie", "upgrade",    "content-type",
        "expect",         "set-cookie"
    };

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (is_named(name, never[i]))
            return false;
    return is_token(name) && !stays_between_hops(name);
}

static enum strict read_trailers(struct sl_str *rest)
{
    struct strict_field f;
    struct sl_str line;
    enum strict err;

    while ((err = next_line(rest, &line)) == STRICT_OK && line.n != 0)
        if (!split_field(line, &f) || !may_trail(f.name) || !is_value(f.value))
            return STRICT_BAD;
    return err;
}

static bool read_size(struct sl_str line, size_t *ret_size)
{
    static const char digits[] = "0123456789abcdef";
    size_t size = 0;

    if (line.n == 0 || line.n > 8 || (line.n > 1 && line.p[0] == '0'))
        return false;
    for (size_t i = 0; i < line.n; i++) {
        const char *at = memchr(digits, line.p[i], 16);

        if (at == NULL)
            return false;
        size = size << 4 | (size_t)(at - digits);
    }
    *ret_size = size;
    return true;
}

static enum strict read_chunks(struct sl_str *rest)
{
    for (;;) {
        struct sl_str line;
        size_t size;
        enum strict err = next_line(rest, &line);

        if (err != STRICT_OK)
            return err;
        if (!read_size(line, &size))
            return STRICT_BAD;
        if (size == 0)
            return read_trailers(rest);
        if (rest->n < size + 2)
            return STRICT_MORE;
        if (memcmp(rest->p + size, "\r\n", 2) != 0)
            return STRICT_BAD;
        *rest = sl_str_make(rest->p + size + 2, rest->n - size - 2);
    }
}

enum strict strict_body(const struct strict_framing *f, struct sl_str in, size_t *ret_n)
{
    struct sl_str rest = in;
    enum strict err;

    if (!f->is_chunked) {
        *ret_n = (size_t)f->length;
        return f->length <= in.n ? STRICT_OK : STRICT_MORE;
    }
    err = read_chunks(&rest);
    *ret_n = in.n - rest.n;
    return err;
}

/* -- WebSocket -- */

struct frame {
    unsigned first, opcode, head_len;
    bool is_masked, is_minimal;
    uint64_t len;
};

/* False while its head is not whole. */
static bool read_frame(struct sl_str in, struct frame *ret)
{
    const uint8_t *p = (const uint8_t *)in.p;
    unsigned more = 0;

    if (in.n < 2)
        return false;
    *ret = (struct frame){ .first = p[0], .opcode = p[0] & 15u, .is_masked = p[1] > 127 };
    ret->len = p[1] & 127u;
    if (ret->len > 125)
        more = ret->len == 126 ? 2 : 8;
    ret->head_len = 2 + more + (ret->is_masked ? 4 : 0);
    if (in.n < ret->head_len)
        return false;
    for (unsigned i = 0; i < more; i++)
        ret->len = (i == 0 ? 0 : ret->len << 8) | p[2 + i];
    ret->is_minimal = more == 0 || (more == 2 && ret->len > 125) ||
                      (more == 8 && ret->len > 65535 && ret->len >> 63 == 0);
    return true;
}

static bool is_sound(const struct frame *f, bool is_open)
{
    if (!f->is_minimal || (f->first & 0x30) != 0)
        return false;
    if (f->opcode >= 8)
        return f->opcode <= 10 && f->first >> 7 == 1 && f->len <= 125;
    return f->opcode <= 2 && (f->opcode == 0) == is_open;
}

bool strict_frames(struct sl_str in, bool is_from_client)
{
    bool is_open = false, is_over = false;
    struct frame f;

    while (read_frame(in, &f)) {
        if (is_over || f.is_masked != is_from_client || !is_sound(&f, is_open))
            return false;
        if (f.opcode < 8)
            is_open = f.first >> 7 == 0;
        is_over = f.opcode == 8;
        if (in.n - f.head_len < f.len)
            return true;
        in = sl_str_make(in.p + f.head_len + f.len, in.n - f.head_len - (size_t)f.len);
    }
    return true;
}
