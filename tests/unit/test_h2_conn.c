/* test_h2_conn.c -- field sections that the HTTP/2 library does not send, in both roles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/h2_client.h"
#include "http/h2_server.h"
#include "io/loop.h"
#include "io/memory.h"
#include "io/stream.h"

#define TURNS 8
#define MIB ((size_t)1024 * 1024)
#define N_ADMITTED 24 /* fields of 1 MiB */
#define N_TOO_MANY 40
#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define GET "\0\0\6\1\5\0\0\0\1\x82\x87\x84\x41\1a"
#define DATA_X "\0\0\1\0\0\0\0\0\1x"
#define RESET "\0\0\4\3\0\0\0\0\1\0\0\0\2" /* INTERNAL_ERROR */

static const struct sl_head_limits limits = { 1024, 4096, 64 };

struct world {
    struct sl_loop *loop;
    struct sl_stream *peer;
    struct sl_h2_server *server;
    struct sl_h2_client *client;
    struct sl_http_stream *stream;
    struct sl_arena arena;
    struct sl_fields too_many;
    struct sl_buf got; /* by the peer */
    int n_ready;
};

static void turn(struct world *w)
{
    char in[4096];
    size_t n;

    for (int i = 0; i < TURNS; i++) {
        sl_loop_turn(w->loop, false);
        while (sl_stream_read(w->peer, in, sizeof(in), &n) == SL_OK)
            sl_buf_add(&w->got, in, n);
    }
}

static void say(struct world *w, struct sl_str bytes)
{
    size_t n = 0;

    assert_int_equal(sl_stream_write(w->peer, bytes.p, bytes.n, &n), SL_OK);
    assert_int_equal(n, bytes.n);
    turn(w);
}

static bool has_got(const struct world *w, struct sl_str part)
{
    struct sl_str all = sl_buf_str(&w->got);

    for (size_t i = 0; i + part.n <= all.n; i++)
        if (memcmp(all.p + i, part.p, part.n) == 0)
            return true;
    return false;
}

static void on_change(void *arg)
{
    (void)arg;
}

static void on_ready(void *arg, unsigned events)
{
    struct world *w = arg;

    (void)events;
    w->n_ready++;
}

static void own(struct world *w)
{
    w->stream->on_ready = on_ready;
    w->stream->arg = w;
}

static struct sl_stream *begin(struct world *w)
{
    char *value;
    struct sl_stream *ours;

    *w = (struct world){ .loop = sl_loop_new_sim() };
    sl_memory_pair(w->loop, &(struct sl_memory_conf){ 0 }, &w->peer, &ours);
    value = sl_arena_alloc(&w->arena, MIB);
    memset(value, 'v', MIB);
    for (int i = 0; i < N_TOO_MANY; i++)
        sl_fields_add(&w->too_many, &w->arena, SL_STR("x"), sl_str_make(value, MIB));
    return ours;
}

static void end(struct world *w)
{
    sl_http_stream_close(&w->stream);
    sl_h2_server_free(&w->server);
    sl_h2_client_free(&w->client);
    sl_stream_close(&w->peer);
    sl_arena_fini(&w->arena);
    sl_buf_fini(&w->got);
    sl_loop_free(&w->loop);
}

static void begin_server(struct world *w)
{
    struct sl_stream *ours = begin(w);
    struct sl_fault fault = { 0 };

    w->server = sl_h2_server_new(
        &(struct sl_h2_server_conf){
            .loop = w->loop, .limits = limits, .max_streams = 8, .on_change = on_change },
        ours, SL_STR(""));
    say(w, SL_STR(SL_H2_PREFACE SETTINGS GET));
    assert_int_equal(sl_h2_server_next(w->server, &w->stream, &fault), SL_OK);
    own(w);
}

static void assert_unsent(const struct world *w)
{
    assert_int_equal(w->stream->fault.err, SL_INTERNAL);
    assert_non_null(strstr(w->stream->fault.text, "not sent: too large"));
    assert_true(w->n_ready != 0);
}

static void a_response_too_large_resets_its_stream(void **state)
{
    static const uint16_t statuses[] = { 103, 200 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(statuses); i++) {
        struct world w;
        struct sl_head head;

        begin_server(&w);
        head = (struct sl_head){ .arena = &w.arena,
                                 .status = statuses[i],
                                 .framing = SL_FRAMING_CHUNKED,
                                 .fields = w.too_many };
        assert_int_equal(w.stream->ops->send_head(w.stream, &head), SL_OK);
        turn(&w);
        assert_true(has_got(&w, SL_STR(RESET)));
        assert_true(w.stream->is_gone);
        assert_unsent(&w);
        end(&w);
    }
}

static void trailers_too_large_reset_their_stream(void **state)
{
    struct world w;
    struct sl_head head;
    size_t n;

    (void)state;
    begin_server(&w);
    head = (struct sl_head){ .arena = &w.arena, .status = 200, .framing = SL_FRAMING_CHUNKED };
    assert_int_equal(w.stream->ops->send_head(w.stream, &head), SL_OK);
    assert_int_equal(w.stream->ops->send_body(w.stream, "x", 1, &n), SL_OK);
    assert_int_equal(w.stream->ops->send_end(w.stream, &w.too_many), SL_AGAIN);
    turn(&w);
    assert_true(has_got(&w, SL_STR(DATA_X)));
    assert_true(has_got(&w, SL_STR(RESET)));
    assert_int_equal(w.stream->ops->send_end(w.stream, NULL), SL_INTERNAL);
    assert_unsent(&w);
    end(&w);
}

/* No other connection would take it, and the peer has never heard of the stream. */
static void a_request_too_large_fails_alone(void **state)
{
    struct world w;
    struct sl_stream *ours = begin(&w);
    struct sl_head head = {
        .arena = &w.arena,
        .method = SL_STR("GET"),
        .scheme = SL_STR("https"),
        .host = SL_STR("a"),
        .port = 443,
        .target = SL_STR("/"),
        .fields = w.too_many,
    };

    (void)state;
    w.client = sl_h2_client_new(
        &(struct sl_h2_client_conf){ .loop = w.loop, .limits = limits, .on_change = on_change },
        ours);
    say(&w, SL_STR(SETTINGS));
    w.stream = sl_h2_client_open(w.client);
    own(&w);
    w.stream->ops->want(w.stream, SL_READABLE);
    assert_int_equal(w.stream->ops->send_head(w.stream, &head), SL_OK);
    turn(&w);
    assert_unsent(&w);
    assert_false(w.stream->is_refused);
    assert_false(has_got(&w, SL_STR("\0\0\4\3\0\0\0\0\1")));
    sl_http_stream_close(&w.stream);
    w.stream = sl_h2_client_open(w.client);
    head.fields.n = N_ADMITTED;
    assert_int_equal(w.stream->ops->send_head(w.stream, &head), SL_OK);
    turn(&w);
    assert_true(w.got.len > N_ADMITTED * MIB / 2); /* Huffman's code makes it smaller */
    assert_int_equal(w.stream->fault.err, SL_OK);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_too_large_resets_its_stream),
        cmocka_unit_test(trailers_too_large_reset_their_stream),
        cmocka_unit_test(a_request_too_large_fails_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
