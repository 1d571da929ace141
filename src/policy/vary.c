/* vary.c -- each part of a key is written with its length in front, so that no two questions
 * collide. */
#include "policy/vary.h"

#include "base/mem.h"
#include "policy/question.h"

static const char *const names[] = {
#define X(id, name) [SL_VARY_##id] = name,
    SL_VARY_MAP(X)
#undef X
};

static bool add_header(struct sl_vary *v, struct sl_str name)
{
    char *to = v->headers[v->n_headers];

    if (v->n_headers == SL_VARY_MAX_HEADERS || name.n >= SL_VARY_MAX_NAME || !sl_is_token(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        to[i] = sl_lower(name.p[i]);
    to[name.n] = '\0';
    v->n_headers++;
    return true;
}

bool sl_vary_add(struct sl_vary *v, struct sl_str member)
{
    if (sl_str_has_prefix(member, SL_STR("header:")))
        return add_header(v, sl_str_skip(member, 7));
    for (unsigned i = 0; i < SL_VARY_N; i++) {
        if (sl_str_eq(member, sl_str_of(names[i]))) {
            v->parts |= 1u << i;
            return true;
        }
    }
    return false;
}

bool sl_vary_eq(const struct sl_vary *a, const struct sl_vary *b)
{
    if (a->all != b->all || a->parts != b->parts || a->n_headers != b->n_headers)
        return false;
    for (unsigned i = 0; i < a->n_headers; i++) {
        if (strcmp(a->headers[i], b->headers[i]) != 0)
            return false;
    }
    return true;
}

static void add_part(struct sl_buf *out, struct sl_str s)
{
    uint32_t n = (uint32_t)s.n;

    sl_buf_add(out, &n, sizeof(n));
    sl_buf_add_str(out, s);
}

static void add_number(struct sl_buf *out, unsigned n)
{
    add_part(out, sl_str_make(&n, sizeof(n)));
}

/* Of the host all that a rule lets it be called, since `vary` has no other word for these. */
static void add_names(const struct sl_question *q, struct sl_buf *out)
{
    struct sl_str host = q->facts->host, sni = q->facts->sni;

    add_part(out, host);
    add_part(out, sni.n != 0 ? sni : host);
    add_part(out, q->head != NULL ? q->head->host : host);
}

static void add_one(enum sl_vary_part part, const struct sl_question *q, struct sl_buf *out)
{
    const struct sl_facts *f = q->facts;
    char ip[SL_ADDR_TEXT];

    switch (part) {
    case SL_VARY_CLIENT:
        sl_addr_ip_text(f->client, ip);
        add_part(out, sl_str_of(ip));
        break;
    case SL_VARY_USER:
        add_part(out, f->user);
        break;
    case SL_VARY_METHOD:
        add_part(out, f->method);
        break;
    case SL_VARY_SCHEME:
        add_part(out, f->scheme);
        break;
    case SL_VARY_HOST:
        add_names(q, out);
        break;
    case SL_VARY_PORT:
        add_number(out, f->port);
        break;
    case SL_VARY_PATH:
        add_part(out, f->path);
        break;
    case SL_VARY_TARGET:
        /* "/a?" and "/a" have the same path and query. */
        add_part(out, q->head != NULL ? q->head->target : SL_STR(""));
        break;
    case SL_VARY_N:
        break;
    }
}

static void add_header_lines(struct sl_str name, const struct sl_fields *fields, struct sl_buf *out)
{
    unsigned n = 0;

    for (uint32_t i = 0; fields != NULL && i < fields->n; i++) {
        if (sl_str_ieq(fields->v[i].name, name)) {
            add_part(out, fields->v[i].value);
            n++;
        }
    }
    add_number(out, n);
}

static void add_framing(const struct sl_head *head, enum sl_framing framing, struct sl_buf *out)
{
    bool is_so = head != NULL && head->framing == framing;

    add_number(out, is_so);
    if (is_so && framing == SL_FRAMING_LENGTH)
        add_part(out, sl_str_make(&head->content_length, sizeof(head->content_length)));
}

/* What names the origin or frames the body is no field of the list: the head's own members hold it,
 * and the codec writes it from there. */
static void add_header_key(const char *name, const struct sl_question *q, struct sl_buf *out)
{
    enum sl_field_id id = sl_field_id(sl_str_of(name));

    if (id == SL_FIELD_HOST) {
        add_one(SL_VARY_HOST, q, out);
        add_one(SL_VARY_PORT, q, out);
    } else if (id == SL_FIELD_CONTENT_LENGTH) {
        add_framing(q->head, SL_FRAMING_LENGTH, out);
    } else if (id == SL_FIELD_TRANSFER_ENCODING) {
        add_framing(q->head, SL_FRAMING_CHUNKED, out);
    } else {
        add_header_lines(sl_str_of(name), q->facts->fields, out);
    }
}

void sl_vary_key(const struct sl_vary *v, const struct sl_question *q, struct sl_buf *out)
{
    add_number(out, (unsigned)q->phase);
    add_number(out, v->all ? 1u << SL_VARY_N : v->parts);
    if (v->all) {
        add_one(SL_VARY_CLIENT, q, out);
        add_one(SL_VARY_USER, q, out);
        add_part(out, q->text);
        return;
    }
    for (unsigned i = 0; i < SL_VARY_N; i++) {
        if ((v->parts & 1u << i) != 0)
            add_one((enum sl_vary_part)i, q, out);
    }
    for (unsigned i = 0; i < v->n_headers; i++) {
        add_part(out, sl_str_of(v->headers[i]));
        add_header_key(v->headers[i], q, out);
    }
}
