/* test_h1_corpus.c -- HTTP/1 as it arrives: whole conversations and the heads of h1_vectors.h
 * through server and client connections, in two segments cut at every byte, and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "h1_vectors.h"
#include "http/h1_client.h"
#include "http/h1_server.h"
#include "io/memory.h"
#include "io/stream.h"

/* Requests: "METHOD target{content}(trailer=value)" each, then how the connection ended.
 * Responses: "status " of interim ones, "status{content}(trailer=value)", then keep or gone. */

#define CL(n) "Content-Length: " #n "\r\n"
#define TE "Transfer-Encoding: chunked\r\n"
#define P "POST /p HTTP/1.1\r\n" H
#define G "GET /g HTTP/1.1\r\n" H "\r\n"

static const struct vector conversations[] = {
    { "nothing", B(""), "eof" },
    { "one", B(G), "GET /g{} eof" },
    { "two", B(G G), "GET /g{} GET /g{} eof" },
    { "an empty line between", B(G "\r\n" G), "GET /g{} GET /g{} eof" },
    { "two empty lines between", B(G "\r\n\r\n" G), "GET /g{} [bad_request]" },
    { "an empty line behind", B(G "\r\n"), "GET /g{} eof" },
    { "a bare LF behind", B(G "\n"), "GET /g{} [bad_request]" },
    { "a bare CR behind", B(G "\rG"), "GET /g{} [bad_request]" },
    { "a NUL behind", B(G "\0"), "GET /g{} [bad_request]" },
    { "cut in the method", B("GE"), "eof" },
    { "cut in the fields", B("GET / HTTP/1.1\r\nHost: a\r\n"), "[reset]" },
    { "close: what follows is not looked at",
      B("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n" G), "GET /{} eof" },
    { "1.0: what follows is not looked at", B("GET / HTTP/1.0\r\n" H "\r\n" G), "GET /{} eof" },
    { "length", B(P CL(5) "\r\nhello" G), "POST /p{hello} GET /g{} eof" },
    { "length 0", B(P CL(0) "\r\n" G), "POST /p{} GET /g{} eof" },
    { "no length", B(P "\r\n" G), "POST /p{} GET /g{} eof" },
    { "length, too much: a method begins there", B(P CL(5) "\r\nhello!" G),
      "POST /p{hello} !GET /g{} eof" },
    { "length, too little", B(P CL(5) "\r\nhell"), "POST /p{[cancelled]} [over]" },
    { "content that is a request", B(P CL(38) "\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n" G),
      "POST /p{GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n} GET /g{} eof" },
    { "length with GET", B("GET / HTTP/1.1\r\n" H CL(2) "\r\nab" G), "GET /{ab} GET /g{} eof" },
    { "CL.TE", B(P CL(6) TE "\r\n0\r\n\r\nG"), "[bad_framing]" },
    { "TE.CL", B(P TE CL(4) "\r\n12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"), "[bad_framing]" },
    { "CL.CL", B(P CL(6) CL(5) "\r\n12345G"), "[bad_framing]" },
    { "TE.TE", B(P TE "Transfer-Encoding: x\r\n\r\n0\r\n\r\n"), "[bad_framing]" },
    { "TE with a blank", B(P "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "[bad_request]" },
    { "TE behind a bare LF", B(P "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      "[bad_request]" },
    { "TE folded", B(P "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), "[not_implemented]" },
    { "TE xchunked", B(P "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "[not_implemented]" },
    { "TE in 1.0", B("POST / HTTP/1.0\r\n" H TE "\r\n0\r\n\r\n"), "[bad_framing]" },
    { "chunked", B(P TE "\r\n5\r\nhello\r\n0\r\n\r\n" G), "POST /p{hello} GET /g{} eof" },
    { "chunked, two", B(P TE "\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" G),
      "POST /p{hello} GET /g{} eof" },
    { "chunked, none", B(P TE "\r\n0\r\n\r\n" G), "POST /p{} GET /g{} eof" },
    { "chunked, extensions", B(P TE "\r\n5;a;b=c;d=\"e\"\r\nhello\r\n0;f\r\n\r\n" G),
      "POST /p{hello} GET /g{} eof" },
    { "chunked, trailers", B(P TE "\r\n5\r\nhello\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n" G),
      "POST /p{hello}(X-A=1)(X-B=2) GET /g{} eof" },
    { "chunked, trailers that frame and route",
      B(P TE "\r\n0\r\nContent-Length: 5\r\nHost: evil\r\nX-A: 1\r\n\r\n" G),
      "POST /p{}(X-A=1) GET /g{} eof" },
    { "chunked, trailer with a bare LF", B(P TE "\r\n0\r\nX: y\n\r\n" G),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, trailer folded", B(P TE "\r\n0\r\nX: y\r\n z\r\n\r\n" G),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, size in LF", B(P TE "\r\n5\nhello\r\n0\r\n\r\n"), "POST /p{[bad_framing]} [over]" },
    { "chunked, content ends in LF", B(P TE "\r\n5\r\nhello\n0\r\n\r\n"),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, too much", B(P TE "\r\n4\r\nhello\r\n0\r\n\r\n"), "POST /p{[bad_framing]} [over]" },
    { "chunked, size overflow", B(P TE "\r\nfffffffffffffffff\r\nhello"),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, size 0x5", B(P TE "\r\n0x5\r\nhello\r\n0\r\n\r\n"),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, size with a blank", B(P TE "\r\n5 \r\nhello\r\n0\r\n\r\n"),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, size missing", B(P TE "\r\n\r\nhello"), "POST /p{[bad_framing]} [over]" },
    { "chunked, CR in an extension", B(P TE "\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
      "POST /p{[bad_framing]} [over]" },
    { "chunked, cut in a size", B(P TE "\r\n5"), "POST /p{[cancelled]} [over]" },
    { "chunked, cut in content", B(P TE "\r\n5\r\nhel"), "POST /p{[cancelled]} [over]" },
    { "chunked, cut before the trailers' end", B(P TE "\r\n5\r\nhello\r\n0\r\n"),
      "POST /p{[cancelled]} [over]" },
    { "malformed behind a good one", B(G "GET /\r\n\r\n"), "GET /g{} [bad_request]" },
    { "another version behind a good one", B(G "GET / HTTP/1.2\r\n" H "\r\n"),
      "GET /g{} [bad_version]" },
    { "HTTP/2 behind a good one", B(G "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      "GET /g{} [bad_version]" },
    { "expect", B(P CL(2) "Expect: 100-continue\r\n\r\nab" G), "POST /p{ab} GET /g{} eof" },
    { "upgrade: not ours to answer, then HTTP goes on",
      B("GET / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" G),
      "GET /{} GET /g{} eof" },
};

#define R "HTTP/1.1 200 OK\r\n"
#define GO_ON "HTTP/1.1 100 Continue\r\n\r\n"

static const struct vector replies[] = {
    { "nothing", B(""), "[eof] gone" },
    { "length", B(R CL(5) "\r\nhello"), "200{hello} keep" },
    { "length 0", B(R CL(0) "\r\n"), "200{} keep" },
    { "length, too much", B(R CL(5) "\r\nhello!"), "200{hello} gone" },
    { "length, too little", B(R CL(5) "\r\nhell"), "200{[response_cut]} gone" },
    { "length, a second response", B(R CL(0) "\r\n" R CL(0) "\r\n"), "200{} gone" },
    { "length, close", B(R CL(5) "Connection: close\r\n\r\nhello"), "200{hello} gone" },
    { "length, 1.0", B("HTTP/1.0 200 OK\r\n" CL(5) "\r\nhello"), "200{hello} gone" },
    { "until close", B(R "\r\nhello"), "200{hello} gone" },
    { "until close, nothing", B(R "\r\n"), "200{} gone" },
    { "until close, a response in it", B(R "\r\n" R "\r\n"), "200{HTTP/1.1 200 OK\r\n\r\n} gone" },
    { "chunked", B(R TE "\r\n5\r\nhello\r\n0\r\n\r\n"), "200{hello} keep" },
    { "chunked, trailers", B(R TE "\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n"),
      "200{hello}(X-A=1) keep" },
    { "chunked, trailers that frame", B(R TE "\r\n0\r\n" CL(5) "\r\n"), "200{} keep" },
    { "chunked, more behind", B(R TE "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "200{} gone" },
    { "chunked, cut", B(R TE "\r\n5\r\nhel"), "200{[response_cut]} gone" },
    { "chunked, cut before the last chunk", B(R TE "\r\n5\r\nhello\r\n"),
      "200{[response_cut]} gone" },
    { "chunked, cut before the trailers' end", B(R TE "\r\n5\r\nhello\r\n0\r\n"),
      "200{[response_cut]} gone" },
    { "chunked, size in LF", B(R TE "\r\n5\nhello\r\n0\r\n\r\n"), "200{[bad_response]} gone" },
    { "chunked, too much", B(R TE "\r\n4\r\nhello\r\n0\r\n\r\n"), "200{[bad_response]} gone" },
    { "chunked, 1.0", B("HTTP/1.0 200 OK\r\n" TE "\r\n0\r\n\r\n"), "[bad_response] gone" },
    { "both framings", B(R TE CL(5) "\r\n0\r\n\r\n"), "[bad_response] gone" },
    { "both framings, the other way", B(R CL(5) TE "\r\nhello"), "[bad_response] gone" },
    { "two lengths", B(R CL(5) CL(6) "\r\nhello!"), "[bad_response] gone" },
    { "gzip, chunked", B(R "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
      "[bad_response] gone" },
    { "splitting by bare LF", B(R "X: y\n\nHTTP/1.1 200 OK\r\n\r\n"), "[bad_response] gone" },
    { "splitting by bare CR", B(R "X: y\r\rHTTP/1.1 200 OK\r\n\r\n"), "[bad_response] gone" },
    { "204", B("HTTP/1.1 204 No Content\r\n\r\n"), "204{} keep" },
    { "204 with content", B("HTTP/1.1 204 No Content\r\n\r\nhello"), "204{} gone" },
    { "204 with length", B("HTTP/1.1 204 No Content\r\n" CL(5) "\r\nhello"),
      "[bad_response] gone" },
    { "304 with length", B("HTTP/1.1 304 Not Modified\r\n" CL(5) "\r\n"), "304{} keep" },
    { "304 with content", B("HTTP/1.1 304 Not Modified\r\n" CL(5) "\r\nhello"), "304{} gone" },
    { "100, then final", B(GO_ON R CL(2) "\r\nok"), "100 200{ok} keep" },
    { "103, then final", B("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" R CL(2) "\r\nok"),
      "103 200{ok} keep" },
    { "100 twice", B(GO_ON GO_ON R CL(0) "\r\n"), "100 100 200{} keep" },
    { "100 with length", B("HTTP/1.1 100 Continue\r\n" CL(5) "\r\nhello" R "\r\n"),
      "[bad_response] gone" },
    { "100 alone", B(GO_ON), "100 [response_cut] gone" },
    { "101 unasked", B("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw"),
      "[upgrade_failed] gone" },
    { "cut in the status line", B("HTTP/1.1 20"), "[response_cut] gone" },
    { "cut in the fields", B(R "X: y\r\n"), "[response_cut] gone" },
    { "an empty line before", B("\r\n" R CL(0) "\r\n"), "[bad_response] gone" },
    { "HTTP/0.9", B("<html>hello</html>"), "[bad_response] gone" },
    { "HTTP/2", B("\0\0\0\4\0\0\0\0\0"), "[bad_response] gone" },
    { "TLS alert", B("\x15\x03\x01\0\2\2\x28"), "[bad_response] gone" },
    { "ICY", B("ICY 200 OK\r\n\r\nhello"), "[bad_response] gone" },
    { "another version", B("HTTP/1.2 200 OK\r\n" CL(0) "\r\n"), "[bad_response] gone" },
};

static const struct vector head_replies[] = {
    { "length", B(R CL(5) "\r\n"), "200{} keep" },
    { "length and content", B(R CL(5) "\r\nhello"), "200{} gone" },
    { "chunked", B(R TE "\r\n"), "200{} keep" },
    { "chunked and content", B(R TE "\r\n0\r\n\r\n"), "200{} gone" },
    { "neither", B(R "\r\n"), "200{} keep" },
    { "both", B(R CL(5) TE "\r\n"), "[bad_response] gone" },
};

/* -- a play: some bytes, in some pieces -- */

struct pieces {
    size_t first; /* bytes of the first; the rest is one more */
    bool each;    /* every byte alone */
};

struct play {
    struct sl_loop *loop;
    struct sl_stream *peer, *stream;
    struct sl_h1_server *server;
    struct sl_h1_client *client;
    struct sl_http_stream *http;
    bool heads_only, is_over, is_in_body, is_reusable;
    size_t content_at; /* of out */
    struct sl_buf out;
};

typedef void read_fn(struct play *p);

static void say_error(struct play *p, enum sl_err err)
{
    sl_buf_addf(&p->out, "[%s]", sl_err_name(err));
}

static void say_trailers(struct play *p)
{
    const struct sl_fields *f = p->http->ops->trailers(p->http);

    sl_buf_add_char(&p->out, '}');
    for (uint32_t i = 0; i < f->n; i++)
        sl_buf_addf(&p->out, "(%.*s=%.*s)", SL_FMT(f->v[i].name), SL_FMT(f->v[i].value));
}

/* SL_AGAIN: there is more to come. */
static enum sl_err read_content(struct play *p)
{
    char piece[64];
    size_t n;
    enum sl_err err;

    while ((err = p->http->ops->recv_body(p->http, piece, sizeof(piece), &n)) == SL_OK)
        sl_buf_add(&p->out, piece, n);
    if (err == SL_AGAIN)
        return err;
    p->is_in_body = false;
    if (err == SL_EOF) {
        say_trailers(p);
        return err;
    }
    /* How much of it came before depends on the pieces. */
    p->out.len = p->content_at;
    say_error(p, err);
    sl_buf_add_char(&p->out, '}');
    return err;
}

/* -- requests -- */

static void say_request(struct play *p, const struct sl_head *head)
{
    char text[256];

    if (p->heads_only) {
        h1_describe(head, text, sizeof(text));
        sl_buf_addf(&p->out, "%s", text);
        p->is_over = true;
        return;
    }
    sl_buf_addf(&p->out, "%.*s %.*s{", SL_FMT(head->method), SL_FMT(head->target));
    p->is_in_body = true;
    p->content_at = p->out.len;
}

static void next_request(struct play *p)
{
    struct sl_fault fault = { 0 };
    const struct sl_head *head;
    enum sl_err err = sl_h1_server_next(p->server, &p->http, &fault);

    if (err == SL_AGAIN)
        return;
    if (err == SL_OK) {
        assert_int_equal(p->http->ops->recv_head(p->http, &head), SL_OK);
        say_request(p, head);
        return;
    }
    p->is_over = true;
    if (err == SL_EOF && !p->heads_only)
        sl_buf_addf(&p->out, "eof");
    else if (p->heads_only)
        sl_buf_addf(&p->out, "%s", sl_err_name(err));
    else
        say_error(p, err);
}

static void answer(struct play *p)
{
    struct sl_head reply = { .status = 204 };

    assert_int_equal(p->http->ops->send_head(p->http, &reply), SL_OK);
    assert_int_equal(p->http->ops->send_end(p->http, NULL), SL_OK);
    sl_http_stream_close(&p->http);
    sl_buf_add_char(&p->out, ' ');
}

static void read_requests(struct play *p)
{
    enum sl_err err = SL_EOF;

    while (!p->is_over && err == SL_EOF) {
        err = p->is_in_body ? SL_EOF : SL_AGAIN;
        if (!p->is_in_body)
            next_request(p);
        if (!p->is_in_body)
            return;
        err = read_content(p);
        if (err == SL_EOF) {
            answer(p);
        } else if (err != SL_AGAIN) {
            sl_buf_addf(&p->out, " [over]");
            p->is_over = true;
        }
    }
}

/* -- responses -- */

static void on_idle(void *arg, bool reusable)
{
    ((struct play *)arg)->is_reusable = reusable;
}

static void on_dead(void *arg)
{
    ((struct play *)arg)->is_reusable = false;
}

/* True when it was a final one. */
static bool say_response(struct play *p, const struct sl_head *head)
{
    bool is_final = head->status >= 200 || head->status == 101;
    char text[256];

    if (p->heads_only) {
        h1_describe(head, text, sizeof(text));
        sl_buf_addf(&p->out, "%s", text);
        p->is_over = true;
        return true;
    }
    sl_buf_addf(&p->out, is_final ? "%u{" : "%u ", head->status);
    p->is_in_body = is_final;
    p->content_at = p->out.len;
    return is_final;
}

static void read_response_heads(struct play *p)
{
    const struct sl_head *head;
    enum sl_err err;

    while ((err = p->http->ops->recv_head(p->http, &head)) == SL_OK)
        if (say_response(p, head))
            return;
    if (err == SL_AGAIN)
        return;
    p->is_over = true;
    if (p->heads_only)
        sl_buf_addf(&p->out, "%s", sl_err_name(err));
    else
        say_error(p, err);
}

static void read_response(struct play *p)
{
    if (!p->is_in_body && !p->is_over)
        read_response_heads(p);
    if (p->is_in_body && read_content(p) != SL_AGAIN)
        p->is_over = true;
}

static void ask(struct play *p, const struct sl_head *request)
{
    struct sl_head head = *request;

    head.scheme = SL_STR("http");
    head.host = SL_STR("a");
    head.port = 80;
    head.target = SL_STR("/");
    p->client = sl_h1_client_new(
        &(struct sl_h1_client_conf){
            .loop = p->loop, .limits = limits, .on_idle = on_idle, .on_dead = on_dead, .arg = p },
        p->stream);
    p->http = sl_h1_client_open(p->client);
    assert_int_equal(p->http->ops->send_head(p->http, &head), SL_OK);
    assert_int_equal(p->http->ops->send_end(p->http, NULL), SL_OK);
}

/* -- plays -- */

static void on_ready(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
}

static void play_init(struct play *p, bool heads_only)
{
    *p = (struct play){ .loop = sl_loop_new_sim(), .heads_only = heads_only };
    sl_memory_pair(p->loop, &(struct sl_memory_conf){ .capacity = 0 }, &p->peer, &p->stream);
    sl_stream_on_ready(p->peer, on_ready, p);
}

static void play_fini(struct play *p)
{
    sl_http_stream_close(&p->http);
    sl_h1_server_free(&p->server);
    sl_h1_client_free(&p->client);
    sl_stream_close(&p->peer);
    sl_loop_free(&p->loop);
    sl_buf_fini(&p->out);
}

static void say(struct play *p, struct sl_str piece, read_fn *read)
{
    size_t n = 0;

    if (piece.n != 0 && sl_stream_write(p->peer, piece.p, piece.n, &n) != SL_OK)
        return;
    read(p);
}

static void say_pieces(struct play *p, struct sl_str bytes, const struct pieces *cut, read_fn *read)
{
    for (size_t i = 0; cut->each && i < bytes.n; i++)
        say(p, sl_str_make(bytes.p + i, 1), read);
    if (cut->each)
        return;
    say(p, sl_str_head(bytes, cut->first), read);
    say(p, sl_str_skip(bytes, cut->first), read);
}

static void expect(struct play *p, const struct vector *v, const struct pieces *cut)
{
    sl_buf_add_char(&p->out, '\0');
    if (strcmp(sl_buf_str(&p->out).p, v->want) != 0)
        fail_msg("%s, %s%zu: \"%s\" instead of \"%s\"", v->name,
                 cut->each ? "each byte " : "cut at ", cut->first, sl_buf_str(&p->out).p, v->want);
}

static void play_requests(const struct vector *v, const struct sl_h1_origin *origin,
                          bool heads_only, const struct pieces *cut)
{
    struct play p;

    play_init(&p, heads_only);
    p.server = sl_h1_server_new(
        &(struct sl_h1_server_conf){
            .loop = p.loop, .limits = limits, .origin = *origin, .tolerates_half_close = true },
        p.stream, SL_STR(""));
    sl_h1_server_on_ready(p.server, on_ready, NULL);
    say_pieces(&p, v->bytes, cut, read_requests);
    (void)!sl_stream_shutdown(p.peer);
    read_requests(&p);
    expect(&p, v, cut);
    play_fini(&p);
}

static void play_response(const struct vector *v, const struct sl_head *request, bool heads_only,
                          const struct pieces *cut)
{
    struct play p;

    play_init(&p, heads_only);
    ask(&p, request);
    say_pieces(&p, v->bytes, cut, read_response);
    /* What came behind the response is seen before it is given back, the end only later. */
    if (!p.is_over)
        (void)!sl_stream_shutdown(p.peer);
    read_response(&p);
    sl_http_stream_close(&p.http);
    for (int i = 0; i < 3; i++)
        sl_loop_turn(p.loop, false);
    if (!heads_only)
        sl_buf_addf(&p.out, p.is_reusable ? " keep" : " gone");
    expect(&p, v, cut);
    play_fini(&p);
}

static void each_cut_of_requests(const struct vector *v, size_t n,
                                 const struct sl_h1_origin *origin, bool heads_only)
{
    for (size_t i = 0; i < n; i++) {
        play_requests(&v[i], origin, heads_only, &(struct pieces){ .each = true });
        for (size_t at = 0; at <= v[i].bytes.n; at++)
            play_requests(&v[i], origin, heads_only, &(struct pieces){ .first = at });
    }
}

static void each_cut_of_responses(const struct vector *v, size_t n, const struct sl_head *request,
                                  bool heads_only)
{
    for (size_t i = 0; i < n; i++) {
        play_response(&v[i], request, heads_only, &(struct pieces){ .each = true });
        for (size_t at = 0; at <= v[i].bytes.n; at++)
            play_response(&v[i], request, heads_only, &(struct pieces){ .first = at });
    }
}

static void test_request_heads(void **state)
{
    (void)state;
    each_cut_of_requests(proxy_requests, SL_LEN(proxy_requests), &proxy, true);
    each_cut_of_requests(tunnel_requests, SL_LEN(tunnel_requests), &tunnel, true);
}

static void test_response_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(h1_asked); i++)
        if (!h1_asked[i].request.is_connect)
            each_cut_of_responses(h1_asked[i].responses, h1_asked[i].n, &h1_asked[i].request, true);
}

static void test_conversations(void **state)
{
    (void)state;
    each_cut_of_requests(conversations, SL_LEN(conversations), &tunnel, false);
}

static void test_replies(void **state)
{
    (void)state;
    each_cut_of_responses(replies, SL_LEN(replies), &h1_asked[0].request, false);
    each_cut_of_responses(head_replies, SL_LEN(head_replies), &h1_asked[1].request, false);
}

/* The lists are what they are for only as long as they are long. */
static void test_there_are_enough(void **state)
{
    size_t n_requests = SL_LEN(proxy_requests) + SL_LEN(tunnel_requests) + SL_LEN(conversations);
    size_t n_responses = SL_LEN(replies) + SL_LEN(head_replies);

    (void)state;
    for (size_t i = 0; i < SL_LEN(h1_asked); i++)
        n_responses += h1_asked[i].n;
    assert_in_range(n_requests + n_responses, 150, SIZE_MAX);
    print_message("%zu requests, %zu responses\n", n_requests, n_responses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_heads),    cmocka_unit_test(test_response_heads),
        cmocka_unit_test(test_conversations),    cmocka_unit_test(test_replies),
        cmocka_unit_test(test_there_are_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
