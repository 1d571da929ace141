/* test_check.c -- a check service asked, not asked, late, wrong, full and gone. */
#include "check_kit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"

struct town {
    struct worker w;
    struct web web;
    struct sl_check *check;
    struct sl_check_client *client;
};

static void begin(struct town *t, struct sl_check_conf conf, const struct web_reply *replies,
                  size_t n)
{
    worker_begin(&t->w, sl_loop_new_sim());
    web_begin(&t->web, t->w.loop, NULL, replies, n);
    t->check = check_at(&t->web, conf);
    t->client = sl_check_client_new(&(struct sl_check_client_conf){
        .check = t->check, .route = t->w.route, .mailbox = t->w.mailbox });
}

static void end(struct town *t)
{
    sl_check_client_free(&t->client);
    sl_check_free(&t->check);
    web_end(&t->web);
    worker_end(&t->w);
}

struct answer {
    struct asked asked;
    struct sl_ask *ask;
    struct sl_verdict *verdict;
    int n_calls;
};

static void on_answer(void *arg, struct sl_verdict *verdict)
{
    struct answer *a = arg;

    assert_non_null(verdict);
    a->ask = NULL;
    a->verdict = verdict;
    a->n_calls++;
}

static void ask(struct sl_check_client *client, struct answer *a, struct asked_conf conf)
{
    *a = (struct answer){ 0 };
    conf.phase = SL_PHASE_REQUEST;
    asked_init(&a->asked, conf);
    a->ask = sl_ask_start(client, &a->asked.q, on_answer, a);
    assert_int_equal(a->n_calls, 0);
}

static void wait_for(struct sl_loop *loop, const struct answer *a)
{
    while (a->n_calls == 0)
        sl_loop_turn(loop, true);
    assert_int_equal(a->n_calls, 1);
}

static void answer_fini(struct answer *a)
{
    sl_ask_cancel(&a->ask);
    sl_verdict_unref(&a->verdict);
    asked_fini(&a->asked);
}

/* Asks and says whether it was allowed; @a ret_failed may be NULL. */
static bool allows(struct town *t, struct asked_conf conf, bool *ret_failed)
{
    struct answer a;
    bool allow;

    ask(t->client, &a, conf);
    wait_for(t->w.loop, &a);
    allow = a.verdict->allow;
    if (ret_failed != NULL)
        *ret_failed = a.verdict->is_failure;
    if (a.verdict->is_failure) {
        assert_int_equal(a.verdict->status, 503);
        assert_true(sl_str_eq(a.verdict->reason, SL_STR("check unavailable")));
    }
    answer_fini(&a);
    return allow;
}

static bool is_cached(struct town *t, struct asked_conf conf)
{
    struct sl_verdict *v;
    struct asked q;
    bool cached;

    conf.phase = SL_PHASE_REQUEST;
    asked_init(&q, conf);
    v = sl_check_cached(t->check, &q.q, sl_loop_now_ms(t->w.loop));
    cached = v != NULL;
    sl_verdict_unref(&v);
    asked_fini(&q);
    return cached;
}

static void it_is_asked_and_believed(void **state)
{
    static const struct web_reply replies[] = { { .text = ALLOW }, { .text = DENY } };
    struct town t;
    bool failed;

    (void)state;
    begin(&t, (struct sl_check_conf){ 0 }, replies, 2);
    assert_true(allows(&t, (struct asked_conf){ .user = "eve" }, &failed));
    assert_false(failed);
    assert_true(web_got(&t.web, "POST /check HTTP/1.1\r\n"));
    assert_true(web_got(&t.web, "\r\ncontent-type: application/json\r\n"));
    assert_true(web_got(&t.web, "\"user\":\"eve\""));
    assert_false(allows(&t, (struct asked_conf){ 0 }, &failed));
    assert_false(failed);
    assert_int_equal(t.web.n_conns, 1);
    assert_false(is_cached(&t, (struct asked_conf){ 0 }));
    end(&t);
}

static void identical_questions_are_asked_once(void **state)
{
    static const struct web_reply r = { .text = ALLOW };
    struct answer a[4];
    struct town t;

    (void)state;
    begin(&t, (struct sl_check_conf){ 0 }, &r, 1);
    t.web.holds = true;
    for (int i = 0; i < 3; i++)
        ask(t.client, &a[i], (struct asked_conf){ 0 });
    ask(t.client, &a[3], (struct asked_conf){ .user = "eve" });
    while (t.web.n_requests < 2)
        sl_loop_turn(t.w.loop, true);
    sl_ask_cancel(&a[0].ask); /* the one who led */
    web_release(&t.web);
    for (int i = 1; i < 4; i++)
        wait_for(t.w.loop, &a[i]);
    assert_int_equal(a[0].n_calls, 0);
    assert_ptr_equal(a[1].verdict, a[2].verdict);
    assert_ptr_not_equal(a[1].verdict, a[3].verdict);
    assert_int_equal(t.web.n_requests, 2);
    for (int i = 0; i < 4; i++)
        answer_fini(&a[i]);
    end(&t);
}

/* -- failures -- */

enum trouble { REFUSES, DEAF, SILENT, SAYS_500, SAYS_GARBAGE, SAYS_NO_ACTION, CUTS };

static const struct {
    enum trouble trouble;
    enum sl_check_class cls;
    const char *cls_name;
} troubles[] = {
    { REFUSES, SL_CHECK_CONNECT, "connect" },
    { DEAF, SL_CHECK_TIMEOUT, "timeout" },
    { SILENT, SL_CHECK_TIMEOUT, "timeout" },
    { SAYS_500, SL_CHECK_BAD_REPLY, "bad_reply" },
    { SAYS_GARBAGE, SL_CHECK_BAD_REPLY, "bad_reply" },
    { SAYS_NO_ACTION, SL_CHECK_BAD_REPLY, "bad_reply" },
    { CUTS, SL_CHECK_BAD_REPLY, "bad_reply" },
};

static const struct web_reply trouble_replies[] = {
    [SILENT] = { .text = NULL },
    [SAYS_500] = { .text =
                       "HTTP/1.1 500 Oops\r\ncontent-length: 18\r\n\r\n{\"action\":\"allow\"}" },
    [SAYS_GARBAGE] = { .text = JSON_REPLY("5", "{\"act") },
    [SAYS_NO_ACTION] = { .text = JSON_REPLY("2", "{}") },
    [CUTS] = { .text = JSON_REPLY("19", "{\"action\":\"allow\"}"), .closes = true },
};

static void make_trouble(struct town *t, enum trouble trouble, struct answer *a)
{
    web_hang_up(&t->web);
    t->web.replies = &trouble_replies[trouble];
    t->web.n_replies = 1;
    if (trouble == REFUSES)
        web_refuse(&t->web);
    ask(t->client, a, (struct asked_conf){ 0 });
    for (int i = 0; i < 30 && a->n_calls == 0; i++)
        sl_loop_turn(t->w.loop, false);
    if (a->n_calls == 0) {
        assert_true(trouble == SILENT || trouble == DEAF);
        sl_loop_advance(t->w.loop, 499);
        sl_loop_turn(t->w.loop, false);
        assert_int_equal(a->n_calls, 0);
        sl_loop_advance(t->w.loop, 1);
    }
    wait_for(t->w.loop, a);
}

/* threat: check-skipped */
static void failures_are_what_on_error_says_of_their_class(void **state)
{
    static const struct {
        enum sl_on_error on_error;
        const char *outcome;
    } outcomes[] = {
        { SL_ON_ERROR_DENY, "deny" },
        { SL_ON_ERROR_ALLOW, "allow" },
        { SL_ON_ERROR_STALE, "deny" }, /* nothing stale to be had */
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(troubles) * SL_LEN(outcomes); i++) {
        enum trouble trouble = troubles[i % SL_LEN(troubles)].trouble;
        const char *cls = troubles[i % SL_LEN(troubles)].cls_name;
        const char *outcome = outcomes[i / SL_LEN(troubles)].outcome;
        struct sl_check_conf conf = { .ttl_ms = 1000 };
        int64_t before = n_failures("c", cls, outcome);
        struct answer a;
        struct deaf deaf;
        struct town t;

        conf.on_error[troubles[i % SL_LEN(troubles)].cls] = outcomes[i / SL_LEN(troubles)].on_error;
        begin(&t, conf, &trouble_replies[SILENT], 1);
        if (trouble == DEAF) {
            deaf_begin(&deaf);
            sl_addr_set_port(&t.web.addr, deaf.port);
            sl_check_client_free(&t.client);
            sl_check_free(&t.check);
            t.check = check_at(&t.web, conf);
            t.client = sl_check_client_new(&(struct sl_check_client_conf){
                .check = t.check, .route = t.w.route, .mailbox = t.w.mailbox });
        }
        make_trouble(&t, trouble, &a);
        assert_int_equal(a.verdict->allow, outcome[0] == 'a');
        assert_true(a.verdict->is_failure);
        assert_int_equal(n_failures("c", cls, outcome), before + 1);
        assert_false(is_cached(&t, (struct asked_conf){ 0 }));
        answer_fini(&a);
        end(&t);
        if (trouble == DEAF)
            deaf_end(&deaf);
    }
}

static void stale_verdicts_help_where_they_may(void **state)
{
    static const struct web_reply replies[] = { { .text = ALLOW }, { .text = DENY } };
    int64_t before = n_failures("c", "bad_reply", "stale");

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sl_check_conf conf = { .ttl_ms = 1000 };
        struct answer a;
        struct town t;

        conf.on_error[SL_CHECK_BAD_REPLY] = SL_ON_ERROR_STALE;
        begin(&t, conf, &replies[i], 1);
        assert_int_equal(allows(&t, (struct asked_conf){ 0 }, NULL), i == 0);
        assert_true(is_cached(&t, (struct asked_conf){ 0 }));
        sl_loop_advance(t.w.loop, 1000);
        assert_false(is_cached(&t, (struct asked_conf){ 0 }));
        make_trouble(&t, SAYS_500, &a);
        assert_int_equal(a.verdict->allow, i == 0);
        assert_false(a.verdict->is_failure);
        answer_fini(&a);
        make_trouble(&t, REFUSES, &a); /* of another class: denied */
        assert_false(a.verdict->allow);
        assert_true(a.verdict->is_failure);
        answer_fini(&a);
        end(&t);
    }
    assert_int_equal(n_failures("c", "bad_reply", "stale"), before + 2);
}

static void too_many_in_flight_are_an_overload(void **state)
{
    static const struct web_reply r = { .text = ALLOW };
    struct sl_check_conf conf = { .max_in_flight = 2 };
    int64_t before = n_failures("c", "overload", "deny");
    struct answer a[4];
    struct town t;

    (void)state;
    begin(&t, conf, &r, 1);
    t.web.holds = true;
    ask(t.client, &a[0], (struct asked_conf){ .user = "a" });
    ask(t.client, &a[1], (struct asked_conf){ .user = "b" });
    ask(t.client, &a[2], (struct asked_conf){ .user = "c" });
    ask(t.client, &a[3], (struct asked_conf){ .user = "b" }); /* joins: not one more */
    wait_for(t.w.loop, &a[2]);
    assert_false(a[2].verdict->allow);
    assert_true(a[2].verdict->is_failure);
    assert_int_equal(n_failures("c", "overload", "deny"), before + 1);
    while (t.web.n_requests < 2)
        sl_loop_turn(t.w.loop, true);
    web_release(&t.web);
    for (int i = 0; i < 4; i++) {
        wait_for(t.w.loop, &a[i]);
        assert_int_equal(a[i].verdict->allow, i != 2);
        answer_fini(&a[i]);
    }
    assert_true(allows(&t, (struct asked_conf){ .user = "c" }, NULL));
    end(&t);
}

/* -- the cache -- */

static void verdicts_are_kept_as_long_as_agreed(void **state)
{
    static const struct {
        const char *reply;
        uint64_t ttl_ms, max_ttl_ms, kept_ms; /* of the configuration; 0: not kept */
    } rows[] = {
        { ALLOW, 0, 60000, 0 },
        { ALLOW, 2000, 60000, 2000 },
        { ALLOW, 90000, 60000, 60000 },
        { JSON_REPLY("36", "{\"action\":\"allow\",\"cache\":{\"ttl\":5}}"), 0, 60000, 5000 },
        { JSON_REPLY("36", "{\"action\":\"allow\",\"cache\":{\"ttl\":5}}"), 2000, 60000, 5000 },
        { JSON_REPLY("37", "{\"action\":\"allow\",\"cache\":{\"ttl\":99}}"), 0, 60000, 60000 },
        { JSON_REPLY("36", "{\"action\":\"allow\",\"cache\":{\"ttl\":0}}"), 2000, 60000, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        const struct web_reply r = { .text = rows[i].reply };
        struct town t;

        begin(&t,
              (struct sl_check_conf){ .ttl_ms = rows[i].ttl_ms, .max_ttl_ms = rows[i].max_ttl_ms },
              &r, 1);
        assert_true(allows(&t, (struct asked_conf){ 0 }, NULL));
        assert_int_equal(is_cached(&t, (struct asked_conf){ 0 }), rows[i].kept_ms != 0);
        assert_false(is_cached(&t, (struct asked_conf){ .user = "eve" }));
        if (rows[i].kept_ms != 0) {
            sl_loop_advance(t.w.loop, rows[i].kept_ms - 1);
            assert_true(is_cached(&t, (struct asked_conf){ 0 }));
            sl_loop_advance(t.w.loop, 1);
        }
        assert_false(is_cached(&t, (struct asked_conf){ 0 }));
        end(&t);
    }
}

static void verdicts_serve_what_they_do_not_vary_by(void **state)
{
    static const struct web_reply r = {
        .text =
            JSON_REPLY("52", "{\"action\":\"allow\",\"cache\":{\"ttl\":5,\"vary\":[\"host\"]}}")
    };
    struct town t;

    (void)state;
    begin(&t, (struct sl_check_conf){ 0 }, &r, 1);
    assert_true(allows(&t, (struct asked_conf){ 0 }, NULL));
    assert_true(is_cached(&t, (struct asked_conf){ .user = "eve", .target = "/x" }));
    assert_false(is_cached(&t, (struct asked_conf){ .host = "example.org" }));
    end(&t);
}

/* -- ends -- */

/* threat: callback-after-reset */
static void cancelled_at_each_step(void **state)
{
    static const struct web_reply r = { .text = ALLOW };

    (void)state;
    for (int n = 0; n < 12; n++) {
        struct answer a;
        struct town t;

        begin(&t, (struct sl_check_conf){ 0 }, &r, 1);
        ask(t.client, &a, (struct asked_conf){ 0 });
        for (int i = 0; i < n; i++)
            sl_loop_turn(t.w.loop, false);
        answer_fini(&a);
        end(&t);
    }
}

/* The worker that asks goes away: whoever waited asks again, through a worker of its own. */
/* threat: callback-after-reset */
static void others_ask_again_when_the_leader_goes(void **state)
{
    static const struct web_reply r = { .text = ALLOW };
    struct sl_check_client *leader;
    struct answer a, b;
    struct town t;

    (void)state;
    begin(&t, (struct sl_check_conf){ 0 }, &r, 1);
    leader = sl_check_client_new(&(struct sl_check_client_conf){
        .check = t.check, .route = t.w.route, .mailbox = t.w.mailbox });
    t.web.holds = true;
    ask(leader, &a, (struct asked_conf){ 0 });
    ask(t.client, &b, (struct asked_conf){ 0 });
    while (t.web.n_requests < 1)
        sl_loop_turn(t.w.loop, true);
    answer_fini(&a);
    sl_check_client_free(&leader);
    assert_int_equal(b.n_calls, 0);
    while (t.web.n_requests < 2)
        sl_loop_turn(t.w.loop, true);
    web_release(&t.web);
    wait_for(t.w.loop, &b);
    assert_true(b.verdict->allow);
    assert_false(b.verdict->is_failure);
    answer_fini(&b);
    end(&t);
}

/* -- two workers -- */

struct clerk {
    pthread_t id;
    struct sl_check *check;
    atomic_bool *has_asked;
    bool allow, failed;
};

static void *work(void *arg)
{
    struct clerk *c = arg;
    struct sl_check_client *client;
    struct worker w;
    struct answer a;

    worker_begin(&w, sl_loop_new());
    client = sl_check_client_new(&(struct sl_check_client_conf){
        .check = c->check, .route = w.route, .mailbox = w.mailbox });
    ask(client, &a, (struct asked_conf){ 0 });
    atomic_store(c->has_asked, true);
    wait_for(w.loop, &a);
    c->allow = a.verdict->allow;
    c->failed = a.verdict->is_failure;
    answer_fini(&a);
    sl_check_client_free(&client);
    worker_end(&w);
    sl_chunk_drain();
    return NULL;
}

static void two_workers_ask_once(void **state)
{
    static const struct web_reply r = { .text = ALLOW };

    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_bool has_asked[2] = { false, false };
        struct clerk c[2];
        struct town t;

        begin(&t, (struct sl_check_conf){ .timeout_ms = 30000 }, &r, 1);
        t.web.holds = true;
        for (size_t i = 0; i < 2; i++) {
            c[i] = (struct clerk){ .check = t.check, .has_asked = &has_asked[i] };
            assert_int_equal(pthread_create(&c[i].id, NULL, work, &c[i]), 0);
        }
        while (!atomic_load(&has_asked[0]) || !atomic_load(&has_asked[1]) || t.web.n_requests == 0)
            sl_loop_turn(t.w.loop, false);
        web_release(&t.web);
        for (size_t i = 0; i < 2; i++) {
            pthread_join(c[i].id, NULL);
            assert_true(c[i].allow);
            assert_false(c[i].failed);
        }
        for (int i = 0; i < 5; i++)
            sl_loop_turn(t.w.loop, false);
        assert_int_equal(t.web.n_requests, 1);
        end(&t);
    }
}

/* -- the log -- */

static void a_broken_service_does_not_flood_the_log(void **state)
{
    int64_t before = n_failures("c", "bad_reply", "deny");
    char path[] = "/tmp/sluice-check-XXXXXX", text[4096];
    int fd = mkstemp(path), kept = dup(STDERR_FILENO);
    struct town t;
    ssize_t n;
    size_t lines = 0;

    (void)state;
    assert_true(fd >= 0 && kept >= 0);
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_WARN });
    begin(&t, (struct sl_check_conf){ 0 }, &trouble_replies[SAYS_500], 1);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    for (int i = 0; i < 50; i++)
        (void)allows(&t, (struct asked_conf){ 0 }, NULL);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    n = pread(fd, text, sizeof(text), 0);
    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_in_range(lines, 1, 3); /* a slow machine may need more than a second */
    assert_int_equal(n_failures("c", "bad_reply", "deny"), before + 50);
    close(kept);
    close(fd);
    unlink(path);
    end(&t);
}

static int quiet(void **state)
{
    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_ERROR });
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_asked_and_believed),
        cmocka_unit_test(identical_questions_are_asked_once),
        cmocka_unit_test(failures_are_what_on_error_says_of_their_class),
        cmocka_unit_test(stale_verdicts_help_where_they_may),
        cmocka_unit_test(too_many_in_flight_are_an_overload),
        cmocka_unit_test(verdicts_are_kept_as_long_as_agreed),
        cmocka_unit_test(verdicts_serve_what_they_do_not_vary_by),
        cmocka_unit_test(cancelled_at_each_step),
        cmocka_unit_test(others_ask_again_when_the_leader_goes),
        cmocka_unit_test(two_workers_ask_once),
        cmocka_unit_test(a_broken_service_does_not_flood_the_log),
    };

    return cmocka_run_group_tests_name("check", tests, quiet, NULL);
}
