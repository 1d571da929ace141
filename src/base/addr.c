/* addr.c -- no state.  Networks and addresses are compared in IPv6 form, IPv4 as ::ffff:a.b.c.d. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stddef.h>

#include "base/mem.h"

#define UNIX_PATH_AT offsetof(struct sockaddr_un, sun_path)

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static sa_family_t family(const struct sl_addr *a)
{
    return a->len == 0 ? AF_UNSPEC : a->sa.sa_family;
}

/* glibc and musl refuse short, octal and hexadecimal IPv4 forms in inet_pton, and zones. */
bool sl_addr_parse_ip(struct sl_str s, struct sl_addr *ret_addr)
{
    char text[INET6_ADDRSTRLEN];
    struct sl_addr a = { 0 };

    if (s.n == 0 || s.n >= sizeof(text) || sl_str_find(s, '\0') != s.n)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.len = sizeof(a.v4);
    } else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.len = sizeof(a.v6);
    } else {
        return false;
    }
    *ret_addr = a;
    return true;
}

static bool parse_unix(struct sl_str path, struct sl_addr *ret_addr)
{
    struct sl_addr a = { .un.sun_family = AF_UNIX };

    if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof(a.un.sun_path))
        return false;
    if (sl_str_find(path, '\0') != path.n)
        return false;
    memcpy(a.un.sun_path, path.p, path.n);
    a.len = (socklen_t)(UNIX_PATH_AT + path.n + 1);
    *ret_addr = a;
    return true;
}

/* Cuts "host:port" or "[host]:port" in two. */
static bool split_port(struct sl_str s, struct sl_str *ret_host, struct sl_str *ret_port)
{
    bool has_brackets = s.n != 0 && s.p[0] == '[';
    size_t end = sl_str_find(s, has_brackets ? ']' : ':');
    struct sl_str host = sl_str_head(s, end);
    struct sl_str tail = sl_str_skip(s, has_brackets ? end + 1 : end);

    if (tail.n == 0 || tail.p[0] != ':')
        return false;
    *ret_host = has_brackets ? sl_str_skip(host, 1) : host;
    *ret_port = sl_str_skip(tail, 1);
    return true;
}

bool sl_addr_parse(struct sl_str s, struct sl_addr *ret_addr)
{
    struct sl_str scheme = SL_STR("unix:"), host, digits;
    struct sl_addr a;
    uint64_t port;

    if (sl_str_has_prefix(s, scheme))
        return parse_unix(sl_str_skip(s, scheme.n), ret_addr);
    if (!split_port(s, &host, &digits) || digits.n > 5)
        return false;
    if (!sl_str_to_u64(digits, &port) || port > UINT16_MAX || !sl_addr_parse_ip(host, &a))
        return false;
    /* Brackets belong to IPv6 and to nothing else (RFC 3986 section 3.2.2). */
    if ((s.p[0] == '[') != (family(&a) == AF_INET6))
        return false;
    sl_addr_set_port(&a, (uint16_t)port);
    *ret_addr = a;
    return true;
}

/* False for what is not an IP address. */
static bool to_bytes(const struct sl_addr *a, uint8_t ret_bytes[16])
{
    if (family(a) == AF_INET) {
        memcpy(ret_bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ret_bytes + 12, &a->v4.sin_addr, 4);
        return true;
    }
    if (family(a) != AF_INET6)
        return false;
    memcpy(ret_bytes, &a->v6.sin6_addr, 16);
    return true;
}

static bool is_v4(const uint8_t bytes[16])
{
    return memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool is_same_to(const uint8_t a[16], const uint8_t b[16], uint8_t bits)
{
    size_t whole = bits / 8;
    unsigned mask = 0xff00u >> bits % 8 & 0xff;

    if (memcmp(a, b, whole) != 0)
        return false;
    return mask == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static bool is_host_zero(const struct sl_cidr *c)
{
    for (unsigned bit = c->bits; bit < 128; bit++)
        if ((c->bytes[bit / 8] & 0x80 >> bit % 8) != 0)
            return false;
    return true;
}

bool sl_cidr_parse(struct sl_str s, struct sl_cidr *ret_cidr)
{
    size_t slash = sl_str_find(s, '/');
    struct sl_str digits = sl_str_skip(s, slash + 1);
    struct sl_addr a;
    struct sl_cidr c;

    if (!sl_addr_parse_ip(sl_str_head(s, slash), &a) || !to_bytes(&a, c.bytes))
        return false;
    uint64_t max = family(&a) == AF_INET ? 32 : 128, bits = max;

    if (slash != s.n && (digits.n > 3 || !sl_str_to_u64(digits, &bits) || bits > max))
        return false;
    c.bits = (uint8_t)(bits + 128 - max);
    if (!is_host_zero(&c))
        return false;
    *ret_cidr = c;
    return true;
}

bool sl_cidr_has(const struct sl_cidr *c, const struct sl_addr *a)
{
    uint8_t bytes[16];

    if (!to_bytes(a, bytes))
        return false;
    /* ::/0 says nothing about IPv4, although its mapped form lies inside. */
    if (is_v4(bytes) && c->bits < 96)
        return false;
    return is_same_to(bytes, c->bytes, c->bits);
}

void sl_addr_ip_text(const struct sl_addr *a, char ret_text[SL_ADDR_TEXT])
{
    ret_text[0] = '\0';
    if (family(a) == AF_INET)
        (void)inet_ntop(AF_INET, &a->v4.sin_addr, ret_text, SL_ADDR_TEXT);
    else if (family(a) == AF_INET6)
        (void)inet_ntop(AF_INET6, &a->v6.sin6_addr, ret_text, SL_ADDR_TEXT);
    else if (family(a) == AF_UNIX)
        (void)snprintf(ret_text, SL_ADDR_TEXT, "unix");
}

/* The kernel may fill sun_path to its last byte, or leave it out for a socket without a name. */
static void unix_text(const struct sl_addr *a, char ret_text[SL_ADDR_TEXT])
{
    size_t room = a->len > UNIX_PATH_AT ? a->len - UNIX_PATH_AT : 0;

    (void)snprintf(ret_text, SL_ADDR_TEXT, "unix:%.*s", (int)room, a->un.sun_path);
}

void sl_addr_text(const struct sl_addr *a, char ret_text[SL_ADDR_TEXT])
{
    char ip[SL_ADDR_TEXT];

    if (family(a) == AF_UNIX) {
        unix_text(a, ret_text);
        return;
    }
    sl_addr_ip_text(a, ip);
    if (family(a) == AF_INET)
        (void)snprintf(ret_text, SL_ADDR_TEXT, "%.46s:%u", ip, (unsigned)sl_addr_port(a));
    else if (family(a) == AF_INET6)
        (void)snprintf(ret_text, SL_ADDR_TEXT, "[%.46s]:%u", ip, (unsigned)sl_addr_port(a));
    else
        ret_text[0] = '\0';
}

uint16_t sl_addr_port(const struct sl_addr *a)
{
    if (family(a) == AF_INET)
        return ntohs(a->v4.sin_port);
    return family(a) == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

void sl_addr_set_port(struct sl_addr *a, uint16_t port)
{
    if (family(a) == AF_INET)
        a->v4.sin_port = htons(port);
    else if (family(a) == AF_INET6)
        a->v6.sin6_port = htons(port);
}

static bool is_same_unix(const struct sl_addr *a, const struct sl_addr *b)
{
    char text_a[SL_ADDR_TEXT], text_b[SL_ADDR_TEXT];

    unix_text(a, text_a);
    unix_text(b, text_b);
    return strcmp(text_a, text_b) == 0;
}

bool sl_addr_eq(const struct sl_addr *a, const struct sl_addr *b)
{
    if (family(a) != family(b) || sl_addr_port(a) != sl_addr_port(b))
        return false;
    if (family(a) == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    if (family(a) == AF_INET6)
        return a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
    return family(a) == AF_UNSPEC || is_same_unix(a, b);
}

struct sl_addr sl_addr_unmapped(const struct sl_addr *a)
{
    struct sl_addr v4 = { .len = sizeof(v4.v4) };

    if (family(a) != AF_INET6 || !is_v4(a->v6.sin6_addr.s6_addr))
        return *a;
    v4.v4.sin_family = AF_INET;
    v4.v4.sin_port = a->v6.sin6_port;
    memcpy(&v4.v4.sin_addr, &a->v6.sin6_addr.s6_addr[12], 4);
    return v4;
}

bool sl_addr_is_wildcard(const struct sl_addr *a)
{
    return (a->sa.sa_family == AF_INET && a->v4.sin_addr.s_addr == htonl(INADDR_ANY)) ||
           (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr));
}

bool sl_addr_collides(const struct sl_addr *a, const struct sl_addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_UNIX)
        return sl_addr_eq(a, b);
    if (sl_addr_port(a) == 0 || sl_addr_port(a) != sl_addr_port(b))
        return false;
    return sl_addr_is_wildcard(a) || sl_addr_is_wildcard(b) || sl_addr_eq(a, b);
}
