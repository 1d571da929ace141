/* message.c -- lists of fields are arrays in the arena that double; a list that grew leaves its old
 * array behind until the arena goes.
 *
 * Invariant: every field's id is sl_field_id() of its name.
 */
#include "http/message.h"

#include "base/mem.h"
#include "http/chars.h"

#define FIRST_CAP 16u
#define IDS_PER_LENGTH 3

static const struct sl_str names[SL_FIELD_N] = {
#define X(id, name) [SL_FIELD_##id] = { name, sizeof(name) - 1 },
    SL_FIELD_MAP(X)
#undef X
};

/* Two or three comparisons a name at most; the unit test sees to it that no name is missing. */
static const uint8_t ids_by_length[][IDS_PER_LENGTH] = {
    [2] = { SL_FIELD_TE },
    [3] = { SL_FIELD_VIA },
    [4] = { SL_FIELD_HOST, SL_FIELD_DATE },
    [6] = { SL_FIELD_ACCEPT, SL_FIELD_COOKIE, SL_FIELD_EXPECT },
    [7] = { SL_FIELD_UPGRADE, SL_FIELD_TRAILER, SL_FIELD_ALT_SVC },
    [10] = { SL_FIELD_CONNECTION, SL_FIELD_KEEP_ALIVE },
    [11] = { SL_FIELD_RETRY_AFTER },
    [12] = { SL_FIELD_CONTENT_TYPE, SL_FIELD_PROXY_STATUS },
    [13] = { SL_FIELD_AUTHORIZATION },
    [14] = { SL_FIELD_CONTENT_LENGTH, SL_FIELD_HTTP2_SETTINGS },
    [16] = { SL_FIELD_PROXY_CONNECTION, SL_FIELD_WWW_AUTHENTICATE },
    [17] = { SL_FIELD_TRANSFER_ENCODING },
    [18] = { SL_FIELD_PROXY_AUTHENTICATE },
    [19] = { SL_FIELD_PROXY_AUTHORIZATION },
};

/* Content-Length and Host are end-to-end by name, but written anew by the codec. */
static const bool stays_here[SL_FIELD_N] = {
    [SL_FIELD_CONNECTION] = true,
    [SL_FIELD_CONTENT_LENGTH] = true,
    [SL_FIELD_HOST] = true,
    [SL_FIELD_HTTP2_SETTINGS] = true,
    [SL_FIELD_KEEP_ALIVE] = true,
    [SL_FIELD_PROXY_AUTHENTICATE] = true,
    [SL_FIELD_PROXY_AUTHORIZATION] = true,
    [SL_FIELD_PROXY_CONNECTION] = true,
    [SL_FIELD_PROXY_STATUS] = true,
    [SL_FIELD_TE] = true,
    [SL_FIELD_TRANSFER_ENCODING] = true,
    [SL_FIELD_UPGRADE] = true,
};

/* Options of Connection that name no field which would not be left out anyway. */
static const struct sl_str plain_options[] = {
    { "keep-alive", 10 },
    { "close", 5 },
    { "upgrade", 7 },
    { "te", 2 },
};

static const struct sl_str idempotent_methods[] = {
    { "GET", 3 }, { "HEAD", 4 }, { "PUT", 3 }, { "DELETE", 6 }, { "OPTIONS", 7 }, { "TRACE", 5 },
};

static const struct {
    uint16_t status;
    const char *reason;
} reasons[] = {
    { 100, "Continue" },
    { 101, "Switching Protocols" },
    { 102, "Processing" },
    { 103, "Early Hints" },
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 203, "Non-Authoritative Information" },
    { 204, "No Content" },
    { 205, "Reset Content" },
    { 206, "Partial Content" },
    { 207, "Multi-Status" },
    { 208, "Already Reported" },
    { 226, "IM Used" },
    { 300, "Multiple Choices" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 305, "Use Proxy" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 407, "Proxy Authentication Required" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 423, "Locked" },
    { 424, "Failed Dependency" },
    { 425, "Too Early" },
    { 426, "Upgrade Required" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 451, "Unavailable For Legal Reasons" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 506, "Variant Also Negotiates" },
    { 507, "Insufficient Storage" },
    { 508, "Loop Detected" },
    { 511, "Network Authentication Required" },
};

enum sl_field_id sl_field_id(struct sl_str name)
{
    if (name.n >= SL_LEN(ids_by_length))
        return SL_FIELD_OTHER;
    for (size_t i = 0; i < IDS_PER_LENGTH; i++) {
        uint8_t id = ids_by_length[name.n][i];

        if (id == SL_FIELD_OTHER)
            break;
        if (sl_lower(name.p[0]) == names[id].p[0] && sl_str_ieq(name, names[id]))
            return id;
    }
    return SL_FIELD_OTHER;
}

static void grow(struct sl_fields *f, struct sl_arena *a)
{
    uint32_t cap = f->cap == 0 ? FIRST_CAP : f->cap * 2;
    struct sl_field *v = sl_arena_alloc(a, cap * sizeof(*v));

    if (f->n != 0)
        memcpy(v, f->v, f->n * sizeof(*v));
    f->v = v;
    f->cap = cap;
}

void sl_fields_add(struct sl_fields *f, struct sl_arena *a, struct sl_str name, struct sl_str value)
{
    if (f->n == f->cap)
        grow(f, a);
    f->v[f->n++] = (struct sl_field){ .id = sl_field_id(name), .name = name, .value = value };
}

const struct sl_field *sl_fields_find(const struct sl_fields *f, enum sl_field_id id)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].id == id)
            return &f->v[i];
    return NULL;
}

static struct sl_field *find_name(const struct sl_fields *f, struct sl_str name)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].name.n == name.n && sl_str_ieq(f->v[i].name, name))
            return &f->v[i];
    return NULL;
}

const struct sl_field *sl_fields_find_name(const struct sl_fields *f, struct sl_str name)
{
    return find_name(f, name);
}

uint32_t sl_fields_count(const struct sl_fields *f, enum sl_field_id id)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < f->n; i++)
        n += f->v[i].id == id;
    return n;
}

/* Takes out those from @a start on. */
static void remove_from(struct sl_fields *f, uint32_t start, struct sl_str name)
{
    uint32_t kept = start;

    for (uint32_t i = start; i < f->n; i++)
        if (f->v[i].name.n != name.n || !sl_str_ieq(f->v[i].name, name))
            f->v[kept++] = f->v[i];
    f->n = kept;
}

void sl_fields_remove_name(struct sl_fields *f, struct sl_str name)
{
    remove_from(f, 0, name);
}

void sl_fields_set(struct sl_fields *f, struct sl_arena *a, struct sl_str name, struct sl_str value)
{
    struct sl_field *first = find_name(f, name);

    if (first == NULL) {
        sl_fields_add(f, a, name, value);
        return;
    }
    first->value = value;
    remove_from(f, (uint32_t)(first - f->v) + 1, name);
}

static bool list_has(struct sl_str list, struct sl_str token)
{
    struct sl_str part;

    while (sl_str_next(&list, ',', &part))
        if (sl_str_ieq(part, token))
            return true;
    return false;
}

bool sl_fields_has_token(const struct sl_fields *f, enum sl_field_id id, struct sl_str token)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].id == id && list_has(f->v[i].value, token))
            return true;
    return false;
}

static bool is_plain_option(struct sl_str option)
{
    for (size_t i = 0; i < SL_LEN(plain_options); i++)
        if (sl_str_ieq(option, plain_options[i]))
            return true;
    return option.n == 0;
}

/* Most messages name no field in Connection, and need not be searched once a field. */
static bool connection_names_fields(const struct sl_fields *f)
{
    struct sl_str rest, option;

    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != SL_FIELD_CONNECTION)
            continue;
        rest = f->v[i].value;
        while (sl_str_next(&rest, ',', &option))
            if (!is_plain_option(option))
                return true;
    }
    return false;
}

static bool is_for_proxies(const struct sl_field *f)
{
    static const struct sl_str prefix = { "proxy-", 6 };

    return f->id == SL_FIELD_OTHER && sl_str_ieq(sl_str_head(f->name, prefix.n), prefix);
}

bool sl_field_may_travel(struct sl_str name)
{
    const struct sl_field f = { .id = sl_field_id(name), .name = name };

    if (f.id == SL_FIELD_TE || f.id == SL_FIELD_UPGRADE)
        return true;
    return !stays_here[f.id] && !is_for_proxies(&f);
}

void sl_fields_copy_end_to_end(struct sl_fields *to, struct sl_arena *a,
                               const struct sl_fields *from)
{
    bool named = connection_names_fields(from);

    for (uint32_t i = 0; i < from->n; i++) {
        const struct sl_field *f = &from->v[i];

        if (stays_here[f->id] || is_for_proxies(f))
            continue;
        if (named && sl_fields_has_token(from, SL_FIELD_CONNECTION, f->name))
            continue;
        sl_fields_add(to, a, f->name, f->value);
    }
    if (sl_fields_has_token(from, SL_FIELD_TE, SL_STR("trailers")))
        sl_fields_add(to, a, SL_STR("TE"), SL_STR("trailers"));
}

bool sl_is_token(struct sl_str s)
{
    return s.n != 0 && sl_char_span(s.p, s.p + s.n, SL_CHAR_TOKEN) == s.n;
}

bool sl_is_field_value(struct sl_str s)
{
    return s.n == 0 || sl_char_span(s.p, s.p + s.n, SL_CHAR_VALUE) == s.n;
}

bool sl_method_is_idempotent(struct sl_str method)
{
    for (size_t i = 0; i < SL_LEN(idempotent_methods); i++)
        if (sl_str_eq(method, idempotent_methods[i]))
            return true;
    return false;
}

const char *sl_status_reason(uint16_t status)
{
    for (size_t i = 0; i < SL_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

bool sl_field_may_trail(const struct sl_field *f)
{
    static const bool known[SL_FIELD_N] = {
        [SL_FIELD_OTHER] = true,
        [SL_FIELD_DATE] = true,
        [SL_FIELD_VIA] = true,
        [SL_FIELD_PROXY_STATUS] = true,
    };
    static const struct sl_str others[] = {
        { "set-cookie", 10 },
        { "content-encoding", 16 },
        { "content-range", 13 },
        { "cache-control", 13 },
        { "max-forwards", 12 },
        { "location", 8 },
        { "forwarded", 9 },
        { "x-forwarded-for", 15 },
        { "x-forwarded-host", 16 },
        { "x-forwarded-proto", 17 },
        { "range", 5 },
    };

    for (size_t i = 0; i < SL_LEN(others); i++)
        if (sl_str_ieq(f->name, others[i]))
            return false;
    return known[f->id];
}
