/* host_pattern.c -- state: none. */
#include "policy/host_pattern.h"

#include "base/mem.h"
#include "http/uri.h"

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* "[2001:db8::1]" without its brackets; brackets around IPv4 are refused by being left on. */
static struct sl_str unbracket(struct sl_str s)
{
    if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']' || sl_str_find(s, ':') == s.n)
        return s;
    return sl_str_make(s.p + 1, s.n - 2);
}

static enum sl_host_kind cut_kind(struct sl_str *s)
{
    if (sl_str_has_prefix(*s, SL_STR("*."))) {
        *s = sl_str_skip(*s, 2);
        return SL_HOST_BELOW;
    }
    if (sl_str_has_prefix(*s, SL_STR("."))) {
        *s = sl_str_skip(*s, 1);
        return SL_HOST_TREE;
    }
    return SL_HOST_NAME;
}

/* Spares the names, which are nearly all of a list, two runs of inet_pton(). */
static bool may_be_net(struct sl_str s)
{
    return s.n > 0 && (sl_is_digit(s.p[0]) || sl_str_find(s, ':') < s.n);
}

bool sl_host_pattern_parse(struct sl_str s, struct sl_arena *a, struct sl_host_pattern *ret_pattern)
{
    struct sl_host_pattern p = { .kind = SL_HOST_NET };

    if (may_be_net(s) && sl_cidr_parse(unbracket(s), &p.net)) {
        *ret_pattern = p;
        return true;
    }
    p.kind = cut_kind(&s);
    /* An address that the parser above did not take is odd, or stands behind a dot. */
    if (sl_host_canonical(s, a, &p.name) != SL_OK || sl_host_is_ip(p.name))
        return false;
    *ret_pattern = p;
    return true;
}

static bool is_below(struct sl_str name, struct sl_str host)
{
    return host.n > name.n + 1 && host.p[host.n - name.n - 1] == '.' &&
           sl_str_has_suffix(host, name);
}

static bool is_in_net(const struct sl_cidr *net, struct sl_str host)
{
    struct sl_addr addr;

    return may_be_net(host) && sl_addr_parse_ip(host, &addr) && sl_cidr_has(net, &addr);
}

bool sl_host_pattern_match(const struct sl_host_pattern *p, struct sl_str host)
{
    switch (p->kind) {
    case SL_HOST_NAME:
        return sl_str_eq(p->name, host);
    case SL_HOST_BELOW:
        return is_below(p->name, host);
    case SL_HOST_TREE:
        return sl_str_eq(p->name, host) || is_below(p->name, host);
    case SL_HOST_NET:
        return is_in_net(&p->net, host);
    }
    return false;
}

bool sl_host_net_is_v4(const struct sl_cidr *net)
{
    return net->bits >= 96 && memcmp(net->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static void write_net(const struct sl_cidr *net, struct sl_buf *out)
{
    bool is_v4 = sl_host_net_is_v4(net);
    struct sl_addr addr = { .len = is_v4 ? sizeof(addr.v4) : sizeof(addr.v6) };
    char text[SL_ADDR_TEXT];

    if (is_v4) {
        addr.v4.sin_family = AF_INET;
        memcpy(&addr.v4.sin_addr, net->bytes + 12, 4);
    } else {
        addr.v6.sin6_family = AF_INET6;
        memcpy(&addr.v6.sin6_addr, net->bytes, 16);
    }
    sl_addr_ip_text(&addr, text);
    sl_buf_add_str(out, sl_str_of(text));
    if (net->bits != 128)
        sl_buf_addf(out, "/%u", is_v4 ? net->bits - 96u : net->bits);
}

void sl_host_pattern_write(const struct sl_host_pattern *p, struct sl_buf *out)
{
    if (p->kind == SL_HOST_NET) {
        write_net(&p->net, out);
        return;
    }
    if (p->kind == SL_HOST_BELOW)
        sl_buf_add_char(out, '*');
    if (p->kind != SL_HOST_NAME)
        sl_buf_add_char(out, '.');
    sl_buf_add_str(out, p->name);
}
