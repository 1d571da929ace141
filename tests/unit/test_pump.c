/* test_pump.c -- bodies pumped between an HTTP/1 server and an HTTP/1 client connection, both ways,
 * each in every trickle; and the pump alone between streams that say what they are told to.
 */
#include "h1_peer.h"
#include "http/h1_client.h"
#include "http/h1_server.h"

#define ASK "Host: a\r\n\r\n"
#define ASKED "Host: a\r\n\r\n"

/* -- a relay of one exchange after another -- */

enum step { NEXT, REQUEST, RESPONSE_HEAD, RESPONSE, DONE, OVER };

struct relay {
    struct sl_h1_server *srv;
    struct sl_h1_client *client;
    struct sl_http_stream *down, *up;
    struct sl_pump out, in;
    struct sl_arena arena;
    enum step step;
    struct sl_buf log;
    size_t n_wakes;
};

struct scenario {
    const char *name;
    struct line client[4], origin[4];
    const char *asked;    /* all that the origin gets */
    const char *answered; /* all that the client gets */
    const char *log;
};

static void relay_run(struct relay *r);

static void relay_ready(void *arg, unsigned events)
{
    struct relay *r = arg;

    (void)events;
    r->n_wakes++;
    relay_run(r);
}

static void on_idle(void *arg, bool reusable)
{
    struct relay *r = arg;

    sl_buf_addf(&r->log, reusable ? "idle;" : "used up;");
}

static void on_dead(void *arg)
{
    struct relay *r = arg;

    sl_buf_addf(&r->log, "dead;");
}

static void pass_head(struct relay *r, const struct sl_head *head, struct sl_http_stream *to)
{
    struct sl_head copy = *head;

    copy.fields = (struct sl_fields){ 0 };
    sl_fields_copy_end_to_end(&copy.fields, &r->arena, &head->fields);
    assert_int_equal(to->ops->send_head(to, &copy), SL_OK);
}

static bool close_both(struct relay *r)
{
    sl_pump_fini(&r->out);
    sl_pump_fini(&r->in);
    sl_http_stream_close(&r->up);
    sl_http_stream_close(&r->down);
    sl_arena_fini(&r->arena);
    r->step = NEXT;
    return true;
}

static bool give_up(struct relay *r, const struct sl_http_stream *failed)
{
    sl_buf_addf(&r->log, "%s;", sl_err_name(failed->fault.err));
    return close_both(r);
}

static bool next(struct relay *r)
{
    struct sl_fault fault;
    const struct sl_head *head;
    enum sl_err err = sl_h1_server_next(r->srv, &r->down, &fault);

    if (err == SL_AGAIN)
        return false;
    if (r->down == NULL) {
        r->step = OVER;
        return false;
    }
    assert_int_equal(err, SL_OK);
    r->up = sl_h1_client_open(r->client);
    r->up->on_ready = r->down->on_ready = relay_ready;
    r->up->arg = r->down->arg = r;
    r->out = (struct sl_pump){ .from = r->down, .to = r->up };
    r->in = (struct sl_pump){ .from = r->up, .to = r->down };
    assert_int_equal(r->down->ops->recv_head(r->down, &head), SL_OK);
    pass_head(r, head, r->up);
    r->step = REQUEST;
    return true;
}

static bool pump(struct relay *r, struct sl_pump *p)
{
    switch (sl_pump_run(p)) {
    case SL_PUMP_WAIT_READ:
        assert_null(p->chunk);
        p->from->ops->want(p->from, SL_READABLE);
        p->to->ops->want(p->to, 0);
        return false;
    case SL_PUMP_WAIT_WRITE:
        p->to->ops->want(p->to, SL_WRITABLE);
        p->from->ops->want(p->from, 0);
        return false;
    case SL_PUMP_DONE:
        assert_null(p->chunk);
        p->from->ops->want(p->from, 0);
        p->to->ops->want(p->to, 0);
        r->step++;
        return true;
    case SL_PUMP_SOURCE_FAILED:
        return give_up(r, p->from);
    case SL_PUMP_SINK_FAILED:
        return give_up(r, p->to);
    case SL_PUMP_REFUSED:
        break; /* there is no tap */
    }
    return false;
}

static bool response_head(struct relay *r)
{
    const struct sl_head *head;
    enum sl_err err = r->up->ops->recv_head(r->up, &head);

    if (err == SL_AGAIN) {
        r->up->ops->want(r->up, SL_READABLE);
        return false;
    }
    if (err != SL_OK)
        return give_up(r, r->up);
    pass_head(r, head, r->down);
    if (head->status >= 200)
        r->step = RESPONSE;
    return true;
}

static bool run_step(struct relay *r)
{
    switch (r->step) {
    case NEXT:
        return next(r);
    case REQUEST:
        return pump(r, &r->out);
    case RESPONSE_HEAD:
        return response_head(r);
    case RESPONSE:
        return pump(r, &r->in);
    case DONE:
    case OVER:
        break;
    }
    return false;
}

static void relay_run(struct relay *r)
{
    while (run_step(r)) {
        if (r->step != DONE)
            continue;
        sl_buf_addf(&r->log, "%d/%d;", (int)r->down->n_received, (int)r->down->n_sent);
        assert_int_equal(r->down->n_received, r->up->n_sent);
        assert_int_equal(r->up->n_received, r->down->n_sent);
        close_both(r);
    }
}

static void settle(struct sl_loop *loop, const struct relay *r, const struct peer *a,
                   const struct peer *b)
{
    size_t quiet = 0;

    while (quiet < 8) {
        size_t before = r->n_wakes + a->n_moves + b->n_moves;

        sl_loop_turn(loop, false);
        quiet = r->n_wakes + a->n_moves + b->n_moves == before ? quiet + 1 : 0;
        assert_true(r->n_wakes < 1000000);
    }
}

static void relay_begin(struct relay *r, struct sl_loop *loop, struct sl_stream *down,
                        struct sl_stream *up)
{
    *r = (struct relay){ .step = NEXT };
    r->srv = sl_h1_server_new(&(struct sl_h1_server_conf){ .loop = loop,
                                                           .limits = { 100, 300, 10 },
                                                           .origin = { SL_STR("http"), false } },
                              down, SL_STR(""));
    r->client = sl_h1_client_new(&(struct sl_h1_client_conf){ .loop = loop,
                                                              .limits = { 0, 300, 10 },
                                                              .on_idle = on_idle,
                                                              .on_dead = on_dead,
                                                              .arg = r },
                                 up);
    sl_h1_server_on_ready(r->srv, relay_ready, r);
}

static void relay_end(struct relay *r)
{
    close_both(r);
    sl_h1_server_free(&r->srv);
    sl_h1_client_free(&r->client);
    sl_buf_fini(&r->log);
}

/* -- two peers and the relay between them -- */

struct scene {
    struct sl_loop *loop;
    struct relay r;
    struct peer client, origin;
};

static void scene_begin(struct scene *s, const struct trickle *t, const struct line *client,
                        const struct line *origin)
{
    struct sl_stream *down, *up, *client_end, *origin_end;
    struct watcher *wd, *wu;

    s->loop = sl_loop_new_sim();
    sl_memory_pair(s->loop, &t->conf, &down, &client_end);
    sl_memory_pair(s->loop, &t->conf, &up, &origin_end);
    wd = watcher_new(s->loop, down);
    wu = watcher_new(s->loop, up);
    wd->balks = wu->balks = t->balks;
    relay_begin(&s->r, s->loop, &wd->base, &wu->base);
    peer_begin(&s->origin, origin_end, origin);
    peer_begin(&s->client, client_end, client);
}

static void scene_end(struct scene *s)
{
    relay_end(&s->r);
    peer_end(&s->client);
    peer_end(&s->origin);
    sl_loop_free(&s->loop);
}

static void play(const void *arg, const struct trickle *t)
{
    const struct scenario *sc = arg;
    struct scene s;

    scene_begin(&s, t, sc->client, sc->origin);
    settle(s.loop, &s.r, &s.client, &s.origin);
    assert_text(sl_buf_str(&s.origin.got), sc->asked);
    assert_text(sl_buf_str(&s.client.got), sc->answered);
    assert_text(sl_buf_str(&s.r.log), sc->log);
    scene_end(&s);
}

static const struct line short_answer[] = {
    { "X-T: v\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
    { 0 },
};

static const struct scenario scenarios[] = {
    { "twice",
      { { NULL, "GET /1 HTTP/1.1\r\n" ASK "GET /2 HTTP/1.1\r\n" ASK } },
      { { ASKED, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none" },
        { ASKED, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo" } },
      "GET /1 HTTP/1.1\r\n" ASKED "GET /2 HTTP/1.1\r\n" ASKED,
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
      "0/3;idle;0/3;idle;" },
    { "length both ways",
      { { NULL, "POST /1 HTTP/1.1\r\nContent-Length: 6\r\n" ASK "abcdef" } },
      { { "abcdef", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } },
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      "6/0;idle;" },
    { "one side is cut",
      { { NULL, "GET /1 HTTP/1.1\r\n" ASK } },
      { { ASKED, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none" }, { "", NULL } },
      "GET /1 HTTP/1.1\r\n" ASKED,
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none",
      "response_cut;used up;" },
    { "client is cut",
      { { NULL, "POST /1 HTTP/1.1\r\nContent-Length: 6\r\n" ASK "abc" }, { "", NULL } },
      { { NULL, "" } },
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc",
      "",
      "cancelled;used up;" },
    { "head",
      { { NULL, "HEAD /1 HTTP/1.1\r\n" ASK } },
      { { ASKED, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" } },
      "HEAD /1 HTTP/1.1\r\n" ASKED,
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
      "0/0;idle;" },
};

static void plays(void **state)
{
    assert_true(each_trickle(play, *state) > 100);
}

/* Chunks come out as the transport cut them, so only what they hold can be compared. */
static struct sl_str unchunked(struct sl_str in, char *room)
{
    struct sl_h1_chunked c = { 0 };
    struct sl_h1_piece piece = { 0 };
    size_t n = 0;

    while (!piece.end && in.n > 0) {
        assert_int_equal(sl_h1_chunked_next(&c, in, &piece), SL_OK);
        memcpy(room + n, in.p + piece.skip, piece.data);
        n += piece.data;
        in = sl_str_skip(in, piece.skip + piece.data);
    }
    assert_true(piece.end);
    assert_text(in, "X-T: v\r\n\r\n");
    return sl_str_make(room, n);
}

static struct sl_str behind_head(struct sl_str s)
{
    const char *end = memmem(s.p, s.n, "\r\n\r\n", 4);

    assert_non_null(end);
    return sl_str_skip(s, (size_t)(end - s.p) + 4);
}

static void play_chunked(const void *arg, const struct trickle *t)
{
    static const struct line ask[] = {
        { NULL, "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" ASK
                "3\r\nabc\r\n9\r\ndefghijkl\r\n0\r\nX-T: v\r\n\r\n" },
        { NULL, "" },
        { 0 },
    };
    static const struct line answer[] = {
        { "X-T: v\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "1\r\nm\r\n8\r\nnopqrstu\r\n0\r\nX-T: v\r\n\r\n" },
        { 0 },
    };
    struct scene s;
    char room[100];

    (void)arg;
    scene_begin(&s, t, ask, answer);
    settle(s.loop, &s.r, &s.client, &s.origin);
    assert_text(unchunked(behind_head(sl_buf_str(&s.origin.got)), room), "abcdefghijkl");
    assert_text(unchunked(behind_head(sl_buf_str(&s.client.got)), room), "mnopqrstu");
    assert_text(sl_buf_str(&s.r.log), "12/9;idle;");
    scene_end(&s);
}

static void chunks_and_trailers_both_ways(void **state)
{
    (void)state;
    assert_true(each_trickle(play_chunked, NULL) > 100);
}

/* More than a pump moves at a time, in chunks of odd sizes, with and without refused writes. */
static void large_bodies_stay_whole(void **state)
{
    static const struct trickle trickles[] = {
        { { 0, 0, 0 }, false },         { { 0, 0, 0 }, true },
        { { 1447, 0, 30000 }, false },  { { 16384, 9999, 16384 }, true },
        { { 0, 16384, 100000 }, true },
    };
    struct sl_buf ask = { 0 };
    char *room = sl_alloc(1000000);
    struct sl_buf content = { 0 };
    struct sl_str body;

    (void)state;
    sl_buf_addf(&ask, "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" ASK);
    for (unsigned i = 1; content.len < 600000; i++) {
        unsigned n = i * 7919 % 40000 + 1;

        sl_buf_addf(&ask, "%x\r\n", n);
        memset(sl_buf_reserve(&content, n), (int)(i % 250 + 1), n);
        sl_buf_add(&ask, content.p + content.len, n);
        sl_buf_commit(&content, n);
        sl_buf_addf(&ask, "\r\n");
    }
    sl_buf_addf(&ask, "0\r\nX-T: v\r\n\r\n");
    sl_buf_add_char(&ask, '\0');
    for (size_t i = 0; i < SL_LEN(trickles); i++) {
        const struct line lines[] = { { NULL, sl_buf_str(&ask).p }, { 0 } };
        struct scene sc;

        scene_begin(&sc, &trickles[i], lines, short_answer);
        settle(sc.loop, &sc.r, &sc.client, &sc.origin);
        body = unchunked(behind_head(sl_buf_str(&sc.origin.got)), room);
        assert_int_equal(body.n, content.len);
        assert_memory_equal(body.p, content.p, content.len);
        assert_text(sl_str_head(sl_buf_str(&sc.client.got), 15), "HTTP/1.1 200 OK");
        scene_end(&sc);
    }
    sl_free(room);
    sl_buf_fini(&content);
    sl_buf_fini(&ask);
}

/* -- the pump alone -- */

struct scripted {
    struct sl_http_stream base;
    size_t n_left;   /* to give */
    enum sl_err end; /* what recv_body answers then */
    size_t room;     /* to take */
    enum sl_err full;
    size_t n_taken, n_flushes, n_ends, n_trailers;
    enum sl_err flush, send_end;
};

static struct sl_fields some_trailers = { .n = 1 };

static struct scripted *scripted_of(struct sl_http_stream *s)
{
    return SL_CONTAINER(s, struct scripted, base);
}

static enum sl_err scripted_recv(struct sl_http_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct scripted *x = scripted_of(s);

    if (x->n_left == 0)
        return x->end;
    *ret_n = x->n_left < cap ? x->n_left : cap;
    memset(buf, 'x', *ret_n);
    x->n_left -= *ret_n;
    return SL_OK;
}

static struct sl_fields *scripted_trailers(struct sl_http_stream *s)
{
    (void)s;
    return &some_trailers;
}

static enum sl_err scripted_send(struct sl_http_stream *s, const void *p, size_t n, size_t *ret_n)
{
    struct scripted *x = scripted_of(s);

    (void)p;
    if (x->room == 0)
        return x->full;
    *ret_n = n < x->room ? n : x->room;
    x->room -= *ret_n;
    x->n_taken += *ret_n;
    return SL_OK;
}

static enum sl_err scripted_end(struct sl_http_stream *s, const struct sl_fields *trailers)
{
    scripted_of(s)->n_ends++;
    scripted_of(s)->n_trailers = trailers != NULL ? trailers->n : 0;
    return scripted_of(s)->send_end;
}

static enum sl_err scripted_flush(struct sl_http_stream *s)
{
    scripted_of(s)->n_flushes++;
    return scripted_of(s)->flush;
}

static const struct sl_http_stream_ops scripted_ops = {
    .recv_body = scripted_recv,
    .trailers = scripted_trailers,
    .send_body = scripted_send,
    .send_end = scripted_end,
    .flush = scripted_flush,
};

struct pair {
    struct scripted from, to;
    struct sl_pump p;
};

static void pair_begin(struct pair *x, size_t n, enum sl_err end, size_t room)
{
    *x = (struct pair){ .from = { .n_left = n, .end = end }, .to = { .room = room } };
    x->from.base.ops = x->to.base.ops = &scripted_ops;
    x->to.full = SL_AGAIN;
    x->p = (struct sl_pump){ .from = &x->from.base, .to = &x->to.base };
}

static void moves_all_and_ends(void **state)
{
    struct pair x;

    (void)state;
    pair_begin(&x, 20000, SL_EOF, SIZE_MAX);
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_DONE);
    assert_int_equal(x.to.n_taken, 20000);
    assert_int_equal(x.to.n_trailers, 1);
    assert_null(x.p.chunk);
}

static void flushes_before_it_waits(void **state)
{
    struct pair x;

    (void)state;
    pair_begin(&x, 10, SL_AGAIN, SIZE_MAX);
    x.to.flush = SL_AGAIN;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_WRITE);
    x.to.flush = SL_OK;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_READ);
    assert_int_equal(x.to.n_flushes, 2);
    assert_null(x.p.chunk);
    x.to.flush = SL_RESET;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_SINK_FAILED);
}

static void keeps_what_was_not_taken(void **state)
{
    struct pair x;

    (void)state;
    pair_begin(&x, 10, SL_EOF, 4);
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_WRITE);
    assert_int_equal(x.p.len - x.p.off, 6);
    assert_non_null(x.p.chunk);
    x.to.room = SIZE_MAX;
    x.to.send_end = SL_AGAIN;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_WRITE);
    assert_null(x.p.chunk);
    x.from.end = SL_INTERNAL; /* not asked again */
    x.to.send_end = SL_OK;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_DONE);
    assert_int_equal(x.to.n_taken, 10);
}

static void lets_others_go_first(void **state)
{
    struct pair x;

    (void)state;
    pair_begin(&x, 10 * SL_PUMP_ROUND, SL_EOF, SIZE_MAX);
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_READ);
    assert_int_equal(x.to.n_taken, SL_PUMP_ROUND);
    assert_int_equal(x.to.n_flushes, 1);
}

static void tells_who_failed(void **state)
{
    struct pair x;

    (void)state;
    pair_begin(&x, 10, SL_RESPONSE_CUT, SIZE_MAX);
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_SOURCE_FAILED);
    assert_int_equal(x.to.n_ends, 0);
    sl_pump_fini(&x.p);
    pair_begin(&x, 10, SL_EOF, 0);
    x.to.full = SL_RESET;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_SINK_FAILED);
    sl_pump_fini(&x.p);
    assert_null(x.p.chunk);
}

static size_t first_four(void *arg, struct sl_str bytes)
{
    size_t *seen = arg;

    *seen += bytes.n;
    return 4;
}

static void ends_where_the_tap_says(void **state)
{
    struct pair x;
    size_t seen = 0;

    (void)state;
    pair_begin(&x, 10, SL_EOF, 3);
    x.p.tap = first_four;
    x.p.tap_arg = &seen;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_WRITE);
    x.to.room = SIZE_MAX;
    x.to.flush = SL_AGAIN;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_WAIT_WRITE);
    x.to.flush = SL_OK;
    assert_int_equal(sl_pump_run(&x.p), SL_PUMP_REFUSED);
    assert_int_equal(seen, 10);
    assert_int_equal(x.to.n_taken, 4);
    assert_int_equal(x.to.n_ends, 0);
    assert_null(x.p.chunk);
}

static const struct CMUnitTest singles[] = {
    cmocka_unit_test(chunks_and_trailers_both_ways),
    cmocka_unit_test(large_bodies_stay_whole),
    cmocka_unit_test(moves_all_and_ends),
    cmocka_unit_test(flushes_before_it_waits),
    cmocka_unit_test(keeps_what_was_not_taken),
    cmocka_unit_test(lets_others_go_first),
    cmocka_unit_test(tells_who_failed),
    cmocka_unit_test(ends_where_the_tap_says),
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
