/* test_h1_server.c -- conversations with an HTTP/1 server connection, each in every trickle. */
#include "http/h1_server.h"

#include "h1_peer.h"

#define HOST "Host: a\r\n"
#define BODY_MAX 16

/* -- an application that answers by target -- */

enum step { NEXT, READ, HEAD, BODY, END, OVER };

static const enum step waiting[] = { NEXT };
static const enum step over[] = { OVER };
static const enum step plain[] = { READ, HEAD, BODY, END, NEXT };
static const enum step early[] = { HEAD, BODY, END, NEXT }; /* the request's body unread */
static const enum step upgrade[] = { READ, HEAD, BODY, READ, END, NEXT };

struct app {
    struct sl_loop *loop;
    struct sl_h1_server *srv;
    struct sl_http_stream *stream;
    struct sl_arena arena;
    struct sl_head reply;
    const enum step *step; /* of a plan */
    struct sl_str body;    /* of the reply, left */
    size_t cap;            /* bytes of a read */
    struct sl_buf log;     /* what it saw */
    size_t log_len;        /* before the body that is being read */
    size_t n_wakes;
};

struct scenario {
    const char *name;
    struct line lines[8];
    const char *out; /* all that the peer gets */
    const char *log;
};

static void app_run(struct app *a);

static void app_ready(void *arg, unsigned events)
{
    struct app *a = arg;

    (void)events;
    a->n_wakes++;
    app_run(a);
}

static void add_field(struct app *a, const char *name, const char *value)
{
    sl_fields_add(&a->reply.fields, &a->arena, sl_str_of(name), sl_str_of(value));
}

static void choose_reply(struct app *a, const struct sl_head *rq, enum sl_err err)
{
    struct sl_str t = rq->target;

    a->body = SL_STR("hello");
    a->reply = (struct sl_head){
        .arena = &a->arena, .status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 5
    };
    a->step = plain;
    if (err != SL_OK || sl_str_eq(t, SL_STR("/early")))
        a->step = early;
    if (err != SL_OK)
        a->reply.status = (uint16_t)sl_err_http(err);
    else if (sl_str_eq(t, SL_STR("/chunked")) || sl_str_eq(t, SL_STR("/trailers")))
        a->reply.framing = SL_FRAMING_CHUNKED;
    else if (sl_str_eq(t, SL_STR("/close")))
        a->reply.framing = SL_FRAMING_CLOSE;
    else if (sl_str_eq(t, SL_STR("/short")))
        a->reply.content_length = 6;
    else if (sl_str_eq(t, SL_STR("/304")) || sl_str_eq(t, SL_STR("/204")))
        a->reply.status = t.p[1] == '3' ? 304 : 204;
    else if (sl_str_eq(t, SL_STR("/upgrade")))
        a->reply.status = 101;
    if (a->reply.status == 101) {
        a->step = upgrade;
        a->reply.wants_upgrade = true;
        add_field(a, "Upgrade", "echo");
    }
    if (sl_str_eq(rq->method, SL_STR("HEAD")) || a->reply.status == 204 || a->reply.status == 304)
        a->body = SL_STR("");
}

static void send_interims(struct app *a, const struct sl_head *rq)
{
    struct sl_head go_on = { .arena = &a->arena, .status = 100 };
    struct sl_head hints = { .arena = &a->arena, .status = 103 };

    if (!sl_str_eq(rq->target, SL_STR("/interim")))
        return;
    assert_int_equal(a->stream->ops->send_head(a->stream, &go_on), SL_OK);
    assert_int_equal(a->stream->ops->send_head(a->stream, &hints), SL_OK);
    (void)!a->stream->ops->flush(a->stream);
}

static bool begin(struct app *a)
{
    struct sl_fault fault = { 0 };
    const struct sl_head *rq;
    enum sl_err err = sl_h1_server_next(a->srv, &a->stream, &fault);

    if (err == SL_AGAIN)
        return false;
    if (err != SL_OK)
        sl_buf_addf(&a->log, "[%s]", sl_err_name(err));
    if (a->stream == NULL) {
        a->step = over;
        return false;
    }
    assert_int_equal(a->stream->ops->recv_head(a->stream, &rq), SL_OK);
    sl_buf_addf(&a->log, "%.*s %.*s|", SL_FMT(rq->method), SL_FMT(rq->target));
    a->stream->on_ready = app_ready;
    a->stream->arg = a;
    choose_reply(a, rq, err);
    send_interims(a, rq);
    a->log_len = a->log.len;
    return true;
}

static bool read_body(struct app *a)
{
    char piece[64];
    size_t n;
    enum sl_err err;
    const struct sl_fields *trailers;

    while ((err = a->stream->ops->recv_body(a->stream, piece, a->cap, &n)) == SL_OK)
        sl_buf_add(&a->log, piece, n);
    if (err == SL_AGAIN) {
        err = a->stream->ops->flush(a->stream);
        a->stream->ops->want(a->stream, SL_READABLE | (err == SL_AGAIN ? SL_WRITABLE : 0));
        return false;
    }
    if (err != SL_EOF) {
        a->log.len = a->log_len;
        sl_buf_addf(&a->log, "[%s]", sl_err_name(err));
        assert_int_equal(a->stream->fault.err, err);
        a->reply.status = (uint16_t)sl_err_http(err);
    }
    trailers = a->stream->ops->trailers(a->stream);
    for (uint32_t i = 0; i < trailers->n; i++)
        sl_buf_addf(&a->log, "(%.*s=%.*s)", SL_FMT(trailers->v[i].name),
                    SL_FMT(trailers->v[i].value));
    sl_buf_add_char(&a->log, ';');
    a->step++;
    return true;
}

static bool send_reply(struct app *a)
{
    size_t n;
    enum sl_err err = SL_OK;

    while (err == SL_OK && a->body.n > 0) {
        err = a->stream->ops->send_body(a->stream, a->body.p, a->body.n, &n);
        if (err == SL_OK)
            a->body = sl_str_skip(a->body, n);
    }
    if (err == SL_AGAIN) {
        a->stream->ops->want(a->stream, SL_WRITABLE);
        return false;
    }
    if (err != SL_OK)
        sl_buf_addf(&a->log, "[send %s]", sl_err_name(err));
    a->step++;
    return true;
}

static bool end(struct app *a)
{
    struct sl_field field = { .name = SL_STR("X-Sum"), .value = SL_STR("1") };
    struct sl_fields trailers = { .v = &field, .n = 1 };
    bool with = a->reply.framing == SL_FRAMING_CHUNKED;
    enum sl_err err = a->stream->ops->send_end(a->stream, with ? &trailers : NULL);

    if (err == SL_AGAIN) {
        a->stream->ops->want(a->stream, SL_WRITABLE);
        return false;
    }
    if (err != SL_OK)
        sl_buf_addf(&a->log, "[end %s]", sl_err_name(err));
    sl_http_stream_close(&a->stream);
    sl_arena_fini(&a->arena);
    a->step++;
    return true;
}

static bool send_head(struct app *a)
{
    assert_int_equal(a->stream->ops->send_head(a->stream, &a->reply), SL_OK);
    a->step++;
    return true;
}

static void app_run(struct app *a)
{
    static bool (*const steps[])(struct app * a) = {
        [NEXT] = begin, [READ] = read_body, [HEAD] = send_head, [BODY] = send_reply, [END] = end,
    };

    while (*a->step != OVER && steps[*a->step](a))
        ;
}

static void settle(struct sl_loop *loop, struct app *a, struct peer *p)
{
    size_t quiet = 0;

    while (quiet < 8) {
        size_t before = a->n_wakes + p->n_moves + a->log.len;

        sl_loop_turn(loop, false);
        quiet = a->n_wakes + p->n_moves + a->log.len == before ? quiet + 1 : 0;
        assert_true(a->n_wakes < 100000);
    }
}

static void play(const void *arg, const struct trickle *t)
{
    const struct scenario *sc = arg;
    struct sl_loop *loop = sl_loop_new_sim();
    struct app a = { .loop = loop,
                     .step = waiting,
                     .cap = t->conf.read_max != 0 ? t->conf.read_max : 64 };
    struct sl_h1_server_conf conf = { .loop = loop,
                                      .limits = { 100, 300, 10 },
                                      .origin = { .scheme = SL_STR("http") },
                                      .body_bytes = BODY_MAX };
    struct sl_stream *near, *far;
    struct watcher *w;
    struct peer p;

    conf.origin.is_proxy = strncmp(sc->lines[0].send, "CONNECT", 7) == 0;
    sl_memory_pair(loop, &t->conf, &near, &far);
    w = watcher_new(loop, near);
    w->balks = t->balks;
    a.srv = sl_h1_server_new(&conf, &w->base, SL_STR(""));
    sl_h1_server_on_ready(a.srv, app_ready, &a);
    app_run(&a);
    peer_begin(&p, far, sc->lines);
    settle(loop, &a, &p);
    if (*a.step == OVER) {
        sl_h1_server_free(&a.srv);
        settle(loop, &a, &p);
    }
    assert_text(sl_buf_str(&p.got), sc->out);
    assert_text(sl_buf_str(&a.log), sc->log);
    sl_http_stream_close(&a.stream);
    sl_h1_server_free(&a.srv);
    peer_end(&p);
    sl_buf_fini(&a.log);
    sl_arena_fini(&a.arena);
    sl_loop_free(&loop);
}

#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define OK_5_CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
#define CHUNKED_5 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"

static const struct scenario scenarios[] = {
    { "a get", { { NULL, "GET /a HTTP/1.1\r\n" HOST "\r\n" } }, OK_5, "GET /a|;" },
    { "nothing at all", { { NULL, "" }, { "", NULL } }, "", "[eof]" },
    { "two, then the end",
      { { NULL, "GET /a HTTP/1.1\r\n" HOST "\r\n" },
        { OK_5, "GET /b HTTP/1.1\r\n" HOST "\r\n" },
        { OK_5, NULL } },
      OK_5 OK_5,
      "GET /a|;GET /b|;[eof]" },
    { "pipelined",
      { { NULL, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n" HOST
                "\r\nGET /c HTTP/1.1\r\n" HOST "\r\n" } },
      OK_5 OK_5 OK_5,
      "POST /a|abc;GET /b|;GET /c|;" },
    { "chunked in",
      { { NULL, "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: v\r\n\r\nGET /b HTTP/1.1\r\n" HOST
                "\r\n" } },
      OK_5 OK_5,
      "POST /a|abc0123456789(X-T=v);GET /b|;" },
    { "chunked out",
      { { NULL, "GET /chunked HTTP/1.1\r\n" HOST "\r\n" },
        { "\r\n\r\n", "" },
        { "X-Sum: 1\r\n\r\n", "GET /b HTTP/1.1\r\n" HOST "\r\n" } },
      CHUNKED_5 "X-Sum: 1\r\n\r\n" OK_5,
      "GET /chunked|;GET /b|;" },
    { "close becomes chunked",
      { { NULL, "GET /close HTTP/1.1\r\n" HOST "\r\n" } },
      CHUNKED_5 "\r\n",
      "GET /close|;" },
    { "close stays close for 1.0",
      { { NULL, "GET /close HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n" } },
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
      "GET /close|;[eof]" },
    { "1.0 ends", { { NULL, "GET /a HTTP/1.0\r\n" HOST "\r\n" } }, OK_5_CLOSE, "GET /a|;[eof]" },
    { "1.0 keeps alive only where the head shows the end",
      { { NULL, "HEAD /close HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n" } },
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
      "HEAD /close|;[eof]" },
    { "1.0 keeps alive",
      { { NULL, "GET /a HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n" },
        { "hello", "GET /b HTTP/1.1\r\n" HOST "\r\n" } },
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello" OK_5,
      "GET /a|;GET /b|;" },
    { "close asked for",
      { { NULL, "GET /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" } },
      OK_5_CLOSE,
      "GET /a|;[eof]" },
    { "head",
      { { NULL, "HEAD /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n" } },
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" OK_5,
      "HEAD /a|;GET /b|;" },
    { "204 and 304",
      { { NULL, "GET /204 HTTP/1.1\r\n" HOST "\r\nGET /304 HTTP/1.1\r\n" HOST "\r\n" } },
      "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      "GET /204|;GET /304|;" },
    { "interim heads",
      { { NULL,
          "POST /interim HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n" },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", "ab" } },
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" OK_5,
      "POST /interim|ab;" },
    { "no interim heads for 1.0",
      { { NULL, "POST /interim HTTP/1.0\r\n" HOST "Content-Length: 2\r\n\r\nab" } },
      OK_5_CLOSE,
      "POST /interim|ab;[eof]" },
    { "refused without 100",
      { { NULL,
          "POST /early HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n" },
        { "hello", NULL } },
      OK_5_CLOSE,
      "POST /early|[eof]" },
    { "body too large, said",
      { { NULL, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 17\r\n\r\n0123456789abcdefg" },
        { "hello", NULL } },
      "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
      "[body_too_large]POST /a|[eof]" },
    { "body too large, chunked",
      { { NULL, "POST /a HTTP/1.1\r\n" HOST
                "Transfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n" },
        { "hello", NULL } },
      "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
      "POST /a|[body_too_large];[eof]" },
    { "bad chunk",
      { { NULL, "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n" },
        { "hello", NULL } },
      "HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
      "POST /a|[bad_framing];[eof]" },
    { "malformed head",
      { { NULL, "GET /a HTTP/1.1\r\nHost : a\r\n\r\n" }, { "hello", NULL } },
      "HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
      "[bad_request]GET /a|[eof]" },
    { "cut head", { { NULL, "GET /a HTTP" }, { "", NULL } }, "", "[reset]" },
    { "short reply",
      { { NULL, "GET /short HTTP/1.1\r\n" HOST "\r\n" } },
      "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
      "GET /short|;[end internal][eof]" },
    { "upgrade",
      { { NULL,
          "GET /upgrade HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: echo\r\n\r\nraw" },
        { "\r\n\r\n", " bytes" },
        { "", NULL } },
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello",
      "GET /upgrade|;raw bytes;[eof]" },
};

static void plays(void **state)
{
    const struct scenario *sc = *state;

    assert_true(each_trickle(play, sc) > 100);
}

/* -- one at a time, without trickle -- */

struct bench {
    struct sl_loop *loop;
    struct app a;
    struct sl_stream *far;
    struct watcher *w;
    size_t n_ready;
};

static void count_ready(void *arg, unsigned events)
{
    struct bench *b = arg;

    (void)events;
    b->n_ready++;
}

static bool b_is_strict; /* of the next bench: a half-close counts as leaving */

static void bench_begin(struct bench *b, bool is_proxy)
{
    const struct sl_memory_conf no_limits = { 0 };
    struct sl_h1_server_conf conf = { .limits = { 100, 300, 10 },
                                      .origin = { SL_STR("http"), is_proxy },
                                      .tolerates_half_close = !b_is_strict };
    struct sl_stream *near;

    *b = (struct bench){ .loop = sl_loop_new_sim() };
    b->a = (struct app){ .loop = b->loop, .step = waiting, .cap = 64 };
    conf.loop = b->loop;
    sl_memory_pair(b->loop, &no_limits, &near, &b->far);
    b->w = watcher_new(b->loop, near);
    b->a.srv = sl_h1_server_new(&conf, &b->w->base, SL_STR(""));
    sl_h1_server_on_ready(b->a.srv, count_ready, b);
}

static void bench_end(struct bench *b)
{
    sl_http_stream_close(&b->a.stream);
    sl_h1_server_free(&b->a.srv);
    sl_stream_close(&b->far);
    sl_buf_fini(&b->a.log);
    sl_arena_fini(&b->a.arena);
    sl_loop_free(&b->loop);
}

static void turns(struct bench *b)
{
    for (int i = 0; i < 10; i++)
        sl_loop_turn(b->loop, false);
}

static void say(struct bench *b, const char *text)
{
    size_t n;

    assert_int_equal(sl_stream_write(b->far, text, strlen(text), &n), SL_OK);
    assert_int_equal(n, strlen(text));
}

static struct sl_http_stream *take_request(struct bench *b)
{
    struct sl_fault fault;
    struct sl_http_stream *s;

    assert_int_equal(sl_h1_server_next(b->a.srv, &s, &fault), SL_OK);
    s->on_ready = count_ready;
    s->arg = b;
    return s;
}

static enum sl_err next_is(struct bench *b)
{
    struct sl_fault fault;
    struct sl_http_stream *s;
    enum sl_err err = sl_h1_server_next(b->a.srv, &s, &fault);

    assert_null(s);
    return err;
}

static void reply(struct sl_http_stream *s, uint16_t status)
{
    struct sl_head head = { .status = status, .framing = SL_FRAMING_LENGTH };

    assert_int_equal(s->ops->send_head(s, &head), SL_OK);
    assert_int_equal(s->ops->send_end(s, NULL), SL_OK);
}

/* Whoever answers without wanting the body reads what is there of it, and the connection goes on.
 */
static void body_that_was_read_keeps_the_connection(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char body[8];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcdeGET /b HTTP/1.1\r\n" HOST
            "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->recv_body(s, body, sizeof(body), &n), SL_OK);
    assert_int_equal(s->ops->recv_body(s, body, sizeof(body), &n), SL_EOF);
    reply(s, 403);
    sl_http_stream_close(&s);
    s = take_request(&b);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

static void body_that_is_not_there_ends_the_connection(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char got[200];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 500000\r\n\r\nabcde");
    s = take_request(&b);
    reply(s, 403);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_AGAIN);
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_EOF);
    say(&b, "more");
    turns(&b);
    assert_true(b.n_ready > 0);
    assert_int_equal(next_is(&b), SL_AGAIN);
    assert_false(sl_h1_server_is_idle(b.a.srv));
    assert_int_equal(sl_stream_shutdown(b.far), SL_OK);
    turns(&b);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

static void client_that_resets_is_noticed(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char c;
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_EOF);
    s->ops->want(s, SL_READABLE);
    turns(&b);
    assert_int_equal(b.n_ready, 0);
    sl_memory_reset(b.far);
    turns(&b);
    assert_int_equal(b.n_ready, 1);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_RESET);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

static void client_that_ends_its_side_may_count_as_gone(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char c;
    size_t n;

    (void)state;
    b_is_strict = true;
    bench_begin(&b, false);
    b_is_strict = false;
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_EOF);
    s->ops->want(s, SL_READABLE);
    assert_int_equal(sl_stream_shutdown(b.far), SL_OK);
    turns(&b);
    assert_int_equal(b.n_ready, 1);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_CANCELLED);
    sl_http_stream_close(&s);
    bench_end(&b);
}

static void client_that_ends_its_side_is_answered(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char c, got[200];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_EOF);
    s->ops->want(s, SL_READABLE);
    assert_int_equal(sl_stream_shutdown(b.far), SL_OK);
    turns(&b);
    assert_int_equal(b.n_ready, 0);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_EOF);
    reply(s, 200);
    sl_http_stream_close(&s);
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

static void pipelined_bytes_wake_nobody_before_their_turn(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char c;
    size_t n, n_reads;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->recv_body(s, &c, 1, &n), SL_EOF);
    s->ops->want(s, SL_READABLE);
    say(&b, "GET /b HTTP/1.1\r\n" HOST);
    turns(&b);
    n_reads = b.w->n_reads;
    say(&b, "\r\n");
    turns(&b);
    assert_int_equal(b.n_ready, 0);
    assert_int_equal(b.w->n_reads, n_reads);
    reply(s, 200);
    sl_http_stream_close(&s);
    turns(&b);
    assert_true(b.n_ready > 0);
    s = take_request(&b);
    sl_http_stream_close(&s);
    bench_end(&b);
}

static void body_read_ahead_is_reported(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char got[8];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcde");
    s = take_request(&b);
    s->ops->want(s, SL_READABLE);
    turns(&b);
    assert_true(b.n_ready > 0);
    assert_int_equal(s->ops->recv_body(s, got, 5, &n), SL_OK);
    b.n_ready = 0;
    turns(&b);
    assert_true(b.n_ready > 0);
    assert_int_equal(s->ops->recv_body(s, got, 5, &n), SL_EOF);
    assert_int_equal(s->n_received, 5);
    b.n_ready = 0;
    turns(&b);
    assert_int_equal(b.n_ready, 0);
    sl_http_stream_close(&s);
    bench_end(&b);
}

static void connect_is_detached(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    struct sl_buf ahead = { 0 };
    struct sl_stream *raw;
    char got[100];
    size_t n;

    (void)state;
    bench_begin(&b, true);
    say(&b, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nhello");
    s = take_request(&b);
    reply(s, 200);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_EOF);
    raw = sl_h1_server_detach(&b.a.srv, &ahead);
    assert_null(b.a.srv);
    assert_text(sl_buf_str(&ahead), "hello");
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_text(sl_str_make(got, n), "HTTP/1.1 200 OK\r\n\r\n");
    sl_stream_close(&raw);
    sl_buf_fini(&ahead);
    bench_end(&b);
}

static void refused_connect_goes_on(void **state)
{
    struct bench b;
    struct sl_http_stream *s;

    (void)state;
    bench_begin(&b, true);
    say(&b, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    s = take_request(&b);
    reply(s, 403);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_AGAIN);
    assert_true(sl_h1_server_is_idle(b.a.srv));
    bench_end(&b);
}

/* What comes early is meant for somebody else, whether it was read with the CONNECT or not. */
static void refused_connect_with_bytes_behind_is_the_last(void **state)
{
    static const char *const reads[][2] = {
        { "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03", NULL },
        { "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "GET /a HTTP/1.1\r\n" HOST "\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(reads); i++) {
        struct bench b;
        struct sl_http_stream *s;
        char got[100];
        size_t n;

        bench_begin(&b, true);
        say(&b, reads[i][0]);
        s = take_request(&b);
        if (reads[i][1] != NULL)
            say(&b, reads[i][1]);
        reply(s, 403);
        sl_http_stream_close(&s);
        assert_int_equal(next_is(&b), SL_AGAIN); /* until the client has seen it */
        assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
        assert_text(sl_str_make(got, n),
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        bench_end(&b);
    }
}

static void draining_is_said_and_done(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char got[100];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    sl_h1_server_drain(b.a.srv);
    reply(s, 200);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_EOF);
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_text(sl_str_make(got, n),
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    bench_end(&b);
    bench_begin(&b, false);
    sl_h1_server_drain(b.a.srv);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

static void misuse_is_answered(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    struct sl_head head = { .status = 204 };
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->send_body(s, "x", 1, &n), SL_INTERNAL);
    assert_int_equal(s->ops->send_end(s, NULL), SL_INTERNAL);
    assert_int_equal(s->ops->send_head(s, &head), SL_OK);
    assert_int_equal(s->ops->send_head(s, &head), SL_INTERNAL);
    assert_int_equal(s->ops->send_body(s, "x", 1, &n), SL_INTERNAL);
    assert_int_equal(s->ops->send_end(s, NULL), SL_OK);
    sl_http_stream_close(&s);
    assert_int_equal(next_is(&b), SL_AGAIN);
    bench_end(&b);
}

/* A head and the first of its body leave in one write, and so does a message without one. */
static void head_and_body_share_a_write(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    struct sl_head head = { .status = 200, .framing = SL_FRAMING_CHUNKED };
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    assert_int_equal(s->ops->send_head(s, &head), SL_OK);
    assert_int_equal(b.w->n_writes, 0);
    assert_int_equal(s->ops->send_body(s, "hello", 5, &n), SL_OK);
    assert_int_equal(n, 5);
    assert_int_equal(s->n_sent, 5);
    assert_int_equal(b.w->n_writes, 1);
    assert_int_equal(s->ops->send_end(s, NULL), SL_OK);
    assert_int_equal(b.w->n_writes, 2);
    sl_http_stream_close(&s);
    bench_end(&b);
}

/* io/stream.h: what was refused is offered again, never less of it. */
static void flush_does_not_shorten_a_refused_write(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    struct sl_head head = { .status = 200, .framing = SL_FRAMING_CHUNKED };
    size_t n;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    b.w->balks = true;
    assert_int_equal(s->ops->send_head(s, &head), SL_OK);
    assert_int_equal(s->ops->send_body(s, "hello", 5, &n), SL_AGAIN);
    assert_int_equal(s->ops->flush(s), SL_AGAIN);
    assert_int_equal(b.w->n_writes, 1);
    assert_int_equal(s->ops->send_body(s, "hello and more", 14, &n), SL_OK);
    assert_int_equal(n, 5);
    sl_http_stream_close(&s);
    bench_end(&b);
}

/* A head that came in part can be answered, nothing at all cannot. */
static void head_that_does_not_end_is_given_up(void **state)
{
    struct bench b;
    struct sl_http_stream *s;
    char got[200];
    size_t n;

    (void)state;
    bench_begin(&b, false);
    assert_null(sl_h1_server_give_up(b.a.srv, SL_REQUEST_TIMEOUT));
    say(&b, "GET /a HTTP/1.1\r\nHo");
    assert_int_equal(next_is(&b), SL_AGAIN);
    s = sl_h1_server_give_up(b.a.srv, SL_REQUEST_TIMEOUT);
    assert_non_null(s);
    assert_int_equal(s->fault.err, SL_REQUEST_TIMEOUT);
    reply(s, 408);
    sl_http_stream_close(&s);
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_text(sl_str_make(got, n), "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
                                     "Connection: close\r\n\r\n");
    bench_end(&b);
}

static void dropped_with_a_request_under_way(void **state)
{
    struct bench b;
    struct sl_http_stream *s;

    (void)state;
    bench_begin(&b, false);
    say(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    s = take_request(&b);
    sl_h1_server_free(&b.a.srv);
    sl_http_stream_close(&s);
    bench_end(&b);
}

static void reset_is_told(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b, false);
    assert_int_equal(next_is(&b), SL_AGAIN);
    sl_memory_reset(b.far);
    turns(&b);
    assert_int_equal(b.n_ready > 0, true);
    assert_int_equal(next_is(&b), SL_RESET);
    assert_int_equal(next_is(&b), SL_EOF);
    bench_end(&b);
}

/* More than a chunk of head: the read-ahead buffer grows, and shrinks to nothing again. */
static void long_heads_are_collected(void **state)
{
    const struct sl_memory_conf trickling = { .read_max = 5000 };
    struct sl_h1_server_conf conf = { .limits = { 100, 60000, 10 },
                                      .origin = { SL_STR("http"), false } };
    struct sl_loop *loop = sl_loop_new_sim();
    struct sl_stream *near, *far;
    struct sl_buf text = { 0 };
    struct bench b = { .loop = loop };
    const struct sl_head *head;
    struct sl_http_stream *s;
    size_t n;

    (void)state;
    conf.loop = loop;
    sl_buf_addf(&text, "GET /a HTTP/1.1\r\nX: ");
    for (int i = 0; i < 50000; i++)
        sl_buf_add_char(&text, 'x');
    sl_buf_addf(&text, "\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    sl_memory_pair(loop, &trickling, &near, &far);
    b.a.srv = sl_h1_server_new(&conf, near, sl_str_head(sl_buf_str(&text), 20000));
    assert_int_equal(next_is(&b), SL_AGAIN);
    assert_int_equal(sl_stream_write(far, text.p + 20000, text.len - 20000, &n), SL_OK);
    s = take_request(&b);
    assert_int_equal(s->ops->recv_head(s, &head), SL_OK);
    assert_int_equal(head->fields.v[0].value.n, 50000);
    reply(s, 200);
    sl_http_stream_close(&s);
    s = take_request(&b);
    reply(s, 200);
    sl_http_stream_close(&s);
    assert_true(sl_h1_server_is_idle(b.a.srv));
    sl_h1_server_free(&b.a.srv);
    sl_stream_close(&far);
    sl_buf_fini(&text);
    sl_loop_free(&loop);
}

static const struct CMUnitTest singles[] = {
    cmocka_unit_test(body_that_was_read_keeps_the_connection),
    cmocka_unit_test(body_that_is_not_there_ends_the_connection),
    cmocka_unit_test(client_that_resets_is_noticed),
    cmocka_unit_test(client_that_ends_its_side_is_answered),
    cmocka_unit_test(client_that_ends_its_side_may_count_as_gone),
    cmocka_unit_test(head_that_does_not_end_is_given_up),
    cmocka_unit_test(pipelined_bytes_wake_nobody_before_their_turn),
    cmocka_unit_test(body_read_ahead_is_reported),
    cmocka_unit_test(connect_is_detached),
    cmocka_unit_test(refused_connect_goes_on),
    cmocka_unit_test(refused_connect_with_bytes_behind_is_the_last),
    cmocka_unit_test(draining_is_said_and_done),
    cmocka_unit_test(misuse_is_answered),
    cmocka_unit_test(head_and_body_share_a_write),
    cmocka_unit_test(flush_does_not_shorten_a_refused_write),
    cmocka_unit_test(dropped_with_a_request_under_way),
    cmocka_unit_test(reset_is_told),
    cmocka_unit_test(long_heads_are_collected),
};

int main(void)
{
    struct CMUnitTest tests[SL_LEN(scenarios) + SL_LEN(singles)];
    size_t n = 0;
    int failed;

    for (size_t i = 0; i < SL_LEN(scenarios); i++)
        tests[n++] = (struct CMUnitTest){ .name = scenarios[i].name,
                                          .test_func = plays,
                                          .initial_state = (void *)(uintptr_t)&scenarios[i] };
    for (size_t i = 0; i < SL_LEN(singles); i++)
        tests[n++] = singles[i];
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    sl_chunk_drain();
    return failed;
}
