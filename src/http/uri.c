/* uri.c -- a host goes through three doors: conversion to lower-case ASCII (libidn2 only when there
 * is something international in it), one trailing dot off, then literal address (an IPv4-mapped one
 * is the IPv4 address it reaches) or checked name.
 *
 * Invariant: sl_host_canonical() of a canonical host is that host.
 */
#include "http/uri.h"

#include <idn2.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/mem.h"
#include "http/chars.h"

#define LABEL_MAX 63
#define PORT_DIGITS 5
/* Room for a name of SL_HOST_MAX bytes in U-labels, with some decoration that mapping removes. */
#define RAW_HOST_MAX 1024

static const struct {
    struct sl_str scheme;
    uint16_t port;
} schemes[] = {
    { { "http", 4 }, 80 },
    { { "https", 5 }, 443 },
    { { "ws", 2 }, 80 },
    { { "wss", 3 }, 443 },
};

static bool has_a_label(struct sl_str s)
{
    for (size_t i = 0; i + 4 <= s.n; i++)
        if ((i == 0 || s.p[i - 1] == '.') && sl_str_ieq(sl_str_make(s.p + i, 4), SL_STR("xn--")))
            return true;
    return false;
}

static bool is_international(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return has_a_label(s);
}

/* A-labels are converted as well: libidn2 decodes them and refuses those that stand for nothing. */
static bool convert_label(struct sl_str s, struct sl_arena *a, struct sl_str *ret_ascii)
{
    uint8_t *ascii = NULL;
    const uint8_t *raw;

    if (memchr(s.p, '\0', s.n) != NULL)
        return false;
    raw = (const uint8_t *)sl_arena_str(a, s).p;
    if (idn2_lookup_u8(raw, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
        return false;
    *ret_ascii = sl_arena_str(a, sl_str_of((const char *)ascii));
    idn2_free(ascii);
    return true;
}

static struct sl_str lower(struct sl_str s, struct sl_arena *a)
{
    char *p = sl_arena_alloc(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        p[i] = sl_lower(s.p[i]);
    return sl_str_make(p, s.n);
}

static bool add_label(struct sl_str label, struct sl_arena *a, struct sl_buf *name)
{
    bool ok = true;

    if (is_international(label))
        ok = convert_label(label, a, &label);
    else
        label = lower(label, a);
    sl_buf_add_str(name, label);
    return ok;
}

/* Label by label: what ASCII may be, as with "--" in third place, it may be beside one that is
 * not. */
static bool convert(struct sl_str s, struct sl_arena *a, struct sl_str *ret_ascii)
{
    struct sl_buf name = { 0 };
    size_t dot = sl_str_find(s, '.');
    bool ok = add_label(sl_str_head(s, dot), a, &name);

    while (ok && dot < s.n) {
        sl_buf_add_char(&name, '.');
        s = sl_str_skip(s, dot + 1);
        dot = sl_str_find(s, '.');
        ok = add_label(sl_str_head(s, dot), a, &name);
    }
    *ret_ascii = sl_arena_str(a, sl_buf_str(&name));
    sl_buf_fini(&name);
    return ok;
}

/* Length of the label at the front. */
static size_t label_len(struct sl_str s)
{
    return sl_char_span(s.p, s.p + s.n, SL_CHAR_HOST);
}

static struct sl_str last_label(struct sl_str s)
{
    size_t i = s.n;

    while (i > 0 && s.p[i - 1] != '.')
        i--;
    return sl_str_skip(s, i);
}

static bool is_all_digits(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!sl_is_digit(s.p[i]))
            return false;
    return s.n != 0;
}

/* inet_aton() and browsers read such a name as an address (WHATWG URL section 3.5). */
static bool ends_in_number(struct sl_str s)
{
    struct sl_str last = last_label(s);

    return is_all_digits(last) || sl_str_has_prefix(last, SL_STR("0x"));
}

static bool is_name(struct sl_str s)
{
    size_t n;

    if (s.n == 0 || s.n > SL_HOST_MAX || ends_in_number(s))
        return false;
    for (;;) {
        n = label_len(s);
        if (n == 0 || n > LABEL_MAX)
            return false;
        if (n == s.n)
            return true;
        if (s.p[n] != '.')
            return false;
        s = sl_str_skip(s, n + 1);
    }
}

static enum sl_err canonical_ip(struct sl_str s, struct sl_arena *a, sa_family_t family,
                                struct sl_str *ret_host)
{
    struct sl_addr addr;
    char text[SL_ADDR_TEXT];

    if (!sl_addr_parse_ip(s, &addr) || addr.sa.sa_family != family)
        return SL_BAD_HOST;
    addr = sl_addr_unmapped(&addr);
    sl_addr_ip_text(&addr, text);
    *ret_host = sl_arena_str(a, sl_str_of(text));
    return SL_OK;
}

static enum sl_err canonical_name(struct sl_str s, struct sl_arena *a, struct sl_str *ret_host)
{
    struct sl_str host;

    if (s.n == 0 || s.n > RAW_HOST_MAX)
        return SL_BAD_HOST;
    if (!is_international(s))
        host = lower(s, a);
    else if (!convert(s, a, &host))
        return SL_BAD_HOST;
    if (sl_str_has_suffix(host, SL_STR(".")))
        host.n--;
    if (is_all_digits(last_label(host)))
        return canonical_ip(host, a, AF_INET, ret_host);
    if (!is_name(host))
        return SL_BAD_HOST;
    *ret_host = host;
    return SL_OK;
}

static bool is_bracketed(struct sl_str s)
{
    return s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
}

enum sl_err sl_host_canonical(struct sl_str s, struct sl_arena *a, struct sl_str *ret_host)
{
    if (is_bracketed(s))
        return canonical_ip(sl_str_make(s.p + 1, s.n - 2), a, AF_INET6, ret_host);
    if (sl_str_find(s, ':') < s.n)
        return canonical_ip(s, a, AF_INET6, ret_host);
    return canonical_name(s, a, ret_host);
}

bool sl_host_is_ip(struct sl_str host)
{
    return sl_str_find(host, ':') < host.n || is_all_digits(last_label(host));
}

/* Where the host ends: behind the closing bracket, or at the colon. */
static size_t host_len(struct sl_str s)
{
    size_t n;

    if (s.n == 0 || s.p[0] != '[')
        return sl_str_find(s, ':');
    n = sl_str_find(s, ']');
    return n < s.n ? n + 1 : n;
}

static bool parse_port(struct sl_str s, uint16_t *ret_port)
{
    uint64_t port;

    if (s.n > PORT_DIGITS || !sl_str_to_u64(s, &port) || port == 0 || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

enum sl_err sl_authority_parse(struct sl_str s, struct sl_arena *a, struct sl_authority *ret_auth)
{
    size_t n = host_len(s);
    struct sl_authority auth = { .port = 0 };
    enum sl_err err;

    if (n < s.n && (s.p[n] != ':' || !parse_port(sl_str_skip(s, n + 1), &auth.port)))
        return SL_BAD_HOST;
    err = sl_host_canonical(sl_str_head(s, n), a, &auth.host);
    if (err != SL_OK)
        return err;
    auth.is_ip = sl_host_is_ip(auth.host);
    *ret_auth = auth;
    return SL_OK;
}

static size_t find_authority_end(struct sl_str s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != '/' && s.p[i] != '?')
        i++;
    return i;
}

static bool parse_scheme(struct sl_str *rest, struct sl_str *ret_scheme)
{
    size_t n = sl_str_find(*rest, ':');

    for (size_t i = 0; i < SL_LEN(schemes); i++) {
        if (!sl_str_ieq(sl_str_head(*rest, n), schemes[i].scheme))
            continue;
        *ret_scheme = schemes[i].scheme;
        *rest = sl_str_skip(*rest, n);
        return sl_str_has_prefix(*rest, SL_STR("://"));
    }
    return false;
}

/* RFC 9112 section 3.2.1: an empty path goes out as "/". */
static struct sl_str origin_form(struct sl_str s, struct sl_arena *a)
{
    if (s.n == 0)
        return SL_STR("/");
    if (s.p[0] == '/')
        return sl_arena_str(a, s);
    return sl_arena_printf(a, "/%.*s", SL_FMT(s));
}

enum sl_err sl_uri_parse(struct sl_str s, struct sl_arena *a, struct sl_uri *ret_uri)
{
    struct sl_str rest = s;
    struct sl_uri uri;
    enum sl_err err;
    size_t n;

    if (s.n == 0 || sl_char_span(s.p, s.p + s.n, SL_CHAR_TARGET) != s.n)
        return SL_BAD_TARGET;
    if (!parse_scheme(&rest, &uri.scheme))
        return SL_BAD_TARGET;
    rest = sl_str_skip(rest, 3);
    n = find_authority_end(rest);
    err = sl_authority_parse(sl_str_head(rest, n), a, &uri.authority);
    if (err != SL_OK)
        return err;
    uri.target = origin_form(sl_str_skip(rest, n), a);
    *ret_uri = uri;
    return SL_OK;
}

void sl_target_split(struct sl_str target, struct sl_str *ret_path, struct sl_str *ret_query)
{
    size_t n = sl_str_find(target, '?');

    *ret_path = sl_str_head(target, n);
    *ret_query = sl_str_skip(target, n < target.n ? n + 1 : n);
}

uint16_t sl_scheme_port(struct sl_str scheme)
{
    for (size_t i = 0; i < SL_LEN(schemes); i++)
        if (sl_str_eq(scheme, schemes[i].scheme))
            return schemes[i].port;
    return 0;
}
