/* test_ruleset.c -- which rule decides, and what becomes of doubt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/ruleset.h"

#define MAX_RULES 5

struct row {
    const char *when;
    enum sl_action action;
};

static struct sl_ruleset *build(const struct row *rows)
{
    struct sl_ruleset *set = sl_ruleset_new(SL_ACTION_ALLOW);

    for (size_t i = 0; i < MAX_RULES && rows[i].when != NULL; i++) {
        struct sl_rule rule = { .action = rows[i].action };
        struct sl_parse_error error;

        assert_int_equal(sl_expression_parse(sl_str_of(rows[i].when), &rule.when, &error), SL_OK);
        sl_ruleset_add(set, &rule);
        assert_null(rule.when);
    }
    return set;
}

/* A CONNECT to a.example:443. */
static const struct sl_facts at_connect = {
    .known = SL_FACT_BIT(SL_FACT_HOST) | SL_FACT_BIT(SL_FACT_PORT),
    .host = { "a.example", 9 },
    .port = 443,
};

/* POST /x inside it, with a chunked body. */
static const struct sl_facts at_request = {
    .known = SL_FACT_BIT(SL_FACT_HOST) | SL_FACT_BIT(SL_FACT_PORT) | SL_FACT_BIT(SL_FACT_METHOD) |
             SL_FACT_BIT(SL_FACT_TARGET) | SL_FACT_BIT(SL_FACT_HEADERS),
    .host = { "a.example", 9 },
    .port = 443,
    .method = { "POST", 4 },
    .path = { "/x", 2 },
};

/* clang-format off */
static const struct {
    struct row rules[MAX_RULES];
    const struct sl_facts *facts;
    enum sl_stage stage;
    enum sl_decided decided;
    uint32_t index;
    bool in_doubt, awaits_response;
} cases[] = {
    /* in order, first true decides */
    { { { "port 80", SL_ACTION_DENY }, { "port 443", SL_ACTION_TUNNEL }, { "any", SL_ACTION_DENY } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_RULE, 1, false, false },
    { { { "port 80", SL_ACTION_DENY } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_DEFAULT, 1, false, false },
    { { { NULL, SL_ACTION_DENY } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_DEFAULT, 0, false, false },
    /* early doubt stops the walk, whatever the action */
    { { { "path /x", SL_ACTION_ALLOW }, { "any", SL_ACTION_DENY } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_UNKNOWN, 0, true, false },
    { { { "port 80", SL_ACTION_DENY }, { "path /x", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_UNKNOWN, 1, true, false },
    { { { "type a/b", SL_ACTION_DENY }, { "any", SL_ACTION_TUNNEL } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_UNKNOWN, 0, true, false },
    /* ... but not behind a rule that is true */
    { { { "host a.example", SL_ACTION_TUNNEL }, { "path /x", SL_ACTION_DENY } },
      &at_connect, SL_STAGE_EARLY, SL_DECIDED_RULE, 0, false, false },
    /* nothing more will be known: doubt never opens */
    { { { "path /x", SL_ACTION_ALLOW }, { "path /y", SL_ACTION_TUNNEL }, { "path /z", SL_ACTION_DENY } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_RULE, 2, true, false },
    { { { "path /x", SL_ACTION_REFUSE }, { "any", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_RULE, 0, true, false },
    { { { "path /x", SL_ACTION_CHECK }, { "any", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_RULE, 0, true, false },
    { { { "type a/b", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_RULE, 0, true, false },
    { { { "not path /x", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_RULE, 0, true, false },
    { { { "path /x", SL_ACTION_ALLOW } },
      &at_connect, SL_STAGE_OPAQUE, SL_DECIDED_DEFAULT, 1, false, false },
    /* a request whose length is not declared */
    { { { "method POST and size > 10MiB", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 0, true, false },
    { { { "size <= 10MiB", SL_ACTION_ALLOW }, { "any", SL_ACTION_DENY } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 1, false, false },
    { { { "method GET and size > 10MiB", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 1, false, false },
    /* rules on the response wait for it */
    { { { "type video/*", SL_ACTION_DENY }, { "path /x", SL_ACTION_CHECK } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 1, false, true },
    { { { "type video/*", SL_ACTION_DENY } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_DEFAULT, 1, false, true },
    { { { "path /x", SL_ACTION_ALLOW }, { "type video/*", SL_ACTION_DENY } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 0, false, false },
    { { { "path /y and type video/*", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 1, false, false },
    { { { "path /x or type video/*", SL_ACTION_DENY }, { "any", SL_ACTION_ALLOW } },
      &at_request, SL_STAGE_REQUEST, SL_DECIDED_RULE, 0, false, false },
};
/* clang-format on */

static void test_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_ruleset *set = build(cases[i].rules);
        struct sl_decision d = sl_ruleset_decide(set, cases[i].facts, cases[i].stage);

        if (d.decided != cases[i].decided || d.index != cases[i].index ||
            d.in_doubt != cases[i].in_doubt || d.awaits_response != cases[i].awaits_response ||
            d.rule != sl_ruleset_rule(set, d.index))
            fail_msg("case %zu: %d, rule %u", i, (int)d.decided, d.index);
        sl_ruleset_unref(&set);
    }
}

static struct sl_facts with_response(uint16_t status, const char *type)
{
    struct sl_facts facts = at_request;

    facts.known |= SL_FACTS_OF_RESPONSE;
    facts.status = status;
    facts.type = sl_str_of(type);
    return facts;
}

static void test_second_look(void **state)
{
    static const struct row rows[MAX_RULES] = {
        { "type video/* and size > 1", SL_ACTION_DENY },
        { "status 404", SL_ACTION_ALLOW },
        { "type video/*", SL_ACTION_DENY },
        { "any", SL_ACTION_CHECK },
        { "type text/*", SL_ACTION_DENY },
    };
    struct sl_ruleset *set = build(rows);
    struct sl_decision request = sl_ruleset_decide(set, &at_request, SL_STAGE_REQUEST);
    struct sl_facts text = with_response(200, "text/html");
    struct sl_facts video = with_response(200, "video/mp4");
    struct sl_decision d;

    (void)state;
    assert_int_equal(request.index, 3);
    assert_true(request.awaits_response);
    d = sl_ruleset_decide_response(set, &text, &request);
    assert_int_equal(d.index, 3);
    assert_ptr_equal(d.rule, request.rule);
    d = sl_ruleset_decide_response(set, &video, &request);
    assert_int_equal(d.index, 0);
    assert_true(d.in_doubt);
    video.known |= SL_FACT_BIT(SL_FACT_SIZE);
    d = sl_ruleset_decide_response(set, &video, &request);
    assert_int_equal(d.index, 2);
    assert_false(d.in_doubt);
    video.status = 404;
    d = sl_ruleset_decide_response(set, &video, &request);
    assert_int_equal(d.index, 1);
    sl_ruleset_unref(&set);
}

static void test_rules_are_copied(void **state)
{
    struct sl_ruleset *set = sl_ruleset_new(SL_ACTION_DENY);
    struct sl_ruleset *other;
    char reason[] = "advertising";
    char named[] = "a.example";
    struct sl_host_pattern names[] = { { .kind = SL_HOST_NAME, .name = sl_str_of(named) } };
    uint32_t checks[] = { 3, 1 };
    struct sl_rule rule = { .action = SL_ACTION_CHECK,
                            .checks = checks,
                            .n_checks = 2,
                            .names = names,
                            .n_names = 1,
                            .reason = sl_str_of(reason),
                            .line = 12,
                            .verify = SL_FORCE_OFF };
    const struct sl_rule *copy;

    (void)state;
    sl_ruleset_add(set, &rule);
    rule.name = SL_STR("second");
    rule.n_checks = 0;
    sl_ruleset_add(set, &rule);
    memset(reason, 'x', sizeof(reason) - 1);
    memset(named, 'x', sizeof(named) - 1);
    names[0].kind = SL_HOST_NET;
    checks[0] = 9;
    other = sl_ruleset_ref(set);
    sl_ruleset_unref(&set);
    assert_null(set);
    assert_int_equal(sl_ruleset_len(other), 2);
    copy = sl_ruleset_rule(other, 0);
    assert_string_equal(copy->name.p, "rule-1");
    assert_string_equal(copy->reason.p, "advertising");
    assert_int_equal(copy->checks[0], 3);
    assert_int_equal(copy->checks[1], 1);
    assert_true(sl_rule_permits_name(copy, SL_STR("b.example"), SL_STR("a.example")));
    assert_int_equal(copy->verify, SL_FORCE_OFF);
    assert_int_equal(copy->http2, SL_INHERIT);
    assert_string_equal(sl_ruleset_rule(other, 1)->name.p, "second");
    assert_string_equal(sl_ruleset_rule(other, 2)->name.p, "default");
    assert_int_equal(sl_ruleset_rule(other, 2)->action, SL_ACTION_DENY);
    sl_ruleset_unref(&other);
    sl_ruleset_unref(&other);
}

/* threat: one-name */
static void test_exceptions_are_named(void **state)
{
    static const struct {
        const char *host, *name; /* of the tunnel; said inside */
        bool named, unnamed;     /* by a rule with names, by one without */
    } rows[] = {
        { "lb.example", "lb.example", true, true },
        { "lb.example", "a.example", true, false },
        { "192.0.2.7", "a.example", true, false },
        { "lb.example", "www.a.example", false, false },
        { "lb.example", "xa.example", false, false },
        { "lb.example", "example", false, false },
        { "lb.example", "x.b.example", true, false },
        { "lb.example", "y.x.b.example", true, false },
        { "lb.example", "b.example", false, false },
        { "lb.example", "c.example", true, false },
        { "lb.example", "x.c.example", true, false },
        { "lb.example", "192.0.2.7", false, false },
        { "lb.example", "", false, false },
    };
    struct sl_host_pattern names[] = {
        { .kind = SL_HOST_NAME, .name = SL_STR("a.example") },
        { .kind = SL_HOST_BELOW, .name = SL_STR("b.example") },
        { .kind = SL_HOST_TREE, .name = SL_STR("c.example") },
    };
    struct sl_rule with = { .names = names, .n_names = SL_LEN(names) }, without = { 0 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_str host = sl_str_of(rows[i].host), name = sl_str_of(rows[i].name);

        if (sl_rule_permits_name(&with, host, name) != rows[i].named ||
            sl_rule_permits_name(&without, host, name) != rows[i].unnamed)
            fail_msg("row %zu", i);
    }
}

static void test_needs(void **state)
{
    static const struct row rows[MAX_RULES] = {
        { "host a and dst 10.0.0.0/8", SL_ACTION_DENY },
        { "type a/b", SL_ACTION_DENY },
    };
    struct sl_ruleset *set = build(rows);

    (void)state;
    assert_int_equal(sl_ruleset_needs(set), SL_FACT_BIT(SL_FACT_HOST) | SL_FACT_BIT(SL_FACT_DST) |
                                                SL_FACT_BIT(SL_FACT_TYPE));
    sl_ruleset_unref(&set);
}

static void test_action_names(void **state)
{
    (void)state;
    assert_string_equal(sl_action_name(SL_ACTION_ALLOW), "allow");
    assert_string_equal(sl_action_name(SL_ACTION_CHECK), "check");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),        cmocka_unit_test(test_second_look),
        cmocka_unit_test(test_rules_are_copied), cmocka_unit_test(test_needs),
        cmocka_unit_test(test_action_names),     cmocka_unit_test(test_exceptions_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
