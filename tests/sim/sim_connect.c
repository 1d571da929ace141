/* sim_connect.c -- tunnels: opened, plain, opaque, left alone, refused. */
#include "sim.h"

#include "base/mem.h"

#define CONNECT_A "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"
#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GOT_HELLO "HTTP/1.1 200 OK\r\nVia: 1.1 sluice\r\nContent-Length: 5\r\n\r\nhello"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n\r\n"

static const struct sim_rule tunnel_a[] = {
    { "host a.example", SL_ACTION_TUNNEL, NULL, 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};
static const struct sim_rule tunnel_sni[] = {
    { "sni a.example", SL_ACTION_TUNNEL, NULL, 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};
static const struct sim_rule refuse_a[] = {
    { "host a.example", SL_ACTION_REFUSE, "no such place", 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};
static const struct sim_rule deny_a[] = {
    { "host a.example", SL_ACTION_DENY, "bad place", 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};

static const struct sim_case cases[] = {
    {
        .name = "tls, three requests on one connection each side",
        .answers = { SIM_ALLOW, SIM_ALLOW, SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("hello"), SEND(GET("/2")), AWAIT("hello"), SEND(GET("/3")),
                         AWAIT("hello")),
        .origins = { SCRIPT(TLS("a.example"), AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"),
                            SEND(OK_HELLO), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = ESTABLISHED GOT_HELLO GOT_HELLO GOT_HELLO,
        .to_origins = { "GET /1 HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 sluice\r\n\r\n"
                        "GET /2 HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 sluice\r\n\r\n"
                        "GET /3 HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 sluice\r\n\r\n" },
        .opened = "a.example:443 ",
        .asked = "request /1 request /2 request /3 ",
        .log = "allow 200 allow 200 allow 200 ",
    },
    {
        .name = "connect and ClientHello in one segment",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), HELLO("a.example"), SEND(GET("/1")), AWAIT("hello")),
        .origins = { SCRIPT(TLS("a.example"), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = GOT_HELLO,
        .opened = "a.example:443 ",
        .asked = "request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "tls, denied by the check: the page comes inside, nobody is "
                "connected to",
        .answers = { SIM_DENY, SIM_DENY },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("not today"), SEND(GET("/2")), AWAIT("not today")),
        .to_client = ESTABLISHED "HTTP/1.1 403 Forbidden\r\n*HTTP/1.1 403 Forbidden\r\n*",
        .asked = "request /1 request /2 ",
        .log = "deny 403 deny 403 ",
    },
    {
        .name = "tls, denied by rule",
        .rules = deny_a,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("bad place")),
        .to_client = ESTABLISHED "HTTP/1.1 403 Forbidden\r\n*",
        .log = "deny 403 ",
    },
    {
        .name = "the check denies the connect: asked once, every request "
                "inside is denied",
        .answers = { SIM_DENY },
        .asks_connect = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("not today"), SEND(GET("/2")), AWAIT("not today")),
        .asked = "connect a.example ",
        .log = "deny 403 deny 403 ",
    },
    {
        .name = "the check allows the connect, and is asked about the request too",
        .answers = { SIM_ALLOW, SIM_ALLOW },
        .asks_connect = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("hello")),
        .origins = { SCRIPT(TLS("a.example"), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:443 ",
        .asked = "connect a.example request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "plain http in a tunnel",
        .answers = { SIM_ALLOW, SIM_DENY },
        .client = SCRIPT(SEND("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n"),
                         AWAIT(ESTABLISHED), SEND(GET("/1")), AWAIT("hello"), SEND(GET("/2")),
                         AWAIT("not today")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = ESTABLISHED GOT_HELLO "HTTP/1.1 403 Forbidden\r\n*",
        .opened = "a.example:80 ",
        .asked = "request /1 request /2 ",
        .log = "allow 200 deny 403 ",
    },
    {
        .name = "plain http in one segment with its connect",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("CONNECT a.example:80 HTTP/1.1\r\nHost: "
                              "a.example:80\r\n\r\n" GET("/1")),
                         AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .to_client = ESTABLISHED GOT_HELLO,
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "opaque bytes, allowed by name",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), SEND("\001ping"), AWAIT("pong"), SHUT,
                         AWAIT("bye"), END),
        .origins = { SCRIPT(AWAIT("\001ping"), SEND("pong"), END, SEND("bye"), CLOSE) },
        .to_client = ESTABLISHED "pongbye",
        .to_origins = { "\001ping" },
        .opened = "a.example:443 ",
        .asked = "connect a.example ",
        .log = "allow 200 ",
    },
    {
        .name = "opaque bytes, denied by name",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), SEND("\001ping"), END),
        .to_client = ESTABLISHED,
        .asked = "connect a.example ",
        .log = "deny 200 ",
    },
    {
        .name = "opaque bytes, denied in phase connect before they came",
        .answers = { SIM_DENY },
        .asks_connect = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), SEND("\001ping"), END),
        .to_client = ESTABLISHED,
        .asked = "connect a.example ",
        .log = "deny 200 ",
    },
    {
        .name = "opaque bytes in one segment with their connect, denied "
                "(CVE-2025-64763)",
        .answers = { SIM_DENY },
        .asks_connect = true,
        .client = SCRIPT(SEND(CONNECT_A "\001early"), AWAIT(ESTABLISHED), END),
        .to_client = ESTABLISHED,
        .asked = "connect a.example ",
        .log = "deny 200 ",
    },
    {
        .name = "a tunnel by rule: bytes pass unopened, half-closes too",
        .rules = tunnel_a,
        .is_ruled = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), SEND("\026\002\001 not ours"),
                         AWAIT("theirs"), SHUT, AWAIT("bye"), END),
        .origins = { SCRIPT(AWAIT("not ours"), SEND("theirs"), END, SEND("bye"), SHUT) },
        .to_client = ESTABLISHED "theirsbye",
        .to_origins = { "\026\002\001 not ours" },
        .opened = "a.example:443 ",
        .log = "tunnel 200 ",
    },
    {
        .name = "a tunnel by rule, bytes ahead of its answer",
        .rules = tunnel_a,
        .is_ruled = true,
        .client = SCRIPT(SEND(CONNECT_A "early"), AWAIT(ESTABLISHED), AWAIT("theirs"), CLOSE),
        .origins = { SCRIPT(AWAIT("early"), SEND("theirs"), END, CLOSE) },
        .to_origins = { "early" },
        .opened = "a.example:443 ",
        .log = "tunnel 200 ",
    },
    {
        .name = "a tunnel by rule whose origin refuses: 502, the connection stays",
        .rules = tunnel_a,
        .is_ruled = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT("502 Bad Gateway"), AWAIT("}\n"),
                         SEND("GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n"),
                         AWAIT("502 Bad Gateway")),
        .opened = "a.example:443 b.example:80 ",
        .log = "tunnel 502 refused allow 502 refused ",
    },
    {
        .name = "a tunnel by SNI: the ClientHello passes on, TLS is the origin's",
        .rules = tunnel_sni,
        .is_ruled = true,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND("secret"),
                         AWAIT("answer"), SHUT, END, CLOSE),
        .origins = { SCRIPT(TLS("a.example"), AWAIT("secret"), SEND("answer"), END, CLOSE) },
        .to_client = ESTABLISHED "answer",
        .to_origins = { "secret" },
        .opened = "a.example:443 ",
        .log = "tunnel 200 ",
    },
    {
        .name = "refuse: the connect itself is answered, the connection stays",
        .rules = refuse_a,
        .client = SCRIPT(SEND(CONNECT_A), AWAIT("no such place"), AWAIT("}\n"), SEND(CONNECT_A),
                         AWAIT("no such place")),
        .to_client = "HTTP/1.1 403 Forbidden\r\n*HTTP/1.1 403 Forbidden\r\n*",
        .log = "refuse 403 refuse 403 ",
    },
    {
        .name = "the SNI names another host: 421 inside, whatever Host says, unasked",
        .answers = { SIM_ALLOW },
        .client =
            SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("b.example"), SEND(GET("/1")),
                   AWAIT("421"), AWAIT("}\n"), SEND("GET /2 HTTP/1.1\r\nHost: b.example\r\n\r\n"),
                   AWAIT("421"), AWAIT("}\n")),
        .to_client = ESTABLISHED "HTTP/1.1 421 Misdirected Request\r\n*"
                                 "HTTP/1.1 421 Misdirected Request\r\n*",
        .log = "deny 421 misdirected deny 421 misdirected ",
    },
    {
        .name = "Host names another host: 421, unasked; the connection stays",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"),
                         SEND("GET /1 HTTP/1.1\r\nHost: b.example\r\n\r\n"), AWAIT("421"),
                         AWAIT("}\n"), SEND(GET("/2")), AWAIT("not today")),
        .to_client = ESTABLISHED "HTTP/1.1 421 Misdirected Request\r\n*HTTP/1.1 403 *",
        .asked = "request /2 ",
        .log = "deny 421 misdirected deny 403 ",
    },
    {
        .name = "absolute form inside, naming another host: 421",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"),
                         SEND("GET https://b.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         AWAIT("HTTP/1.1 4")),
        .log = "* 4* ",
    },
    {
        .name = "the origin's certificate is for another host: 502 inside",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), TLS("a.example"), SEND(GET("/1")),
                         AWAIT("502 Bad Gateway")),
        .origins = { SCRIPT(TLS("b.example")) },
        .to_origins = { "" },
        .opened = "a.example:443 ",
        .asked = "request /1 ",
        .log = "allow 502 cert_wrong_host ",
    },
    {
        .name = "the client goes away before the first byte",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), CLOSE),
        .to_client = ESTABLISHED,
        .log = "error 200 cancelled ",
    },
    {
        .name = "a silent tunnel ends at the handshake's deadline",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), WAIT(9999), QUIET, WAIT(1), END),
        .to_client = ESTABLISHED,
        .log = "error 200 request_timeout ",
    },
    {
        .name = "half a ClientHello ends there too",
        .answers = { SIM_ALLOW },
        .client =
            SCRIPT(SEND(CONNECT_A), AWAIT(ESTABLISHED), SEND("\026\003\001\002"), WAIT(10000), END),
        .to_client = ESTABLISHED,
        .log = "error 200 request_timeout ",
    },
};

int main(void)
{
    return sim_main(cases, SL_LEN(cases));
}
