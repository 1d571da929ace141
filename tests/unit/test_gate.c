/* test_gate.c -- several checks in order: the first no, edits that add up, phases, shadow mode. */
#include "check_kit.h"

#include "base/log.h"
#include "policy/gate.h"

#define N_CHECKS 3u

#define ALLOW_KEPT JSON_REPLY("37", "{\"action\":\"allow\",\"cache\":{\"ttl\":60}}")
#define DENY_KEPT JSON_REPLY("36", "{\"action\":\"deny\",\"cache\":{\"ttl\":60}}")
#define ALLOW_SET                                                                                  \
    JSON_REPLY("54", "{\"action\":\"allow\",\"request\":{\"set\":{\"x\":[\"1\",\"2\"]}}}  ")

/* Three checks a, b, c, and the rule `check a, check b, check c`. */
struct town {
    struct worker w;
    struct web web[N_CHECKS];
    struct web_reply replies[N_CHECKS];
    struct sl_policy *policy;
    const struct sl_rule *rule;
    struct sl_gate *gate;
};

struct town_conf {
    const char *replies[N_CHECKS];
    uint32_t phases[N_CHECKS]; /* 0: request */
    bool shadow[N_CHECKS];
};

#define CONNECT_BIT (1u << SL_PHASE_CONNECT)
#define REQUEST_BIT (1u << SL_PHASE_REQUEST)

static const char *const names[N_CHECKS] = { "a", "b", "c" };

static void begin(struct town *t, struct town_conf conf)
{
    static const uint32_t order[N_CHECKS] = { 0, 1, 2 };
    struct sl_check **checks = sl_zalloc(N_CHECKS * sizeof(*checks));
    struct sl_ruleset *rules = sl_ruleset_new(SL_ACTION_ALLOW);
    struct sl_rule rule = { .action = SL_ACTION_CHECK, .checks = order, .n_checks = N_CHECKS };

    worker_begin(&t->w, sl_loop_new_sim());
    for (size_t i = 0; i < N_CHECKS; i++) {
        t->replies[i] = (struct web_reply){ .text = conf.replies[i] };
        web_begin(&t->web[i], t->w.loop, NULL, &t->replies[i], 1);
        checks[i] = check_at(&t->web[i], (struct sl_check_conf){ .name = names[i],
                                                                 .phases = conf.phases[i],
                                                                 .shadow = conf.shadow[i] });
    }
    sl_ruleset_add(rules, &rule);
    t->rule = sl_ruleset_rule(rules, 0);
    t->policy = sl_policy_new(rules, checks, N_CHECKS);
    t->gate = sl_gate_new(&(struct sl_gate_conf){
        .policy = t->policy, .route = t->w.route, .mailbox = t->w.mailbox });
}

static void end(struct town *t)
{
    sl_gate_free(&t->gate);
    sl_policy_unref(&t->policy);
    for (size_t i = 0; i < N_CHECKS; i++)
        web_end(&t->web[i]);
    worker_end(&t->w);
}

struct answer {
    struct asked asked;
    struct sl_gate_ask_conf conf;
    struct sl_gate_ask *ask;
    struct sl_ruling ruling;
    int n_calls;
};

static void on_ruling(void *arg, const struct sl_ruling *ruling)
{
    struct answer *a = arg;

    a->ask = NULL;
    a->ruling = *ruling;
    a->n_calls++;
}

static void prepare(struct town *t, struct answer *a, uint32_t phases)
{
    *a = (struct answer){ 0 };
    asked_init(&a->asked, (struct asked_conf){ .phase = SL_PHASE_REQUEST });
    a->asked.q.text = SL_STR("");
    a->conf = (struct sl_gate_ask_conf){ .gate = t->gate,
                                         .rule = t->rule,
                                         .question = &a->asked.q,
                                         .arena = &a->asked.arena,
                                         .phases = phases };
}

static void settle(struct town *t, struct answer *a)
{
    a->ask = sl_gate_ask_start(&a->conf, on_ruling, a);
    assert_int_equal(a->n_calls, 0);
    while (a->n_calls == 0)
        sl_loop_turn(t->w.loop, true);
    assert_int_equal(a->n_calls, 1);
}

static void answer_fini(struct answer *a)
{
    sl_gate_ask_cancel(&a->ask);
    sl_ruling_fini(&a->ruling);
    asked_fini(&a->asked);
}

static void assert_asked(const struct town *t, size_t a, size_t b, size_t c)
{
    assert_int_equal(t->web[0].n_requests, a);
    assert_int_equal(t->web[1].n_requests, b);
    assert_int_equal(t->web[2].n_requests, c);
}

static void all_must_allow_and_the_first_no_ends_it(void **state)
{
    static const struct {
        struct town_conf conf;
        enum sl_action action;
        uint32_t n_verdicts; /* as many checks were asked */
    } rows[] = {
        { { .replies = { ALLOW, ALLOW, ALLOW } }, SL_ACTION_ALLOW, 3 },
        { { .replies = { DENY, ALLOW, ALLOW } }, SL_ACTION_DENY, 1 },
        { { .replies = { ALLOW, DENY, ALLOW } }, SL_ACTION_DENY, 2 },
        { { .replies = { ALLOW, ALLOW, DENY } }, SL_ACTION_DENY, 3 },
        { { .replies = { ALLOW, JSON_REPLY("2", "{}"), ALLOW } }, SL_ACTION_DENY, 2 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        uint32_t n = rows[i].n_verdicts;
        struct answer a;
        struct town t;

        begin(&t, rows[i].conf);
        prepare(&t, &a, REQUEST_BIT);
        settle(&t, &a);
        assert_int_equal(a.ruling.action, rows[i].action);
        assert_ptr_equal(a.ruling.rule, t.rule);
        assert_int_equal(a.ruling.n_verdicts, n);
        assert_int_equal(a.ruling.verdicts[n - 1]->allow, rows[i].action == SL_ACTION_ALLOW);
        assert_string_equal(sl_check_name(a.ruling.decider), names[n - 1]);
        assert_int_equal(a.ruling.cache, SL_CACHE_MISS);
        assert_asked(&t, n > 0, n > 1, n > 2);
        answer_fini(&a);
        end(&t);
    }
}

/* Each check sees those before it. */
static void edits_add_up_in_order(void **state)
{
    const struct sl_field *x;
    struct answer a;
    struct town t;
    struct sl_fields *f;

    (void)state;
    begin(&t, (struct town_conf){
                  .replies = { ALLOW_SET,
                               JSON_REPLY("50", "{\"action\":\"allow\",\"request\":{\"set\":"
                                                "{\"y\":\"3\"}}}    "),
                               JSON_REPLY("47", "{\"action\":\"allow\",\"request\":{\"set\":"
                                                "{\"x\":\"4\"}}} ") } });
    prepare(&t, &a, REQUEST_BIT);
    settle(&t, &a);
    assert_int_equal(a.ruling.n_verdicts, 3);
    assert_true(web_got(&t.web[0], "\"headers\":[]"));
    assert_true(web_got(&t.web[1], "\"headers\":[[\"x\",\"1\"],[\"x\",\"2\"]]"));
    assert_true(web_got(&t.web[2], "[\"x\",\"2\"],[\"y\",\"3\"]]"));
    f = &a.asked.head.fields;
    assert_int_equal(f->n, 0);
    sl_edit_apply(&a.ruling.verdicts[0]->request, f, &a.asked.arena);
    assert_int_equal(f->n, 2);
    sl_edit_apply(&a.ruling.verdicts[1]->request, f, &a.asked.arena);
    sl_edit_apply(&a.ruling.verdicts[2]->request, f, &a.asked.arena);
    assert_int_equal(f->n, 2);
    x = sl_fields_find_name(f, SL_STR("x"));
    assert_non_null(x);
    assert_true(sl_str_eq(x->value, SL_STR("4")));
    assert_non_null(sl_fields_find_name(f, SL_STR("y")));
    answer_fini(&a);
    end(&t);
}

static void what_the_cache_knows_is_not_asked(void **state)
{
    struct answer a;
    struct town t;

    (void)state;
    begin(&t, (struct town_conf){ .replies = { ALLOW_KEPT, ALLOW, ALLOW_KEPT } });
    prepare(&t, &a, REQUEST_BIT);
    assert_false(sl_gate_try(&a.conf, &a.ruling));
    assert_int_equal(a.ruling.n_verdicts, 0);
    settle(&t, &a);
    assert_asked(&t, 1, 1, 1);
    answer_fini(&a);
    prepare(&t, &a, REQUEST_BIT); /* a prefix, then one to ask, then the cache again */
    assert_false(sl_gate_try(&a.conf, &a.ruling));
    settle(&t, &a);
    assert_int_equal(a.ruling.cache, SL_CACHE_MISS);
    assert_int_equal(a.ruling.n_verdicts, 3);
    assert_asked(&t, 1, 2, 1);
    answer_fini(&a);
    end(&t);
}

static void a_cached_answer_needs_no_turn(void **state)
{
    static const struct town_conf confs[] = {
        { .replies = { ALLOW_KEPT, ALLOW_KEPT, ALLOW_KEPT } },
        { .replies = { ALLOW_KEPT, DENY_KEPT, ALLOW } },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(confs); i++) {
        enum sl_action action = i == 0 ? SL_ACTION_ALLOW : SL_ACTION_DENY;
        struct answer a;
        struct town t;

        begin(&t, confs[i]);
        prepare(&t, &a, REQUEST_BIT);
        settle(&t, &a);
        answer_fini(&a);
        prepare(&t, &a, REQUEST_BIT);
        assert_true(sl_gate_try(&a.conf, &a.ruling));
        assert_int_equal(a.ruling.action, action);
        assert_int_equal(a.ruling.cache, SL_CACHE_HIT);
        answer_fini(&a);
        prepare(&t, &a, REQUEST_BIT); /* asked all the same: the loop reports, as always */
        settle(&t, &a);
        assert_int_equal(a.ruling.action, action);
        assert_int_equal(a.ruling.cache, SL_CACHE_HIT);
        assert_asked(&t, 1, 1, i == 0);
        answer_fini(&a);
        end(&t);
    }
}

static void checks_are_asked_in_their_phase(void **state)
{
    static const struct {
        uint32_t due;
        bool is_opaque;
        size_t asked[N_CHECKS];      /* of: connect only, request only, both */
        const char *phase[N_CHECKS]; /* NULL: not asked */
    } rows[] = {
        { CONNECT_BIT, false, { 1, 0, 1 }, { "connect", NULL, "connect" } },
        { REQUEST_BIT, false, { 0, 1, 1 }, { NULL, "request", "request" } },
        { CONNECT_BIT | REQUEST_BIT, false, { 1, 1, 1 }, { "connect", "request", "request" } },
        { CONNECT_BIT, true, { 1, 1, 1 }, { "connect", "connect", "connect" } },
        { 0, false, { 0, 0, 0 }, { NULL, NULL, NULL } },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct answer a;
        struct town t;

        begin(&t, (struct town_conf){
                      .replies = { ALLOW, ALLOW, ALLOW },
                      .phases = { CONNECT_BIT, REQUEST_BIT, CONNECT_BIT | REQUEST_BIT } });
        prepare(&t, &a, rows[i].due);
        a.conf.is_opaque = rows[i].is_opaque;
        settle(&t, &a);
        assert_int_equal(a.ruling.action, SL_ACTION_ALLOW);
        assert_asked(&t, rows[i].asked[0], rows[i].asked[1], rows[i].asked[2]);
        for (size_t k = 0; k < N_CHECKS; k++) {
            char text[40];

            snprintf(text, sizeof(text), "\"phase\":\"%s\"", rows[i].phase[k]);
            if (rows[i].phase[k] != NULL)
                assert_true(web_got(&t.web[k], text));
        }
        if (rows[i].due == 0)
            assert_null(a.ruling.decider);
        answer_fini(&a);
        end(&t);
    }
}

static void rules_tell_their_phases(void **state)
{
    struct town t;

    (void)state;
    begin(&t, (struct town_conf){ .replies = { ALLOW, ALLOW, ALLOW } });
    assert_true(sl_gate_has_phase(t.gate, t.rule, SL_PHASE_REQUEST));
    assert_false(sl_gate_has_phase(t.gate, t.rule, SL_PHASE_CONNECT));
    end(&t);
}

/* A check in shadow mode is asked, logged and counted; neither its no nor its edits count. */
static void shadows_have_no_effect(void **state)
{
    static const struct town_conf confs[] = {
        { .replies = { DENY, ALLOW, ALLOW_SET }, .shadow = { true, false, true } },
        { .replies = { DENY_KEPT, ALLOW_KEPT, ALLOW_KEPT }, .shadow = { true, false, true } },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(confs); i++) {
        int64_t before = n_shadow_denied("a");
        struct answer a;
        struct town t;

        begin(&t, confs[i]);
        for (int64_t n = 1; n <= 3; n++) {
            bool known;

            prepare(&t, &a, REQUEST_BIT);
            known = sl_gate_try(&a.conf, &a.ruling);
            assert_int_equal(known, i == 1 && n > 1);
            if (!known)
                settle(&t, &a);
            assert_int_equal(a.ruling.action, SL_ACTION_ALLOW);
            assert_int_equal(a.ruling.n_verdicts, 1);
            assert_string_equal(sl_check_name(a.ruling.decider), "b");
            assert_int_equal(n_shadow_denied("a"), before + n);
            answer_fini(&a);
        }
        assert_int_equal(n_shadow_denied("c"), 0);
        end(&t);
    }
}

static void only_shadows_leave_the_rule_to_decide(void **state)
{
    struct answer a;
    struct town t;

    (void)state;
    begin(&t, (struct town_conf){ .replies = { DENY, JSON_REPLY("2", "{}"), DENY },
                                  .shadow = { true, true, true } });
    prepare(&t, &a, REQUEST_BIT);
    settle(&t, &a);
    assert_int_equal(a.ruling.action, SL_ACTION_ALLOW);
    assert_int_equal(a.ruling.n_verdicts, 0);
    assert_null(a.ruling.decider);
    assert_asked(&t, 1, 1, 1);
    answer_fini(&a);
    end(&t);
}

static void cancelled_at_each_step(void **state)
{
    (void)state;
    for (int n = 0; n < 25; n++) {
        struct answer a;
        struct town t;

        begin(&t, (struct town_conf){ .replies = { ALLOW_KEPT, DENY, ALLOW },
                                      .shadow = { false, true, false } });
        prepare(&t, &a, REQUEST_BIT);
        a.ask = sl_gate_ask_start(&a.conf, on_ruling, &a);
        for (int i = 0; i < n; i++)
            sl_loop_turn(t.w.loop, false);
        answer_fini(&a);
        end(&t);
    }
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
        cmocka_unit_test(all_must_allow_and_the_first_no_ends_it),
        cmocka_unit_test(edits_add_up_in_order),
        cmocka_unit_test(what_the_cache_knows_is_not_asked),
        cmocka_unit_test(a_cached_answer_needs_no_turn),
        cmocka_unit_test(checks_are_asked_in_their_phase),
        cmocka_unit_test(rules_tell_their_phases),
        cmocka_unit_test(shadows_have_no_effect),
        cmocka_unit_test(only_shadows_leave_the_rule_to_decide),
        cmocka_unit_test(cancelled_at_each_step),
    };

    return cmocka_run_group_tests_name("gate", tests, quiet, NULL);
}
