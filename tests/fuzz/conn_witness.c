/* conn_witness.c -- questions are read with jansson, requests with strict.c and once more with the
 * project's parser, HTTP/2 by hand and nghttp2's inflater.
 */
#include "conn_witness.h"

#include <jansson.h>
#include <nghttp2/nghttp2.h>

#include "base/mem.h"
#include "http/h1_codec.h"
#include "http/uri.h"
#include "policy/verdict.h"
#include "proxy/access_log.h"
#include "sim_world.h"

enum answer { UNANSWERED, ALLOWED, REFUSED };

struct question {
    struct sl_str id;
    bool is_connect; /* phase connect: host and port are all there is */
    struct sl_str method, scheme, host, target;
    struct sl_str said; /* Host where it is not `host`, as it must arrive */
    uint16_t port;
    unsigned major;
    struct sl_fields fields; /* as they must arrive, but for framing */
    struct sl_str length;    /* content-length */
    bool is_chunked;
    enum answer answer;
    bool is_kept; /* in the cache: it may be good for many requests */
    unsigned n_arrived;
};

const struct sim_rule witness_rules[] = {
    { "host " FREE_HOST, SL_ACTION_ALLOW, NULL, 0 },
    { "host " TUNNEL_HOST, SL_ACTION_TUNNEL, NULL, 0 },
    { "host refuse.example", SL_ACTION_REFUSE, "refused", 0 },
    { "host ads.example or path /track*", SL_ACTION_DENY, "advertising", 0 },
    { "method POST and size > 100", SL_ACTION_DENY, "too much", 413 },
    { "header x-deny *", SL_ACTION_DENY, "named", 0 },
    { "status 404", SL_ACTION_DENY, "not even that", 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};

/* -- questions -- */

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, 64);

    return at == NULL ? -1 : (int)(at - digits);
}

static struct sl_str decode_base64(struct sl_str in, struct sl_arena *a)
{
    char *out = sl_arena_alloc(a, in.n + 1);
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;

    for (size_t i = 0; i < in.n && sextet(in.p[i]) >= 0; i++) {
        bits = bits << 6 | (uint32_t)sextet(in.p[i]);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    return sl_str_make(out, n);
}

static struct sl_str bytes_of(const json_t *value, struct sl_arena *a)
{
    const json_t *coded = json_object_get(value, "base64");

    if (json_is_string(value))
        return sl_arena_str(a, sl_str_make(json_string_value(value), json_string_length(value)));
    sl_assert(json_is_string(coded));
    return decode_base64(sl_str_make(json_string_value(coded), json_string_length(coded)), a);
}

static uint16_t port_of(const json_t *value)
{
    sl_assert(json_is_integer(value));
    return (uint16_t)json_integer_value(value);
}

static void read_fields(struct question *q, const json_t *list, struct sl_arena *a)
{
    size_t i;
    json_t *pair;

    sl_assert(json_is_array(list));
    json_array_foreach(list, i, pair)
    {
        struct sl_str name = bytes_of(json_array_get(pair, 0), a);
        struct sl_str value = bytes_of(json_array_get(pair, 1), a);

        if (sl_str_eq(name, SL_STR("content-length")))
            q->length = value;
        else if (sl_str_eq(name, SL_STR("host")))
            q->said = value;
        else if (sl_str_eq(name, SL_STR("transfer-encoding")))
            q->is_chunked = sl_str_eq(value, SL_STR("chunked"));
        else
            sl_fields_add(&q->fields, a, name, value);
    }
}

/* RFC 9113 section 8.2.3: crumbs arrive as one field, the first, where they arrive as HTTP/1. */
static void join_cookies(const struct sl_fields *from, struct sl_arena *a, struct sl_fields *to)
{
    struct sl_buf joined = { 0 };

    for (uint32_t i = 0; i < from->n; i++)
        if (from->v[i].id == SL_FIELD_COOKIE)
            sl_buf_addf(&joined, "%s%.*s", joined.len != 0 ? "; " : "", SL_FMT(from->v[i].value));
    if (sl_fields_count(from, SL_FIELD_COOKIE) != 0)
        sl_fields_add(to, a, SL_STR("cookie"), sl_arena_str(a, sl_buf_str(&joined)));
    for (uint32_t i = 0; i < from->n; i++)
        if (from->v[i].id != SL_FIELD_COOKIE)
            sl_fields_add(to, a, from->v[i].name, from->v[i].value);
    sl_buf_fini(&joined);
}

static void read_request(struct question *q, const json_t *request, struct sl_arena *a)
{
    struct sl_str scheme = bytes_of(json_object_get(request, "scheme"), a);

    q->method = bytes_of(json_object_get(request, "method"), a);
    q->host = bytes_of(json_object_get(request, "host"), a);
    q->port = port_of(json_object_get(request, "port"));
    q->target = bytes_of(json_object_get(request, "target"), a);
    q->major = (unsigned)(bytes_of(json_object_get(request, "http"), a).p[0] - '0');
    q->scheme = scheme;
    if (sl_str_eq(scheme, SL_STR("ws")))
        q->scheme = SL_STR("http");
    else if (sl_str_eq(scheme, SL_STR("wss")))
        q->scheme = SL_STR("https");
    read_fields(q, json_object_get(request, "headers"), a);
}

struct question *witness_asked(struct sl_access_log *w, struct sl_str document)
{
    struct sl_arena *a = &w->arena;
    json_t *root = json_loadb(document.p, document.n, JSON_ALLOW_NUL, NULL), *connect;
    struct question *q;

    sl_assert(root != NULL);
    if (w->n_questions == WITNESS_QUESTIONS) {
        json_decref(root);
        return NULL;
    }
    q = sl_arena_alloc(a, sizeof(*q));
    w->questions[w->n_questions++] = q;
    q->id = bytes_of(json_object_get(root, "id"), a);
    q->is_connect = sl_str_eq(bytes_of(json_object_get(root, "phase"), a), SL_STR("connect"));
    connect = json_object_get(root, "connect");
    if (q->is_connect) {
        q->host = bytes_of(json_object_get(connect, "host"), a);
        q->port = port_of(json_object_get(connect, "port"));
    } else {
        read_request(q, json_object_get(root, "request"), a);
    }
    json_decref(root);
    return q;
}

void witness_answered(struct sl_access_log *w, struct question *q, struct sl_verdict *v)
{
    struct sl_fields *set;

    if (q == NULL)
        return;
    q->answer = v != NULL && v->allow ? ALLOWED : REFUSED;
    if (q->answer == REFUSED)
        return;
    q->is_kept = v->has_ttl;
    sl_edit_apply(&v->request, &q->fields, &w->arena);
    set = &q->fields;
    for (uint32_t i = 0; i < set->n; i++) {
        set->v[i].name = sl_arena_str(&w->arena, set->v[i].name);
        set->v[i].value = sl_arena_str(&w->arena, set->v[i].value);
    }
}

/* -- who may be spoken to -- */

static bool is_free(const struct sl_access_log *w, const struct sl_origin *o)
{
    return w->has_rules &&
           (sl_str_eq(o->host, SL_STR(FREE_HOST)) || sl_str_eq(o->host, SL_STR(TUNNEL_HOST)));
}

static bool is_about(const struct question *q, const struct sl_origin *o)
{
    return q->port == o->port && sl_str_eq(q->host, o->host);
}

/* A question in phase connect about a request without CONNECT is about its target as well. */
static bool has_connect(const struct sl_access_log *w, const struct sl_origin *o)
{
    for (unsigned i = 0; i < w->n_questions; i++)
        if (w->questions[i]->is_connect && w->questions[i]->answer == ALLOWED &&
            is_about(w->questions[i], o))
            return true;
    return false;
}

void witness_opened(struct sl_access_log *w, const struct sl_origin *origin, struct arrival *ret)
{
    bool is_due = is_free(w, origin);

    for (unsigned i = 0; i < w->n_questions && !is_due; i++)
        is_due = is_about(w->questions[i], origin) &&
                 (w->questions[i]->answer == ALLOWED || w->may_preconnect);
    /* The connection is made before the question, that is all. */
    sl_assert(is_due || w->may_preconnect);
    *ret = (struct arrival){ .origin = *origin };
    ret->origin.host = sl_arena_str(&w->arena, origin->host);
    if (origin->http == SL_HTTP_2)
        sl_assert(nghttp2_hd_inflate_new(&ret->inflater) == 0);
    if (origin->http == SL_HTTP_2)
        ret->mode = ARRIVAL_HTTP2;
    if (origin->tls)
        ret->mode = ARRIVAL_OPEN;
}

void arrival_fini(struct arrival *a)
{
    if (a->inflater != NULL)
        nghttp2_hd_inflate_del(a->inflater);
    sl_buf_fini(&a->block);
}

/* -- is it what was asked -- */

/* RFC 9110 section 9.2.2: a connection that dies may cost a request a second try. */
static bool is_spent(const struct question *q)
{
    unsigned n_max = sl_method_is_idempotent(q->method) ? 2 : 1;

    return q->major < 2 && !q->is_kept && q->n_arrived >= n_max;
}

static bool are_same_fields(const struct sl_fields *want, const struct strict_request *r)
{
    if (want->n != r->n_fields)
        return false;
    for (uint32_t i = 0; i < want->n; i++)
        if (!sl_str_ieq(want->v[i].name, r->fields[i].name) ||
            !sl_str_eq(want->v[i].value, r->fields[i].value))
            return false;
    return true;
}

/* A request of a method that defines content says when it has none. */
static bool is_same_framing(const struct question *q, const struct strict_framing *f)
{
    uint64_t length = 0;

    if (f->is_chunked != q->is_chunked)
        return false;
    if (q->length.n == 0)
        return f->length == 0;
    sl_assert(sl_str_to_u64(q->length, &length));
    return f->has_length && f->length == length;
}

static struct sl_str authority_of(const struct question *q, struct sl_arena *a)
{
    bool is_v6 = sl_str_find(q->host, ':') < q->host.n;
    struct sl_str host = is_v6 ? sl_arena_printf(a, "[%.*s]", SL_FMT(q->host)) : q->host;

    if (q->said.n != 0)
        return q->said;
    if (q->port == (sl_str_eq(q->scheme, SL_STR("https")) ? 443 : 80))
        return host;
    return sl_arena_printf(a, "%.*s:%u", SL_FMT(host), q->port);
}

static bool is_same(const struct question *q, const struct arrival *to,
                    const struct strict_request *r, struct sl_arena *a)
{
    struct sl_fields want = { 0 };

    if (q->is_connect || q->answer != ALLOWED || is_spent(q) || !is_about(q, &to->origin))
        return false;
    if (!sl_str_eq(q->method, r->method) || !sl_str_eq(q->target, r->target) ||
        !sl_str_eq(authority_of(q, a), r->host) || !is_same_framing(q, &r->framing))
        return false;
    if (q->major < 2)
        return are_same_fields(&q->fields, r);
    join_cookies(&q->fields, a, &want);
    return are_same_fields(&want, r);
}

static struct question *find(struct sl_access_log *w, const struct arrival *to,
                             const struct strict_request *r)
{
    for (unsigned i = 0; i < w->n_questions; i++)
        if (is_same(w->questions[i], to, r, &w->arena))
            return w->questions[i];
    return NULL;
}

/* The project's own opinion on the same bytes. */
static void parse_again(const struct arrival *to, struct sl_str head,
                        const struct strict_request *r, struct sl_arena *a)
{
    static const struct sl_head_limits wide = { 65536, 65536, 1000 };
    const struct sl_h1_origin origin = { .scheme = SL_STR("http") };
    struct sl_head again = { .arena = a };
    struct sl_fault fault;
    size_t used = 0;

    sl_assert(sl_h1_parse_request(head, &wide, &origin, &again, &used, &fault) == SL_OK);
    sl_assert(used == head.n);
    sl_assert(sl_str_eq(again.method, r->method) && sl_str_eq(again.target, r->target));
    sl_assert(sl_str_eq(again.host, to->origin.host) || sl_str_eq(again.host, SL_STR(SIM_ALIAS)));
    sl_assert(again.port == to->origin.port);
    sl_assert((again.framing == SL_FRAMING_CHUNKED) == r->framing.is_chunked);
    sl_assert((again.framing == SL_FRAMING_LENGTH) == r->framing.has_length);
    sl_assert(again.framing != SL_FRAMING_LENGTH || again.content_length == r->framing.length);
    sl_assert(again.wants_upgrade == r->is_upgrade);
}

/* -- bytes as they come -- */

/* Whether these may be the begin of a request that was allowed. */
static bool begins_allowed(struct sl_access_log *w, const struct arrival *to, struct sl_str in)
{
    for (unsigned i = 0; i < w->n_questions; i++) {
        const struct question *q = w->questions[i];
        struct sl_str text;

        if (q->is_connect || q->answer != ALLOWED || is_spent(q) || !is_about(q, &to->origin))
            continue;
        text = sl_arena_printf(&w->arena, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\n", SL_FMT(q->method),
                               SL_FMT(q->target), SL_FMT(authority_of(q, &w->arena)));
        if (memcmp(text.p, in.p, text.n < in.n ? text.n : in.n) == 0)
            return true;
    }
    return false;
}

/* A first line that some server might take for a request's: what names the protocol stands behind a
 * word. */
static bool names_http(struct sl_str in)
{
    struct sl_str line;
    size_t n = 0;

    while (n < in.n && in.p[n] != '\0' &&
           strchr("\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0", in.p[n]) != NULL)
        n++;
    in = sl_str_skip(in, n);
    line = sl_str_head(in, sl_str_find(in, '\n'));
    for (size_t i = 0; i + 6 <= line.n; i++)
        if (sl_str_ieq(sl_str_make(line.p + i, 6), SL_STR(" HTTP/")))
            return true;
    return false;
}

static void take_opaque(const struct sl_access_log *w, struct arrival *a, struct sl_str in)
{
    sl_assert(has_connect(w, &a->origin));
    sl_assert(!names_http(in));
    a->mode = ARRIVAL_OPEN;
}

static void take_request(struct sl_access_log *w, struct arrival *a, struct sl_str in,
                         const struct strict_request *r)
{
    struct question *q = find(w, a, r);

    parse_again(a, sl_str_head(in, r->len), r, &w->arena);
    if (q == NULL)
        fprintf(stderr, "not allowed, yet at the origin:\n%.*s", SL_FMT(sl_str_head(in, r->len)));
    sl_assert(q != NULL);
    q->n_arrived++;
    a->mode = ARRIVAL_HTTP;
    a->n_done += r->len;
    a->framing = r->framing;
    a->is_inside = true;
    a->may_switch = r->is_upgrade;
}

/* True when there may be more to see. */
static bool take_head(struct sl_access_log *w, struct arrival *a, struct sl_str in)
{
    struct strict_request r;

    switch (strict_head(in, &r)) {
    case STRICT_OK:
        take_request(w, a, in, &r);
        return true;
    case STRICT_MORE:
        if (!begins_allowed(w, a, in)) {
            sl_assert(a->mode == ARRIVAL_NEW);
            take_opaque(w, a, in);
        }
        return false;
    case STRICT_BAD:
        sl_assert(a->mode == ARRIVAL_NEW);
        take_opaque(w, a, in);
        return false;
    }
    return false;
}

static bool take_content(struct arrival *a, struct sl_str in)
{
    size_t n = 0;
    enum strict err = strict_body(&a->framing, in, &n);

    sl_assert(err != STRICT_BAD);
    if (err != STRICT_OK)
        return false;
    a->n_done += n;
    a->is_inside = false;
    return true;
}

static bool has_switched(const struct arrival *a, struct sl_str said)
{
    return a->may_switch && !a->is_inside && said.n != 0 &&
           memmem(said.p, said.n, " 101", 4) != NULL;
}

static void take_http1(struct sl_access_log *w, struct arrival *a, struct sl_str got,
                       struct sl_str said)
{
    bool goes_on = true;

    while (goes_on && a->mode < ARRIVAL_FRAMES && (a->is_inside || a->n_done < got.n)) {
        struct sl_str in = sl_str_skip(got, a->n_done);

        if (has_switched(a, said))
            a->mode = ARRIVAL_FRAMES;
        else if (a->is_inside)
            goes_on = take_content(a, in);
        else
            goes_on = take_head(w, a, in);
    }
}

/* -- HTTP/2 -- */

#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_CONTINUATION 9
#define FLAG_END_HEADERS 4
#define FLAG_PADDED 8
#define FLAG_PRIORITY 32

static void put_field(struct strict_request *r, struct sl_str name, struct sl_str value)
{
    if (sl_str_eq(name, SL_STR("content-length"))) {
        r->framing.has_length = true;
        sl_assert(sl_str_to_u64(value, &r->framing.length));
        return;
    }
    sl_assert(r->n_fields < STRICT_FIELDS);
    sl_assert(sl_is_token(name) && sl_is_field_value(value));
    r->fields[r->n_fields++] = (struct strict_field){ name, value };
}

static void put_pseudo(struct strict_request *r, struct sl_str name, struct sl_str value)
{
    if (sl_str_eq(name, SL_STR(":method")))
        r->method = value;
    else if (sl_str_eq(name, SL_STR(":path")))
        r->target = value;
    else if (sl_str_eq(name, SL_STR(":authority")))
        r->host = value;
    else if (sl_str_eq(name, SL_STR(":protocol")))
        r->is_upgrade = sl_str_eq(value, SL_STR("websocket"));
    else
        sl_assert(sl_str_eq(name, SL_STR(":scheme")) && sl_str_eq(value, SL_STR("http")));
}

static void inflate(struct arrival *a, struct sl_arena *arena, struct strict_request *r)
{
    struct sl_str block = sl_buf_str(&a->block);
    int flags = 0;

    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv nv;
        ssize_t n =
            nghttp2_hd_inflate_hd2(a->inflater, &nv, &flags, (const uint8_t *)block.p, block.n, 1);

        sl_assert(n >= 0);
        block = sl_str_skip(block, (size_t)n);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            struct sl_str name = sl_arena_str(arena, sl_str_make(nv.name, nv.namelen));
            struct sl_str value = sl_arena_str(arena, sl_str_make(nv.value, nv.valuelen));

            if (name.n != 0 && name.p[0] == ':')
                put_pseudo(r, name, value);
            else
                put_field(r, name, value);
        }
    }
    sl_assert(nghttp2_hd_inflate_end_headers(a->inflater) == 0);
}

/* RFC 8441: the opening handshake in HTTP/1, its words in HTTP/2. */
static bool is_same_http2(const struct question *q, const struct arrival *to,
                          const struct strict_request *r, struct sl_arena *a)
{
    bool is_same_method =
        r->is_upgrade ? sl_str_eq(r->method, SL_STR("CONNECT")) : sl_str_eq(q->method, r->method);

    if (q->is_connect || q->answer != ALLOWED || !is_about(q, &to->origin) || !is_same_method)
        return false;
    if (!sl_str_eq(q->target, r->target) || !sl_str_eq(authority_of(q, a), r->host))
        return false;
    if (q->length.n != 0 && !is_same_framing(q, &r->framing))
        return false;
    return r->is_upgrade || are_same_fields(&q->fields, r);
}

static void take_block(struct sl_access_log *w, struct arrival *a)
{
    struct strict_request r = { .n_fields = 0 };
    bool is_allowed = false, is_trailing = a->block_stream <= a->last_stream;

    inflate(a, &w->arena, &r);
    sl_buf_reset(&a->block);
    if (is_trailing) {
        sl_assert(r.method.n == 0 && r.target.n == 0 && r.host.n == 0);
        return;
    }
    for (unsigned i = 0; i < w->n_questions && !is_allowed; i++)
        is_allowed = is_same_http2(w->questions[i], a, &r, &w->arena);
    sl_assert(is_allowed);
    a->last_stream = a->block_stream;
}

static struct sl_str strip_head(unsigned flags, struct sl_str payload)
{
    size_t n_pad = 0;

    if ((flags & FLAG_PADDED) != 0) {
        n_pad = (uint8_t)payload.p[0];
        payload = sl_str_skip(payload, 1);
    }
    if ((flags & FLAG_PRIORITY) != 0)
        payload = sl_str_skip(payload, 5);
    return sl_str_head(payload, payload.n - n_pad);
}

static void take_frame(struct sl_access_log *w, struct arrival *a, const uint8_t *head,
                       struct sl_str payload)
{
    uint32_t stream =
        (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];

    sl_assert(a->block.len == 0 || (head[3] == FRAME_CONTINUATION && stream == a->block_stream));
    if (head[3] == FRAME_DATA)
        sl_assert(stream != 0 && stream <= a->last_stream);
    if (head[3] == FRAME_HEADERS)
        payload = strip_head(head[4], payload);
    if (head[3] != FRAME_HEADERS && head[3] != FRAME_CONTINUATION)
        return;
    a->block_stream = stream;
    sl_buf_add_str(&a->block, payload);
    if ((head[4] & FLAG_END_HEADERS) != 0)
        take_block(w, a);
}

static void take_http2(struct sl_access_log *w, struct arrival *a, struct sl_str got)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t n_preface = sizeof(preface) - 1;

    if (got.n < n_preface)
        return;
    if (a->n_done == 0) {
        sl_assert(memcmp(got.p, preface, n_preface) == 0);
        a->n_done = n_preface;
    }
    while (got.n - a->n_done >= 9) {
        const uint8_t *head = (const uint8_t *)got.p + a->n_done;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];

        if (got.n - a->n_done < 9 + len)
            return;
        take_frame(w, a, head, sl_str_make(head + 9, len));
        a->n_done += 9 + len;
    }
}

void witness_arrived(struct sl_access_log *w, struct arrival *a, struct sl_str got,
                     struct sl_str said)
{
    if (is_free(w, &a->origin) || a->mode == ARRIVAL_OPEN)
        return;
    if (a->mode == ARRIVAL_HTTP2)
        take_http2(w, a, got);
    else
        take_http1(w, a, got, said);
    if (a->mode == ARRIVAL_FRAMES)
        sl_assert(strict_frames(sl_str_skip(got, a->n_done), true));
}

/* -- the log -- */

bool sl_access_log_is_on(const struct sl_access_log *log)
{
    return log != NULL;
}

void sl_access_log_write(struct sl_access_log *log, const struct sl_record *r)
{
    sl_assert(strlen(r->id) == SL_ID_LEN);
    sl_buf_add(&log->ids, r->id, SL_ID_LEN);
    sl_assert(r->verdict != NULL);
}

static unsigned count_records(const struct sl_access_log *w, struct sl_str id)
{
    struct sl_str ids = sl_buf_str(&w->ids);
    unsigned n = 0;

    for (size_t at = 0; at < ids.n; at += SL_ID_LEN)
        n += sl_str_eq(sl_str_make(ids.p + at, SL_ID_LEN), id);
    return n;
}

void witness_end(struct sl_access_log *w)
{
    for (unsigned i = 0; i < w->n_questions; i++)
        if (!w->questions[i]->is_connect)
            sl_assert(count_records(w, w->questions[i]->id) == 1);
}

void witness_fini(struct sl_access_log *w)
{
    sl_buf_fini(&w->ids);
    sl_arena_fini(&w->arena);
}
