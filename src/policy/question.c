/* question.c -- field order of the document is fixed; strings that are not UTF-8 travel as base64.
 */
#include "policy/question.h"

#include "base/encode.h"
#include "base/mem.h"
#include "http/uri.h"

static void add_cstr(struct sl_buf *b, const char *text)
{
    sl_buf_add(b, text, strlen(text));
}

static void add_string_or_null(struct sl_buf *b, struct sl_str s)
{
    if (s.n == 0)
        add_cstr(b, "null");
    else
        sl_add_json_bytes(b, s);
}

/* The field that the codec writes for the body stands last, as it will be sent. */
static void add_framing(struct sl_buf *b, const struct sl_head *head)
{
    const char *comma = head->fields.n != 0 ? "," : "";

    if (head->framing == SL_FRAMING_LENGTH)
        sl_buf_addf(b, "%s[\"content-length\",\"%llu\"]", comma,
                    (unsigned long long)head->content_length);
    else if (head->framing == SL_FRAMING_CHUNKED)
        sl_buf_addf(b, "%s[\"transfer-encoding\",\"chunked\"]", comma);
}

/* As the codec writes it.  A name that a rule excepts is no address: it needs no brackets. */
static void add_host(struct sl_buf *b, const struct sl_head *head, const char *comma)
{
    sl_buf_addf(b, "[\"host\",\"%.*s", SL_FMT(head->host));
    if (head->port != sl_scheme_port(head->scheme))
        sl_buf_addf(b, ":%u", head->port);
    sl_buf_addf(b, "\"]%s", comma);
}

static void add_headers(struct sl_buf *b, const struct sl_question *q)
{
    const struct sl_head *head = q->head;
    const struct sl_fields *fields = &head->fields;

    add_cstr(b, ",\"headers\":[");
    if (!sl_str_eq(head->host, q->facts->host))
        add_host(b, head, fields->n != 0 || head->framing != SL_FRAMING_NONE ? "," : "");
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct sl_field *f = &fields->v[i];

        add_cstr(b, i == 0 ? "[\"" : ",[\"");
        /* A field name is a token: nothing in it needs escaping. */
        for (size_t k = 0; k < f->name.n; k++)
            sl_buf_add_char(b, sl_lower(f->name.p[k]));
        add_cstr(b, "\",");
        sl_add_json_bytes(b, f->value);
        sl_buf_add_char(b, ']');
    }
    add_framing(b, head);
    sl_buf_add_char(b, ']');
}

static void add_request(struct sl_buf *b, const struct sl_question *q)
{
    const struct sl_facts *f = q->facts;

    add_cstr(b, ",\"request\":{\"method\":");
    sl_add_json_bytes(b, f->method);
    add_cstr(b, ",\"scheme\":");
    sl_add_json_bytes(b, f->scheme);
    add_cstr(b, ",\"host\":");
    sl_add_json_bytes(b, f->host);
    sl_buf_addf(b, ",\"port\":%u,\"path\":", f->port);
    sl_add_json_bytes(b, f->path);
    add_cstr(b, ",\"query\":");
    sl_add_json_bytes(b, f->query);
    add_cstr(b, ",\"target\":");
    sl_add_json_bytes(b, q->head->target);
    if (q->head->major >= 2)
        sl_buf_addf(b, ",\"http\":\"%u\"", q->head->major);
    else
        sl_buf_addf(b, ",\"http\":\"%u.%u\"", q->head->major, q->head->minor);
    add_headers(b, q);
    sl_buf_add_char(b, '}');
}

/* Whoever asks in phase connect about a request that came without a CONNECT asks about its
 * target. */
static void add_connect(struct sl_buf *b, const struct sl_question *q)
{
    bool is_named = q->connect_host.n != 0;

    if (!is_named && q->phase == SL_PHASE_REQUEST) {
        add_cstr(b, ",\"connect\":null");
        return;
    }
    add_cstr(b, ",\"connect\":{\"host\":");
    sl_add_json_bytes(b, is_named ? q->connect_host : q->facts->host);
    sl_buf_addf(b, ",\"port\":%u}", is_named ? q->connect_port : q->facts->port);
}

void sl_question_write(struct sl_question *q, struct sl_arena *a)
{
    struct sl_buf b = { 0 };

    add_cstr(&b, q->phase == SL_PHASE_CONNECT ? "\"phase\":\"connect\"" : "\"phase\":\"request\"");
    add_connect(&b, q);
    if (q->tls_version != NULL) {
        add_cstr(&b, ",\"tls\":{\"sni\":");
        add_string_or_null(&b, q->facts->sni);
        add_cstr(&b, ",\"alpn\":");
        add_string_or_null(&b, q->alpn);
        sl_buf_addf(&b, ",\"version\":\"%s\"}", q->tls_version);
    } else {
        add_cstr(&b, ",\"tls\":null");
    }
    if (q->phase == SL_PHASE_REQUEST)
        add_request(&b, q);
    q->text = sl_arena_str(a, sl_buf_str(&b));
    sl_buf_fini(&b);
}

void sl_question_document(const struct sl_question *q, struct sl_buf *out)
{
    char ip[SL_ADDR_TEXT];

    sl_addr_ip_text(q->facts->client, ip);
    sl_buf_addf(out, "{\"version\":1,\"id\":\"%s\",\"client\":{\"ip\":\"%s\",\"port\":%u,\"user\":",
                q->id, ip, sl_addr_port(q->facts->client));
    add_string_or_null(out, q->facts->user);
    add_cstr(out, "},");
    sl_buf_add_str(out, q->text);
    sl_buf_add_char(out, '}');
}

static struct sl_fields *copy_fields(const struct sl_fields *from, struct sl_arena *a)
{
    struct sl_fields *to = sl_arena_alloc(a, sizeof(*to));

    for (uint32_t i = 0; from != NULL && i < from->n; i++)
        sl_fields_add(to, a, sl_arena_str(a, from->v[i].name), sl_arena_str(a, from->v[i].value));
    return to;
}

static struct sl_facts *copy_facts(const struct sl_facts *from, struct sl_arena *a)
{
    struct sl_facts *to = sl_arena_alloc(a, sizeof(*to));
    struct sl_addr *client = sl_arena_alloc(a, sizeof(*client));

    *to = *from;
    *client = *from->client;
    to->client = client;
    to->dst = NULL;
    to->user = sl_arena_str(a, from->user);
    to->host = sl_arena_str(a, from->host);
    to->scheme = sl_arena_str(a, from->scheme);
    to->sni = sl_arena_str(a, from->sni);
    to->alpn = sl_arena_str(a, from->alpn);
    to->method = sl_arena_str(a, from->method);
    to->path = sl_arena_str(a, from->path);
    to->query = sl_arena_str(a, from->query);
    to->type = sl_arena_str(a, from->type);
    to->fields = copy_fields(from->fields, a);
    return to;
}

/* What a key of the verdict cache can be made of. */
static struct sl_head *copy_head(const struct sl_head *from, struct sl_arena *a)
{
    struct sl_head *to;

    if (from == NULL)
        return NULL;
    to = sl_arena_alloc(a, sizeof(*to));
    *to = (struct sl_head){ .arena = a,
                            .host = sl_arena_str(a, from->host),
                            .target = sl_arena_str(a, from->target),
                            .framing = from->framing,
                            .content_length = from->content_length };
    return to;
}

struct sl_question *sl_question_copy(const struct sl_question *q, struct sl_arena *a)
{
    struct sl_question *to = sl_arena_alloc(a, sizeof(*to));

    *to = *q;
    to->id = sl_arena_str(a, sl_str_of(q->id)).p;
    to->facts = copy_facts(q->facts, a);
    to->connect_host = sl_arena_str(a, q->connect_host);
    to->alpn = sl_arena_str(a, q->alpn);
    to->head = copy_head(q->head, a);
    to->text = sl_arena_str(a, q->text);
    return to;
}
