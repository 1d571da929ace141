/* test_host_set.c -- list files: what they cover, what is refused, what a million lines hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "policy/host_set.h"

static struct sl_host_set *parse(struct sl_str text)
{
    struct sl_host_set *set = NULL;
    struct sl_fault fault = { 0 };

    if (sl_host_set_parse(text, "list", &set, &fault) != SL_OK)
        fail_msg("%s", fault.text);
    return set;
}

static void test_matching(void **state)
{
    static const char list[] = "# a comment\n"
                               "\n"
                               "name.example\n"
                               "  *.below.example  # with blanks\r\n"
                               "\t.tree.example\r\n"
                               "Both.Example\n*.both.example\n"
                               "B\xc3\xbc"
                               "cher.example\n"
                               "192.0.2.7\n10.0.0.0/8\n10.20.0.0/16\n[2001:db8::1]\nfc00::/7\n"
                               "a_b.example";
    static const struct {
        const char *host;
        bool expected;
    } rows[] = {
        { "name.example", true },
        { "x.name.example", false },
        { "example", false },
        { "below.example", false },
        { "a.below.example", true },
        { "a.b.c.below.example", true },
        { "xbelow.example", false },
        { "tree.example", true },
        { "a.tree.example", true },
        { "atree.example", false },
        { "both.example", true },
        { "a.both.example", true },
        { "xn--bcher-kva.example", true },
        { "192.0.2.7", true },
        { "192.0.2.8", false },
        { "10.255.0.1", true },
        { "11.0.0.1", false },
        { "::ffff:10.1.1.1", true },
        { "2001:db8::1", true },
        { "2001:db8::2", false },
        { "fdff::1", true },
        { "fe80::1", false },
        { "a_b.example", true },
        { "", false },
        { ".", false },
        { "x.", false },
    };
    struct sl_host_set *set = parse(sl_str_make(list, sizeof(list) - 1));

    (void)state;
    assert_int_equal(sl_host_set_len(set), 11);
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        if (sl_host_set_match(set, sl_str_of(rows[i].host)) != rows[i].expected)
            fail_msg("%s", rows[i].host);
    }
    sl_host_set_free(&set);
    assert_null(set);
    sl_host_set_free(&set);
}

static void test_everything(void **state)
{
    struct sl_host_set *set = parse(SL_STR("0.0.0.0/0"));

    (void)state;
    assert_true(sl_host_set_match(set, SL_STR("1.2.3.4")));
    assert_false(sl_host_set_match(set, SL_STR("2001:db8::1")));
    assert_false(sl_host_set_match(set, SL_STR("example.com")));
    sl_host_set_free(&set);
    set = parse(SL_STR("::/0"));
    assert_false(sl_host_set_match(set, SL_STR("1.2.3.4")));
    assert_true(sl_host_set_match(set, SL_STR("2001:db8::1")));
    sl_host_set_free(&set);
}

static void test_empty_lists(void **state)
{
    static const char *const texts[] = { "", "\n", "\r\n\r\n", "#x", "  # x\n\t\n" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(texts); i++) {
        struct sl_host_set *set = parse(sl_str_of(texts[i]));

        assert_int_equal(sl_host_set_len(set), 0);
        assert_false(sl_host_set_match(set, SL_STR("a.example")));
        sl_host_set_free(&set);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *where;
    } rows[] = {
        { "a.example\n  b c\n", "list:2:3: `b c`" },
        { "*", "list:1:1: `*`" },
        { "a.example\r\n\r\n*.*.com\r\n", "list:3:1: `*.*.com`" },
        { "0.0.0.0 ads.example", "list:1:1: `0.0.0.0 ads.example`" },
        { "10.0.0.1/8", "list:1:1:" },
        { "a.example#b", "list:1:1:" },
        { "\x01\x02", "list:1:1: `??`" },
        { "http://a.example/", "list:1:1:" },
        { "*.1.2.3.4", "list:1:1:" },
        { "127.1", "list:1:1:" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_host_set *set = NULL;
        struct sl_fault fault = { 0 };

        assert_int_equal(sl_host_set_parse(sl_str_of(rows[i].text), "list", &set, &fault),
                         SL_CONFIG);
        assert_null(set);
        if (strncmp(fault.text, rows[i].where, strlen(rows[i].where)) != 0)
            fail_msg("%s: %s", rows[i].text, fault.text);
    }
}

static void test_files(void **state)
{
    char dir[] = "/tmp/sluice-set-XXXXXX";
    char path[64];
    struct sl_host_set *set = NULL;
    struct sl_fault fault = { 0 };
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sl_host_set_load(dir, &set, &fault), SL_CONFIG);
    snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sl_host_set_load(path, &set, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "not a regular file"));
    unlink(path);
    assert_int_not_equal(sl_host_set_load(path, &set, &fault), SL_OK);
    assert_int_equal(fault.os_errno, 2);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("a.example\n.b.example", file);
    fclose(file);
    assert_int_equal(sl_host_set_load(path, &set, &fault), SL_OK);
    assert_true(sl_host_set_match(set, SL_STR("x.b.example")));
    sl_host_set_free(&set);
    unlink(path);
    rmdir(dir);
}

static void add_million(struct sl_buf *text)
{
    for (unsigned i = 0; i < 1000000; i++)
        sl_buf_addf(text, "%shost%u.zone%u.example\n", i % 3 == 0 ? "*." : "", i, i % 5000);
}

/* The time is printed for eyes; only counts are asserted. */
static void test_a_million(void **state)
{
    struct sl_buf text = { 0 };
    struct sl_host_set *set;
    uint64_t start, loaded, matched;
    unsigned n_found = 0;

    (void)state;
    add_million(&text);
    start = sl_mono_us();
    set = parse(sl_buf_str(&text));
    loaded = sl_mono_us();
    for (unsigned i = 0; i < 100000; i++) {
        char host[64];
        int n = snprintf(host, sizeof(host), "a.host%u.zone%u.example", i * 20, i * 20 % 5000);

        n_found += sl_host_set_match(set, sl_str_make(host, (size_t)n));
    }
    matched = sl_mono_us();
    print_message("1000000 lines: %llu ms, %zu bytes, 100000 look-ups: %llu us\n",
                  (unsigned long long)(loaded - start) / 1000, sl_host_set_bytes(set),
                  (unsigned long long)(matched - loaded));
    assert_int_equal(sl_host_set_len(set), 1000000);
    assert_int_equal(n_found, 16667);
    assert_true(sl_host_set_bytes(set) < 64000000);
    sl_host_set_free(&set);
    sl_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),    cmocka_unit_test(test_everything),
        cmocka_unit_test(test_empty_lists), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_a_million),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
