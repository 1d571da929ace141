/* test_dial.c -- the guard stands between a name and every connection; failures, once. */
#include "web_peer.h"

#include "upstream/dial.h"
#include "upstream/guard.h"

static const struct web_reply ok[] = { { .text = OK_REPLY } };

struct town {
    struct sl_loop *loop;
    struct sl_route route;
    struct web web;
    struct sl_dial *dial;
    struct sl_stream *stream;
    struct sl_addr peer;
    struct sl_fault fault;
    int n_calls;
};

static void begin(struct town *t)
{
    *t = (struct town){ .loop = sl_loop_new_sim() };
    t->route = web_route(t->loop);
    web_begin(&t->web, t->loop, NULL, ok, 1);
}

static void end(struct town *t)
{
    sl_dial_cancel(&t->dial);
    sl_stream_close(&t->stream);
    web_end(&t->web);
    sl_resolver_free(&t->route.resolver);
    sl_loop_free(&t->loop);
}

static void on_dialled(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                       const struct sl_fault *fault)
{
    struct town *t = arg;

    t->dial = NULL;
    t->n_calls++;
    t->stream = stream;
    t->peer = *peer;
    assert_true((stream == NULL) == (fault != NULL));
    if (fault != NULL)
        t->fault = *fault;
}

static void start(struct town *t, const char *host, const struct sl_guard *guard)
{
    t->dial = sl_dial_start(&(struct sl_dial_conf){ .loop = t->loop,
                                                    .resolver = t->route.resolver,
                                                    .guard = guard,
                                                    .host = sl_str_of(host),
                                                    .port = web_origin(&t->web).port,
                                                    .is_unix = host[0] == '/' },
                            on_dialled, t);
    assert_int_equal(t->n_calls, 0);
}

static enum sl_err dial(struct town *t, const char *host, const struct sl_guard *guard)
{
    start(t, host, guard);
    while (t->n_calls == 0)
        sl_loop_turn(t->loop, true);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(t->loop, false);
    assert_int_equal(t->n_calls, 1);
    return t->fault.err;
}

static void what_is_blocked_is_not_connected_to(void **state)
{
    static const struct {
        const char *host, *allow;
        enum sl_err err;
    } rows[] = {
        { "127.0.0.1", NULL, SL_BLOCKED_ADDRESS },
        { "localhost", NULL, SL_BLOCKED_ADDRESS },
        { "::ffff:127.0.0.1", NULL, SL_BLOCKED_ADDRESS },
        { "127.0.0.1", "10.0.0.0/8", SL_BLOCKED_ADDRESS },
        { "127.0.0.1", "127.0.0.0/8", SL_OK },
        { "localhost", "127.0.0.0/8", SL_OK },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_cidr allow;
        struct sl_guard *g;
        struct town t;

        if (rows[i].allow != NULL)
            assert_true(sl_cidr_parse(sl_str_of(rows[i].allow), &allow));
        g = sl_guard_new(
            &(struct sl_guard_conf){ .allow = &allow, .n_allow = rows[i].allow != NULL });
        begin(&t);
        assert_int_equal(dial(&t, rows[i].host, g), rows[i].err);
        assert_int_equal(t.web.n_conns, rows[i].err == SL_OK);
        if (rows[i].err == SL_OK)
            assert_true(sl_addr_eq(&t.peer, &t.web.addr));
        else
            assert_non_null(strstr(t.fault.text, "is not an allowed address"));
        end(&t);
        sl_guard_free(&g);
    }
}

static void own_listeners_are_never_reached(void **state)
{
    struct sl_cidr all;
    struct sl_guard *g;
    struct town t;

    (void)state;
    begin(&t);
    assert_true(sl_cidr_parse(SL_STR("0.0.0.0/0"), &all));
    g = sl_guard_new(
        &(struct sl_guard_conf){ .allow = &all, .n_allow = 1, .own = &t.web.addr, .n_own = 1 });
    assert_int_equal(dial(&t, "localhost", g), SL_BLOCKED_ADDRESS);
    assert_int_equal(t.web.n_conns, 0);
    end(&t);
    sl_guard_free(&g);
}

static void failures_are_reported_once(void **state)
{
    struct town t;

    (void)state;
    begin(&t);
    web_refuse(&t.web);
    assert_int_equal(dial(&t, "127.0.0.1", NULL), SL_REFUSED);
    end(&t);
    begin(&t);
    assert_int_equal(dial(&t, "/nonexistent/socket", NULL), SL_IO);
    end(&t);
}

static void cancelled_at_each_step(void **state)
{
    (void)state;
    for (int n = 0; n < 4; n++) {
        struct town t;

        begin(&t);
        start(&t, "127.0.0.1", NULL);
        for (int i = 0; i < n; i++)
            sl_loop_turn(t.loop, false);
        sl_dial_cancel(&t.dial);
        sl_dial_cancel(&t.dial);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_blocked_is_not_connected_to),
        cmocka_unit_test(own_listeners_are_never_reached),
        cmocka_unit_test(failures_are_reported_once),
        cmocka_unit_test(cancelled_at_each_step),
    };

    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
