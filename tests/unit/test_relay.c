/* test_relay.c -- bytes both ways, ends in either order and every other end, in all trickles. */
#include "h1_peer.h"

#include "io/loop.h"
#include "proxy/first_bytes.h"
#include "proxy/relay.h"

#define IDLE_MS 1000u

struct town {
    struct sl_loop *loop;
    struct peer client, origin;
    struct sl_relay *relay;
    struct sl_relay_result result;
    struct sl_request_line line;
    bool looks_at_line, holds;
    int n_calls;
};

static const struct trickle plain = { 0 };
static const struct line silent[] = { { 0 } };

static void on_ended(void *arg, const struct sl_relay_result *result)
{
    struct town *t = arg;

    t->relay = NULL;
    t->result = *result;
    t->n_calls++;
}

/* Five bytes tell. */
static enum sl_err on_first(void *arg, struct sl_str first)
{
    struct town *t = arg;

    assert_int_equal(t->n_calls, 0);
    assert_int_equal(t->origin.got.len, 0);
    if (first.n < 5)
        return SL_AGAIN;
    return sl_str_has_prefix(first, SL_STR("evil ")) ? SL_MISDIRECTED : SL_OK;
}

static struct sl_stream *watched(struct town *t, struct sl_stream *s, bool balks)
{
    struct watcher *w = watcher_new(t->loop, s);

    w->balks = balks;
    return &w->base;
}

static void begin(struct town *t, const struct trickle *trickle, const char *preface,
                  const struct line *client, const struct line *origin)
{
    struct sl_stream *near_client, *near_origin, *a, *b;

    *t = (struct town){ .loop = sl_loop_new_sim(),
                        .looks_at_line = t->looks_at_line,
                        .holds = t->holds };
    sl_memory_pair(t->loop, &trickle->conf, &a, &near_client);
    sl_memory_pair(t->loop, &trickle->conf, &b, &near_origin);
    peer_begin(&t->client, a, client);
    peer_begin(&t->origin, b, origin);
    t->relay =
        sl_relay_start(&(struct sl_relay_conf){ .loop = t->loop,
                                                .client = watched(t, near_client, trickle->balks),
                                                .upstream = watched(t, near_origin, trickle->balks),
                                                .preface = sl_str_of(preface),
                                                .idle_timeout_ms = IDLE_MS,
                                                .line = t->looks_at_line ? &t->line : NULL,
                                                .first = t->holds ? on_first : NULL,
                                                .refusal = SL_STR("go away") },
                       on_ended, t);
    assert_int_equal(t->n_calls, 0);
}

static void end(struct town *t)
{
    sl_relay_cancel(&t->relay);
    peer_end(&t->client);
    peer_end(&t->origin);
    sl_loop_free(&t->loop);
}

static void turn(struct town *t, int n)
{
    while (n-- > 0)
        sl_loop_turn(t->loop, false);
}

static void run(struct town *t)
{
    for (int i = 0; i < 3000 && t->n_calls == 0; i++)
        sl_loop_turn(t->loop, false);
    assert_int_equal(t->n_calls, 1);
    turn(t, 200);
    assert_int_equal(t->n_calls, 1);
}

/* -- conversations -- */

struct scenario {
    const char *preface;
    struct line client[4], origin[4];
    const char *to_origin, *to_client; /* all that arrives */
};

static const struct scenario scenarios[] = {
    /* nobody says anything */
    { "", { { "", NULL } }, { { "", NULL } }, "", "" },
    /* question and answer */
    { "",
      { { NULL, "hello" }, { "world", NULL } },
      { { "hello", "world" }, { "", NULL } },
      "hello",
      "world" },
    /* the client ends first, and still gets its answer */
    { "",
      { { NULL, "hello" }, { "", NULL } },
      { { "hello", "a longer answer" }, { "", NULL } },
      "hello",
      "a longer answer" },
    /* the origin ends first, and still listens */
    { "",
      { { "welcome", "still talking" }, { "", NULL } },
      { { NULL, "welcome" }, { "", NULL } },
      "still talking",
      "welcome" },
    /* what was read already goes first */
    { "preface ",
      { { NULL, "and more" }, { "ok", NULL } },
      { { "preface and more", "ok" }, { "", NULL } },
      "preface and more",
      "ok" },
    { "all there is", { { "", NULL } }, { { "all there is", NULL } }, "all there is", "" },
    /* several rounds */
    { "",
      { { NULL, "1" }, { "2", "3" }, { "4", NULL } },
      { { "1", "2" }, { "3", "4" }, { "", NULL } },
      "13",
      "24" },
};

static void play_in(struct town t, const struct scenario *s, const struct trickle *trickle)
{
    begin(&t, trickle, s->preface, s->client, s->origin);
    run(&t);
    assert_int_equal(t.result.err, SL_OK);
    assert_int_equal(t.result.bytes_in, strlen(s->to_origin));
    assert_int_equal(t.result.bytes_out, strlen(s->to_client));
    assert_text(sl_buf_str(&t.origin.got), s->to_origin);
    assert_text(sl_buf_str(&t.client.got), s->to_client);
    assert_true(t.client.saw_eof);
    assert_true(t.origin.saw_eof);
    end(&t);
}

static void play(const void *arg, const struct trickle *trickle)
{
    play_in((struct town){ 0 }, arg, trickle);
}

static void play_held(const void *arg, const struct trickle *trickle)
{
    play_in((struct town){ .holds = true }, arg, trickle);
}

static void conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(scenarios); i++)
        assert_true(each_trickle(play, &scenarios[i]) > 100);
}

/* -- first bytes -- */

static const struct scenario held[] = {
    { "", { { "", NULL } }, { { "", NULL } }, "", "" },
    /* nothing but an end makes these known */
    { "", { { NULL, "hey" }, { "", NULL } }, { { "hey", "?" }, { "", NULL } }, "hey", "?" },
    { "hey", { { "", NULL } }, { { "hey", NULL } }, "hey", "" },
    { "he", { { NULL, "llo" }, { "!", NULL } }, { { "hello", "!" }, { "", NULL } }, "hello", "!" },
    /* the origin speaks first, whatever is held */
    { "hel",
      { { "welcome", "lo" }, { "!", NULL } },
      { { NULL, "welcome" }, { "hello", "!" }, { "", NULL } },
      "hello",
      "welcome!" },
};

static void first_bytes_wait_until_they_tell(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(held); i++)
        assert_true(each_trickle(play_held, &held[i]) > 50);
}

static const struct scenario refused[] = {
    { "evil ", { { "", NULL } }, { { "", NULL } }, "", "go away" },
    { "ev", { { NULL, "il deed" }, { "", NULL } }, { { "", NULL } }, "", "go away" },
    { "", { { "hi", "evil " }, { "", NULL } }, { { NULL, "hi" } }, "", "hi" },
};

static void play_refused(const void *arg, const struct trickle *trickle)
{
    const struct scenario *s = arg;
    struct town t = { .holds = true };

    begin(&t, trickle, s->preface, s->client, s->origin);
    run(&t);
    assert_int_equal(t.result.err, SL_MISDIRECTED);
    assert_int_equal(t.result.bytes_in, 0);
    assert_int_equal(t.origin.got.len, 0);
    assert_true(t.client.saw_eof && t.origin.saw_eof);
    assert_true(sl_str_has_prefix(sl_str_of(s->to_client), sl_buf_str(&t.client.got)));
    if (trickle == &plain)
        assert_text(sl_buf_str(&t.client.got), s->to_client);
    end(&t);
}

static void first_bytes_may_be_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(refused); i++) {
        play_refused(&refused[i], &plain);
        assert_true(each_trickle(play_refused, &refused[i]) > 10);
    }
}

static const struct scenario requests[] = {
    { "\001 /a HTTP/1.0\n", { { "", NULL } }, { { "", NULL } }, "", "" },
    { "\001 /a", { { NULL, " HTTP/1.0\n\n" } }, { { "", NULL } }, "\001 /a", "" },
    { "", { { NULL, "\001 /a" }, { "?", " HTTP/1.0\n" } }, { { "\001 /a", "?" } }, "\001 /a", "?" },
};

/* However it is cut, a line that names HTTP gets no end. */
static void play_request(const void *arg, const struct trickle *trickle)
{
    const struct scenario *s = arg;
    struct town t = { .looks_at_line = true };

    begin(&t, trickle, s->preface, s->client, s->origin);
    run(&t);
    assert_int_equal(t.result.err, SL_BAD_REQUEST);
    assert_true(sl_str_find(sl_buf_str(&t.origin.got), '\n') == t.origin.got.len);
    assert_true(t.client.saw_eof && t.origin.saw_eof);
    end(&t);
}

static void requests_do_not_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(requests); i++)
        assert_true(each_trickle(play_request, &requests[i]) > 10);
}

static void other_lines_pass(void **state)
{
    static const struct scenario greeting = { "\001ok\n /a",
                                              { { NULL, " HTTP/1.0\n" }, { "", NULL } },
                                              { { "HTTP/1.0\n", "fine" }, { "", NULL } },
                                              "",
                                              "" };
    struct town t = { .looks_at_line = true };

    (void)state;
    begin(&t, &plain, greeting.preface, greeting.client, greeting.origin);
    run(&t);
    assert_int_equal(t.result.err, SL_OK);
    end(&t);
}

/* An end is passed on by itself, before the other side has ended. */
static void half_closes_are_passed_on(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *first, *second;
        struct town t = { 0 };

        begin(&t, &plain, "", silent, silent);
        first = i == 0 ? &t.client : &t.origin;
        second = i == 0 ? &t.origin : &t.client;
        assert_int_equal(sl_stream_shutdown(first->stream), SL_OK);
        turn(&t, 10);
        assert_true(second->saw_eof);
        assert_false(first->saw_eof);
        assert_int_equal(t.n_calls, 0);
        second->lines = (const struct line[]){ { NULL, "late" }, { "", NULL }, { 0 } };
        peer_ready(second, 0);
        run(&t);
        assert_text(sl_buf_str(&first->got), "late");
        assert_true(first->saw_eof);
        assert_int_equal(t.result.err, SL_OK);
        end(&t);
    }
}

/* -- backpressure -- */

static void want_nothing(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
}

/* As much as is taken; how much that is. */
static size_t pour(struct town *t, struct sl_stream *s, size_t limit)
{
    static const char water[4096];
    size_t total = 0, n = 0;

    for (int idle = 0; idle < 50 && total < limit; idle++) {
        while (total < limit && sl_stream_write(s, water, sizeof(water), &n) == SL_OK) {
            total += n;
            idle = 0;
        }
        sl_loop_turn(t->loop, false);
    }
    return total;
}

static size_t drain(struct town *t, struct sl_stream *s)
{
    char glass[4096];
    size_t total = 0, n = 0;

    for (int idle = 0; idle < 50; idle++) {
        while (sl_stream_read(s, glass, sizeof(glass), &n) == SL_OK) {
            total += n;
            idle = 0;
        }
        sl_loop_turn(t->loop, false);
    }
    return total;
}

static void who_does_not_read_stops_who_writes(void **state)
{
    static const struct trickle narrow = { .conf = { .capacity = 8192 } };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sl_stream *from, *to;
        struct town t = { 0 };
        size_t taken;

        begin(&t, &narrow, "", silent, silent);
        from = i == 0 ? t.client.stream : t.origin.stream;
        to = i == 0 ? t.origin.stream : t.client.stream;
        sl_stream_on_ready(t.client.stream, want_nothing, NULL);
        sl_stream_on_ready(t.origin.stream, want_nothing, NULL);
        sl_stream_want(t.client.stream, 0);
        sl_stream_want(t.origin.stream, 0);
        taken = pour(&t, from, (size_t)1 << 20);
        assert_in_range(taken, 8192, 2 * 8192 + SL_CHUNK_SIZE);
        assert_int_equal(drain(&t, to), taken);
        taken = pour(&t, from, 100);
        assert_int_equal(drain(&t, to), taken);
        end(&t);
    }
}

static void much_passes_in_many_rounds(void **state)
{
    const size_t n = (size_t)3 << 20;
    struct town t = { 0 };

    (void)state;
    begin(&t, &plain, "", silent, silent);
    assert_int_equal(pour(&t, t.client.stream, n), n);
    assert_int_equal(sl_stream_shutdown(t.client.stream), SL_OK);
    assert_int_equal(sl_stream_shutdown(t.origin.stream), SL_OK);
    run(&t);
    assert_int_equal(t.result.bytes_in, n);
    assert_int_equal(t.origin.got.len, n);
    end(&t);
}

/* -- other ends -- */

static void say(struct peer *p, const char *text)
{
    size_t n;

    assert_int_equal(sl_stream_write(p->stream, text, strlen(text), &n), SL_OK);
}

static void silence_ends_it(void **state)
{
    struct town t = { 0 };

    (void)state;
    begin(&t, &plain, "", silent, silent);
    turn(&t, 5);
    sl_loop_advance(t.loop, IDLE_MS - 1);
    assert_int_equal(t.n_calls, 0);
    say(&t.client, "x");
    turn(&t, 5);
    sl_loop_advance(t.loop, IDLE_MS - 1);
    assert_int_equal(t.n_calls, 0);
    say(&t.origin, "y");
    turn(&t, 5);
    sl_loop_advance(t.loop, IDLE_MS - 1);
    assert_int_equal(t.n_calls, 0);
    sl_loop_advance(t.loop, 1);
    assert_int_equal(t.n_calls, 1);
    assert_int_equal(t.result.err, SL_READ_TIMEOUT);
    assert_int_equal(t.result.bytes_in, 1);
    assert_int_equal(t.result.bytes_out, 1);
    turn(&t, 5);
    assert_true(t.client.saw_eof);
    assert_true(t.origin.saw_eof);
    end(&t);
}

/* threat: half-closed-peers */
static void silence_ends_what_is_half_closed_too(void **state)
{
    struct town t = { 0 };

    (void)state;
    begin(&t, &plain, "", silent, silent);
    assert_int_equal(sl_stream_shutdown(t.client.stream), SL_OK);
    turn(&t, 5);
    sl_loop_advance(t.loop, IDLE_MS);
    assert_int_equal(t.n_calls, 1);
    assert_int_equal(t.result.err, SL_READ_TIMEOUT);
    end(&t);
}

static void a_reset_of_either_side_ends_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct town t = { 0 };

        begin(&t, &plain, "", silent, silent);
        say(&t.client, "x");
        turn(&t, 5);
        sl_memory_reset(i == 0 ? t.client.stream : t.origin.stream);
        run(&t);
        assert_int_equal(t.result.err, SL_RESET);
        assert_int_equal(t.result.bytes_in, 1);
        assert_true(i == 0 ? t.origin.saw_eof : t.client.saw_eof);
        end(&t);
    }
}

static void cancel_closes_both(const void *arg, const struct trickle *trickle)
{
    const struct scenario *s = arg;

    for (int n = 0; n < 8; n++) {
        struct town t = { 0 };

        begin(&t, trickle, s->preface, s->client, s->origin);
        turn(&t, n);
        sl_relay_cancel(&t.relay);
        sl_relay_cancel(&t.relay);
        turn(&t, 200);
        assert_true(t.n_calls == 0 || n != 0);
        assert_true(t.client.saw_eof);
        assert_true(t.origin.saw_eof);
        end(&t);
    }
}

static void cancelled_at_each_step(void **state)
{
    (void)state;
    assert_true(each_trickle(cancel_closes_both, &scenarios[4]) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations),
        cmocka_unit_test(first_bytes_wait_until_they_tell),
        cmocka_unit_test(first_bytes_may_be_refused),
        cmocka_unit_test(requests_do_not_pass),
        cmocka_unit_test(other_lines_pass),
        cmocka_unit_test(half_closes_are_passed_on),
        cmocka_unit_test(who_does_not_read_stops_who_writes),
        cmocka_unit_test(much_passes_in_many_rounds),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(silence_ends_what_is_half_closed_too),
        cmocka_unit_test(a_reset_of_either_side_ends_it),
        cmocka_unit_test(cancelled_at_each_step),
    };

    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
