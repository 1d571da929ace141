/* test_fetch.c -- a whole request and its whole response, and every way not to get it. */
#include "web_peer.h"

#include "upstream/fetch.h"
#include "upstream/pool.h"

#define MAX_BODY ((size_t)10000)

struct town {
    struct sl_loop *loop;
    struct sl_route route;
    struct sl_pool *pool;
    struct web web;
    struct sl_origin origin;
    struct sl_str body; /* of the request */
    struct sl_fetch *fetch;
    int n_calls;
    uint16_t status;
    enum sl_err err;
    struct sl_buf got;
    bool has_type;
};

static void begin(struct town *t, const struct web_reply *replies, size_t n)
{
    *t = (struct town){ .loop = sl_loop_new_sim(), .body = SL_STR("question") };
    t->route = web_route(t->loop);
    t->pool =
        sl_pool_new(&(struct sl_pool_conf){ .route = t->route,
                                            .limits = { .header_bytes = 16384, .header_count = 50 },
                                            .max_idle_per_origin = 8,
                                            .max_idle = 8,
                                            .idle_timeout_ms = 60000 });
    web_begin(&t->web, t->loop, NULL, replies, n);
    t->origin = web_origin(&t->web);
}

static void end(struct town *t)
{
    sl_fetch_cancel(&t->fetch);
    sl_pool_free(&t->pool);
    web_end(&t->web);
    sl_resolver_free(&t->route.resolver);
    sl_buf_fini(&t->got);
    sl_loop_free(&t->loop);
}

static void on_fetched(void *arg, const struct sl_fetch_reply *reply, const struct sl_fault *fault)
{
    struct town *t = arg;

    t->fetch = NULL;
    t->n_calls++;
    assert_true((reply == NULL) != (fault == NULL));
    t->err = fault != NULL ? fault->err : SL_OK;
    if (reply == NULL)
        return;
    t->status = reply->status;
    t->has_type = sl_fields_find(reply->fields, SL_FIELD_CONTENT_TYPE) != NULL;
    sl_buf_reset(&t->got);
    sl_buf_add_str(&t->got, reply->body);
}

static void start(struct town *t)
{
    t->n_calls = 0;
    t->fetch = sl_fetch_start(&(struct sl_fetch_conf){ .pool = t->pool,
                                                       .origin = &t->origin,
                                                       .method = SL_STR("POST"),
                                                       .target = SL_STR("/check?a=1"),
                                                       .body = t->body,
                                                       .timeout_ms = 500,
                                                       .max_body = MAX_BODY },
                              on_fetched, t);
    assert_int_equal(t->n_calls, 0);
}

static void turn(struct town *t, int n)
{
    while (n-- > 0)
        sl_loop_turn(t->loop, false);
}

static enum sl_err fetch(struct town *t)
{
    start(t);
    while (t->n_calls == 0)
        sl_loop_turn(t->loop, true);
    turn(t, 3);
    assert_int_equal(t->n_calls, 1);
    return t->err;
}

static void assert_body(const struct town *t, const char *text)
{
    assert_int_equal(t->got.len, strlen(text));
    assert_memory_equal(sl_buf_str(&t->got).p, text, strlen(text));
}

static void whole_exchanges(void **state)
{
    static const struct {
        const char *reply, *body;
        uint16_t status;
    } rows[] = {
        { OK_REPLY, "ok", 200 },
        { "HTTP/1.1 204 No Content\r\n\r\n", "", 204 },
        { "HTTP/1.1 503 Oops\r\ncontent-length: 4\r\n\r\nbusy", "busy", 503 },
        { "HTTP/1.1 200 OK\r\ntransfer-encoding: "
          "chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
          "abcde", 200 },
        { "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK_REPLY, "ok",
          200 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        const struct web_reply r = { .text = rows[i].reply };
        struct town t;

        begin(&t, &r, 1);
        for (size_t k = 1; k <= 3; k++) {
            assert_int_equal(fetch(&t), SL_OK);
            assert_int_equal(t.status, rows[i].status);
            assert_body(&t, rows[i].body);
            assert_int_equal(t.web.n_requests, k);
        }
        assert_int_equal(t.web.n_conns, 1);
        assert_true(web_got(&t.web, "POST /check?a=1 HTTP/1.1\r\n"));
        assert_true(web_got(&t.web, "\r\nContent-Length: 8\r\n"));
        assert_true(web_got(&t.web, "\r\n\r\nquestion"));
        end(&t);
    }
}

static void a_reply_until_close_is_whole(void **state)
{
    static const struct web_reply r = {
        .text = "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\n\r\nall there is", .closes = true
    };
    struct town t;

    (void)state;
    begin(&t, &r, 1);
    assert_int_equal(fetch(&t), SL_OK);
    assert_body(&t, "all there is");
    assert_true(t.has_type);
    assert_int_equal(fetch(&t), SL_OK);
    assert_int_equal(t.web.n_conns, 2);
    end(&t);
}

static void bad_replies_fail_and_are_not_asked_again(void **state)
{
    static const struct {
        struct web_reply reply;
        enum sl_err err;
    } rows[] = {
        { { "garbage\r\n\r\n", false, false }, SL_BAD_RESPONSE },
        { { "HTTP/1.1 200 OK\r\nconte", true, false }, SL_RESPONSE_CUT },
        { { "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", true, false }, SL_RESPONSE_CUT },
        { { "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", false,
            false },
          SL_UPGRADE_FAILED },
        { { "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", false, false },
          SL_BAD_RESPONSE },
        { { NULL, true, false }, SL_RESET },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct town t;

        begin(&t, &rows[i].reply, 1);
        assert_int_equal(fetch(&t), rows[i].err);
        assert_int_equal(t.web.n_requests, 1);
        end(&t);
    }
}

static void too_large_a_reply_is_a_limit(void **state)
{
    struct sl_buf text = { 0 };
    struct web_reply r = { 0 };
    struct town t;

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        sl_buf_reset(&text);
        sl_buf_addf(&text, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", MAX_BODY + over);
        for (size_t i = 0; i < MAX_BODY + over; i++)
            sl_buf_add_char(&text, 'x');
        sl_buf_add_char(&text, '\0');
        r.text = sl_buf_str(&text).p;
        begin(&t, &r, 1);
        assert_int_equal(fetch(&t), over == 0 ? SL_OK : SL_LIMIT);
        if (over == 0)
            assert_int_equal(t.got.len, MAX_BODY);
        end(&t);
    }
    sl_buf_fini(&text);
}

static void an_endless_reply_is_a_limit(void **state)
{
    struct web_reply r = { 0 };
    struct sl_buf text = { 0 };
    struct town t;

    (void)state;
    sl_buf_addf(&text, "HTTP/1.1 200 OK\r\n\r\n");
    for (size_t i = 0; i < 20 * MAX_BODY; i++)
        sl_buf_add_char(&text, 'x');
    sl_buf_add_char(&text, '\0');
    r.text = sl_buf_str(&text).p;
    begin(&t, &r, 1);
    assert_int_equal(fetch(&t), SL_LIMIT);
    end(&t);
    sl_buf_fini(&text);
}

static void time_out_while_connecting(void **state)
{
    static const struct web_reply r = { .text = OK_REPLY };
    struct deaf deaf;
    struct town t;

    (void)state;
    begin(&t, &r, 1);
    deaf_begin(&deaf);
    t.origin.port = deaf.port;
    start(&t);
    turn(&t, 5);
    sl_loop_advance(t.loop, 499);
    assert_int_equal(t.n_calls, 0);
    sl_loop_advance(t.loop, 1);
    assert_int_equal(t.n_calls, 1);
    assert_int_equal(t.err, SL_CONNECT_TIMEOUT);
    deaf_end(&deaf);
    end(&t);
}

/* Silence, half a head, half a body: the one deadline covers them all. */
static void time_out_while_reading(void **state)
{
    static const struct web_reply rows[] = {
        { .text = NULL },
        { .text = "HTTP/1.1 200 OK\r\n" },
        { .text = "HTTP/1.1 100 Continue\r\n\r\n" },
        { .text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct town t;

        begin(&t, &rows[i], 1);
        start(&t);
        while (t.web.n_requests == 0)
            sl_loop_turn(t.loop, false);
        turn(&t, 10);
        sl_loop_advance(t.loop, 499);
        assert_int_equal(t.n_calls, 0);
        sl_loop_advance(t.loop, 1);
        assert_int_equal(t.n_calls, 1);
        assert_int_equal(t.err, SL_RESPONSE_TIMEOUT);
        end(&t);
    }
}

static void refused(void **state)
{
    static const struct web_reply r = { .text = OK_REPLY };
    struct town t;

    (void)state;
    begin(&t, &r, 1);
    web_refuse(&t.web);
    assert_int_equal(fetch(&t), SL_REFUSED);
    end(&t);
}

/* The connection was kept, but its peer is gone by the time it is asked again. */
static void a_dead_reused_connection_is_replaced_once(void **state)
{
    static const struct {
        struct web_reply replies[4];
        enum sl_err err;
        size_t n_requests;
    } rows[] = {
        { { { .text = OK_REPLY }, { .closes = true }, { .text = OK_REPLY } }, SL_OK, 3 },
        { { { .text = OK_REPLY }, { .closes = true }, { .closes = true }, { .text = OK_REPLY } },
          SL_RESET,
          3 },
        { { { .text = OK_REPLY }, { .text = "HTTP/1.1 2", .closes = true }, { .text = OK_REPLY } },
          SL_RESPONSE_CUT,
          2 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct town t;

        begin(&t, rows[i].replies, 4);
        assert_int_equal(fetch(&t), SL_OK);
        assert_int_equal(fetch(&t), rows[i].err);
        assert_int_equal(t.web.n_requests, rows[i].n_requests);
        end(&t);
    }
}

/* The peer hangs up before the loop has had a chance to see it. */
static void a_connection_that_died_unnoticed_is_replaced(void **state)
{
    static const struct web_reply r = { .text = OK_REPLY };
    struct town t;

    (void)state;
    begin(&t, &r, 1);
    assert_int_equal(fetch(&t), SL_OK);
    web_hang_up(&t.web);
    assert_int_equal(fetch(&t), SL_OK);
    assert_int_equal(t.web.n_conns, 2);
    end(&t);
}

/* An answer that does not wait for the end of a large question counts, and does not keep the loop
 * busy until it is whole. */
static void a_reply_may_come_before_the_request_is_sent(void **state)
{
    static const struct web_reply r = { .text =
                                            "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno",
                                        .is_hasty = true };
    const size_t n = (size_t)16 << 20;
    struct sl_buf body = { 0 };
    struct town t;

    (void)state;
    memset(sl_buf_reserve(&body, n), 'q', n);
    sl_buf_commit(&body, n);
    begin(&t, &r, 1);
    t.body = sl_buf_str(&body);
    assert_int_equal(fetch(&t), SL_OK);
    assert_int_equal(t.status, 413);
    assert_body(&t, "no");
    end(&t);
    sl_buf_fini(&body);
}

static void cancelled_at_each_step(void **state)
{
    static const struct web_reply r = { .text = OK_REPLY };

    (void)state;
    for (int n = 0; n < 12; n++) {
        struct town t;

        begin(&t, &r, 1);
        start(&t);
        turn(&t, n);
        sl_fetch_cancel(&t.fetch);
        assert_null(t.fetch);
        turn(&t, 3);
        assert_true(t.n_calls == 0 || n > 2);
        assert_int_equal(fetch(&t), SL_OK);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_exchanges),
        cmocka_unit_test(a_reply_until_close_is_whole),
        cmocka_unit_test(bad_replies_fail_and_are_not_asked_again),
        cmocka_unit_test(too_large_a_reply_is_a_limit),
        cmocka_unit_test(an_endless_reply_is_a_limit),
        cmocka_unit_test(time_out_while_connecting),
        cmocka_unit_test(time_out_while_reading),
        cmocka_unit_test(refused),
        cmocka_unit_test(a_dead_reused_connection_is_replaced_once),
        cmocka_unit_test(a_connection_that_died_unnoticed_is_replaced),
        cmocka_unit_test(a_reply_may_come_before_the_request_is_sent),
        cmocka_unit_test(cancelled_at_each_step),
    };

    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
