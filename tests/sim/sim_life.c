/* sim_life.c -- the connection's own life: time-outs between requests,
 * draining, reload. */
#include "sim.h"

#include "base/mem.h"

#define CONNECT_A "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET(path) "GET http://a.example" path " HTTP/1.1\r\nHost: a.example\r\n\r\n"

static const struct sim_rule deny_all[] = {
    { "any", SL_ACTION_DENY, "closed for today", 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};

static const struct sim_case cases[] = {
    {
        .name = "nothing is said: ends at the idle time-out",
        .client = SCRIPT(WAIT(119999), QUIET, WAIT(1), END),
        .to_client = "",
        .log = "",
    },
    {
        .name = "half a head: ends at the head's time-out",
        .client = SCRIPT(SEND("GET http://a.example/ HT"), WAIT(14999), SEND("T"), WAIT(1), END),
        .to_client = "*",
        .log = "*",
    },
    {
        .name = "a head that begins late in the idle time has its own time",
        .rules = deny_all,
        .client = SCRIPT(WAIT(119999), SEND("GET http://a.example/ HT"), WAIT(14999),
                         SEND("TP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("closed for today")),
        .to_client = "HTTP/1.1 403 Forbidden\r\n*",
        .log = "deny 403 ",
    },
    {
        .name = "idle behind a response: ends at the idle time-out",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("not today"), WAIT(120000), END),
        .asked = "request /1 ",
        .log = "deny 403 ",
    },
    {
        .name = "the client ends behind its request: it is still answered",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), SHUT, AWAIT("hello"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "drain while idle: ends at once",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND(GET("/1")), AWAIT("not today"), DRAIN, END),
        .asked = "request /1 ",
        .log = "deny 403 ",
    },
    {
        .name = "drain during an exchange: it is finished, and is the last",
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND(GET("/1")), DRAIN, AWAIT("Connection: close"), AWAIT("hello"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), WAIT(1), WAIT(1), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "drain inside a silent tunnel: its first bytes have a second",
        .client = SCRIPT(SEND(CONNECT_A), AWAIT("established\r\n\r\n"), DRAIN, WAIT(1000), END),
        .log = "error 200 request_timeout ",
    },
    {
        .name = "drain before a CONNECT's reply: the same",
        .client = SCRIPT(SEND(CONNECT_A), DRAIN, AWAIT("established\r\n\r\n"), WAIT(1000), END),
        .log = "error 200 request_timeout ",
    },
    {
        .name = "drain inside a tunnel: what begins in time is finished",
        .answers = { SIM_ALLOW },
        .client =
            SCRIPT(SEND(CONNECT_A), AWAIT("established\r\n\r\n"), DRAIN, WAIT(999),
                   SEND("GET /1 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"), AWAIT("hello"), END),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), WAIT(2000), SEND(OK_HELLO)) },
        .opened = "a.example:443 ",
        .asked = "request /1 ",
        .log = "allow 200 ",
    },
    {
        .name = "reload between requests: the next one sees the new rules",
        .answers = { SIM_ALLOW },
        .reloaded = deny_all,
        .client = SCRIPT(SEND(GET("/1")), AWAIT("hello"), RELOAD, SEND(GET("/2")),
                         AWAIT("closed for today")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 deny 403 ",
    },
    {
        .name = "reload during an exchange: it keeps its own",
        .answers = { SIM_ALLOW },
        .reloaded = deny_all,
        .client = SCRIPT(SEND(GET("/1")), RELOAD, AWAIT("hello"), SEND(GET("/2")),
                         AWAIT("closed for today")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), WAIT(1), WAIT(1), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /1 ",
        .log = "allow 200 deny 403 ",
    },
    {
        .name = "reload inside a tunnel",
        .answers = { SIM_ALLOW },
        .reloaded = deny_all,
        .client =
            SCRIPT(SEND(CONNECT_A), AWAIT("established\r\n\r\n"), TLS("a.example"),
                   SEND("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("hello"), RELOAD,
                   SEND("GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("closed for today")),
        .origins = { SCRIPT(TLS("a.example"), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:443 ",
        .asked = "request /1 ",
        .log = "allow 200 deny 403 ",
    },
};

int main(void)
{
    return sim_main(cases, SL_LEN(cases));
}
