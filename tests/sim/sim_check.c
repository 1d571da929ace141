/* sim_check.c -- what the check says, and what becomes of it when it does not.
 */
#include "sim.h"

#include "base/mem.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET_X "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"

static const struct sim_rule deny_ads[] = {
    { "host ads.example", SL_ACTION_DENY, "advertising", 451 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};
static const struct sim_rule deny_types[] = {
    { "type video/*", SL_ACTION_DENY, "no films", 0 },
    { NULL, SL_ACTION_ALLOW, NULL, 0 },
};

static const struct sim_case cases[] = {
    {
        .name = "deny",
        .answers = { SIM_DENY },
        .client = SCRIPT(SEND(GET_X), AWAIT("not today")),
        .to_client = "HTTP/1.1 403 Forbidden\r\n*Proxy-Status: sluice*not today*}\n",
        .asked = "request /x ",
        .log = "deny 403 ",
    },
    {
        .name = "deny with a status, fields and a body of the check's",
        .answers = { "{\"action\":\"deny\",\"status\":429,\"headers\":{\"x-"
                     "policy\":\"7\"},"
                     "\"body\":\"<h1>no</h1>\"}" },
        .client = SCRIPT(SEND(GET_X), AWAIT("<h1>no</h1>")),
        .to_client = "HTTP/1.1 429 Too Many Requests\r\n*x-policy: "
                     "7\r\n*\r\n\r\n<h1>no</h1>",
        .asked = "request /x ",
        .log = "deny 429 ",
    },
    {
        .name = "a rule denies: a page for a browser, nobody is asked",
        .rules = deny_ads,
        .answers = { SIM_ALLOW },
        .client = SCRIPT(SEND("GET http://ads.example/x HTTP/1.1\r\nHost: ads.example\r\n"
                              "Accept: text/html\r\n\r\n"),
                         AWAIT("</html>")),
        .to_client = "HTTP/1.1 451 *text/html*advertising*",
        .log = "deny 451 ",
    },
    {
        .name = "a rule denies by the response",
        .rules = deny_types,
        .is_ruled = true,
        .client = SCRIPT(SEND(GET_X), AWAIT("no films")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"
                                                    "Content-Length: 5\r\n\r\nhello")) },
        .to_client = "HTTP/1.1 403 Forbidden\r\n*no films*}\n",
        .opened = "a.example:80 ",
        .log = "deny 403 ",
    },
    {
        .name = "silence: 503 at the deadline",
        .answers = { sim_stall },
        .client = SCRIPT(SEND(GET_X), WAIT(499), QUIET, WAIT(1), AWAIT("check unavailable")),
        .to_client = "HTTP/1.1 503 Service Unavailable\r\n*Retry-After: "
                     "1\r\n*check unavailable*",
        .asked = "request /x ",
        .log = "deny 503 check_failed ",
    },
    {
        .name = "death: 503",
        .answers = { sim_die },
        .client = SCRIPT(SEND(GET_X), AWAIT("check unavailable")),
        .to_client = "HTTP/1.1 503 *",
        .asked = "request /x ",
        .log = "deny 503 check_failed ",
    },
    {
        .name = "babble: 503",
        .answers = { sim_babble },
        .client = SCRIPT(SEND(GET_X), AWAIT("check unavailable")),
        .to_client = "HTTP/1.1 503 *",
        .asked = "request /x ",
        .log = "deny 503 check_failed ",
    },
    {
        .name = "another status: 503",
        .answers = { sim_error },
        .client = SCRIPT(SEND(GET_X), AWAIT("check unavailable")),
        .to_client = "HTTP/1.1 503 *",
        .asked = "request /x ",
        .log = "deny 503 check_failed ",
    },
    {
        .name = "bad replies: 503 each",
        .answers = { "", "allow", "{\"action\":\"perhaps\"}", "{}" },
        .client = SCRIPT(SEND("GET http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"
                              "GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n\r\n"
                              "GET http://a.example/3 HTTP/1.1\r\nHost: a.example\r\n\r\n"
                              "GET http://a.example/4 HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                         AWAIT("503 Service"), AWAIT("503 Service"), AWAIT("503 Service"),
                         AWAIT("503 Service")),
        .asked = "request /1 request /2 request /3 request /4 ",
        .log = "deny 503 check_failed deny 503 check_failed deny 503 check_failed "
               "deny 503 check_failed ",
    },
    {
        .name = "the check dies while idle: asked again on a new connection",
        .answers = { SIM_DENY, sim_die, SIM_DENY },
        .client = SCRIPT(
            SEND("GET http://a.example/1 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("not today"),
            SEND("GET http://a.example/2 HTTP/1.1\r\nHost: a.example\r\n\r\n"), AWAIT("not today")),
        .asked = "request /1 request /2 request /2 ",
        .log = "deny 403 deny 403 ",
    },
    {
        .name = "a kept verdict is not asked for again until its time is over",
        .answers = { "{\"action\":\"allow\",\"cache\":{\"ttl\":30}}", SIM_DENY },
        .client = SCRIPT(SEND(GET_X), AWAIT("hello"), SEND(GET_X), AWAIT("hello"), WAIT(30001),
                         SEND(GET_X), AWAIT("not today")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO), AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /x request /x ",
        .log = "allow 200 allow 200 deny 403 ",
    },
    {
        .name = "preconnect: the connection stands, no byte before the verdict",
        .answers = { SIM_ALLOW },
        .preconnect = true,
        .client = SCRIPT(SEND(GET_X), AWAIT("hello")),
        .origins = { SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
    {
        .name = "preconnect, denied: the connection closes with no byte on it",
        .answers = { SIM_DENY },
        .preconnect = true,
        .client = SCRIPT(SEND(GET_X), AWAIT("not today")),
        .origins = { SCRIPT(END) },
        .to_origins = { "" },
        .opened = "a.example:80 ",
        .asked = "request /x ",
        .log = "deny 403 ",
    },
    {
        .name = "preconnect, refused: tried once more after the verdict",
        .answers = { SIM_ALLOW },
        .preconnect = true,
        .client = SCRIPT(SEND(GET_X), AWAIT("502 Bad Gateway")),
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /x ",
        .log = "allow 502 refused ",
    },
    {
        .name = "preconnect to an origin that hangs up at once: tried once more",
        .answers = { SIM_ALLOW },
        .preconnect = true,
        .client = SCRIPT(SEND(GET_X), AWAIT("hello")),
        .origins = { SCRIPT(CLOSE), SCRIPT(AWAIT("\r\n\r\n"), SEND(OK_HELLO)) },
        .opened = "a.example:80 a.example:80 ",
        .asked = "request /x ",
        .log = "allow 200 ",
    },
};

int main(void)
{
    return sim_main(cases, SL_LEN(cases));
}
