/* guard.c -- two tables: what nobody may reach, and what this machine is.
 *
 * Order: own listeners (never), allowed ranges (yes), blocked ranges and own addresses (no), the
 * rest (yes).
 */
#include "upstream/guard.h"

#include <ifaddrs.h>

#include "base/log.h"
#include "base/mem.h"

/* RFC 6890 and the IANA special-purpose registries; IPv4-mapped addresses are matched as IPv4. */
static const char *const blocked_ranges[] = {
    "0.0.0.0/8",      "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",  "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15",  "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
    "::/96",          "::ffff:0:0:0/96", "64:ff9b::/96",   "64:ff9b:1::/48", "100::/64",
    "100:0:0:1::/64", "2001::/23",       "2001:db8::/32",  "2002::/16",      "3fff::/20",
    "5f00::/16",      "fc00::/7",        "fe80::/10",      "fec0::/10",      "ff00::/8",
};

#define N_BLOCKED SL_LEN(blocked_ranges)

struct sl_guard {
    struct sl_cidr blocked[N_BLOCKED];
    struct sl_cidr *allow;
    size_t n_allow;
    struct sl_addr *own; /* listeners */
    size_t n_own;
    struct sl_addr *machine; /* interface addresses, port 0 */
    size_t n_machine;
};

static void read_machine(struct sl_guard *g)
{
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list) != 0) {
        sl_log(SL_LOG_WARN, "cannot list this machine's addresses; they are not guarded by name");
        return;
    }
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct sl_addr *a;

        if (i->ifa_addr == NULL ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        g->machine = sl_realloc(g->machine, (g->n_machine + 1) * sizeof(*g->machine));
        a = &g->machine[g->n_machine++];
        *a = (struct sl_addr){ .len = i->ifa_addr->sa_family == AF_INET ? sizeof(a->v4)
                                                                        : sizeof(a->v6) };
        memcpy(&a->sa, i->ifa_addr, a->len);
        sl_addr_set_port(a, 0);
    }
    freeifaddrs(list);
}

struct sl_guard *sl_guard_new(const struct sl_guard_conf *conf)
{
    struct sl_guard *g = sl_zalloc(sizeof(*g));

    for (size_t i = 0; i < N_BLOCKED; i++) {
        bool ok = sl_cidr_parse(sl_str_of(blocked_ranges[i]), &g->blocked[i]);

        sl_assert(ok);
    }
    if (conf->n_allow != 0)
        g->allow = (void *)sl_memdup(conf->allow, conf->n_allow * sizeof(*conf->allow));
    g->n_allow = conf->n_allow;
    if (conf->n_own != 0)
        g->own = (void *)sl_memdup(conf->own, conf->n_own * sizeof(*conf->own));
    g->n_own = conf->n_own;
    read_machine(g);
    return g;
}

void sl_guard_free(struct sl_guard **guard)
{
    struct sl_guard *g = *guard;

    if (g == NULL)
        return;
    *guard = NULL;
    sl_free(g->allow);
    sl_free(g->own);
    sl_free(g->machine);
    sl_free(g);
}

static bool is_in(const struct sl_cidr *list, size_t n, const struct sl_addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (sl_cidr_has(&list[i], a))
            return true;
    }
    return false;
}

/* Resolved addresses have no scope, those of interfaces and listeners may have one. */
static bool same_ip(struct sl_addr a, struct sl_addr b)
{
    sl_addr_set_port(&a, sl_addr_port(&b));
    if (a.sa.sa_family == AF_INET6 && b.sa.sa_family == AF_INET6)
        a.v6.sin6_scope_id = b.v6.sin6_scope_id;
    return sl_addr_eq(&a, &b);
}

static bool is_machine(const struct sl_guard *g, const struct sl_addr *a)
{
    for (size_t i = 0; i < g->n_machine; i++) {
        if (same_ip(*a, g->machine[i]))
            return true;
    }
    return false;
}

/* ISATAP (RFC 5214 section 6.1): any prefix, then 0:5efe or 200:5efe, then an IPv4 address. */
static bool is_isatap(const struct sl_addr *a)
{
    const uint8_t *id;

    if (a->sa.sa_family != AF_INET6)
        return false;
    id = &a->v6.sin6_addr.s6_addr[8];
    return (id[0] & 0xfd) == 0 && id[1] == 0 && id[2] == 0x5e && id[3] == 0xfe;
}

/* 127.0.0.2 and 0.0.0.0 reach this machine too, though no interface lists them. */
static bool is_local(const struct sl_guard *g, const struct sl_addr *a)
{
    struct sl_cidr loopback;
    bool ok = sl_cidr_parse(SL_STR("127.0.0.0/8"), &loopback);

    return (ok && sl_cidr_has(&loopback, a)) || sl_addr_is_wildcard(a) || is_machine(g, a);
}

static bool is_own(const struct sl_guard *g, const struct sl_addr *a)
{
    for (size_t i = 0; i < g->n_own; i++) {
        struct sl_addr own = sl_addr_unmapped(&g->own[i]);

        if (sl_addr_port(&own) != sl_addr_port(a) || own.sa.sa_family == AF_UNIX)
            continue;
        if (same_ip(*a, own) || sl_addr_is_wildcard(a) ||
            (sl_addr_is_wildcard(&own) && is_local(g, a)))
            return true;
    }
    return false;
}

enum sl_err sl_guard_check(const struct sl_guard *g, const struct sl_addr *addr)
{
    struct sl_addr a = sl_addr_unmapped(addr); /* as which it would be connected to */

    if (is_own(g, &a))
        return SL_BLOCKED_ADDRESS;
    if (is_in(g->allow, g->n_allow, &a))
        return SL_OK;
    if (is_in(g->blocked, N_BLOCKED, &a) || is_isatap(&a) || is_machine(g, &a))
        return SL_BLOCKED_ADDRESS;
    return SL_OK;
}
