/* question_kit.h -- for tests of checks: questions made of a few words. */
#ifndef SL_TEST_QUESTION_KIT_H
#define SL_TEST_QUESTION_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/uri.h"
#include "policy/question.h"

/* A question that owns all it is made of. */
struct asked {
    struct sl_arena arena;
    struct sl_addr client;
    struct sl_head head;
    struct sl_facts facts;
    struct sl_question q;
};

/* Zeroed members: the plain GET of http://example.com/ by 10.0.0.1. */
struct asked_conf {
    const char *client, *user, *method, *host, *target;
    const char *sni, *said;   /* the request's own name; NULL: host */
    const char *name, *value; /* a field */
    enum sl_phase phase;
    bool is_plain; /* no CONNECT */
    uint16_t port;
    enum sl_framing framing;
    uint64_t content_length;
};

static inline struct sl_str word_or(const char *given, const char *otherwise)
{
    return sl_str_of(given != NULL ? given : otherwise);
}

static inline void asked_init(struct asked *a, struct asked_conf c)
{
    *a = (struct asked){ .head = { .method = word_or(c.method, "GET"),
                                   .scheme = SL_STR("https"),
                                   .host = word_or(c.said, word_or(c.host, "example.com").p),
                                   .port = c.port != 0 ? c.port : 443,
                                   .framing = c.framing,
                                   .content_length = c.content_length,
                                   .target = word_or(c.target, "/"),
                                   .major = 1,
                                   .minor = 1 } };
    assert_true(sl_addr_parse_ip(word_or(c.client, "10.0.0.1"), &a->client));
    if (c.name != NULL)
        sl_fields_add(&a->head.fields, &a->arena, sl_str_of(c.name), sl_str_of(c.value));
    a->facts = (struct sl_facts){ .client = &a->client,
                                  .user = word_or(c.user, ""),
                                  .host = word_or(c.host, "example.com"),
                                  .sni = word_or(c.sni, ""),
                                  .port = a->head.port,
                                  .scheme = a->head.scheme,
                                  .method = a->head.method,
                                  .fields = &a->head.fields };
    sl_target_split(a->head.target, &a->facts.path, &a->facts.query);
    a->q = (struct sl_question){ .phase = c.phase,
                                 .id = "01JD0000000000000000000000",
                                 .facts = &a->facts,
                                 .connect_host = c.is_plain ? SL_STR("") : a->facts.host,
                                 .connect_port = 443,
                                 .head = &a->head };
    sl_question_write(&a->q, &a->arena);
}

static inline void asked_fini(struct asked *a)
{
    sl_arena_fini(&a->arena);
}

#endif
