/* hello.c -- records -> one handshake message -> fields -> the five extensions that matter.
 *
 * Invariants: nothing is allocated before the message is whole, so that a client that trickles
 * bytes costs no memory; every read goes through a cut_* function, which alone moves a slice and
 * checks its bounds.
 */
#include "tls/hello.h"

#include "base/buf.h"

#define RECORD_HEADER ((size_t)5)
#define RECORD_MAX (16384u + 256u)
#define MESSAGE_HEADER ((size_t)4)
#define TYPE_HANDSHAKE 22
#define TYPE_CLIENT_HELLO 1
#define NAME_TYPE_HOST 0
#define SNI_MAX 255u

enum extension {
    EXT_SERVER_NAME = 0,
    EXT_SUPPORTED_GROUPS = 10,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_ALPN = 16,
    EXT_SUPPORTED_VERSIONS = 43,
};

/* What the fields say before they are put together. */
struct facts {
    struct sl_str ciphers;
    struct sl_str sni;
    struct sl_str groups;
    struct sl_str sigalgs;
    struct sl_str versions;
    struct sl_str alpn; /* the list as sent, checked */
    bool has_sni, has_groups, has_sigalgs, has_versions, has_alpn;
};

static bool cut_bytes(struct sl_str *in, size_t n, struct sl_str *ret)
{
    if (in->n < n)
        return false;
    *ret = sl_str_head(*in, n);
    *in = sl_str_skip(*in, n);
    return true;
}

static uint32_t number(struct sl_str bytes)
{
    uint32_t v = 0;

    for (size_t i = 0; i < bytes.n; i++)
        v = v << 8 | (uint8_t)bytes.p[i];
    return v;
}

/* A number of @a width bytes, at most four. */
static bool cut_number(struct sl_str *in, size_t width, uint32_t *ret)
{
    struct sl_str bytes;

    if (!cut_bytes(in, width, &bytes))
        return false;
    *ret = number(bytes);
    return true;
}

/* A vector (RFC 8446 section 3.4) whose length takes @a width bytes. */
static bool cut_vector(struct sl_str *in, size_t width, struct sl_str *ret)
{
    uint32_t n;

    return cut_number(in, width, &n) && cut_bytes(in, n, ret);
}

/* A vector that fills @a in to its end. */
static bool whole_vector(struct sl_str in, size_t width, struct sl_str *ret)
{
    return cut_vector(&in, width, ret) && in.n == 0;
}

static bool has_u16(struct sl_str list, uint32_t wanted)
{
    uint32_t v;

    while (cut_number(&list, 2, &v)) {
        if (v == wanted)
            return true;
    }
    return false;
}

/* -- records ------------------------------------------------------------------------------------
 */

/* The next record's bytes of handshake, as far as they have come. */
static enum sl_err cut_record(struct sl_str *in, struct sl_str *ret_fragment)
{
    const uint8_t *p = (const uint8_t *)in->p;
    size_t len;

    if (in->n >= 1 && p[0] != TYPE_HANDSHAKE)
        return SL_TLS_PROTOCOL;
    if (in->n >= 2 && p[1] != 3)
        return SL_TLS_PROTOCOL;
    if (in->n < RECORD_HEADER)
        return SL_AGAIN;
    len = (size_t)p[3] << 8 | p[4];
    if (len == 0 || len > RECORD_MAX)
        return SL_TLS_PROTOCOL;
    *in = sl_str_skip(*in, RECORD_HEADER);
    *ret_fragment = sl_str_head(*in, len);
    *in = sl_str_skip(*in, ret_fragment->n);
    return SL_OK;
}

/* Joins fragments into @a message until it holds @a want bytes; NULL: only counts them.  SL_AGAIN
 * when the records end first. */
static enum sl_err join_records(struct sl_str in, size_t want, struct sl_buf *message)
{
    size_t have = 0;

    while (have < want) {
        struct sl_str fragment;
        enum sl_err err = cut_record(&in, &fragment);

        if (err != SL_OK)
            return err;
        if (message != NULL)
            sl_buf_add_str(message, sl_str_head(fragment, want - have));
        have += fragment.n;
    }
    return SL_OK;
}

/* The length of the message with its header, known from the first four bytes of handshake. */
static enum sl_err message_length(struct sl_str in, size_t *ret_len)
{
    struct sl_buf head = { 0 };
    enum sl_err err = join_records(in, MESSAGE_HEADER, &head);
    struct sl_str bytes = sl_buf_str(&head);

    if (bytes.n >= 1 && bytes.p[0] != TYPE_CLIENT_HELLO)
        err = SL_TLS_PROTOCOL;
    else if (err == SL_OK)
        *ret_len = MESSAGE_HEADER + number(sl_str_skip(bytes, 1));
    sl_buf_fini(&head);
    return err;
}

/* -- extensions ---------------------------------------------------------------------------------
 */

/* RFC 6066 section 3.  A second host name is refused: this proxy and the origin could pick
 * different ones. */
static bool read_sni(struct sl_str body, struct facts *f)
{
    struct sl_str list;

    if (f->has_sni || !whole_vector(body, 2, &list) || list.n == 0)
        return false;
    f->has_sni = true;
    while (list.n > 0) {
        struct sl_str name;
        uint32_t type;

        if (!cut_number(&list, 1, &type) || !cut_vector(&list, 2, &name))
            return false;
        if (type != NAME_TYPE_HOST)
            continue;
        if (f->sni.n != 0 || name.n == 0 || name.n > SNI_MAX || memchr(name.p, 0, name.n) != NULL)
            return false;
        f->sni = name;
    }
    return true;
}

/* RFC 7301 section 3.1.  The protocols are told joined by commas, so none may hold one. */
static bool read_alpn(struct sl_str body, struct facts *f)
{
    struct sl_str rest;

    if (f->has_alpn || !whole_vector(body, 2, &f->alpn) || f->alpn.n == 0)
        return false;
    f->has_alpn = true;
    rest = f->alpn;
    while (rest.n > 0) {
        struct sl_str name;

        if (!cut_vector(&rest, 1, &name) || name.n == 0 || memchr(name.p, ',', name.n) != NULL)
            return false;
    }
    return true;
}

static bool read_u16_list(struct sl_str body, size_t width, bool *has, struct sl_str *ret_list)
{
    if (*has || !whole_vector(body, width, ret_list))
        return false;
    *has = true;
    return ret_list->n != 0 && ret_list->n % 2 == 0;
}

static bool read_extension(uint32_t type, struct sl_str body, struct facts *f)
{
    if (type == EXT_SERVER_NAME)
        return read_sni(body, f);
    if (type == EXT_ALPN)
        return read_alpn(body, f);
    if (type == EXT_SUPPORTED_GROUPS)
        return read_u16_list(body, 2, &f->has_groups, &f->groups);
    if (type == EXT_SIGNATURE_ALGORITHMS)
        return read_u16_list(body, 2, &f->has_sigalgs, &f->sigalgs);
    if (type == EXT_SUPPORTED_VERSIONS)
        return read_u16_list(body, 1, &f->has_versions, &f->versions);
    return true;
}

static bool read_extensions(struct sl_str list, struct facts *f)
{
    while (list.n > 0) {
        struct sl_str body;
        uint32_t type;

        if (!cut_number(&list, 2, &type) || !cut_vector(&list, 2, &body))
            return false;
        if (!read_extension(type, body, f))
            return false;
    }
    return true;
}

/* RFC 8446 section 4.1.2; before TLS 1.2 the extensions could be missing altogether. */
static bool read_hello(struct sl_str in, struct facts *f)
{
    struct sl_str skipped, session, compression, extensions;
    uint32_t major;

    if (!cut_number(&in, 1, &major) || major != 3 || !cut_bytes(&in, 1 + 32, &skipped))
        return false;
    if (!cut_vector(&in, 1, &session) || session.n > 32)
        return false;
    if (!cut_vector(&in, 2, &f->ciphers) || f->ciphers.n == 0 || f->ciphers.n % 2 != 0)
        return false;
    if (!cut_vector(&in, 1, &compression) || compression.n == 0)
        return false;
    if (in.n == 0)
        return true;
    return whole_vector(in, 2, &extensions) && read_extensions(extensions, f);
}

/* -- the answer ---------------------------------------------------------------------------------
 */

static bool is_ecdsa_cipher(uint32_t c)
{
    return (c >= 0xc007 && c <= 0xc00a) || c == 0xc023 || c == 0xc024 || c == 0xc02b ||
           c == 0xc02c || (c >= 0xc0ac && c <= 0xc0af) || c == 0xcca9;
}

static bool has_ecdsa_cipher(struct sl_str list)
{
    uint32_t v;

    while (cut_number(&list, 2, &v)) {
        if (is_ecdsa_cipher(v))
            return true;
    }
    return false;
}

/* Up to TLS 1.2 the groups speak of the certificate's curve too (RFC 8422 section 5.1.1). */
static bool offers_ecdsa(const struct facts *f, bool tls13)
{
    if (f->has_sigalgs && !has_u16(f->sigalgs, 0x0403))
        return false;
    if (tls13)
        return true;
    return has_ecdsa_cipher(f->ciphers) && (!f->has_groups || has_u16(f->groups, 0x0017));
}

static struct sl_str join_alpn(struct sl_str list, struct sl_arena *a)
{
    struct sl_buf out = { 0 };
    struct sl_str name, joined;

    while (cut_vector(&list, 1, &name)) {
        if (out.len > 0)
            sl_buf_add_char(&out, ',');
        sl_buf_add_str(&out, name);
    }
    joined = sl_arena_str(a, sl_buf_str(&out));
    sl_buf_fini(&out);
    return joined;
}

static enum sl_err read_message(struct sl_str message, struct sl_arena *a,
                                struct sl_hello *ret_hello)
{
    struct facts f = { 0 };
    bool tls13;

    if (!read_hello(sl_str_skip(message, MESSAGE_HEADER), &f))
        return SL_TLS_PROTOCOL;
    tls13 = f.has_versions && has_u16(f.versions, 0x0304);
    *ret_hello = (struct sl_hello){
        .sni = f.has_sni ? sl_arena_str(a, f.sni) : SL_STR(""),
        .alpn = f.has_alpn ? join_alpn(f.alpn, a) : SL_STR(""),
        .offers_ecdsa = offers_ecdsa(&f, tls13),
        .offers_tls13 = tls13,
    };
    return SL_OK;
}

enum sl_err sl_hello_parse(struct sl_str in, struct sl_arena *a, struct sl_hello *ret_hello)
{
    struct sl_str within = sl_str_head(in, SL_HELLO_MAX);
    struct sl_buf message = { 0 };
    size_t len = 0;
    enum sl_err err = message_length(within, &len);

    if (err == SL_OK && len > SL_HELLO_MAX)
        err = SL_TLS_PROTOCOL;
    if (err == SL_OK)
        err = join_records(within, len, NULL);
    if (err == SL_AGAIN && in.n >= SL_HELLO_MAX)
        err = SL_TLS_PROTOCOL;
    if (err != SL_OK)
        return err;
    err = join_records(within, len, &message);
    if (err == SL_OK)
        err = read_message(sl_buf_str(&message), a, ret_hello);
    sl_buf_fini(&message);
    return err;
}
