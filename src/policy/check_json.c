/* check_json.c -- one pass over a jansson tree; each reader answers false after it has set the
 * fault. */
#include "policy/check_json.h"

#include <jansson.h>

#include "base/mem.h"

struct reader {
    struct sl_verdict *v;
    struct sl_fault *fault;
};

/* Both keep a reply from growing the page, the log line or the request without bound. */
#define MAX_FIELDS 256
#define MAX_REASON ((size_t)512)

static bool bad(const struct reader *r, const char *member, const char *what)
{
    sl_fault_set(r->fault, SL_PROTOCOL, "bad reply: \"%s\" %s", member, what);
    return false;
}

/* null is as good as absent: many encoders write it for an empty member. */
static json_t *member_of(const json_t *object, const char *member)
{
    json_t *j = json_object_get(object, member);

    return json_is_null(j) ? NULL : j;
}

/* A string member: false only when it is there and no string. */
static bool read_string(const struct reader *r, const json_t *object, const char *member,
                        struct sl_str *ret)
{
    const json_t *j = member_of(object, member);

    if (j == NULL)
        return true;
    if (!json_is_string(j))
        return bad(r, member, "is no string");
    *ret = sl_arena_str(&r->v->arena, sl_str_make(json_string_value(j), json_string_length(j)));
    return true;
}

/* Framing, routing and hop-by-hop fields are the proxy's own. */
static bool may_edit(struct sl_str name)
{
    static const enum sl_field_id own[] = {
        SL_FIELD_CONNECTION,       SL_FIELD_CONTENT_LENGTH,
        SL_FIELD_EXPECT,           SL_FIELD_HOST,
        SL_FIELD_HTTP2_SETTINGS,   SL_FIELD_KEEP_ALIVE,
        SL_FIELD_PROXY_CONNECTION, SL_FIELD_TE,
        SL_FIELD_TRAILER,          SL_FIELD_TRANSFER_ENCODING,
        SL_FIELD_UPGRADE,
    };
    enum sl_field_id id = sl_field_id(name);

    for (size_t i = 0; i < SL_LEN(own); i++) {
        if (id == own[i])
            return false;
    }
    return sl_is_token(name);
}

static bool read_field(const struct reader *r, const char *member, const char *key, const json_t *j,
                       struct sl_fields *to)
{
    struct sl_str name = sl_str_of(key), value;

    if (!may_edit(name))
        return bad(r, member, "names a field that cannot be set");
    if (to->n == MAX_FIELDS)
        return bad(r, member, "has too many fields");
    if (!json_is_string(j))
        return bad(r, member, "has a value that is no string");
    value = sl_str_trim(sl_str_make(json_string_value(j), json_string_length(j)));
    if (!sl_is_field_value(value))
        return bad(r, member, "has a value that is no field value");
    sl_fields_add(to, &r->v->arena, sl_arena_str(&r->v->arena, name),
                  sl_arena_str(&r->v->arena, value));
    return true;
}

/* {"name":"value"} or {"name":["value","value"]} */
static bool read_fields(const struct reader *r, const json_t *object, const char *member,
                        struct sl_fields *to)
{
    json_t *fields = member_of(object, member), *j;
    const char *key;

    if (fields == NULL)
        return true;
    if (!json_is_object(fields))
        return bad(r, member, "is no object");
    json_object_foreach(fields, key, j)
    {
        if (!json_is_array(j)) {
            if (!read_field(r, member, key, j, to))
                return false;
            continue;
        }
        for (size_t i = 0; i < json_array_size(j); i++) {
            if (!read_field(r, member, key, json_array_get(j, i), to))
                return false;
        }
    }
    return true;
}

static bool read_names(const struct reader *r, const json_t *object, const char *member,
                       struct sl_fields *to)
{
    const json_t *list = member_of(object, member);

    if (list == NULL)
        return true;
    if (!json_is_array(list) || json_array_size(list) > MAX_FIELDS)
        return bad(r, member, "is no array, or a long one");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        struct sl_str name = sl_str_of(json_string_value(j));

        if (name.p == NULL || !may_edit(name))
            return bad(r, member, "names a field that cannot be removed");
        sl_fields_add(to, &r->v->arena, sl_arena_str(&r->v->arena, name), SL_STR(""));
    }
    return true;
}

static bool read_edit(const struct reader *r, const json_t *root, const char *member,
                      struct sl_edit *to)
{
    const json_t *j = member_of(root, member);

    if (j == NULL)
        return true;
    if (!json_is_object(j))
        return bad(r, member, "is no object");
    return read_fields(r, j, "set", &to->set) && read_names(r, j, "remove", &to->remove);
}

static bool read_vary(const struct reader *r, const json_t *cache)
{
    const json_t *list = member_of(cache, "vary");

    r->v->vary.all = list == NULL;
    if (list == NULL)
        return true;
    if (!json_is_array(list))
        return bad(r, "vary", "is no array");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));

        if (name == NULL || !sl_vary_add(&r->v->vary, sl_str_of(name)))
            return bad(r, "vary", "names something that is not asked");
    }
    return true;
}

static bool read_cache(const struct reader *r, const json_t *root)
{
    const json_t *cache = member_of(root, "cache"), *ttl;
    double seconds;

    r->v->vary.all = true;
    if (cache == NULL)
        return true;
    if (!json_is_object(cache))
        return bad(r, "cache", "is no object");
    ttl = member_of(cache, "ttl");
    if (ttl != NULL) {
        seconds = json_number_value(ttl);
        if (!json_is_number(ttl) || !(seconds >= 0 && seconds <= 1e9))
            return bad(r, "ttl", "is no number of seconds");
        r->v->has_ttl = true;
        r->v->ttl_s = (uint32_t)seconds;
    }
    return read_vary(r, cache);
}

static bool read_status(const struct reader *r, const json_t *root)
{
    const json_t *j = member_of(root, "status");

    r->v->status = 403;
    if (j == NULL)
        return true;
    if (!json_is_integer(j) || json_integer_value(j) < 200 || json_integer_value(j) > 599)
        return bad(r, "status", "is no final HTTP status");
    r->v->status = (uint16_t)json_integer_value(j);
    return true;
}

static bool read_action(const struct reader *r, const json_t *root)
{
    const char *action = json_string_value(json_object_get(root, "action"));

    if (action != NULL && strcmp(action, "allow") == 0)
        r->v->allow = true;
    else if (action == NULL || strcmp(action, "deny") != 0)
        return bad(r, "action", "is neither allow nor deny");
    return true;
}

/* Cut between two characters, so that it stays UTF-8. */
static struct sl_str cut(struct sl_str s)
{
    size_t n = MAX_REASON;

    if (s.n <= MAX_REASON)
        return s;
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return sl_str_head(s, n);
}

static bool read_reply(const struct reader *r, const json_t *root)
{
    struct sl_verdict *v = r->v;

    if (!json_is_object(root))
        return bad(r, "", "is no object");
    if (!read_action(r, root) || !read_cache(r, root) ||
        !read_string(r, root, "reason", &v->reason))
        return false;
    v->reason = cut(v->reason);
    if (v->allow)
        return read_edit(r, root, "request", &v->request) &&
               read_edit(r, root, "response", &v->response);
    return read_status(r, root) && read_fields(r, root, "headers", &v->headers) &&
           read_string(r, root, "body", &v->body);
}

enum sl_err sl_check_json_parse(struct sl_str body, struct sl_verdict **ret_verdict,
                                struct sl_fault *fault)
{
    struct reader r = { .fault = fault };
    json_error_t error;
    json_t *root = NULL;
    bool ok;

    if (body.n > SL_CHECK_JSON_MAX)
        return sl_fault_set(fault, SL_PROTOCOL, "bad reply: over %zu bytes", SL_CHECK_JSON_MAX);
    root = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return sl_fault_set(fault, SL_PROTOCOL, "bad reply: not JSON, line %d column %d",
                            error.line, error.column);
    r.v = sl_verdict_new();
    ok = read_reply(&r, root);
    if (ok)
        *ret_verdict = sl_verdict_ref(r.v);
    json_decref(root);
    sl_verdict_unref(&r.v);
    return ok ? SL_OK : SL_PROTOCOL;
}
