/* test_addr.c -- addresses: what is read, what is refused, what a network holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/mem.h"

static struct sl_addr ip(const char *text)
{
    struct sl_addr a = { 0 };

    if (!sl_addr_parse_ip(sl_str_of(text), &a))
        fail_msg("%s", text);
    return a;
}

static void reads_literals(void **state)
{
    static const char *const cases[][2] = {
        { "127.0.0.1", "127.0.0.1" },
        { "0.0.0.0", "0.0.0.0" },
        { "255.255.255.255", "255.255.255.255" },
        { "::1", "::1" },
        { "::", "::" },
        { "2001:DB8::0:1", "2001:db8::1" },
        { "::ffff:1.2.3.4", "::ffff:1.2.3.4" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_addr a = ip(cases[i][0]);
        char text[SL_ADDR_TEXT];

        sl_addr_ip_text(&a, text);
        assert_string_equal(text, cases[i][1]);
        assert_int_equal(sl_addr_port(&a), 0);
    }
}

static void refuses_odd_literals(void **state)
{
    const struct sl_str cases[] = {
        SL_STR(""),
        SL_STR("127.1"),
        SL_STR("2130706433"),
        SL_STR("0x7f.0.0.1"),
        SL_STR("0177.0.0.1"),
        SL_STR("127.0.0.01"),
        SL_STR("00.0.0.0"),
        SL_STR("256.0.0.1"),
        SL_STR("1.2.3"),
        SL_STR("1.2.3.4.5"),
        SL_STR("1.2.3.4."),
        SL_STR(" 1.2.3.4"),
        SL_STR("1.2.3.4 "),
        SL_STR("1.2.3.4\0"),
        SL_STR("1.2.3.4\0x"),
        SL_STR("[::1]"),
        SL_STR("::1%lo"),
        SL_STR(":::"),
        SL_STR("1::2::3"),
        SL_STR("12345::"),
        SL_STR("1:2:3:4:5:6:7:8:9"),
        SL_STR("::ffff:1.2.3.04"),
        SL_STR("example.com"),
        SL_STR("-1.2.3.4"),
        SL_STR("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"),
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_addr a = { 0 };

        if (sl_addr_parse_ip(cases[i], &a))
            fail_msg("%.*s", SL_FMT(cases[i]));
        assert_int_equal(a.len, 0);
    }
}

static void reads_socket_addresses(void **state)
{
    static const struct {
        const char *text, *ip;
        uint16_t port;
    } cases[] = {
        { "127.0.0.1:80", "127.0.0.1", 80 },
        { "[::1]:65535", "::1", 65535 },
        { "0.0.0.0:0", "0.0.0.0", 0 },
        { "unix:/run/x.sock", "unix", 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_addr a = { 0 };
        char text[SL_ADDR_TEXT];

        assert_true(sl_addr_parse(sl_str_of(cases[i].text), &a));
        assert_int_equal(sl_addr_port(&a), cases[i].port);
        sl_addr_text(&a, text);
        assert_string_equal(text, cases[i].text);
        sl_addr_ip_text(&a, text);
        assert_string_equal(text, cases[i].ip);
    }
}

static void refuses_odd_socket_addresses(void **state)
{
    static const char *const cases[] = {
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:000080",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[127.0.0.1]:80",
        "[::1:80",
        ":80",
        "localhost:80",
        "unix:",
        "unix:relative",
        "[]:80",
        "127.0.0.1:80 ",
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_addr a;

        if (sl_addr_parse(sl_str_of(cases[i]), &a))
            fail_msg("%s", cases[i]);
    }
}

static void unix_paths_have_a_limit(void **state)
{
    char text[200] = "unix:/";
    struct sl_addr a = { 0 };

    (void)state;
    memset(text + 6, 'x', sizeof(text) - 6);
    assert_true(sl_addr_parse(sl_str_make(text, 5 + sizeof(a.un.sun_path) - 1), &a));
    char back[SL_ADDR_TEXT];

    sl_addr_text(&a, back);
    assert_int_equal(strlen(back), 5 + sizeof(a.un.sun_path) - 1);
    assert_false(sl_addr_parse(sl_str_make(text, 5 + sizeof(a.un.sun_path)), &a));
}

static void unnamed_and_absent_addresses_have_a_text(void **state)
{
    struct sl_addr unnamed = { .len = sizeof(sa_family_t), .un.sun_family = AF_UNIX };
    struct sl_addr none = { 0 };
    char text[SL_ADDR_TEXT];

    (void)state;
    sl_addr_text(&unnamed, text);
    assert_string_equal(text, "unix:");
    sl_addr_text(&none, text);
    assert_string_equal(text, "");
    sl_addr_ip_text(&none, text);
    assert_string_equal(text, "");
    assert_true(sl_addr_eq(&none, &none));
    assert_false(sl_addr_eq(&none, &unnamed));
}

static void networks(void **state)
{
    static const struct {
        const char *cidr, *ip;
        bool has;
    } cases[] = {
        { "10.0.0.0/8", "10.255.0.1", true },
        { "10.0.0.0/8", "11.0.0.1", false },
        { "10.0.0.0/8", "::ffff:10.1.2.3", true },
        { "10.0.0.0/8", "::1", false },
        { "0.0.0.0/0", "8.8.8.8", true },
        { "0.0.0.0/0", "::1", false },
        { "192.168.1.1", "192.168.1.1", true },
        { "192.168.1.1/32", "192.168.1.2", false },
        { "172.16.0.0/12", "172.31.255.255", true },
        { "172.16.0.0/12", "172.32.0.0", false },
        { "fc00::/7", "fdff::1", true },
        { "fc00::/7", "fe00::1", false },
        { "::1", "::1", true },
        { "::/0", "2001:db8::1", true },
        { "::/0", "1.2.3.4", false },
        { "::/0", "::ffff:1.2.3.4", false },
        { "::ffff:0:0/96", "1.2.3.4", true },
        { "::ffff:10.0.0.0/104", "10.2.3.4", true },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_addr a = ip(cases[i].ip);
        struct sl_cidr c;

        assert_true(sl_cidr_parse(sl_str_of(cases[i].cidr), &c));
        if (sl_cidr_has(&c, &a) != cases[i].has)
            fail_msg("%s in %s", cases[i].ip, cases[i].cidr);
    }
}

static void refuses_odd_networks(void **state)
{
    static const char *const cases[] = {
        "",       "/8",   "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",    "10.0.0.0/-1", "::1/64",
        "::/129", "10/8", "fc00::/0x7", "unix:/x",     "10.0.0.0/8/8", "::/0000",
    };
    struct sl_cidr all;
    struct sl_addr un;

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++)
        if (sl_cidr_parse(sl_str_of(cases[i]), &all))
            fail_msg("%s", cases[i]);
    assert_true(sl_cidr_parse(SL_STR("0.0.0.0/0"), &all));
    assert_true(sl_addr_parse(SL_STR("unix:/x"), &un));
    assert_false(sl_cidr_has(&all, &un));
}

static void equality(void **state)
{
    static const char *const texts[] = {
        "127.0.0.1:80", "127.0.0.1:81", "127.0.0.2:80", "[::1]:80",
        "[::2]:80",     "[::1]:81",     "unix:/a",      "unix:/b",
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(texts); i++)
        for (size_t k = 0; k < SL_LEN(texts); k++) {
            struct sl_addr a, b;

            assert_true(sl_addr_parse(sl_str_of(texts[i]), &a));
            assert_true(sl_addr_parse(sl_str_of(texts[k]), &b));
            assert_int_equal(sl_addr_eq(&a, &b), i == k);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_literals),
        cmocka_unit_test(refuses_odd_literals),
        cmocka_unit_test(reads_socket_addresses),
        cmocka_unit_test(refuses_odd_socket_addresses),
        cmocka_unit_test(unix_paths_have_a_limit),
        cmocka_unit_test(unnamed_and_absent_addresses_have_a_text),
        cmocka_unit_test(networks),
        cmocka_unit_test(refuses_odd_networks),
        cmocka_unit_test(equality),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
