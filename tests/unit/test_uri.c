/* test_uri.c -- one spelling for each host, and none for what is not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/uri.h"

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"
#define NAME_253                                                                                   \
    LABEL_63 "." LABEL_63 "." LABEL_63 "."                                                         \
             "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg"

static int set_up(void **state)
{
    *state = sl_zalloc(sizeof(struct sl_arena));
    return 0;
}

static int tear_down(void **state)
{
    sl_arena_fini(*state);
    sl_free(*state);
    return 0;
}

static void assert_str(struct sl_str got, const char *want, const char *what)
{
    if (!sl_str_eq(got, sl_str_of(want)))
        fail_msg("%s: \"%.*s\" instead of \"%s\"", what, SL_FMT(got), want);
}

static const struct {
    const char *in, *out; /* out NULL: refused */
    bool is_ip;
} hosts[] = {
    { "example.com", "example.com", false },
    { "EXAMPLE.com", "example.com", false },
    { "example.com.", "example.com", false },
    { "example.com..", NULL, false },
    { ".example.com", NULL, false },
    { "a..b", NULL, false },
    { ".", NULL, false },
    { "", NULL, false },
    { "localhost", "localhost", false },
    { "a_b.example", "a_b.example", false },
    { "_dmarc.example", "_dmarc.example", false },
    { "-a-.example", "-a-.example", false },
    { "r3---sn-x.example", "r3---sn-x.example", false },
    { "*.example.com", NULL, false },
    { "exa mple.com", NULL, false },
    { "exa%6dple.com", NULL, false },
    { "user@example.com", NULL, false },
    { "example.com/", NULL, false },
    { "example.com\\", NULL, false },
    { "example.com:80", NULL, false },
    { "example.com,evil", NULL, false },
    { "a'b", NULL, false },
    { "a\tb", NULL, false },
    { LABEL_63 ".com", LABEL_63 ".com", false },
    { LABEL_63 "a.com", NULL, false },
    { NAME_253, NAME_253, false },
    { NAME_253 ".", NAME_253, false },
    { "a" NAME_253, NULL, false },
    { "1.2.3.4", "1.2.3.4", true },
    { "1.2.3.4.", "1.2.3.4", true },
    { "127.1", NULL, false },
    { "2130706433", NULL, false },
    { "0x7f000001", NULL, false },
    { "0x7f.1", NULL, false },
    { "127.0.0.0x1", NULL, false },
    { "127.0.0.0X1", NULL, false },
    { "0177.0.0.1", NULL, false },
    { "01.2.3.4", NULL, false },
    { "1.2.3.256", NULL, false },
    { "1.2.3.4.5", NULL, false },
    { "1.2.3", NULL, false },
    { "example.1", NULL, false },
    { "1.example", "1.example", false },
    { "0x1.example", "0x1.example", false },
    { "1.2.3.4a", "1.2.3.4a", false },
    { "::1", "::1", true },
    { "[::1]", "::1", true },
    { "[2001:DB8:0:0:0:0:0:1]", "2001:db8::1", true },
    { "2001:0db8::0001", "2001:db8::1", true },
    { "[::ffff:127.0.0.1]", "127.0.0.1", true },
    { "::FFFF:7f00:1", "127.0.0.1", true },
    { "[::127.0.0.1]", "::127.0.0.1", true },
    { "[fe80::1%eth0]", NULL, false },
    { "[::1", NULL, false },
    { "::1]", NULL, false },
    { "[1.2.3.4]", NULL, false },
    { "[example.com]", NULL, false },
    { "[]", NULL, false },
    { "[[::1]]", NULL, false },
    { ":", NULL, false },
    { "b\xc3\xbc"
      "cher.example",
      "xn--bcher-kva.example", false },
    { "B\xc3\x9c"
      "CHER.example",
      "xn--bcher-kva.example", false },
    { "bu\xcc\x88"
      "cher.example",
      "xn--bcher-kva.example", false },
    { "XN--BCHER-KVA.example", "xn--bcher-kva.example", false },
    { "xn--bcher-kva.example.", "xn--bcher-kva.example", false },
    { "fa\xc3\x9f.example", "xn--fa-hia.example", false },
    { "xn--fa-hia.example", "xn--fa-hia.example", false },
    { "a\xe3\x80\x82"
      "example",
      "a.example", false },
    { "a_b.b\xc3\xbc.example", "a_b.xn--b-eha.example", false },
    { "ab--C.xn--fa-hia.example", "ab--c.xn--fa-hia.example", false },
    { "r1---sn-x.fa\xc3\x9f.example.", "r1---sn-x.xn--fa-hia.example", false },
    { "a..fa\xc3\x9f.example", NULL, false },
    { "fa\xc3\x9f..", NULL, false },
    { "xn--zzzzzzzz9.example", NULL, false },
    { "xn--.example", NULL, false },
    { "xn--a.example", NULL, false },
    { "a.xn--a", NULL, false },
    { "axn--a.example", "axn--a.example", false },
    { "\xff.example", NULL, false },
    { "\xc3.example", NULL, false },
    { "%b\xc3\xbc.example", NULL, false },
    { "1.2.3.\xef\xbc\x94", "1.2.3.4", true },
    { "0\xef\xbd\x98"
      "7f.1",
      NULL, false },
    { "\xe2\x84\x80.example", NULL, false }, /* maps to a/c */
};

/* threat: spelling-of-hosts */
static void test_hosts(void **state)
{
    for (size_t i = 0; i < SL_LEN(hosts); i++) {
        struct sl_str host, again;
        enum sl_err err = sl_host_canonical(sl_str_of(hosts[i].in), *state, &host);

        if (hosts[i].out == NULL && err != SL_BAD_HOST)
            fail_msg("\"%s\" was accepted", hosts[i].in);
        if (hosts[i].out == NULL)
            continue;
        if (err != SL_OK)
            fail_msg("\"%s\" was refused", hosts[i].in);
        assert_str(host, hosts[i].out, hosts[i].in);
        assert_int_equal(sl_host_is_ip(host), hosts[i].is_ip);
        assert_int_equal(sl_host_canonical(host, *state, &again), SL_OK);
        assert_true(sl_str_eq(host, again));
    }
    assert_int_equal(sl_host_canonical(SL_STR("a\0b"), *state, &(struct sl_str){ 0 }), SL_BAD_HOST);
    assert_int_equal(sl_host_canonical(SL_STR("\xc3\xbc\0b"), *state, &(struct sl_str){ 0 }),
                     SL_BAD_HOST);
}

static void test_huge_hosts_are_refused_before_conversion(void **state)
{
    char huge[4096];
    struct sl_str host;

    memset(huge, 0xc3, sizeof(huge));
    assert_int_equal(sl_host_canonical(sl_str_make(huge, sizeof(huge)), *state, &host),
                     SL_BAD_HOST);
    assert_int_equal(((struct sl_arena *)*state)->total, 0);
}

static void test_authorities(void **state)
{
    static const struct {
        const char *in, *host; /* host NULL: refused */
        uint16_t port;
        bool is_ip;
    } cases[] = {
        { "example.com", "example.com", 0, false },
        { "EXAMPLE.com.:443", "example.com", 443, false },
        { "[2001:db8::1]:443", "2001:db8::1", 443, true },
        { "[2001:db8::1]", "2001:db8::1", 0, true },
        { "1.2.3.4:1", "1.2.3.4", 1, true },
        { "example.com:65535", "example.com", 65535, false },
        { "example.com:00443", "example.com", 443, false },
        { "example.com:000443", NULL, 0, false },
        { "example.com:65536", NULL, 0, false },
        { "example.com:0", NULL, 0, false },
        { "example.com:", NULL, 0, false },
        { "example.com:+80", NULL, 0, false },
        { "example.com: 80", NULL, 0, false },
        { "example.com:80 ", NULL, 0, false },
        { "example.com:80:80", NULL, 0, false },
        { "example.com:99999999999999999999", NULL, 0, false },
        { "::1", NULL, 0, false },
        { "::1:443", NULL, 0, false },
        { "[::1]443", NULL, 0, false },
        { "[::1]:", NULL, 0, false },
        { "[::1", NULL, 0, false },
        { "[v1.x]:80", NULL, 0, false },
        { "[example.com]:80", NULL, 0, false },
        { "user@example.com:80", NULL, 0, false },
        { "user:pass@example.com:80", NULL, 0, false },
        { ":80", NULL, 0, false },
        { "", NULL, 0, false },
    };

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_authority auth = { .port = 7 };
        enum sl_err err = sl_authority_parse(sl_str_of(cases[i].in), *state, &auth);

        if ((err == SL_OK) != (cases[i].host != NULL))
            fail_msg("\"%s\": %s", cases[i].in, sl_err_name(err));
        if (cases[i].host == NULL) {
            assert_int_equal(auth.port, 7);
            continue;
        }
        assert_str(auth.host, cases[i].host, cases[i].in);
        assert_int_equal(auth.port, cases[i].port);
        assert_int_equal(auth.is_ip, cases[i].is_ip);
    }
}

static void test_uris(void **state)
{
    static const struct {
        const char *in;
        enum sl_err err;
        const char *scheme, *host;
        uint16_t port;
        const char *target;
    } cases[] = {
        { "http://a/", SL_OK, "http", "a", 0, "/" },
        { "HTTPS://A:8443/x?y", SL_OK, "https", "a", 8443, "/x?y" },
        { "http://a", SL_OK, "http", "a", 0, "/" },
        { "http://a?q=1", SL_OK, "http", "a", 0, "/?q=1" },
        { "http://a/?u=https://b/", SL_OK, "http", "a", 0, "/?u=https://b/" },
        { "http://a//b/../c", SL_OK, "http", "a", 0, "//b/../c" },
        { "http://[::1]:8080/", SL_OK, "http", "::1", 8080, "/" },
        { "ws://a/chat", SL_OK, "ws", "a", 0, "/chat" },
        { "WSS://a", SL_OK, "wss", "a", 0, "/" },
        { "http://a/#f", SL_BAD_TARGET, "", "", 0, "" },
        { "http://a#f", SL_BAD_TARGET, "", "", 0, "" },
        { "http://a/ b", SL_BAD_TARGET, "", "", 0, "" },
        { "http://a/\xc3\xbc", SL_BAD_TARGET, "", "", 0, "" },
        { "http://u@a/", SL_BAD_HOST, "", "", 0, "" },
        { "http://u:p@a/", SL_BAD_HOST, "", "", 0, "" },
        { "http://a\\b/", SL_BAD_HOST, "", "", 0, "" },
        { "http:///x", SL_BAD_HOST, "", "", 0, "" },
        { "http://:80/", SL_BAD_HOST, "", "", 0, "" },
        { "http:/a/", SL_BAD_TARGET, "", "", 0, "" },
        { "http:a", SL_BAD_TARGET, "", "", 0, "" },
        { "http", SL_BAD_TARGET, "", "", 0, "" },
        { "//a/", SL_BAD_TARGET, "", "", 0, "" },
        { "/a", SL_BAD_TARGET, "", "", 0, "" },
        { "ftp://a/", SL_BAD_TARGET, "", "", 0, "" },
        { "httpx://a/", SL_BAD_TARGET, "", "", 0, "" },
        { "urn:a:b", SL_BAD_TARGET, "", "", 0, "" },
        { "", SL_BAD_TARGET, "", "", 0, "" },
    };

    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_uri uri;
        enum sl_err err = sl_uri_parse(sl_str_of(cases[i].in), *state, &uri);

        if (err != cases[i].err)
            fail_msg("\"%s\": %s", cases[i].in, sl_err_name(err));
        if (err != SL_OK)
            continue;
        assert_str(uri.scheme, cases[i].scheme, cases[i].in);
        assert_str(uri.authority.host, cases[i].host, cases[i].in);
        assert_int_equal(uri.authority.port, cases[i].port);
        assert_str(uri.target, cases[i].target, cases[i].in);
    }
}

static void test_targets_and_ports(void **state)
{
    struct sl_str path, query;

    (void)state;
    sl_target_split(SL_STR("/a?b?c"), &path, &query);
    assert_str(path, "/a", "path");
    assert_str(query, "b?c", "query");
    sl_target_split(SL_STR("/a"), &path, &query);
    assert_str(path, "/a", "path");
    assert_int_equal(query.n, 0);
    sl_target_split(SL_STR("/a?"), &path, &query);
    assert_str(path, "/a", "path");
    assert_int_equal(query.n, 0);
    assert_int_equal(sl_scheme_port(SL_STR("http")), 80);
    assert_int_equal(sl_scheme_port(SL_STR("https")), 443);
    assert_int_equal(sl_scheme_port(SL_STR("wss")), 443);
    assert_int_equal(sl_scheme_port(SL_STR("ftp")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hosts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_huge_hosts_are_refused_before_conversion, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_authorities, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_uris, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_targets_and_ports, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
