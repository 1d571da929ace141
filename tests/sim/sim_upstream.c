/* sim_upstream.c -- origins that fail, are slow, or speak something else:
 * retries, time-outs, upgrades, connections that belong to one client.
 */
#include "sim.h"

#include "base/mem.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET(path) "GET http://a.example" path " HTTP/1.1\r\nHost: a.example\r\n\r\n"
#define POST(path)                                                                                 \
    "POST http://a.example" path " HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
#define UPGRADE                                                                                    \
    "GET http://a.example/ws HTTP/1.1\r\nHost: a.example\r\nConnection: "                          \
    "Upgrade\r\n"                                                                                  \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "                       \
    "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "                         \
    "websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
/* Frames of the client, masked with blanks: "PING" is what goes over the wire. */
#define PING "\x89\x84    PING"
#define LAST "\x81\x84    LAST"

static const struct sim_case cases[] = {
    {
        .name = "refused: 502",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("502 Bad Gateway")),
        .to_client = "HTTP/1.1 502 *Proxy-Status: sluice; error=connection_refused*",
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 502 refused ",
    },
    {
        .name = "reset before the head on a new connection: 502, no second try",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("502 Bad Gateway")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), RESET), SCRIPT(SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 502 reset ",
    },
    {
        .name = "reset before the head on a reused connection: a GET is tried "
                "again",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), SEND(GET("/2")), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), RESET),
                     SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_origins = { "*GET /2 *", "GET /2 *" },
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 200 ",
    },
    {
        .name = "closed before the head on a reused connection: the same",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), SEND(GET("/2")), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), CLOSE),
                     SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 200 ",
    },
    {
        .name = "and the second try fails: 502, not a third",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), SEND(GET("/2")), AWAIT("502")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), RESET),
                     SCRIPT(AWAIT("\r\n\r\n"), RESET), SCRIPT(SEND(OK_HELLO)) },
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 502 reset ",
    },
    {
        .name = "a POST is never tried again",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), SEND(POST("/2")), AWAIT("502")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("abc"), RESET),
                     SCRIPT(SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 502 reset ",
    },
    {
        .name = "closed while idle: a new connection, unnoticed",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), QUIET, SEND(POST("/2")), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), CLOSE),
                     SCRIPT(AWAIT("abc"), SEND(OK_HELLO)) },
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 allow 200 ",
    },
    {
        .name = "cut inside the body: the client sees it cut",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hel"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), QUIET,
                            CLOSE) },
        .to_client = "HTTP/1.1 200 OK\r\n*\r\n\r\nhel",
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 response_cut ",
    },
    {
        .name = "cut inside a chunked body: no last chunk",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("l\r\n"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nhel\r\n"),
                            QUIET, RESET) },
        .to_client = "HTTP/1.1 200 OK\r\n*l\r\n",
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 * ",
    },
    {
        .name = "no response in time: 504",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), WAIT(59999), QUIET, WAIT(1), AWAIT("504 Gateway")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), END) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 504 response_timeout ",
    },
    {
        .name = "no connection in time: 504",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("CONNECT a.example:443 HTTP/1.1\r\nHost: "
                              "a.example:443\r\n\r\n"),
                         AWAIT("established\r\n\r\n"), TLS("a.example"),
                         SEND("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n"), WAIT(10000),
                         AWAIT("504 Gateway")),
        .origins = { SCRIPT(END) },
        .opened = "a.example:443 ",
        .asked = "request /1 ",
        .log = "allow 504 connect_timeout ",
    },
    {
        .name = "a response that stops: cut at the idle time-out",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hel"), WAIT(120000), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), END) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 read_timeout ",
    },
    {
        .name = "a request that stops: 408 at the idle time-out",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 3\r\n\r\nab"),
                         WAIT(120000), AWAIT("408 Request Timeout"), SHUT, END),
        .origins = { SCRIPT(AWAIT("\r\n\r\nab"), END) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 408 request_timeout ",
    },
    {
        .name = "a response before the body was all sent: passed on",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("POST http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n"
                              "Content-Length: 3\r\n\r\na"),
                         AWAIT("413"), AWAIT("hello"), SHUT, END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
                                 "Content-Length: 5\r\n\r\nhello"),
                            CLOSE) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 413 ",
    },
    {
        .name = "a malformed response: 502",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("502 Bad Gateway")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND("SSH-2.0-OpenSSH_9\r\n\r\n")) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 502 bad_response ",
    },
    {
        .name = "101 unasked: 502",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("502 Bad Gateway")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(SWITCHING "HTTP/1.1 200 OK\r\n\r\n")) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 502 upgrade_failed ",
    },
    {
        .name = "websocket: bytes both ways, the client ends first",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(UPGRADE), AWAIT("101 "), AWAIT("\r\n\r\n"), SEND(PING), AWAIT("pong"),
                         SHUT, AWAIT("bye"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(SWITCHING), AWAIT("PING"), SEND("\x8a\x04pong"),
                            END,
                            SEND("\x81\x03"
                                 "bye"),
                            CLOSE) },
        .to_client = "HTTP/1.1 101 Switching Protocols\r\n*pong\x81\x03"
                     "bye",
        .to_origins = { "GET /ws HTTP/1.1\r\n*Upgrade: websocket\r\n*PING" },
        .opened = "a.example:80 ",
        .asked = "request /ws ",
        .log = "allow 101 ",
    },
    {
        .name = "websocket: the origin ends first, bytes in one segment with "
                "the 101",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(UPGRADE), AWAIT("first"), END, SEND(LAST), CLOSE),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND(SWITCHING "\x81\x05"
                                           "first"),
                            SHUT, AWAIT("LAST"), END) },
        .to_client = "HTTP/1.1 101 Switching Protocols\r\n*first",
        .to_origins = { "GET /ws *LAST" },
        .opened = "a.example:80 ",
        .asked = "request /ws ",
        .log = "allow 101 ",
    },
    {
        .name = "websocket: what is no frame ends it, and does not pass",
        .answers = { SIM_ALLOW },
        .client =
            SCRIPT(SEND(UPGRADE), AWAIT("101 "), AWAIT("\r\n\r\n"), SEND(PING "SSH-2.0"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(SWITCHING), AWAIT("PING"), END) },
        .to_client = "HTTP/1.1 101 Switching Protocols\r\n*\r\n\r\n",
        .to_origins = { "GET /ws HTTP/1.1\r\n*PING" },
        .opened = "a.example:80 ",
        .asked = "request /ws ",
        .log = "allow 101 protocol ",
    },
    {
        .name = "an upgrade that is answered 200 is no tunnel (CVE-2024-23326)",
        .answers = { SIM_ALLOW, SIM_DENY },
        .client = SCRIPT(SEND(UPGRADE), AWAIT("did not switch"), SEND(GET("/secret")),
                         AWAIT("not today")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_origins = { "GET /ws HTTP/1.1\r\n*\r\n\r\n" },
        .opened = "a.example:80 ",
        .asked = "request /ws request /secret ",
        .log = "allow 502 upgrade_failed deny 403 ",
    },
    {
        .name = "websocket denied: 403, the connection stays",
        .answers = { SIM_DENY, SIM_DENY },
        .client = SCRIPT(SEND(UPGRADE), AWAIT("not today"), SEND(GET("/2")), AWAIT("not today")),
        .asked = "request /ws request /2 ",
        .log = "deny 403 deny 403 ",
    },
    {
        .name = "ntlm: the connection stays with its client",
        .answers = { SIM_ALLOW, SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"),
                         SEND("GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n"
                              "Authorization: NTLM AAAA\r\n\r\n"),
                         AWAIT("hello"), SEND(GET("/3")), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"),
                            SEND("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\n"
                                 "Content-Length: 5\r\n\r\nhello"),
                            AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 request /2 request /3 ",
        .log = "allow 401 allow 200 allow 200 ",
    },
};

int main(void)
{
    return sim_main(cases, SL_LEN(cases));
}
