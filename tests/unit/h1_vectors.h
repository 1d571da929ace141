/* h1_vectors.h -- heads of HTTP/1 requests and responses, and what each of them is: for the test of
 * the parsers, and for that of the connections that use them.
 */
#ifndef SL_TEST_H1_VECTORS_H
#define SL_TEST_H1_VECTORS_H

#include <stdio.h>

#include "base/mem.h"
#include "http/h1_codec.h"

#define B(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }
#define A8 "aaaaaaaa"
#define A32 A8 A8 A8 A8
#define A64 A32 A32
#define A512 A64 A64 A64 A64 A64 A64 A64 A64

static const struct sl_head_limits limits = {
    .uri_bytes = 64,
    .header_bytes = 512,
    .header_count = 8,
};
static const struct sl_h1_origin proxy = { .scheme = B("http"), .is_proxy = true };
static const struct sl_h1_origin tunnel = { .scheme = B("https") };

/* want: "method scheme host port target framing flags", or the name of the error. */
struct vector {
    const char *name;
    struct sl_str bytes;
    const char *want;
};

#define H "Host: a\r\n"

static const struct vector proxy_requests[] = {
    { "absolute", B("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
      "GET http a 80 / none absolute keep" },
    { "absolute with port", B("GET http://a:8080/x?y HTTP/1.1\r\nHost: a:8080\r\n\r\n"),
      "GET http a 8080 /x?y none absolute keep" },
    { "absolute https", B("GET https://a/ HTTP/1.1\r\n" H "\r\n"),
      "GET https a 443 / none absolute keep" },
    { "absolute without path", B("GET http://a HTTP/1.1\r\n" H "\r\n"),
      "GET http a 80 / none absolute keep" },
    { "absolute with query alone", B("GET http://a?b HTTP/1.1\r\n" H "\r\n"),
      "GET http a 80 /?b none absolute keep" },
    { "absolute wins over host", B("GET http://A.b./ HTTP/1.1\r\nHost: c:1\r\n\r\n"),
      "GET http a.b 80 / none absolute keep" },
    { "absolute v6", B("GET http://[::1]:8/ HTTP/1.1\r\nHost: [::1]:8\r\n\r\n"),
      "GET http ::1 8 / none absolute keep" },
    { "absolute with malformed host field", B("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
      "bad_host" },
    { "absolute with empty host field", B("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"), "bad_host" },
    { "absolute without host field", B("GET http://a/ HTTP/1.1\r\n\r\n"), "bad_host" },
    { "absolute 1.0 without host field", B("GET http://a/ HTTP/1.0\r\n\r\n"),
      "GET http a 80 / none absolute" },
    { "absolute with two host fields", B("GET http://a/ HTTP/1.1\r\n" H H "\r\n"), "bad_host" },
    { "absolute ftp", B("GET ftp://a/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute ws", B("GET ws://a/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute urn (CVE-2025-54574)", B("GET urn:a:b HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute with user", B("GET http://u:p@a/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute port 0", B("GET http://a:0/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute octal address", B("GET http://0177.1/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "absolute bracketed name (CVE-2022-29188)", B("GET http://[a]/ HTTP/1.1\r\n" H "\r\n"),
      "bad_target" },
    { "absolute with fragment", B("GET http://a/#x HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "options absolute", B("OPTIONS http://a HTTP/1.1\r\n" H "\r\n"),
      "OPTIONS http a 80 * none absolute keep" },
    { "options absolute with path", B("OPTIONS http://a/ HTTP/1.1\r\n" H "\r\n"),
      "OPTIONS http a 80 / none absolute keep" },
    { "origin form", B("GET / HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "asterisk", B("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect", B("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
      "CONNECT http a 443  none connect keep" },
    { "connect 1.0", B("CONNECT a:443 HTTP/1.0\r\n\r\n"), "CONNECT http a 443  none connect" },
    { "connect v6", B("CONNECT [2001:DB8::1]:1 HTTP/1.1\r\n" H "\r\n"),
      "CONNECT http 2001:db8::1 1  none connect keep" },
    { "connect trailing dot (CVE-2022-24825)", B("CONNECT A.b.:443 HTTP/1.1\r\n" H "\r\n"),
      "CONNECT http a.b 443  none connect keep" },
    { "connect without port", B("CONNECT a HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect port 0", B("CONNECT a:0 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect port too large", B("CONNECT a:65536 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect empty port", B("CONNECT a: HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect empty host", B("CONNECT :443 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect with user", B("CONNECT u@a:443 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect absolute", B("CONNECT http://a/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect path", B("CONNECT a:443/ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect bare v6", B("CONNECT ::1:443 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect without host field", B("CONNECT a:443 HTTP/1.1\r\n\r\n"), "bad_host" },
    { "connect with content-length 0", B("CONNECT a:1 HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"),
      "CONNECT http a 1  none connect keep" },
    { "connect with content", B("CONNECT a:1 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n"),
      "bad_framing" },
    { "connect chunked", B("CONNECT a:1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
      "bad_framing" },
    { "connect in lower case is another method", B("connect a:1 HTTP/1.1\r\n" H "\r\n"),
      "bad_target" },
};

#define GET "GET / HTTP/1.1\r\n" H
#define POST "POST / HTTP/1.1\r\n" H
#define GET_OK "GET https a 443 / none keep"

static const struct vector tunnel_requests[] = {
    { "origin form", B(GET "\r\n"), GET_OK },
    { "origin form with port", B("GET /x HTTP/1.1\r\nHost: A.:8443\r\n\r\n"),
      "GET https a 8443 /x none keep" },
    { "host name in any case", B("GET / HTTP/1.1\r\nhOsT:a\r\n\r\n"), GET_OK },
    { "blanks around a value", B("GET / HTTP/1.1\r\nHost: \t a\t \r\n\r\n"), GET_OK },
    { "absolute inside the tunnel", B("GET http://b/ HTTP/1.1\r\n" H "\r\n"),
      "GET http b 80 / none absolute keep" },
    { "absolute to another server inside the tunnel", B("GET https://evil/ HTTP/1.1\r\n" H "\r\n"),
      "GET https evil 443 / none absolute keep" },
    { "asterisk", B("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "OPTIONS https a 443 * none keep" },
    { "asterisk with another method", B("GET * HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "asterisk and more", B("OPTIONS */ HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "connect inside the tunnel", B("CONNECT a:443 HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "relative target", B("GET x HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "double slash stays", B("GET //b/x HTTP/1.1\r\n" H "\r\n"),
      "GET https a 443 //b/x none keep" },
    { "odd but visible target", B("GET /\"<>\\^`{|} HTTP/1.1\r\n" H "\r\n"),
      "GET https a 443 /\"<>\\^`{|} none keep" },
    { "fragment", B("GET /#x HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "utf-8 target", B("GET /\xc3\xbc HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "DEL in target", B("GET /\x7f HTTP/1.1\r\n" H "\r\n"), "bad_target" },
    { "NUL in target", B("GET /\0 HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "tab in target", B("GET /\t HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "space in target", B("GET /a b HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "target at its limit", B("GET /a" A32 A8 A8 A8 "aaaaaa HTTP/1.1\r\n" H "\r\n"),
      "GET https a 443 /a" A32 A8 A8 A8 "aaaaaa none keep" },
    { "target over its limit", B("GET /" A64 " HTTP/1.1\r\n" H "\r\n"), "uri_too_long" },
    { "target over its limit, no end", B("GET /" A64), "uri_too_long" },
    { "any method", B("X-!#$%&'*+.^_`|~9 / HTTP/1.1\r\n" H "\r\n"),
      "X-!#$%&'*+.^_`|~9 https a 443 / none keep" },
    { "method keeps its case", B("get / HTTP/1.1\r\n" H "\r\n"), "get https a 443 / none keep" },
    { "method of 32", B(A32 " / HTTP/1.1\r\n" H "\r\n"), A32 " https a 443 / none keep" },
    { "method of 33", B(A32 "a / HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "method without end", B(A64), "bad_request" },
    { "method with a colon", B("GET: / HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "method missing", B(" / HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "TLS record", B("\x16\x03\x01\x02"), "bad_request" },
    { "SOCKS", B("\x05\x01"), "bad_request" },
    { "NUL first", B("\0"), "bad_request" },
    { "blank first", B(" "), "bad_request" },
    { "LF first", B("\n"), "bad_request" },
    { "empty line before", B("\r\n" GET "\r\n"), GET_OK },
    { "two empty lines before", B("\r\n\r\n" GET "\r\n"), "bad_request" },
    { "CR before", B("\rGET / HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "two spaces before the target", B("GET  / HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "two spaces behind the target", B("GET /  HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "tab as separator", B("GET\t/ HTTP/1.1\r\n" H "\r\n"), "bad_request" },
    { "space behind the version", B("GET / HTTP/1.1 \r\n" H "\r\n"), "bad_request" },
    { "bare LF behind the version", B("GET / HTTP/1.1\nHost: a\r\n\r\n"), "bad_request" },
    { "bare CR behind the version", B("GET / HTTP/1.1\rHost: a\r\n\r\n"), "bad_request" },
    { "HTTP/0.9", B("GET /\r\n"), "bad_request" },
    { "HTTP/0.9 with a head", B("GET / HTTP/0.9\r\n" H "\r\n"), "bad_version" },
    { "HTTP/1.2", B("GET / HTTP/1.2\r\n" H "\r\n"), "bad_version" },
    { "HTTP/2.0", B("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "bad_version" },
    { "HTTP/1.10", B("GET / HTTP/1.10\r\n" H "\r\n"), "bad_request" },
    { "HTTP/01.1", B("GET / HTTP/01.1\r\n" H "\r\n"), "bad_request" },
    { "HTTP/1,1", B("GET / HTTP/1,1\r\n" H "\r\n"), "bad_request" },
    { "http/1.1", B("GET / http/1.1\r\n" H "\r\n"), "bad_request" },
    { "no version number", B("GET / HTTP\r\n" H "\r\n"), "bad_request" },
    { "no host", B("GET / HTTP/1.1\r\n\r\n"), "bad_host" },
    { "no host in 1.0", B("GET / HTTP/1.0\r\n\r\n"), "bad_host" },
    { "empty host", B("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "bad_host" },
    { "two hosts alike", B(GET H "\r\n"), "bad_host" },
    { "two hosts", B(GET "host: b\r\n\r\n"), "bad_host" },
    { "two hosts in 1.0", B("GET / HTTP/1.0\r\n" H H "\r\n"), "bad_host" },
    { "host list", B("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "bad_host" },
    { "host with user", B("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), "bad_host" },
    { "host with path", B("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "bad_host" },
    { "host with scheme", B("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), "bad_host" },
    { "host with bad port", B("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), "bad_host" },
    { "host in U-labels", B("GET / HTTP/1.1\r\nHost: b\xc3\xbc.x\r\n\r\n"),
      "GET https xn--b-eha.x 443 / none keep" },
    { "1.0", B("GET / HTTP/1.0\r\n" H "\r\n"), "GET https a 443 / none" },
    { "1.0 keep-alive", B("GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n"), GET_OK },
    { "1.0 keep-alive and close", B("GET / HTTP/1.0\r\n" H "Connection: keep-alive, close\r\n\r\n"),
      "GET https a 443 / none" },
    { "close", B(GET "Connection: close\r\n\r\n"), "GET https a 443 / none" },
    { "close in a list", B(GET "Connection: x, ,CLOSE\r\n\r\n"), "GET https a 443 / none" },
    { "close in a second field", B(GET "Connection: x\r\nConnection: close\r\n\r\n"),
      "GET https a 443 / none" },
    { "closed is not close", B(GET "Connection: closed\r\n\r\n"), GET_OK },
    { "too many options",
      B(GET "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,"
            "a,a,a\r\n\r\n"),
      "bad_request" },
    { "upgrade", B(GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), GET_OK " upgrade" },
    { "upgrade not named", B(GET "Upgrade: websocket\r\n\r\n"), GET_OK },
    { "upgrade named but missing", B(GET "Connection: upgrade\r\n\r\n"), GET_OK },
    { "upgrade empty", B(GET "Connection: upgrade\r\nUpgrade:\r\n\r\n"), GET_OK },
    { "upgrade in 1.0", B("GET / HTTP/1.0\r\n" H "Connection: upgrade\r\nUpgrade: x\r\n\r\n"),
      "GET https a 443 / none" },
    { "length", B(POST "Content-Length: 5\r\n\r\n"), "POST https a 443 / length=5 keep" },
    { "length 0", B(POST "Content-Length: 0\r\n\r\n"), "POST https a 443 / length=0 keep" },
    { "length with zeros", B(POST "Content-Length: 0005\r\n\r\n"),
      "POST https a 443 / length=5 keep" },
    { "length with GET", B(GET "Content-Length: 1\r\n\r\n"), "GET https a 443 / length=1 keep" },
    { "length twice alike", B(POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
      "bad_framing" },
    { "length twice", B(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "bad_framing" },
    { "length list", B(POST "Content-Length: 5, 5\r\n\r\n"), "bad_framing" },
    { "length empty", B(POST "Content-Length:\r\n\r\n"), "bad_framing" },
    { "length signed", B(POST "Content-Length: +5\r\n\r\n"), "bad_framing" },
    { "length negative", B(POST "Content-Length: -5\r\n\r\n"), "bad_framing" },
    { "length hexadecimal", B(POST "Content-Length: 0x5\r\n\r\n"), "bad_framing" },
    { "length with blank", B(POST "Content-Length: 5 5\r\n\r\n"), "bad_framing" },
    { "length fraction", B(POST "Content-Length: 5.0\r\n\r\n"), "bad_framing" },
    { "length at 2^63-1", B(POST "Content-Length: 9223372036854775807\r\n\r\n"),
      "POST https a 443 / length=9223372036854775807 keep" },
    { "length over 2^63", B(POST "Content-Length: 9223372036854775808\r\n\r\n"), "bad_framing" },
    { "length over 2^64", B(POST "Content-Length: 18446744073709551617\r\n\r\n"), "bad_framing" },
    { "chunked", B(POST "Transfer-Encoding: chunked\r\n\r\n"), "POST https a 443 / chunked keep" },
    { "chunked in capitals", B(POST "TRANSFER-ENCODING: Chunked \r\n\r\n"),
      "POST https a 443 / chunked keep" },
    { "chunked and length (CVE-2021-39214)",
      B(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), "bad_framing" },
    { "length and chunked (CVE-2022-24766)",
      B(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), "bad_framing" },
    { "length 0 and chunked", B(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "bad_framing" },
    { "chunked twice", B(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "bad_framing" },
    { "chunked list", B(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), "not_implemented" },
    { "chunked with comma", B(POST "Transfer-Encoding: chunked,\r\n\r\n"), "not_implemented" },
    { "gzip, chunked", B(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), "not_implemented" },
    { "identity", B(POST "Transfer-Encoding: identity\r\n\r\n"), "not_implemented" },
    { "coding with parameter", B(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
      "not_implemented" },
    { "coding quoted", B(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), "not_implemented" },
    { "coding with VT", B(POST "Transfer-Encoding: \vchunked\r\n\r\n"), "bad_request" },
    { "coding empty", B(POST "Transfer-Encoding:\r\n\r\n"), "not_implemented" },
    { "chunked in 1.0", B("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
      "bad_framing" },
    { "coding with space before the colon", B(POST "Transfer-Encoding : chunked\r\n\r\n"),
      "bad_request" },
    { "coding with underscore is another field", B(POST "Transfer_Encoding: chunked\r\n\r\n"),
      "POST https a 443 / none keep" },
    { "expect", B(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"),
      "POST https a 443 / length=1 keep expects" },
    { "expect without content", B(POST "Expect: 100-continue\r\n\r\n"),
      "POST https a 443 / none keep" },
    { "expect in 1.0",
      B("POST / HTTP/1.0\r\n" H "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
      "POST https a 443 / length=1" },
    { "expect something else", B(POST "Expect: 200-ok\r\n\r\n"), "bad_request" },
    { "unknown expectation in 1.0", B("POST / HTTP/1.0\r\n" H "Expect: x\r\n\r\n"),
      "POST https a 443 / none" },
    { "field without colon", B(GET "X\r\n\r\n"), "bad_request" },
    { "field without name", B(GET ": x\r\n\r\n"), "bad_request" },
    { "field with a blank in its name", B(GET "A B: x\r\n\r\n"), "bad_request" },
    { "field with a tab before the colon", B(GET "A\t: x\r\n\r\n"), "bad_request" },
    { "field with a byte over 0x7f in its name", B(GET "\xc3\xbc: x\r\n\r\n"), "bad_request" },
    { "field with NUL in its name", B(GET "A\0: x\r\n\r\n"), "bad_request" },
    { "field with delimiter in its name", B(GET "A(b): x\r\n\r\n"), "bad_request" },
    { "folded field", B(GET "A: x\r\n y\r\n\r\n"), "bad_request" },
    { "folded field, tab", B(GET "A: x\r\n\ty\r\n\r\n"), "bad_request" },
    { "folded first field", B("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "bad_request" },
    { "bare LF in fields", B(GET "A: x\nB: y\r\n\r\n"), "bad_request" },
    { "bare LF ends the head",
      B("GET / HTTP/1.1\r\n"
        "Host: a\r\n\n"),
      "bad_request" },
    { "bare CR in a value", B(GET "A: x\ry\r\n\r\n"), "bad_request" },
    { "CR CR LF", B(GET "A: x\r\r\n\r\n"), "bad_request" },
    { "bare CR in a name", B(GET "A\r: x\r\n\r\n"), "bad_request" },
    { "CR LF smuggled in the last line", B(GET "A: x\r\n\r\r\n\r\n"), "bad_request" },
    { "NUL in a value", B(GET "A: x\0y\r\n\r\n"), "bad_request" },
    { "NUL in an unfinished value", B(GET "A: x\0"), "bad_request" },
    { "BEL in a value", B(GET "A: x\ay\r\n\r\n"), "bad_request" },
    { "DEL in a value", B(GET "A: x\x7fy\r\n\r\n"), "bad_request" },
    { "tab in a value", B(GET "A: x\ty\r\n\r\n"), GET_OK },
    { "bytes over 0x7f in a value (CVE-2023-27488)", B(GET "A: \xff\xfe\r\n\r\n"), GET_OK },
    { "empty value", B(GET "A:\r\nB: \t \r\n\r\n"), GET_OK },
    { "field limit reached", B(GET "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"), GET_OK },
    { "field limit exceeded", B(GET "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"),
      "header_too_large" },
    { "header section too large", B(GET "A: " A512 "\r\n\r\n"), "header_too_large" },
    { "header section too large, no end", B(GET "A: " A512), "header_too_large" },
    { "second request stays", B(GET "\r\nGET /2 HTTP/1.1\r\n"), GET_OK },
};

#define OK "HTTP/1.1 200 OK\r\n"

/* want: "status framing flags" */
static const struct vector responses[] = {
    { "length", B(OK "Content-Length: 5\r\n\r\n"), "200 length=5 keep" },
    { "chunked", B(OK "Transfer-Encoding: chunked\r\n\r\n"), "200 chunked keep" },
    { "until close", B(OK "\r\n"), "200 close" },
    { "until close, keep-alive claimed", B(OK "Connection: keep-alive\r\n\r\n"), "200 close" },
    { "close", B(OK "Connection: close\r\nContent-Length: 0\r\n\r\n"), "200 length=0" },
    { "1.0", B("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"), "200 length=1" },
    { "1.0 keep-alive", B("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"),
      "200 length=1 keep" },
    { "1.0 chunked", B("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "bad_response" },
    { "no reason", B("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"), "404 length=0 keep" },
    { "no reason, no space", B("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"), "404 length=0 keep" },
    { "reason with obs-text", B("HTTP/1.1 404 Nicht \xc3\xbc\r\nContent-Length: 0\r\n\r\n"),
      "404 length=0 keep" },
    { "reason with NUL", B("HTTP/1.1 404 \0\r\nContent-Length: 0\r\n\r\n"), "bad_response" },
    { "reason with CR", B("HTTP/1.1 404 a\rb\r\nContent-Length: 0\r\n\r\n"), "bad_response" },
    { "status line ends in LF", B("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"), "bad_response" },
    { "status 4 digits", B("HTTP/1.1 2000 OK\r\n\r\n"), "bad_response" },
    { "status 2 digits", B("HTTP/1.1 20 OK\r\n\r\n"), "bad_response" },
    { "status 099", B("HTTP/1.1 099 X\r\n\r\n"), "bad_response" },
    { "status 600", B("HTTP/1.1 600 X\r\n\r\n"), "bad_response" },
    { "status letters", B("HTTP/1.1 2x0 X\r\n\r\n"), "bad_response" },
    { "two spaces", B("HTTP/1.1  200 OK\r\n\r\n"), "bad_response" },
    { "ICY", B("ICY 200 OK\r\n\r\n"), "bad_response" },
    { "HTTP/2.0", B("HTTP/2.0 200 OK\r\n\r\n"), "bad_response" },
    { "empty line before", B("\r\n" OK "\r\n"), "bad_response" },
    { "TLS record", B("\x15\x03\x01"), "bad_response" },
    { "body without head", B("<html>"), "bad_response" },
    { "length and chunked", B(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "bad_response" },
    { "length twice", B(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "bad_response" },
    { "length twice alike", B(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
      "bad_response" },
    { "length is no number", B(OK "Content-Length: x\r\n\r\n"), "bad_response" },
    { "gzip", B(OK "Transfer-Encoding: gzip\r\n\r\n"), "bad_response" },
    { "folded", B(OK "A: b\r\n c\r\n\r\n"), "bad_response" },
    { "bare LF", B(OK "A: b\nB: c\r\n\r\n"), "bad_response" },
    { "space before the colon", B(OK "A : b\r\n\r\n"), "bad_response" },
    { "100", B("HTTP/1.1 100 Continue\r\n\r\n"), "100 none keep" },
    { "103", B("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), "103 none keep" },
    { "100 with length", B("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"), "bad_response" },
    { "100 chunked", B("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "bad_response" },
    { "204", B("HTTP/1.1 204 No Content\r\n\r\n"), "204 none keep" },
    { "204 with length 0", B("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
      "204 none keep" },
    { "204 with length", B("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
      "bad_response" },
    { "204 chunked", B("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "bad_response" },
    { "304", B("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), "304 none keep" },
    { "101 unasked", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
      "upgrade_failed" },
    { "200 with upgrade is no tunnel (CVE-2024-23326)",
      B(OK "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
      "200 length=0 keep upgrade" },
    { "expectation in a response", B(OK "Expect: x\r\nContent-Length: 0\r\n\r\n"),
      "200 length=0 keep" },
    { "head too large", B(OK "A: " A512 "\r\n\r\n"), "response_header" },
    { "status line too long", B("HTTP/1.1 200 " A512 "a"), "response_header" },
    { "too many fields", B(OK "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"),
      "response_header" },
};

static const struct vector head_responses[] = {
    { "length", B(OK "Content-Length: 5\r\n\r\n"), "200 none of 5 keep" },
    { "chunked", B(OK "Transfer-Encoding: chunked\r\n\r\n"), "200 none keep" },
    { "nothing", B(OK "\r\n"), "200 none keep" },
};

static const struct vector connect_responses[] = {
    { "200", B(OK "\r\n"), "200 raw" },
    { "200 with length", B(OK "Content-Length: 5\r\n\r\n"), "200 raw of 5" },
    { "204", B("HTTP/1.1 204 X\r\n\r\n"), "204 none keep" },
    { "407", B("HTTP/1.1 407 X\r\nContent-Length: 5\r\n\r\n"), "407 length=5 keep" },
    { "101", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "upgrade_failed" },
};

static const struct vector upgrade_responses[] = {
    { "101", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "101 raw upgrade" },
    { "101 without upgrade", B("HTTP/1.1 101 X\r\n\r\n"), "upgrade_failed" },
    { "101 in other letters", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: X\r\n\r\n"),
      "101 raw upgrade" },
    { "101 to another", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
      "upgrade_failed" },
    { "101 to several", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x, y\r\n\r\n"),
      "upgrade_failed" },
    { "101 to two", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\nUpgrade: x\r\n\r\n"),
      "upgrade_failed" },
    { "101 in 1.0", B("HTTP/1.0 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
      "upgrade_failed" },
    { "200", B(OK "Content-Length: 5\r\n\r\n"), "200 length=5 keep" },
};

/* What the request of each list of responses was. */
struct h1_asked {
    const struct vector *responses;
    size_t n;
    struct sl_head request;
};

static struct sl_field h1_upgrade = { SL_FIELD_UPGRADE, B("Upgrade"), B("x") };
static const struct h1_asked h1_asked[] = {
    { responses, SL_LEN(responses), { .method = B("GET") } },
    { head_responses, SL_LEN(head_responses), { .method = B("HEAD") } },
    { connect_responses,
      SL_LEN(connect_responses),
      { .method = B("CONNECT"), .is_connect = true } },
    { upgrade_responses,
      SL_LEN(upgrade_responses),
      { .method = B("GET"), .wants_upgrade = true, .fields = { .v = &h1_upgrade, .n = 1 } } },
};

static inline const char *h1_framing_name(enum sl_framing framing)
{
    static const char *const names[] = { "none", "length", "chunked", "close", "raw" };

    return names[framing];
}

/* A head as the vectors say it. */
static inline void h1_describe(const struct sl_head *h, char *text, size_t cap)
{
    char start[160], number[32] = "";

    if (h->method.n != 0)
        snprintf(start, sizeof(start), "%.*s %.*s %.*s %u %.*s", SL_FMT(h->method),
                 SL_FMT(h->scheme), SL_FMT(h->host), h->port, SL_FMT(h->target));
    else
        snprintf(start, sizeof(start), "%u", h->status);
    if (h->framing == SL_FRAMING_LENGTH)
        snprintf(number, sizeof(number), "=%llu", (unsigned long long)h->content_length);
    else if (h->method.n == 0 && h->content_length != 0 && h->status == 200)
        snprintf(number, sizeof(number), " of %llu", (unsigned long long)h->content_length);
    snprintf(text, cap, "%s %s%s%s%s%s%s%s", start, h1_framing_name(h->framing), number,
             h->is_absolute ? " absolute" : "", h->is_connect ? " connect" : "",
             h->keep_alive ? " keep" : "", h->wants_upgrade ? " upgrade" : "",
             h->expects_continue ? " expects" : "");
}

#endif
