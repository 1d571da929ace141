/* test_guard.c -- every blocked range at both borders, what is allowed by name, what is our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ifaddrs.h>

#include "base/mem.h"
#include "upstream/guard.h"

static struct sl_addr at(const char *ip, uint16_t port)
{
    struct sl_addr a;

    if (!sl_addr_parse_ip(sl_str_of(ip), &a))
        fail_msg("%s is no address", ip);
    sl_addr_set_port(&a, port);
    return a;
}

static bool passes(const struct sl_guard *g, const char *ip, uint16_t port)
{
    struct sl_addr a = at(ip, port);
    enum sl_err err = sl_guard_check(g, &a);

    assert_true(err == SL_OK || err == SL_BLOCKED_ADDRESS);
    return err == SL_OK;
}

struct range {
    const char *below, *first, *last, *above; /* below, above: NULL when blocked too, or none */
};

/* threat: ssrf-forms */
static void ranges_are_blocked_at_both_borders(void **state)
{
    static const struct range rows[] = {
        { NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0" },
        { "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0" },
        { "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0" },
        { "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0" },
        { "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0" },
        { "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0" },
        { "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0" },
        { "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0" },
        { "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0" },
        { "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0" },
        { "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0" },
        { "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0" },
        { "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0" },
        { "223.255.255.255", "224.0.0.0", "239.255.255.255", NULL },
        { NULL, "240.0.0.0", "255.255.255.255", NULL },
        { NULL, "::", "::ffff:ffff", "::1:0:0" },
        { NULL, "::ffff:0:0:0", "::ffff:0:ffff:ffff", NULL },
        { "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::", "64:ff9b::ffff:ffff",
          "64:ff9b::1:0:0" },
        { "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
          "64:ff9b:2::" },
        { "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff", NULL },
        { NULL, "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "100:0:0:2::" },
        { "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::" },
        { "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
          "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::" },
        { "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::" },
        { "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::" },
        { "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::" },
        { "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::" },
        { "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
        { NULL, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
        { NULL, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
    };
    struct sl_guard *g = sl_guard_new(&(struct sl_guard_conf){ 0 });

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        if (passes(g, rows[i].first, 443) || passes(g, rows[i].last, 443))
            fail_msg("%s..%s passes", rows[i].first, rows[i].last);
        if (rows[i].below != NULL && !passes(g, rows[i].below, 443))
            fail_msg("%s is blocked", rows[i].below);
        if (rows[i].above != NULL && !passes(g, rows[i].above, 443))
            fail_msg("%s is blocked", rows[i].above);
    }
    sl_guard_free(&g);
}

/* threat: ssrf-forms */
static void ipv4_inside_ipv6_is_blocked(void **state)
{
    static const struct {
        const char *ip;
        bool passes;
    } rows[] = {
        { "::ffff:127.0.0.1", false },
        { "::ffff:169.254.169.254", false },
        { "::ffff:10.1.2.3", false },
        { "::ffff:8.8.8.8", true }, /* as IPv4, which is what is connected to */
        { "::127.0.0.1", false },
        { "::8.8.8.8", false },
        { "::ffff:0:127.0.0.1", false },
        { "64:ff9b::127.0.0.1", false },
        { "64:ff9b::8.8.8.8", false },
        { "2002:7f00:1::1", false },
        { "2001:0:4136:e378:8000:63bf:3fff:fdd2", false },
        { "2606:4700::5efe:10.0.0.1", false },
        { "2606:4700::200:5efe:10.0.0.1", false },
        { "2606:4700::100:5efe:a00:1", true },
        { "2606:4700::1", true },
        { "8.8.8.8", true },
    };
    struct sl_guard *g = sl_guard_new(&(struct sl_guard_conf){ 0 });

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++)
        if (passes(g, rows[i].ip, 80) != rows[i].passes)
            fail_msg("%s", rows[i].ip);
    sl_guard_free(&g);
}

static void allowed_ranges_pass_and_nothing_beside_them(void **state)
{
    static const struct {
        const char *allow, *ip;
        bool passes;
    } rows[] = {
        { "10.20.0.0/16", "10.20.0.0", true },
        { "10.20.0.0/16", "10.20.255.255", true },
        { "10.20.0.0/16", "10.19.255.255", false },
        { "10.20.0.0/16", "10.21.0.0", false },
        { "10.20.0.0/16", "::ffff:10.20.1.1", true },
        { "10.20.0.0/16", "2002:a14:101::", false },
        { "127.0.0.0/8", "127.0.0.1", true },
        { "127.0.0.0/8", "::1", false },
        { "::1", "::1", true },
        { "::1", "127.0.0.1", false },
        { "::/0", "127.0.0.1", false },
        { "::/0", "::ffff:127.0.0.1", false },
        { "::/0", "fe80::1", true },
        { "0.0.0.0/0", "169.254.169.254", true },
        { "0.0.0.0/0", "fc00::1", false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_cidr allow;
        struct sl_guard *g;

        assert_true(sl_cidr_parse(sl_str_of(rows[i].allow), &allow));
        g = sl_guard_new(&(struct sl_guard_conf){ .allow = &allow, .n_allow = 1 });
        if (passes(g, rows[i].ip, 80) != rows[i].passes)
            fail_msg("allow %s: %s", rows[i].allow, rows[i].ip);
        sl_guard_free(&g);
    }
}

/* With everything allowed, so that only the own listeners stand in the way. */
/* threat: admin-through-proxy */
static void own_listeners_are_blocked_whatever_is_allowed(void **state)
{
    static const struct {
        const char *own, *ip;
        uint16_t port;
        bool passes;
    } rows[] = {
        { "127.0.0.1:8080", "127.0.0.1", 8080, false },
        { "127.0.0.1:8080", "127.0.0.1", 8081, true },
        { "127.0.0.1:8080", "::ffff:127.0.0.1", 8080, false },
        { "127.0.0.1:8080", "127.0.0.2", 8080, true },
        { "127.0.0.1:8080", "0.0.0.0", 8080, false },
        { "127.0.0.1:8080", "::", 8080, false },
        { "127.0.0.1:8080", "::ffff:0.0.0.0", 8080, false },
        { "127.0.0.1:8080", "::", 8081, true },
        { "[::ffff:127.0.0.1]:8080", "127.0.0.1", 8080, false },
        { "[::ffff:127.0.0.1]:8080", "::ffff:127.0.0.1", 8080, false },
        { "0.0.0.0:8080", "127.0.0.1", 8080, false },
        { "0.0.0.0:8080", "127.9.8.7", 8080, false },
        { "0.0.0.0:8080", "::ffff:127.9.8.7", 8080, false },
        { "0.0.0.0:8080", "0.0.0.0", 8080, false },
        { "0.0.0.0:8080", "10.255.1.1", 8080, true },
        { "[::]:8080", "127.0.0.1", 8080, false },
        { "[::]:8080", "::", 8080, false },
        { "[::ffff:0.0.0.0]:8080", "127.0.0.1", 8080, false },
        { "[::]:8080", "fc00::1234", 8080, true },
        { "[::1]:8080", "::1", 8080, false },
        { "[fe80::1]:8080", "fe80::1", 8080, false },
        { "unix:/run/sluice.sock", "127.0.0.1", 0, true },
    };
    struct sl_cidr allow[2];

    (void)state;
    assert_true(sl_cidr_parse(SL_STR("0.0.0.0/0"), &allow[0]));
    assert_true(sl_cidr_parse(SL_STR("::/0"), &allow[1]));
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_addr own;
        struct sl_guard *g;

        assert_true(sl_addr_parse(sl_str_of(rows[i].own), &own));
        g = sl_guard_new(
            &(struct sl_guard_conf){ .allow = allow, .n_allow = 2, .own = &own, .n_own = 1 });
        if (passes(g, rows[i].ip, rows[i].port) != rows[i].passes)
            fail_msg("own %s: %s port %u", rows[i].own, rows[i].ip, rows[i].port);
        sl_guard_free(&g);
    }
}

/* A scope makes an address of ours no other address. */
static void a_listener_with_a_scope_is_still_ours(void **state)
{
    struct sl_addr own = at("fe80::1", 8080);
    struct sl_cidr all;
    struct sl_guard *g;

    (void)state;
    own.v6.sin6_scope_id = 7;
    assert_true(sl_cidr_parse(SL_STR("::/0"), &all));
    g = sl_guard_new(
        &(struct sl_guard_conf){ .allow = &all, .n_allow = 1, .own = &own, .n_own = 1 });
    assert_false(passes(g, "fe80::1", 8080));
    sl_guard_free(&g);
}

/* threat: ssrf-forms */
static void addresses_of_this_machine_are_blocked(void **state)
{
    struct sl_guard *g = sl_guard_new(&(struct sl_guard_conf){ 0 });
    struct ifaddrs *list = NULL;

    (void)state;
    assert_int_equal(getifaddrs(&list), 0);
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct sl_addr a = { .len = sizeof(a.v4) };

        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        memcpy(&a.v4, i->ifa_addr, sizeof(a.v4));
        sl_addr_set_port(&a, 443);
        assert_int_equal(sl_guard_check(g, &a), SL_BLOCKED_ADDRESS);
    }
    freeifaddrs(list);
    sl_guard_free(&g);
    assert_null(g);
    sl_guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_blocked_at_both_borders),
        cmocka_unit_test(ipv4_inside_ipv6_is_blocked),
        cmocka_unit_test(allowed_ranges_pass_and_nothing_beside_them),
        cmocka_unit_test(own_listeners_are_blocked_whatever_is_allowed),
        cmocka_unit_test(a_listener_with_a_scope_is_still_ours),
        cmocka_unit_test(addresses_of_this_machine_are_blocked),
    };

    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
