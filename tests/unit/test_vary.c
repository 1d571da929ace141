/* test_vary.c -- which questions are the same under which parts, and the questions themselves. */
#include "question_kit.h"

#include "policy/vary.h"

static struct sl_vary vary_of(const char *const *members)
{
    struct sl_vary v = { 0 };

    v.all = members[0] == NULL;
    for (size_t i = 0; members[i] != NULL; i++)
        assert_true(sl_vary_add(&v, sl_str_of(members[i])));
    return v;
}

static bool is_same(const struct sl_vary *v, struct asked_conf a, struct asked_conf b)
{
    struct sl_buf ka = { 0 }, kb = { 0 };
    struct asked qa, qb;
    bool same;

    asked_init(&qa, a);
    asked_init(&qb, b);
    sl_vary_key(v, &qa.q, &ka);
    sl_vary_key(v, &qb.q, &kb);
    same = sl_str_eq(sl_buf_str(&ka), sl_buf_str(&kb));
    sl_buf_fini(&ka);
    sl_buf_fini(&kb);
    asked_fini(&qa);
    asked_fini(&qb);
    return same;
}

#define R SL_PHASE_REQUEST

static void keys_differ_by_what_is_named(void **state)
{
    static const struct {
        const char *members[4]; /* none: all */
        struct asked_conf a, b;
        bool same;
    } rows[] = {
        { { NULL }, { 0 }, { 0 }, true },
        { { NULL }, { 0 }, { .client = "10.0.0.2" }, false },
        { { NULL }, { 0 }, { .user = "eve" }, false },
        { { NULL }, { .phase = R }, { .phase = R, .target = "/a" }, false },
        { { NULL }, { .phase = R, .target = "/a" }, { .phase = R, .target = "/a?" }, false },
        { { NULL }, { .phase = R }, { .phase = R, .name = "x", .value = "y" }, false },
        { { NULL }, { 0 }, { .target = "/a" }, true }, /* phase connect: not asked about */
        { { NULL }, { 0 }, { .phase = SL_PHASE_REQUEST }, false },
        { { "host" }, { 0 }, { .client = "10.0.0.2", .user = "eve", .target = "/a" }, true },
        { { "host" }, { 0 }, { .host = "example.org" }, false },
        { { "host" }, { 0 }, { .phase = SL_PHASE_REQUEST }, false },
        { { "client" }, { 0 }, { .client = "10.0.0.2" }, false },
        { { "client" }, { 0 }, { .user = "eve" }, true },
        { { "user" }, { .user = "eve" }, { .user = "adam" }, false },
        { { "user" }, { .user = "" }, { .user = "adam" }, false },
        { { "method" }, { .method = "GET" }, { .method = "get" }, false },
        { { "path" }, { .target = "/a?b" }, { .target = "/a?c" }, true },
        { { "path" }, { .target = "/a" }, { .target = "/b" }, false },
        { { "target" }, { .target = "/a?b" }, { .target = "/a?c" }, false },
        { { "target" }, { .target = "/a?" }, { .target = "/a" }, false },
        { { "target" }, { .target = "/a" }, { .target = "/a", .user = "eve" }, true },
        { { "user", "host" }, { .user = "ab", .host = "c" }, { .user = "a", .host = "bc" }, false },
        { { "header:X" }, { .name = "x", .value = "1" }, { .name = "X", .value = "1" }, true },
        { { "header:x" }, { .name = "x", .value = "1" }, { .name = "x", .value = "2" }, false },
        { { "header:x" }, { .name = "x", .value = "" }, { 0 }, false },
        { { "header:x" }, { .name = "y", .value = "1" }, { 0 }, true },
        /* All that the host is called. */
        { { "host" }, { 0 }, { .sni = "example.com" }, true },
        { { "host" }, { 0 }, { .sni = "example.org" }, false },
        { { "host" }, { 0 }, { .said = "example.org" }, false },
        { { "host" }, { .sni = "example.org" }, { .said = "example.org" }, false },
        { { "header:host" }, { .phase = R }, { .phase = R, .said = "example.org" }, false },
        { { NULL }, { .phase = R }, { .phase = R, .said = "example.org" }, false },
        /* What the head's own members hold in place of a field. */
        { { "header:Host" }, { 0 }, { .host = "example.org" }, false },
        { { "header:host" }, { 0 }, { .port = 8443 }, false },
        { { "header:host" }, { .phase = R }, { .phase = R, .target = "/a" }, true },
        { { "header:content-length" },
          { .framing = SL_FRAMING_LENGTH, .content_length = 1 },
          { .framing = SL_FRAMING_LENGTH, .content_length = 2 },
          false },
        { { "header:content-length" }, { .framing = SL_FRAMING_LENGTH }, { 0 }, false },
        { { "header:content-length" }, { .framing = SL_FRAMING_CHUNKED }, { 0 }, true },
        { { "header:transfer-encoding" }, { .framing = SL_FRAMING_CHUNKED }, { 0 }, false },
        { { "header:transfer-encoding" }, { .framing = SL_FRAMING_LENGTH }, { 0 }, true },
        { { "header:x", "header:y" },
          { .name = "x", .value = "1" },
          { .name = "y", .value = "1" },
          false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_vary v = vary_of(rows[i].members);

        if (is_same(&v, rows[i].a, rows[i].b) != rows[i].same)
            fail_msg("row %zu", i);
    }
}

static void members_are_known_names(void **state)
{
    static const struct {
        const char *member;
        bool good;
    } rows[] = {
        { "client", true },      { "scheme", true }, { "port", true },     { "header:a-b", true },
        { "Host", false },       { "", false },      { "header:", false }, { "header: x", false },
        { "header:a b", false }, { "query", false }, { "body", false },    { "host ", false },
    };
    char longest[SL_VARY_MAX_NAME + 8];

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_vary v = { 0 };

        if (sl_vary_add(&v, sl_str_of(rows[i].member)) != rows[i].good)
            fail_msg("%s", rows[i].member);
    }
    for (size_t n = SL_VARY_MAX_NAME - 1; n <= SL_VARY_MAX_NAME; n++) {
        struct sl_vary v = { 0 };

        memset(longest, 'a', sizeof(longest));
        memcpy(longest, "header:", 7);
        assert_int_equal(sl_vary_add(&v, sl_str_make(longest, 7 + n)), n < SL_VARY_MAX_NAME);
    }
}

static void only_so_many_headers(void **state)
{
    struct sl_vary v = { 0 };

    (void)state;
    for (int i = 0; i < SL_VARY_MAX_HEADERS; i++)
        assert_true(sl_vary_add(&v, SL_STR("header:x")));
    assert_false(sl_vary_add(&v, SL_STR("header:x")));
    assert_true(sl_vary_add(&v, SL_STR("host")));
}

static void equality(void **state)
{
    static const char *const members[][3] = {
        { NULL },       { "host" },     { "host", "user" },
        { "header:a" }, { "header:b" }, { "header:a", "header:b" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(members); i++) {
        for (size_t k = 0; k < SL_LEN(members); k++) {
            struct sl_vary a = vary_of(members[i]), b = vary_of(members[k]);

            assert_int_equal(sl_vary_eq(&a, &b), i == k);
        }
    }
}

/* -- the question -- */

static void assert_document(struct asked_conf conf, const char *expected)
{
    struct sl_buf b = { 0 };
    struct asked a;

    asked_init(&a, conf);
    sl_question_document(&a.q, &b);
    sl_buf_add_char(&b, '\0');
    assert_string_equal(sl_buf_str(&b).p, expected);
    sl_buf_fini(&b);
    asked_fini(&a);
}

#define BEFORE                                                                                     \
    "{\"version\":1,\"id\":\"01JD0000000000000000000000\",\"client\":{\"ip\":\"10.0.0.1\","        \
    "\"port\":0,\"user\":"

static void documents(void **state)
{
    (void)state;
    assert_document((struct asked_conf){ .phase = SL_PHASE_REQUEST,
                                         .user = "eve",
                                         .target = "/a?b=1",
                                         .name = "X-A",
                                         .value = "\"1\"" },
                    BEFORE "\"eve\"},\"phase\":\"request\",\"connect\":{\"host\":\"example.com\","
                           "\"port\":443},\"tls\":null,\"request\":{\"method\":\"GET\","
                           "\"scheme\":\"https\",\"host\":\"example.com\",\"port\":443,"
                           "\"path\":\"/a\",\"query\":\"b=1\",\"target\":\"/a?b=1\","
                           "\"http\":\"1.1\",\"headers\":[[\"x-a\",\"\\\"1\\\"\"]]}}");
    assert_document(
        (struct asked_conf){ .phase = SL_PHASE_REQUEST, .said = "a.example", .port = 8443 },
        BEFORE "null},\"phase\":\"request\",\"connect\":{\"host\":\"example.com\","
               "\"port\":443},\"tls\":null,\"request\":{\"method\":\"GET\","
               "\"scheme\":\"https\",\"host\":\"example.com\",\"port\":8443,\"path\":\"/\","
               "\"query\":\"\",\"target\":\"/\",\"http\":\"1.1\","
               "\"headers\":[[\"host\",\"a.example:8443\"]]}}");
    assert_document(
        (struct asked_conf){
            .phase = SL_PHASE_REQUEST, .is_plain = true, .name = "x", .value = "\xff" },
        BEFORE "null},\"phase\":\"request\",\"connect\":null,\"tls\":null,"
               "\"request\":{\"method\":\"GET\",\"scheme\":\"https\","
               "\"host\":\"example.com\",\"port\":443,\"path\":\"/\",\"query\":\"\","
               "\"target\":\"/\",\"http\":\"1.1\","
               "\"headers\":[[\"x\",{\"base64\":\"/w==\"}]]}}");
}

/* In phase connect nothing of the request is told, whenever it is asked. */
static void documents_of_phase_connect_name_the_target_alone(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++)
        assert_document((struct asked_conf){ .phase = SL_PHASE_CONNECT,
                                             .is_plain = plain != 0,
                                             .target = "/secret",
                                             .name = "cookie",
                                             .value = "a" },
                        BEFORE "null},\"phase\":\"connect\",\"connect\":{\"host\":\"example.com\","
                               "\"port\":443},\"tls\":null}");
}

static void a_copy_has_the_same_key(void **state)
{
    static const char *const members[][3] = {
        { NULL }, { "target", "header:x" }, { "client" }, { "header:host", "header:content-length" }
    };
    struct sl_arena arena = { 0 };
    struct sl_question *copy;
    struct asked a;

    (void)state;
    for (size_t i = 0; i < SL_LEN(members); i++) {
        struct sl_vary v = vary_of(members[i]);
        struct sl_buf ka = { 0 }, kb = { 0 };

        asked_init(&a, (struct asked_conf){ .target = "/a?",
                                            .name = "x",
                                            .value = "y",
                                            .said = "a.example",
                                            .framing = SL_FRAMING_LENGTH,
                                            .content_length = 7 });
        sl_vary_key(&v, &a.q, &ka);
        copy = sl_question_copy(&a.q, &arena);
        asked_fini(&a);
        memset(&a, 0, sizeof(a));
        sl_vary_key(&v, copy, &kb);
        assert_true(sl_str_eq(sl_buf_str(&ka), sl_buf_str(&kb)));
        sl_buf_fini(&ka);
        sl_buf_fini(&kb);
    }
    sl_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_differ_by_what_is_named),
        cmocka_unit_test(members_are_known_names),
        cmocka_unit_test(only_so_many_headers),
        cmocka_unit_test(equality),
        cmocka_unit_test(documents),
        cmocka_unit_test(documents_of_phase_connect_name_the_target_alone),
        cmocka_unit_test(a_copy_has_the_same_key),
    };

    return cmocka_run_group_tests_name("vary", tests, NULL, NULL);
}
