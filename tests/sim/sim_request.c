/* sim_request.c -- requests in plain: heads, bodies, both framings, replies of
 * every form. */
#include "sim.h"

#include "base/mem.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GOT_HELLO "HTTP/1.1 200 OK\r\nVia: 1.1 sluice\r\nContent-Length: 5\r\n\r\nhello"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A512 A64 A64 A64 A64 A64 A64 A64 A64

static const struct sim_case cases[] = {
    {
        .name = "get",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/x?q=1 HTTP/1.1\r\nHost: "
                              "a.example\r\n\r\n"),
                         AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = GOT_HELLO,
        .to_origins = { "GET /x?q=1 HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 "
                        "sluice\r\n\r\n" },
        .opened = "a.example:80 ",
        .asked = "request /x?q=1 ",
        .log = "allow 200 ",
    },
    {
        .name = "keep-alive: one connection upstream, one question a request",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(
            SEND("GET http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("hello"),
            SEND("GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = GOT_HELLO GOT_HELLO,
        .opened = "a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 200 ",
    },
    {
        .name = "two pipelined requests, the first denied",
        .answers = { SIM_DENY, SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"
                              "GET http://b.example/2 HTTP/1.1\r\nHost: b.example\r\n\r\n"),
                         AWAIT("not today"), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 403 Forbidden\r\n*application/problem+json*}\n" GOT_HELLO,
        .to_origins = { "GET /2 HTTP/1.1\r\nHost: b.example\r\nVia: 1.1 sluice\r\n\r\n" },
        .opened = "b.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "deny 403 allow 200 ",
    },
    {
        .name = "post with a length",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 7\r\n\r\npayload"),
                         AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("payload"), SEND(OK_HELLO)) },
        .to_client = GOT_HELLO,
        .to_origins = { "POST /p HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 sluice\r\n"
                        "Content-Length: 7\r\n\r\npayload" },
        .opened = "a.example:80 ",
        .asked = "request /p ",
        .log = "allow 200 ",
    },
    {
        .name = "chunked with trailers, both ways",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                              "3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n"),
                         AWAIT("\r\nX-End: 1\r\n\r\n")),
        .origins = { SCRIPT(AWAIT("X-Sum: 7\r\n\r\n"),
                            SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n")) },
        .to_client = "HTTP/1.1 200 OK\r\n*Transfer-Encoding: "
                     "chunked\r\n\r\n*0\r\nX-End: 1\r\n\r\n",
        .to_origins = { "POST /p HTTP/1.1\r\nHost: a.example\r\n*Transfer-Encoding: "
                        "chunked\r\n\r\n*0\r\nX-Sum: 7\r\n\r\n" },
        .opened = "a.example:80 ",
        .asked = "request /p ",
        .log = "allow 200 ",
    },
    {
        .name = "a denied body goes nowhere",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 7\r\n\r\npayload"),
                         AWAIT("not today")),
        .to_client = "HTTP/1.1 403 Forbidden\r\n*}\n",
        .asked = "request /p ",
        .log = "deny 403 ",
    },
    {
        .name = "expect 100-continue, allowed",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"),
                         AWAIT("100 Continue\r\n\r\n"), SEND("payload"), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND("HTTP/1.1 100 Continue\r\n\r\n"),
                            AWAIT("payload"), SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 100 Continue\r\n\r\n" GOT_HELLO,
        .to_origins = { "POST /p HTTP/1.1\r\n*Expect: 100-continue\r\n*\r\n\r\npayload" },
        .opened = "a.example:80 ",
        .asked = "request /p ",
        .log = "allow 200 ",
    },
    {
        .name = "expect 100-continue, denied: nothing says go on, the "
                "connection ends",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"),
                         AWAIT("not today"), END),
        .to_client = "HTTP/1.1 403 Forbidden\r\n*Connection: close\r\n*",
        .asked = "request /p ",
        .log = "deny 403 ",
    },
    {
        .name = "head, 204, 304: no body whatever the fields say",
        .answers = { SIM_ALLOW, SIM_ALLOW, SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(
            SEND("HEAD http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("\r\n\r\n"),
            SEND("GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("\r\n\r\n"),
            SEND("GET http://a.example/3 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("\r\n\r\n"),
            SEND("GET http://a.example/4 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("hello")),
        .origins = { SCRIPT(
            AWAIT("\r\n\r\n"), SEND("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            AWAIT("\r\n\r\n"), SEND("HTTP/1.1 204 No Content\r\n\r\n"), AWAIT("\r\n\r\n"),
            SEND("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), AWAIT("\r\n\r\n"),
            SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 200 OK\r\nVia: 1.1 sluice\r\nContent-Length: 500\r\n\r\n"
                     "HTTP/1.1 204 No Content\r\nVia: 1.1 sluice\r\n\r\n"
                     "HTTP/1.1 304 Not Modified\r\n*\r\n\r\n" GOT_HELLO,
        .opened = "a.example:80 ",
        .asked = "request /1 request /2 request /3 request /4 ",
        .log = "allow 200 allow 204 allow 304 allow 200 ",
    },
    {
        .name = "interim responses pass",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         AWAIT("103"), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"), QUIET,
                            SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n" GOT_HELLO,
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
    {
        .name = "a response without length ends with the connection, and "
                "becomes chunked",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         AWAIT("\r\n0\r\n\r\n")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND("HTTP/1.0 200 OK\r\n\r\nhello"), CLOSE) },
        .to_client = "HTTP/1.1 200 OK\r\n*Transfer-Encoding: "
                     "chunked\r\n\r\n*\r\n0\r\n\r\n",
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
    {
        .name = "the same to an HTTP/1.0 client",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.0\r\n\r\n"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND("HTTP/1.0 200 OK\r\n\r\nhello"), CLOSE) },
        .to_client = "HTTP/1.* 200 OK\r\n*\r\n\r\nhello",
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
    {
        .name = "a malformed head: 400 and the end",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "GET http://a.example/y HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         SHUT, END),
        .to_client = "HTTP/1.1 400 Bad Request\r\n*Connection: close\r\n*",
        .log = "error 400 bad_framing ",
    },
    {
        .name = "a head over its limit: 431",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(
            SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nX: " A512 A512 "\r\n\r\n"),
            SHUT, END),
        .to_client = "HTTP/1.1 431 *Connection: close\r\n*",
        .log = "error 431 header_too_large ",
    },
    {
        .name = "more than anybody holds, up and down",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 40963\r\n\r\n"),
                         QUIET, SEND_TIMES(80, A512), SEND("end"), AWAIT("aend"),
                         SEND("GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("aend"), SEND("HTTP/1.1 200 OK\r\nContent-Length: 40963\r\n\r\n"),
                            QUIET, SEND_TIMES(80, A512), SEND("end"), AWAIT("\r\n\r\n"),
                            SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 200 OK\r\n*\r\n\r\n" A512 "*aend" GOT_HELLO,
        .opened = "a.example:80 ",
        .asked = "request /p request /2 ",
        .log = "allow 200 allow 200 ",
    },
    {
        .name = "bytes that are not UTF-8 do not fail the question "
                "(CVE-2023-27488)",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n"
                              "X-Odd: \377\376\r\n\r\n"),
                         AWAIT("not today")),
        .asked = "request /x ",
        .log = "deny 403 ",
    },
    {
        .name = "a chunk that is none ends the request (CVE-2023-46846)",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/p HTTP/1.1\r\nHost: a.example\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n"
                              "3\nabc\n0\n\nGET /smuggled HTTP/1.1\r\n\r\n"),
                         SHUT, END),
        .origins = { SCRIPT(END, CLOSE) },
        .to_client = "HTTP/1.1 400 Bad Request\r\n*Connection: close\r\n*",
        .opened = "a.example:80 ",
        .asked = "request /p ",
        .log = "* 400 bad_framing ",
    },
    {
        .name = "the check's edits reach the origin and the client",
        .answers = { "{\"action\":\"allow\",\"request\":{\"set\":{\"x-user\":\"ann\"},"
                     "\"remove\":[\"cookie\"]},\"response\":{\"set\":{\"x-seen\":\"1\"}"
                     "}}" },
        .client = SCRIPT(SEND("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n"
                              "Cookie: secret\r\n\r\n"),
                         AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = "HTTP/1.1 200 OK\r\n*x-seen: 1\r\n*hello",
        .to_origins = { "GET /x HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 sluice\r\n"
                        "x-user: ann\r\n\r\n" },
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
};

int main(void)
{
    return sim_main(cases, SL_LEN(cases));
}
