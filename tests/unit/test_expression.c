/* test_expression.c -- the language of `when`: what parses, what it means, what it prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/metric.h"
#include "policy/expression.h"

#define ALL_FACTS (SL_FACT_BIT(SL_FACT_N) - 1)

static struct sl_expression *parse(const char *text)
{
    struct sl_expression *e = NULL;
    struct sl_parse_error error = { 0 };

    if (sl_expression_parse(sl_str_of(text), &e, &error) != SL_OK)
        fail_msg("%s: column %zu: %s", text, error.column, error.text);
    return e;
}

static enum sl_truth eval(const char *text, const struct sl_facts *facts)
{
    struct sl_expression *e = parse(text);
    enum sl_truth result = sl_expression_eval(e, facts);

    sl_expression_free(&e);
    assert_null(e);
    return result;
}

/* A request about which everything is known. */
struct world {
    struct sl_addr client, dst;
    struct sl_field fields[4];
    struct sl_fields list;
    struct sl_facts facts;
};

static void build(struct world *w)
{
    *w = (struct world){
        .fields = { { .name = SL_STR("Accept"), .value = SL_STR("text/html") },
                    { .name = SL_STR("Cookie"), .value = SL_STR("a=1") },
                    { .name = SL_STR("cookie"), .value = SL_STR("b=2") },
                    { .name = SL_STR("X-Empty"), .value = SL_STR("") } },
    };
    w->list = (struct sl_fields){ .v = w->fields, .n = 4, .cap = 4 };
    assert_true(sl_addr_parse_ip(SL_STR("10.1.2.3"), &w->client));
    assert_true(sl_addr_parse_ip(SL_STR("2001:db8::7"), &w->dst));
    w->facts = (struct sl_facts){
        .known = ALL_FACTS,
        .client = &w->client,
        .user = SL_STR("alice"),
        .host = SL_STR("www.example.com"),
        .port = 443,
        .scheme = SL_STR("https"),
        .sni = SL_STR("www.example.com"),
        .alpn = SL_STR("h2,http/1.1"),
        .dst = &w->dst,
        .method = SL_STR("POST"),
        .path = SL_STR("/track/a b(1)"),
        .query = SL_STR("id=7"),
        .fields = &w->list,
        .size = 10485761,
        .status = 404,
        .type = SL_STR("Text/HTML; charset=utf-8"),
    };
}

static const struct {
    const char *text;
    enum sl_truth expected;
} meanings[] = {
    { "any", SL_TRUE },
    { "host www.example.com", SL_TRUE },
    { "host WWW.Example.COM.", SL_TRUE },
    { "host example.com", SL_FALSE },
    { "host *.example.com", SL_TRUE },
    { "host *.com", SL_TRUE },
    { "host *.www.example.com", SL_FALSE },
    { "host .www.example.com", SL_TRUE },
    { "host .ww.example.com", SL_FALSE },
    { "host .ample.com", SL_FALSE },
    { "host 10.0.0.0/8", SL_FALSE },
    { "port 443", SL_TRUE },
    { "port 80", SL_FALSE },
    { "scheme https", SL_TRUE },
    { "scheme HTTPS", SL_TRUE },
    { "scheme wss", SL_FALSE },
    { "method POST", SL_TRUE },
    { "method post", SL_TRUE },
    { "method GET", SL_FALSE },
    { "path /track/*", SL_TRUE },
    { "path /track/", SL_FALSE },
    { "path \"/track/a b(?)\"", SL_TRUE },
    { "path ~ /^\\/track\\/.*\\d\\)$/", SL_TRUE },
    { "path ~ /TRACK/", SL_FALSE },
    { "path ~ /(?i)TRACK/", SL_TRUE },
    { "path ~/[(]1[)]/", SL_TRUE },
    { "query id=?", SL_TRUE },
    { "query id=??", SL_FALSE },
    { "query \"\"", SL_FALSE },
    { "header accept *html*", SL_TRUE },
    { "header ACCEPT text/html", SL_TRUE },
    { "header cookie b=*", SL_TRUE },
    { "header cookie c=*", SL_FALSE },
    { "header x-none *", SL_FALSE },
    { "header x-empty \"\"", SL_TRUE },
    { "header cookie ~ /^b=\\d$/", SL_TRUE },
    { "type text/html", SL_TRUE },
    { "type TEXT/*", SL_TRUE },
    { "type image/*", SL_FALSE },
    { "type ~ /html$/", SL_TRUE },
    { "status 404", SL_TRUE },
    { "status 200", SL_FALSE },
    { "client 10.0.0.0/8", SL_TRUE },
    { "client 10.1.2.3", SL_TRUE },
    { "client 2001:db8::/32", SL_FALSE },
    { "dst 2001:db8::/32", SL_TRUE },
    { "dst 0.0.0.0/0", SL_FALSE },
    { "user alice", SL_TRUE },
    { "user Alice", SL_FALSE },
    { "sni *.example.com", SL_TRUE },
    { "sni other.example", SL_FALSE },
    { "size > 10MiB", SL_TRUE },
    { "size>10485761", SL_FALSE },
    { "size >= 10485761", SL_TRUE },
    { "size < 1GiB", SL_TRUE },
    { "size <= 10240KiB", SL_FALSE },
    { "alpn h2", SL_TRUE },
    { "alpn http/1.1", SL_TRUE },
    { "alpn http/1.0", SL_FALSE },
    { "not any", SL_FALSE },
    { "not not any", SL_TRUE },
    { "port 80 or port 443 and method GET", SL_FALSE },
    { "(port 80 or port 443) and method POST", SL_TRUE },
    { "port 443 or port 80 and method GET", SL_TRUE },
    { "not port 80 and port 443", SL_TRUE },
    { "not (port 80 or port 443)", SL_FALSE },
    { "not port 443 or method POST", SL_TRUE },
    { "\t any\r\n and(any)", SL_TRUE },
};

static void test_meaning(void **state)
{
    struct world w;

    (void)state;
    build(&w);
    for (size_t i = 0; i < SL_LEN(meanings); i++) {
        enum sl_truth got = eval(meanings[i].text, &w.facts);

        if (got != meanings[i].expected)
            fail_msg("%s: %d", meanings[i].text, (int)got);
    }
}

static void test_absent_is_false(void **state)
{
    static const char *const texts[] = { "user alice",       "sni example.com", "client 0.0.0.0/0",
                                         "dst ::/0",         "header a *",      "alpn h2",
                                         "host example.com", "type text/*",     "scheme http" };
    struct sl_facts facts = { .known = ALL_FACTS };

    (void)state;
    for (size_t i = 0; i < SL_LEN(texts); i++)
        assert_int_equal(eval(texts[i], &facts), SL_FALSE);
}

static void test_hosts_that_are_addresses(void **state)
{
    static const struct {
        const char *text, *host;
        enum sl_truth expected;
    } rows[] = {
        { "host 192.0.2.7", "192.0.2.7", SL_TRUE },
        { "host 192.0.2.0/24", "192.0.2.7", SL_TRUE },
        { "host 192.0.2.0/24", "192.0.3.7", SL_FALSE },
        { "host 192.0.2.7", "::ffff:192.0.2.7", SL_TRUE },
        { "host [2001:db8::1]", "2001:db8::1", SL_TRUE },
        { "host 2001:DB8:0::/48", "2001:db8::1", SL_TRUE },
        { "host 0.0.0.0/0", "2001:db8::1", SL_FALSE },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_facts facts = { .known = ALL_FACTS, .host = sl_str_of(rows[i].host) };

        assert_int_equal(eval(rows[i].text, &facts), rows[i].expected);
    }
}

static void test_three_values(void **state)
{
    static const struct {
        const char *text;
        enum sl_truth expected;
    } rows[] = {
        { "path /x", SL_UNKNOWN },
        { "not path /x", SL_UNKNOWN },
        { "port 443 and path /x", SL_UNKNOWN },
        { "path /x and port 443", SL_UNKNOWN },
        { "port 80 and path /x", SL_FALSE },
        { "path /x and port 80", SL_FALSE },
        { "port 443 or path /x", SL_TRUE },
        { "path /x or port 443", SL_TRUE },
        { "port 80 or path /x", SL_UNKNOWN },
        { "not (port 80 and path /x)", SL_TRUE },
        { "not (port 443 or path /x)", SL_FALSE },
        { "size > 1", SL_UNKNOWN },
        { "header a *", SL_UNKNOWN },
        { "status 200 or type a/b", SL_UNKNOWN },
        { "any", SL_TRUE },
    };
    struct sl_facts facts = { .known = SL_FACT_BIT(SL_FACT_PORT), .port = 443 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        enum sl_truth got = eval(rows[i].text, &facts);

        if (got != rows[i].expected)
            fail_msg("%s: %d", rows[i].text, (int)got);
    }
}

static void test_every_atom_waits_for_its_fact(void **state)
{
    static const struct {
        const char *text;
        enum sl_fact fact;
    } rows[] = {
        { "client ::/0", SL_FACT_CLIENT }, { "user a", SL_FACT_USER },
        { "host a", SL_FACT_HOST },        { "port 1", SL_FACT_PORT },
        { "scheme ws", SL_FACT_SCHEME },   { "sni a", SL_FACT_SNI },
        { "alpn a", SL_FACT_ALPN },        { "dst ::1", SL_FACT_DST },
        { "method A", SL_FACT_METHOD },    { "path a", SL_FACT_TARGET },
        { "query a", SL_FACT_TARGET },     { "header a b", SL_FACT_HEADERS },
        { "size > 5", SL_FACT_SIZE },      { "status 200", SL_FACT_STATUS },
        { "type a", SL_FACT_TYPE },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_facts without = { .known = ALL_FACTS & ~SL_FACT_BIT(rows[i].fact) };
        struct sl_facts with = { .known = SL_FACT_BIT(rows[i].fact) };
        struct sl_expression *e = parse(rows[i].text);

        assert_int_equal(sl_expression_needs(e), SL_FACT_BIT(rows[i].fact));
        assert_int_equal(sl_expression_eval(e, &without), SL_UNKNOWN);
        assert_int_equal(sl_expression_eval(e, &with), SL_FALSE);
        sl_expression_free(&e);
    }
}

static const struct {
    const char *text;
    size_t column;
    const char *part;
} errors[] = {
    { "", 1, "expected a condition" },
    { "   ", 4, "expected a condition such as `host` or `any`, found the end" },
    { "hots example.com", 1, "did you mean `host`?" },
    { "port 80 and mehtod GET", 13, "did you mean `method`?" },
    { "frobnicate x", 1, "unknown condition `frobnicate`" },
    { "host", 5, "expected a name, *.name, .name, an address or a CIDR, found the end" },
    { "host and port 80", 6, "found and" },
    { "host exa mple.com", 10, "expected `and`, `or` or the end, found mple.com" },
    { "host *.*.com", 6, "found `*.*.com`" },
    { "host a..b", 6, "expected a name" },
    { "host *", 6, "expected a name" },
    { "host .", 6, "expected a name" },
    { "host 10.0.0.1/8", 6, "expected a name" },
    { "host 127.1", 6, "expected a name" },
    { "host *.1.2.3.4", 6, "expected a name" },
    { "host http://a/", 6, "expected a name" },
    { "host in /nonexistent/list", 9, "" },
    { "host in /", 9, "not a regular file" },
    { "port 0", 6, "1 to 65535" },
    { "port 65536", 6, "1 to 65535" },
    { "port https", 6, "1 to 65535" },
    { "scheme ftp", 8, "http, https, ws, wss or tcp" },
    { "method G(T", 9, "expected `and`, `or` or the end" },
    { "method \"G T\"", 8, "expected a method" },
    { "path", 5, "expected a value with * and ?" },
    { "path \"/x", 6, "never closed" },
    { "path \"/x\"y", 10, "expected a blank" },
    { "path /x\"y\"", 8, "whole value in quotes" },
    { "path ~ x", 8, "expected /pattern/" },
    { "path ~ /x", 8, "never closed" },
    { "path ~ /x\\/", 8, "never closed" },
    { "path ~ /x/i", 11, "flags stand inside" },
    { "path ~ /a(b/", 12, "parenthesis" },
    { "path ~ /(*UTF)x/", 15, "" },
    { "header", 7, "a header name" },
    { "header \"a b\" c", 8, "a header name" },
    { "header Host a", 8, "a header that goes on to the origin as it is" },
    { "header Via a", 8, "a header that goes on to the origin as it is" },
    { "header content-length *", 8, "a header that goes on" },
    { "header transfer-encoding *", 8, "a header that goes on" },
    { "header connection *", 8, "a header that goes on" },
    { "header proxy-authorization *", 8, "a header that goes on" },
    { "header accept", 14, "expected a value" },
    { "status 99", 8, "100 to 599" },
    { "status 4xx", 8, "100 to 599" },
    { "client example.com", 8, "an address or a CIDR" },
    { "client 10.0.0.1/8", 8, "without host bits" },
    { "user \"\"", 6, "a name" },
    { "size 10", 6, "expected >, >=, < or <=" },
    { "size > ten", 8, "a size such as" },
    { "size > 10MB", 8, "a size such as" },
    { "size > 18446744073709551615KiB", 8, "a size such as" },
    { "size > KiB", 8, "a size such as" },
    { "(any", 5, "the ) for column 1" },
    { "any)", 4, "expected `and`, `or` or the end" },
    { "any any", 5, "found any" },
    { "any and", 8, "found the end" },
    { "not", 4, "found the end" },
    { "any und any", 5, "expected `and`, `or` or the end, found und" },
    { "Any", 1, "did you mean `any`?" },
    { "host.example", 5, "expected a blank behind `host`" },
    { "port443", 5, "expected a blank behind `port`" },
    { "path \"\\\"", 6, "never closed" },
    { "()", 2, "expected a condition such as `host` or `any`, found )" },
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(errors); i++) {
        struct sl_expression *e = NULL;
        struct sl_parse_error error = { 0 };
        enum sl_err err = sl_expression_parse(sl_str_of(errors[i].text), &e, &error);

        assert_null(e);
        if (err != SL_CONFIG || error.column != errors[i].column ||
            strstr(error.text, errors[i].part) == NULL || error.text[0] == '\0')
            fail_msg("%s: %d, column %zu: %s", errors[i].text, (int)err, error.column, error.text);
    }
}

static void test_nul_is_refused(void **state)
{
    struct sl_expression *e = NULL;
    struct sl_parse_error error;

    (void)state;
    assert_int_equal(sl_expression_parse(SL_STR("path /\0x"), &e, &error), SL_CONFIG);
    assert_int_equal(error.column, 7);
}

static char *repeat(const char *before, size_t n, const char *middle, const char *after)
{
    struct sl_buf b = { 0 };
    char *text;

    for (size_t i = 0; i < n; i++)
        sl_buf_add_str(&b, sl_str_of(before));
    sl_buf_add_str(&b, sl_str_of(middle));
    for (size_t i = 0; i < n; i++)
        sl_buf_add_str(&b, sl_str_of(after));
    text = sl_str_dup(sl_buf_str(&b));
    sl_buf_fini(&b);
    return text;
}

static void expect_limit(const char *before, const char *after, size_t n, const char *part)
{
    char *good = repeat(before, n, "any", after);
    char *bad = repeat(before, n + 1, "any", after);
    struct sl_facts facts = { 0 };
    struct sl_expression *e = NULL;
    struct sl_parse_error error = { 0 };

    assert_int_not_equal(eval(good, &facts), SL_UNKNOWN);
    assert_int_equal(sl_expression_parse(sl_str_of(bad), &e, &error), SL_CONFIG);
    assert_non_null(strstr(error.text, part));
    sl_free(good);
    sl_free(bad);
}

static void test_limits(void **state)
{
    (void)state;
    expect_limit("(", ")", SL_EXPRESSION_MAX_DEPTH, "nested deeper than 64");
    expect_limit("not ", "", SL_EXPRESSION_MAX_DEPTH, "nested deeper than 64");
    expect_limit("any or ", "", (SL_EXPRESSION_MAX_BYTES - 3) / 7, "longer than 65536 bytes");
}

static void test_canonical_text(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        { " any ", "any" },
        { "((any))", "any" },
        { "host EXAMPLE.com.", "host example.com" },
        { "host B\xc3\xbc"
          "cher.example",
          "host xn--bcher-kva.example" },
        { "host *.Example.com or host .B.example", "host *.example.com or host .b.example" },
        { "host [2001:DB8::0:1]", "host 2001:db8::1" },
        { "client 10.0.0.0/8 or dst fc00::/7", "client 10.0.0.0/8 or dst fc00::/7" },
        { "host ::ffff:10.0.0.0/104", "host 10.0.0.0/8" },
        { "host 0.0.0.0/0", "host 0.0.0.0/0" },
        { "host \"and\" or host \"in\"", "host \"and\" or host \"in\"" },
        { "method get", "method GET" },
        { "path \"/plain\"", "path /plain" },
        { "path \"a\\\"b\\\\ c\"", "path \"a\\\"b\\\\ c\"" },
        { "path a\\b", "path a\\b" },
        { "path \"~x\" or path \"\"", "path \"~x\" or path \"\"" },
        { "path ~/a\\/b/", "path ~ /a\\/b/" },
        { "header X-A  *", "header x-a *" },
        { "type Text/*", "type text/*" },
        { "size >1024 or size<=1536KiB or size > 0", "size > 1KiB or size <= 1536KiB or size > 0" },
        { "size >= 1025", "size >= 1025" },
        { "(port 1 and port 2) or port 3", "port 1 and port 2 or port 3" },
        { "port 1 and (port 2 or port 3)", "port 1 and (port 2 or port 3)" },
        { "port 1 and (port 2 and port 3)", "port 1 and port 2 and port 3" },
        { "not (port 1)", "not port 1" },
        { "not (not (port 1 and any))", "not not (port 1 and any)" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_expression *e = parse(rows[i].text);
        struct sl_buf out = { 0 };

        sl_expression_write(e, &out);
        sl_buf_add_char(&out, '\0');
        assert_string_equal(sl_buf_str(&out).p, rows[i].expected);
        sl_expression_free(&e);
        e = parse(sl_buf_str(&out).p);
        sl_expression_free(&e);
        sl_buf_fini(&out);
    }
}

/* Cut anywhere, an expression parses or is refused, and is never read past its end. */
static void test_cut_at_every_byte(void **state)
{
    static const char text[] =
        "not (host *.a.example or path ~ /x\\/y/) and header \"x-a\" \"b\\\"\" and size >= 1KiB";

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        char *copy = sl_alloc(n > 0 ? n : 1);
        struct sl_expression *e = NULL;
        struct sl_parse_error error = { 0 };

        memcpy(copy, text, n);
        if (sl_expression_parse(sl_str_make(copy, n), &e, &error) != SL_OK)
            assert_in_range(error.column, 1, n + 1);
        sl_free(copy);
        sl_expression_free(&e);
    }
}

static void test_list_file(void **state)
{
    char path[] = "/tmp/sluice-list-XXXXXX";
    int fd = mkstemp(path);
    char text[64];
    struct sl_facts facts = { .known = SL_FACT_BIT(SL_FACT_HOST), .host = SL_STR("a.b.example") };
    struct sl_expression *e = NULL;
    struct sl_parse_error error = { 0 };

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "*.b.example\n", 12), 12);
    snprintf(text, sizeof(text), "host in %s and any", path);
    assert_int_equal(eval(text, &facts), SL_TRUE);
    facts.host = SL_STR("b.example");
    assert_int_equal(eval(text, &facts), SL_FALSE);
    assert_int_equal(write(fd, "  bad host\n", 11), 11);
    assert_int_equal(sl_expression_parse(sl_str_of(text), &e, &error), SL_CONFIG);
    assert_int_equal(error.column, 9);
    assert_non_null(strstr(error.text, ":2:3: `bad host`"));
    close(fd);
    unlink(path);
}

static void test_match_limit_is_unknown_and_counted(void **state)
{
    struct sl_metric_family *family =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_expression_limit_total",
                         "Patterns of rules that hit their match limit.", "");
    struct sl_metric *counter = sl_metric_child(family, NULL);
    int64_t before = sl_metric_value(counter);
    struct sl_facts facts = { .known = ALL_FACTS,
                              .path =
                                  SL_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!") };

    (void)state;
    assert_int_equal(eval("path ~ /^(a+)+$/", &facts), SL_UNKNOWN);
    assert_int_equal(eval("not path ~ /^(a+)+$/", &facts), SL_UNKNOWN);
    assert_int_equal(sl_metric_value(counter), before + 2);
    assert_int_equal(eval("path ~ /^a+!$/", &facts), SL_TRUE);
    assert_int_equal(sl_metric_value(counter), before + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_absent_is_false),
        cmocka_unit_test(test_hosts_that_are_addresses),
        cmocka_unit_test(test_three_values),
        cmocka_unit_test(test_every_atom_waits_for_its_fact),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_canonical_text),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_list_file),
        cmocka_unit_test(test_match_limit_is_unknown_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
