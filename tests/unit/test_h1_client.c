/* test_h1_client.c -- exchanges over an HTTP/1 client connection, each in every trickle. */
#include "http/h1_client.h"

#include "h1_peer.h"

#define REQUEST "GET /a HTTP/1.1\r\nHost: o\r\n\r\n"
#define END_OF_HEAD "\r\n\r\n"

enum step { OPEN, HEAD, BODY, END, RECV, CONTENT, DONE };

static const enum step plain[] = { OPEN, HEAD, BODY, END, RECV, CONTENT, DONE };
static const enum step upgrade[] = { OPEN, HEAD, END, RECV, BODY, END, CONTENT, DONE };
/* Reads the whole response while the request's body is not yet sent. */
static const enum step hasty[] = { OPEN, HEAD, RECV, CONTENT, BODY, END, DONE };

struct scenario {
    const char *name;
    const char *method;
    const char *body;
    const enum step *plan;
    enum sl_framing framing;
    struct line lines[6];
    const char *out; /* all that the peer gets */
    const char *log;
    bool cuts;
};

/* -- a user that follows a plan, request after request while the connection lasts -- */

struct user {
    const struct scenario *sc;
    struct sl_h1_client *client;
    struct sl_http_stream *stream;
    const enum step *step;
    struct sl_str body;
    size_t cap;
    struct sl_buf log;
    size_t log_len, n_calls, n_wakes;
    bool is_over;
};

static void user_run(struct user *u);

static void user_ready(void *arg, unsigned events)
{
    struct user *u = arg;

    (void)events;
    u->n_wakes++;
    user_run(u);
}

static void on_idle(void *arg, bool reusable)
{
    struct user *u = arg;

    sl_buf_addf(&u->log, reusable ? "<idle>" : "<used up>");
    u->is_over = !reusable;
}

static void on_dead(void *arg)
{
    struct user *u = arg;

    sl_buf_addf(&u->log, "<dead>");
    u->is_over = true;
}

static bool do_open(struct user *u)
{
    u->stream = sl_h1_client_open(u->client);
    u->stream->on_ready = user_ready;
    u->stream->arg = u;
    u->body = sl_str_of(u->sc->body);
    u->log_len = u->log.len;
    u->n_calls++;
    return true;
}

static bool do_head(struct user *u)
{
    struct sl_arena arena = { 0 };
    struct sl_head head = { .arena = &arena,
                            .method = sl_str_of(u->sc->method),
                            .scheme = SL_STR("http"),
                            .host = SL_STR("o"),
                            .port = 80,
                            .target = SL_STR("/a"),
                            .framing = u->sc->framing,
                            .content_length = u->body.n };

    if (u->sc->plan == upgrade) {
        head.wants_upgrade = true;
        sl_fields_add(&head.fields, &arena, SL_STR("Upgrade"), SL_STR("echo"));
    }
    assert_int_equal(u->stream->ops->send_head(u->stream, &head), SL_OK);
    sl_arena_fini(&arena);
    return true;
}

static bool await(struct user *u, unsigned events)
{
    u->stream->ops->want(u->stream, events);
    return false;
}

/* What ends an exchange early. */
static bool give_up(struct user *u, enum sl_err err)
{
    u->log.len = u->log_len;
    sl_buf_addf(&u->log, "[%s]", sl_err_name(err));
    if (err != SL_EOF)
        assert_int_equal(u->stream->fault.err, err);
    if (err == SL_EOF)
        assert_false(u->stream->has_response);
    while (*u->step != DONE)
        u->step++;
    u->step--;
    return true;
}

static bool do_body(struct user *u)
{
    while (u->body.n > 0) {
        size_t n;
        enum sl_err err = u->stream->ops->send_body(u->stream, u->body.p, u->body.n, &n);

        if (err == SL_AGAIN)
            return await(u, SL_WRITABLE);
        if (err != SL_OK)
            return give_up(u, err);
        u->body = sl_str_skip(u->body, n);
    }
    return true;
}

static bool do_end(struct user *u)
{
    enum sl_err err = u->stream->ops->send_end(u->stream, NULL);

    if (err == SL_AGAIN)
        return await(u, SL_WRITABLE);
    return err == SL_OK || give_up(u, err);
}

static bool do_recv(struct user *u)
{
    const struct sl_head *head;

    for (;;) {
        enum sl_err err = u->stream->ops->recv_head(u->stream, &head);

        if (err == SL_AGAIN) {
            err = u->stream->ops->flush(u->stream);
            return await(u, SL_READABLE | (err == SL_AGAIN ? SL_WRITABLE : 0));
        }
        if (err != SL_OK)
            return give_up(u, err);
        sl_buf_addf(&u->log, "%u ", head->status);
        u->log_len = u->log.len;
        if (head->status >= 200 || head->status == 101)
            return true;
    }
}

static bool do_content(struct user *u)
{
    char piece[64];
    size_t n;
    enum sl_err err;
    const struct sl_fields *trailers;

    while ((err = u->stream->ops->recv_body(u->stream, piece, u->cap, &n)) == SL_OK)
        sl_buf_add(&u->log, piece, n);
    if (err == SL_AGAIN)
        return await(u, SL_READABLE);
    if (err != SL_EOF)
        return give_up(u, err);
    trailers = u->stream->ops->trailers(u->stream);
    for (uint32_t i = 0; i < trailers->n; i++)
        sl_buf_addf(&u->log, "(%.*s=%.*s)", SL_FMT(trailers->v[i].name),
                    SL_FMT(trailers->v[i].value));
    sl_buf_add_char(&u->log, ';');
    return true;
}

static bool run_step(struct user *u)
{
    switch (*u->step) {
    case OPEN:
        return do_open(u);
    case HEAD:
        return do_head(u);
    case BODY:
        return do_body(u);
    case END:
        return do_end(u);
    case RECV:
        return do_recv(u);
    case CONTENT:
        return do_content(u);
    case DONE:
        return false;
    }
    return false;
}

static void user_run(struct user *u)
{
    while (run_step(u))
        u->step++;
    if (*u->step == DONE)
        sl_http_stream_close(&u->stream);
}

static void settle(struct sl_loop *loop, const struct user *u, const struct peer *p)
{
    size_t quiet = 0;

    while (quiet < 8) {
        size_t before = u->n_wakes + p->n_moves + u->log.len;

        sl_loop_turn(loop, false);
        quiet = u->n_wakes + p->n_moves + u->log.len == before ? quiet + 1 : 0;
        assert_true(u->n_wakes < 100000);
    }
}

static struct sl_h1_client_conf conf_of(struct sl_loop *loop, struct user *u)
{
    return (struct sl_h1_client_conf){
        .loop = loop, .limits = { 0, 300, 10 }, .on_idle = on_idle, .on_dead = on_dead, .arg = u
    };
}

static void play(const void *arg, const struct trickle *t)
{
    const struct scenario *sc = arg;
    struct sl_loop *loop = sl_loop_new_sim();
    struct user u = { .sc = sc, .cap = t->conf.read_max != 0 ? t->conf.read_max : 64 };
    struct sl_h1_client_conf conf = conf_of(loop, &u);
    struct sl_stream *near, *far;
    struct watcher *w;
    struct peer p;

    sl_memory_pair(loop, &t->conf, &near, &far);
    w = watcher_new(loop, near);
    w->balks = t->balks;
    w->cuts = sc->cuts;
    u.client = sl_h1_client_new(&conf, &w->base);
    peer_begin(&p, far, sc->lines);
    while (u.n_calls < 2 && !u.is_over) {
        u.step = sc->plan;
        user_run(&u);
        settle(loop, &u, &p);
        if (u.stream != NULL)
            break;
    }
    settle(loop, &u, &p);
    if (sc->out != NULL)
        assert_text(sl_buf_str(&p.got), sc->out);
    assert_text(sl_buf_str(&u.log), sc->log);
    sl_http_stream_close(&u.stream);
    sl_h1_client_free(&u.client);
    peer_end(&p);
    sl_buf_fini(&u.log);
    sl_loop_free(&loop);
}

#define GET(...)                                                                                   \
    "GET", "", plain, SL_FRAMING_NONE,                                                             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static const struct scenario scenarios[] = {
    { "two on a connection, then dead",
      GET({ END_OF_HEAD, OK_2 },
          { END_OF_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "5\r\nhello\r\n1;a\r\n!\r\n0\r\nX: y\r\n\r\n" },
          { "", NULL }),
      REQUEST REQUEST, "200 hi;<idle>200 hello!(X=y);<idle><dead>", false },
    { "close-framed", GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\n\r\nhello" }, { "", NULL }), REQUEST,
      "200 hello;<used up>", false },
    { "close-framed and cut", GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\n\r\nhello" }, { "", NULL }),
      REQUEST, "200 [response_cut]<used up>", true },
    { "length cut",
      GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello" }, { "", NULL }),
      REQUEST, "200 [response_cut]<used up>", false },
    { "chunk cut",
      GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel" },
          { "", NULL }),
      REQUEST, "200 [response_cut]<used up>", false },
    { "trailers cut",
      GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA:" },
          { "", NULL }),
      REQUEST, "200 [response_cut]<used up>", false },
    { "head cut", GET({ END_OF_HEAD, "HTTP/1.1 200" }, { "", NULL }), REQUEST,
      "[response_cut]<used up>", false },
    { "never answered", GET({ END_OF_HEAD, NULL }), REQUEST, "[eof]<used up>", false },
    { "bad chunk", GET({ END_OF_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz" }),
      REQUEST, "200 [bad_response]<used up>", false },
    { "bad head", GET({ END_OF_HEAD, "HTTP/1.1 xyz\r\n\r\n" }), REQUEST, "[bad_response]<used up>",
      false },
    { "interim heads",
      GET({ END_OF_HEAD, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" },
          { "", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" }),
      REQUEST, "100 103 204 ;<used up>", false },
    { "cut after an interim head",
      GET({ END_OF_HEAD, "HTTP/1.1 100 Continue\r\n\r\n" }, { "", NULL }), REQUEST,
      "100 [response_cut]<used up>", false },
    { "1.0 reply", GET({ END_OF_HEAD, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi" }), REQUEST,
      "200 hi;<used up>", false },
    { "head request",
      "HEAD",
      "",
      plain,
      SL_FRAMING_NONE,
      { { END_OF_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" },
        { END_OF_HEAD, "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n" } },
      "HEAD /a HTTP/1.1\r\nHost: o\r\n\r\nHEAD /a HTTP/1.1\r\nHost: o\r\n\r\n",
      "200 ;<idle>304 ;<used up>",
      false },
    { "body with a length",
      "POST",
      "0123456789",
      plain,
      SL_FRAMING_LENGTH,
      { { "789", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi" } },
      "POST /a HTTP/1.1\r\nHost: o\r\nContent-Length: 10\r\n\r\n0123456789",
      "200 hi;<used up>",
      false },
    { "body in chunks",
      "POST",
      "0123456789",
      plain,
      SL_FRAMING_CHUNKED,
      { { "\r\n0\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi" } },
      "POST /a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: "
      "chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
      "200 hi;<used up>",
      false },
    { "answered before it was asked",
      "POST",
      "0123456789",
      hasty,
      SL_FRAMING_LENGTH,
      { { END_OF_HEAD, OK_2 } },
      "POST /a HTTP/1.1\r\nHost: o\r\nContent-Length: 10\r\n\r\n0123456789",
      "200 hi;<used up>",
      false },
    { "upgrade",
      "GET",
      "raw out",
      upgrade,
      SL_FRAMING_NONE,
      { { END_OF_HEAD, "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nraw " },
        { "raw out", "in" },
        { "", NULL } },
      "GET /a HTTP/1.1\r\nHost: o\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nraw out",
      "101 raw in;<used up>",
      false },
    { "upgrade nobody asked for",
      GET({ END_OF_HEAD, "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n" }),
      REQUEST, "[upgrade_failed]<used up>", false },
};

static void plays(void **state)
{
    assert_true(each_trickle(play, *state) > 100);
}

/* -- one at a time, without trickle -- */

struct bench {
    struct sl_loop *loop;
    struct user u;
    struct sl_stream *far;
    struct watcher *w;
};

static void bench_begin(struct bench *b)
{
    static const struct scenario get = { "get",     "GET", "",   plain, SL_FRAMING_NONE,
                                         { { 0 } }, NULL,  NULL, false };
    const struct sl_memory_conf no_limits = { 0 };
    struct sl_h1_client_conf conf;
    struct sl_stream *near;

    *b = (struct bench){ .loop = sl_loop_new_sim(), .u = { .sc = &get, .cap = 64 } };
    conf = conf_of(b->loop, &b->u);
    sl_memory_pair(b->loop, &no_limits, &near, &b->far);
    b->w = watcher_new(b->loop, near);
    b->u.client = sl_h1_client_new(&conf, &b->w->base);
}

static void bench_end(struct bench *b)
{
    sl_http_stream_close(&b->u.stream);
    sl_h1_client_free(&b->u.client);
    sl_stream_close(&b->far);
    sl_buf_fini(&b->u.log);
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

static void exchange(struct bench *b, const char *response)
{
    b->u.step = plain;
    user_run(&b->u);
    say(b, response);
    turns(b);
}

static void extra_bytes_end_the_connection(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    exchange(&b, OK_2 "H");
    assert_text(sl_buf_str(&b.u.log), "200 hi;<used up>");
    bench_end(&b);
}

static void bytes_while_idle_end_the_connection(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    exchange(&b, OK_2);
    say(&b, "H");
    turns(&b);
    assert_text(sl_buf_str(&b.u.log), "200 hi;<idle><dead>");
    bench_end(&b);
}

static void reset_while_idle_ends_the_connection(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    turns(&b);
    sl_memory_reset(b.far);
    turns(&b);
    assert_text(sl_buf_str(&b.u.log), "<dead>");
    bench_end(&b);
}

static void assert_replaced(struct bench *b)
{
    struct sl_head head = { .method = SL_STR("POST"),
                            .scheme = SL_STR("http"),
                            .host = SL_STR("o"),
                            .port = 80,
                            .target = SL_STR("/") };
    struct sl_http_stream *s = b->u.stream;

    turns(b);
    assert_int_equal(s->ops->send_head(s, &head), SL_RESET);
    assert_int_equal(s->fault.err, SL_RESET);
    sl_http_stream_close(&b->u.stream);
    assert_text(sl_buf_str(&b->u.log), "<used up>");
}

static void what_comes_before_the_request_ends_the_connection(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    b.u.stream = sl_h1_client_open(b.u.client);
    say(&b, "HTTP/1.1 408 Too Late\r\n\r\n");
    assert_replaced(&b);
    bench_end(&b);
}

static void reset_before_the_request_ends_the_connection(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    b.u.stream = sl_h1_client_open(b.u.client);
    turns(&b);
    sl_memory_reset(b.far);
    assert_replaced(&b);
    bench_end(&b);
}

static void retired_says_close(void **state)
{
    struct bench b;
    char got[100];
    size_t n;

    (void)state;
    bench_begin(&b);
    sl_h1_client_retire(b.u.client);
    exchange(&b, OK_2);
    assert_text(sl_buf_str(&b.u.log), "200 hi;<used up>");
    assert_int_equal(sl_stream_read(b.far, got, sizeof(got), &n), SL_OK);
    assert_text(sl_str_make(got, n), "GET /a HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
    bench_end(&b);
}

static void interim_heads_are_limited(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    b.u.step = plain;
    user_run(&b.u);
    for (int i = 0; i < 40; i++)
        say(&b, "HTTP/1.1 102 Processing\r\n\r\n");
    turns(&b);
    assert_true(sl_str_has_suffix(sl_buf_str(&b.u.log), SL_STR("102 [bad_response]<used up>")));
    bench_end(&b);
}

static void response_is_noticed_by_its_first_byte(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    exchange(&b, "H");
    assert_true(b.u.stream->has_response);
    bench_end(&b);
}

static void closed_unfinished(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    exchange(&b, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    sl_http_stream_close(&b.u.stream);
    assert_text(sl_buf_str(&b.u.log), "200 ab<used up>");
    bench_end(&b);
}

static void freed_unfinished(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b);
    exchange(&b, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    sl_h1_client_free(&b.u.client);
    sl_http_stream_close(&b.u.stream);
    assert_text(sl_buf_str(&b.u.log), "200 ab");
    bench_end(&b);
}

static void content_is_bounded_by_what_was_announced(void **state)
{
    struct bench b;
    struct sl_head head = { .method = SL_STR("POST"),
                            .scheme = SL_STR("http"),
                            .host = SL_STR("o"),
                            .port = 80,
                            .target = SL_STR("/"),
                            .framing = SL_FRAMING_LENGTH,
                            .content_length = 3 };
    struct sl_http_stream *s;
    size_t n;

    (void)state;
    bench_begin(&b);
    s = b.u.stream = sl_h1_client_open(b.u.client);
    assert_int_equal(s->ops->send_head(s, &head), SL_OK);
    assert_int_equal(s->ops->send_body(s, "abcd", 4, &n), SL_INTERNAL);
    assert_int_equal(s->ops->send_body(s, "ab", 2, &n), SL_OK);
    assert_int_equal(s->ops->send_end(s, NULL), SL_INTERNAL);
    bench_end(&b);
}

static const struct CMUnitTest singles[] = {
    cmocka_unit_test(extra_bytes_end_the_connection),
    cmocka_unit_test(bytes_while_idle_end_the_connection),
    cmocka_unit_test(reset_while_idle_ends_the_connection),
    cmocka_unit_test(what_comes_before_the_request_ends_the_connection),
    cmocka_unit_test(reset_before_the_request_ends_the_connection),
    cmocka_unit_test(retired_says_close),
    cmocka_unit_test(interim_heads_are_limited),
    cmocka_unit_test(response_is_noticed_by_its_first_byte),
    cmocka_unit_test(closed_unfinished),
    cmocka_unit_test(freed_unfinished),
    cmocka_unit_test(content_is_bounded_by_what_was_announced),
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
