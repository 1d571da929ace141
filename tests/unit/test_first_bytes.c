/* test_first_bytes.c -- what bytes are taken for, and that nothing a server could read passes as
 * something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/first_bytes.h"

/* SL_STR where C11 wants a constant. */
#define LIT(s)                                                                                     \
    {                                                                                              \
        .p = "" s, .n = sizeof(s) - 1                                                              \
    }

static void test_first_bytes(void **state)
{
    static const struct {
        struct sl_str in;
        enum sl_first_bytes want;
    } rows[] = {
        { LIT(""), SL_FIRST_UNKNOWN },
        { LIT("\x16"), SL_FIRST_TLS },
        { LIT("\x16\x03"), SL_FIRST_TLS },
        /* Some peers look at no record's version, and read past alerts and the like. */
        { LIT("\x16\x02"), SL_FIRST_TLS },
        { LIT("\x16\x7f\x01"), SL_FIRST_TLS },
        { LIT("\x14\x03\x03\x00\x01\x01"), SL_FIRST_TLS },
        { LIT("\x15\x03\x01\x00\x02\x01\x5a"), SL_FIRST_TLS },
        { LIT("\x17\x03\x03"), SL_FIRST_TLS },
        { LIT("\x18\x03\x03"), SL_FIRST_TLS },
        { LIT("G"), SL_FIRST_UNKNOWN },
        { LIT("GET"), SL_FIRST_UNKNOWN },
        { LIT("GET "), SL_FIRST_HTTP },
        { LIT("PRI * HTTP/2.0\r\n"), SL_FIRST_HTTP },
        { LIT("MADE_UP* /"), SL_FIRST_HTTP },
        { LIT("GET\t/"), SL_FIRST_HTTP },
        { LIT("GET\r\n"), SL_FIRST_HTTP },
        { LIT("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), SL_FIRST_OPAQUE },
        { LIT("\x05\x01\x00"), SL_FIRST_UNKNOWN },
        { LIT("\x05\x01\x00\x00"), SL_FIRST_OPAQUE },
        { LIT("\0"), SL_FIRST_UNKNOWN },
        { LIT("\0\x0b"), SL_FIRST_OPAQUE },
        { LIT("\x00\x00\x01\x2c"), SL_FIRST_OPAQUE },
        /* A ClientHello in the form of SSL 2.0, in a record with and without padding. */
        { LIT("\x80\x2e\x01\x03"), SL_FIRST_UNKNOWN },
        { LIT("\x80\x2e\x01\x03\x03"), SL_FIRST_TLS },
        { LIT("\x80\x2e\x01\x7f\x01"), SL_FIRST_TLS },
        { LIT("\x80\x2e\x01\x00\x02"), SL_FIRST_TLS },
        { LIT("\x80\x2e\x01\x00\x03"), SL_FIRST_OPAQUE },
        { LIT("\x80\x2e\x02\x03"), SL_FIRST_OPAQUE },
        { LIT("\x00\x2e\x01\x03\x01"), SL_FIRST_TLS },
        { LIT("GE\x01\x03\x01"), SL_FIRST_TLS },
        { LIT("\x00\x2e\x00\x01\x03"), SL_FIRST_UNKNOWN },
        { LIT("\x00\x2e\x00\x01\x03\x01"), SL_FIRST_TLS },
        { LIT("\x3f\xff\x07\x01\x00\x02"), SL_FIRST_TLS },
        { LIT("\x80\x2e\x00\x01\x03\x01"), SL_FIRST_OPAQUE },
        /* What lenient origins take for a request must not pass as something else. */
        { LIT("\r\n"), SL_FIRST_UNKNOWN },
        { LIT("\r\nGET /"), SL_FIRST_HTTP },
        { LIT("\r\n\r\n\0\r\nQUIT\n"), SL_FIRST_HTTP }, /* PROXY protocol, version 2 */
        { LIT("PROXY TCP4 1.2.3.4"), SL_FIRST_HTTP },
        { LIT(" GET /"), SL_FIRST_HTTP },
        { LIT(" \t\v\f \r\n"), SL_FIRST_UNKNOWN },
        { LIT("\fGET /"), SL_FIRST_HTTP },
        { LIT("\x1c\x1d\x1e\x1fGET /"), SL_FIRST_HTTP },
        { LIT("\x85\xa0GET /"), SL_FIRST_HTTP },
        { LIT("\x20\0\0\0\x01"), SL_FIRST_OPAQUE },
        { LIT("GET\v/a\vHTTP/1.0"), SL_FIRST_HTTP },
        { LIT("GET\f/"), SL_FIRST_HTTP },
        { LIT("GET\r/"), SL_FIRST_HTTP },
        { LIT("GET\n/"), SL_FIRST_HTTP },
        { LIT("GET\xa0/"), SL_FIRST_HTTP },
        { LIT("GET\x85/"), SL_FIRST_HTTP },
        { LIT("GET\x1f/"), SL_FIRST_HTTP },
        { LIT("\n\r\n\nGET /"), SL_FIRST_HTTP },
        { LIT("M-SEARCH /"), SL_FIRST_HTTP },
        { LIT("GET2 /"), SL_FIRST_UNKNOWN },
        { LIT("GET2 / HTTP/1.1"), SL_FIRST_HTTP },
        { LIT("x.y /a http/1.0\r\n"), SL_FIRST_HTTP },
        { LIT("x.y\xa0/a\xa0HTTP/1.0\n"), SL_FIRST_HTTP },
        { LIT("x.y /a\r\n"), SL_FIRST_OPAQUE },
        { LIT("SSH-2.0-x HTTP/1.1\r\n"), SL_FIRST_HTTP },
        { LIT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"), SL_FIRST_UNKNOWN },
        { LIT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF "), SL_FIRST_HTTP },
        { LIT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /\r\n"), SL_FIRST_OPAQUE },
        { LIT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"), SL_FIRST_HTTP },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++)
        assert_int_equal(sl_first_bytes(rows[i].in), rows[i].want);
}

/* What is not begun by a method may still be a request to a server that takes any word for one; it
 * may not end, however the bytes are cut. */
static void test_request_line(void **state)
{
    static const struct {
        struct sl_str in;
        bool passes;
    } rows[] = {
        { LIT(""), true },
        { LIT("\x01 /a HTTP/1.0\n"), false },
        { LIT("<x /a hTtP/1.0"), false },
        { LIT("\"GET\" /a\xa0HTTP/1.0"), false },
        { LIT("{} /a\rHTTP/"), false },
        { LIT("\n \r\n@ /a\t\tHTTP/"), false },
        { LIT("@ /a HHTTP/1.0 HTT\xa0 HTTP/"), false },
        { LIT("@ /a HTTP HTTPS/1.0 xHTTP/1.0\n HTTP/1.0\n"), true },
        { LIT("\x05\x01\x00\n GET / HTTP/1.1"), true },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        for (size_t cut = 0; cut <= rows[i].in.n; cut++) {
            struct sl_request_line line = { 0 };
            bool passes = sl_request_line_pass(&line, sl_str_head(rows[i].in, cut));

            passes = passes && sl_request_line_pass(&line, sl_str_skip(rows[i].in, cut));
            assert_int_equal(passes, rows[i].passes);
        }
    }
}

static void test_first_hello(void **state)
{
    static const struct {
        struct sl_str in;
        enum sl_first_bytes want;
    } rows[] = {
        { LIT(""), SL_FIRST_UNKNOWN },
        { LIT("\x16"), SL_FIRST_UNKNOWN },
        { LIT("\x16\x03"), SL_FIRST_TLS },
        { LIT("\x17\x03"), SL_FIRST_TLS },
        { LIT("\x16\x7f\x01\x02\x00"), SL_FIRST_UNKNOWN },
        { LIT("\x16\x7f\x01\x02\x00\x01"), SL_FIRST_TLS },
        { LIT("\x16\x00\xf2\x05\x09l"), SL_FIRST_OPAQUE },
        { LIT("\x15\x04\x01\x00\x02\x01"), SL_FIRST_TLS },
        { LIT("\x15\x00\xf2\x05\x09l"), SL_FIRST_OPAQUE },
        { LIT("\x14\x04\x01\x00\x01\x01"), SL_FIRST_TLS },
        { LIT("\x18\x00\x00\x00\x01\x01"), SL_FIRST_OPAQUE },
        { LIT("G"), SL_FIRST_OPAQUE },
        { LIT("\x80"), SL_FIRST_OPAQUE },
        { LIT("\0"), SL_FIRST_OPAQUE },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++)
        assert_int_equal(sl_first_hello(rows[i].in), rows[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_line),
        cmocka_unit_test(test_first_bytes),
        cmocka_unit_test(test_first_hello),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
