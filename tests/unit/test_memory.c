/* test_memory.c -- streams in memory: trickling, blocking, ends and resets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/memory.h"
#include "io/stream.h"

struct ends {
    struct sl_loop *loop;
    struct sl_stream *a, *b;
};

static struct ends open_ends(const struct sl_memory_conf *conf)
{
    struct ends e = { .loop = sl_loop_new_sim() };

    sl_memory_pair(e.loop, conf, &e.a, &e.b);
    return e;
}

static void close_ends(struct ends *e)
{
    sl_stream_close(&e->a);
    sl_stream_close(&e->b);
    sl_loop_free(&e->loop);
}

static void bytes_come_in_the_portions_asked_for(void **state)
{
    static const struct {
        struct sl_memory_conf conf;
        size_t written, pending, read;
    } rows[] = {
        { { 0 }, 6, 6, 6 },
        { { .read_max = 1 }, 6, 1, 1 },
        { { .write_max = 4 }, 4, 4, 4 },
        { { .capacity = 3 }, 3, 3, 3 },
        { { .read_max = 2, .write_max = 5, .capacity = 4 }, 4, 2, 2 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct ends e = open_ends(&rows[i].conf);
        struct iovec iov[2] = { { .iov_base = (char[]){ "abc" }, .iov_len = 3 },
                                { .iov_base = (char[]){ "def" }, .iov_len = 3 } };
        char buf[8];
        size_t n = 0;

        assert_int_equal(sl_stream_read(e.b, buf, sizeof(buf), &n), SL_AGAIN);
        assert_int_equal(sl_stream_writev(e.a, iov, 2, &n), SL_OK);
        assert_int_equal(n, rows[i].written);
        assert_int_equal(sl_stream_pending(e.b), rows[i].pending);
        assert_int_equal(sl_stream_read(e.b, buf, sizeof(buf), &n), SL_OK);
        assert_int_equal(n, rows[i].read);
        assert_memory_equal(buf, "abcdef", n);
        close_ends(&e);
    }
}

static void a_full_pair_blocks_writes(void **state)
{
    struct ends e = open_ends(&(struct sl_memory_conf){ .capacity = 2 });
    char buf[8];
    size_t n;

    (void)state;
    assert_int_equal(sl_stream_write(e.a, "xyz", 3, &n), SL_OK);
    assert_int_equal(n, 2);
    assert_int_equal(sl_stream_write(e.a, "z", 1, &n), SL_AGAIN);
    assert_int_equal(sl_stream_read(e.b, buf, 1, &n), SL_OK);
    assert_int_equal(sl_stream_write(e.a, "z", 1, &n), SL_OK);
    close_ends(&e);
}

struct ear {
    struct sl_stream **stream;
    unsigned seen;
    int n_calls;
    bool is_closing; /* closes the stream when called */
};

static void on_ready(void *arg, unsigned events)
{
    struct ear *ear = arg;

    ear->seen |= events;
    ear->n_calls++;
    if (ear->is_closing)
        sl_stream_close(ear->stream);
}

static void readiness_is_a_level_reported_once_a_turn(void **state)
{
    struct ends e = open_ends(&(struct sl_memory_conf){ .capacity = 1 });
    struct ear ear = { .stream = &e.b };
    char c;
    size_t n;

    (void)state;
    sl_stream_on_ready(e.b, on_ready, &ear);
    sl_stream_want(e.b, SL_READABLE);
    sl_loop_turn(e.loop, false);
    assert_int_equal(ear.n_calls, 0);
    assert_int_equal(sl_stream_write(e.a, "x", 1, &n), SL_OK);
    assert_int_equal(ear.n_calls, 0);
    for (int i = 1; i <= 3; i++) {
        sl_loop_turn(e.loop, true);
        assert_int_equal(ear.n_calls, i);
    }
    assert_int_equal(ear.seen, SL_READABLE);
    assert_int_equal(sl_stream_read(e.b, &c, 1, &n), SL_OK);
    sl_loop_turn(e.loop, false);
    assert_int_equal(ear.n_calls, 3);
    sl_stream_want(e.b, SL_WRITABLE);
    sl_stream_want(e.b, 0);
    sl_loop_turn(e.loop, false);
    assert_int_equal(ear.n_calls, 3);
    close_ends(&e);
}

static void room_wakes_the_writer(void **state)
{
    struct ends e = open_ends(&(struct sl_memory_conf){ .capacity = 1 });
    struct ear ear = { .stream = &e.a };
    char c;
    size_t n;

    (void)state;
    assert_int_equal(sl_stream_write(e.a, "x", 1, &n), SL_OK);
    sl_stream_on_ready(e.a, on_ready, &ear);
    sl_stream_want(e.a, SL_WRITABLE);
    sl_loop_turn(e.loop, false);
    assert_int_equal(ear.n_calls, 0);
    assert_int_equal(sl_stream_read(e.b, &c, 1, &n), SL_OK);
    sl_loop_turn(e.loop, true);
    assert_int_equal(ear.seen, SL_WRITABLE);
    close_ends(&e);
}

static void a_stream_may_close_inside_its_callback(void **state)
{
    struct ends e = open_ends(&(struct sl_memory_conf){ 0 });
    struct ear ear = { .stream = &e.a, .is_closing = true };
    size_t n;

    (void)state;
    sl_stream_on_ready(e.a, on_ready, &ear);
    sl_stream_want(e.a, SL_READABLE | SL_WRITABLE);
    sl_loop_turn(e.loop, true);
    sl_loop_turn(e.loop, false);
    assert_int_equal(ear.n_calls, 1);
    assert_int_equal(sl_stream_write(e.b, "x", 1, &n), SL_RESET);
    close_ends(&e);
}

static enum sl_err drain(struct sl_stream *s, size_t *ret_total)
{
    enum sl_err err;
    char buf[4];
    size_t n, total = 0;

    while ((err = sl_stream_read(s, buf, sizeof(buf), &n)) == SL_OK)
        total += n;
    *ret_total = total;
    return err;
}

static void ends_and_resets(void **state)
{
    enum how { SHUTDOWN, CLOSE, RESET };
    static const struct {
        enum how how;
        enum sl_err read;
        size_t total;
        enum sl_err write;
    } rows[] = {
        { SHUTDOWN, SL_EOF, 5, SL_OK },
        { CLOSE, SL_EOF, 5, SL_RESET },
        { RESET, SL_RESET, 0, SL_RESET },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct ends e = open_ends(&(struct sl_memory_conf){ 0 });
        struct ear ear = { .stream = &e.b };
        size_t n;

        sl_stream_on_ready(e.b, on_ready, &ear);
        sl_stream_want(e.b, SL_READABLE);
        assert_int_equal(sl_stream_write(e.a, "hello", 5, &n), SL_OK);
        if (rows[i].how == SHUTDOWN)
            assert_int_equal(sl_stream_shutdown(e.a), SL_OK);
        else if (rows[i].how == CLOSE)
            sl_stream_close(&e.a);
        else
            sl_memory_reset(e.a);
        sl_loop_turn(e.loop, true);
        assert_int_equal(ear.seen, SL_READABLE);
        assert_int_equal(drain(e.b, &n), rows[i].read);
        assert_int_equal(n, rows[i].total);
        assert_int_equal(sl_stream_write(e.b, "x", 1, &n), rows[i].write);
        close_ends(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_in_the_portions_asked_for),
        cmocka_unit_test(a_full_pair_blocks_writes),
        cmocka_unit_test(readiness_is_a_level_reported_once_a_turn),
        cmocka_unit_test(room_wakes_the_writer),
        cmocka_unit_test(a_stream_may_close_inside_its_callback),
        cmocka_unit_test(ends_and_resets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
