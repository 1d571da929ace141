/* fuzz_expression.c -- expressions, and list files for inputs that start with '#'.
 *
 * What parses must print a text that parses to the same text again, and must mean the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "policy/expression.h"
#include "policy/host_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sl_field fields[] = {
    { .name = { "accept", 6 }, .value = { "text/html", 9 } },
    { .name = { "cookie", 6 }, .value = { "a=1", 3 } },
};
static const struct sl_fields list = { .v = fields, .n = 2, .cap = 2 };

static const struct sl_facts moments[] = {
    { .known = 0 },
    { .known = SL_FACT_BIT(SL_FACT_HOST) | SL_FACT_BIT(SL_FACT_PORT) | SL_FACT_BIT(SL_FACT_SNI),
      .host = { "a.example", 9 },
      .sni = { "a.example", 9 },
      .port = 443 },
    { .known = SL_FACT_BIT(SL_FACT_N) - 1,
      .host = { "192.0.2.7", 9 },
      .user = { "alice", 5 },
      .scheme = { "https", 5 },
      .alpn = { "h2,http/1.1", 11 },
      .method = { "POST", 4 },
      .path = { "/track/aaaaaaaaaaaaaaaaaaaaaaaa", 31 },
      .query = { "id=7", 4 },
      .type = { "Text/html;q", 11 },
      .fields = &list,
      .size = 4096,
      .status = 200 },
};

static struct sl_expression *parse(struct sl_str text)
{
    struct sl_expression *e = NULL;
    struct sl_parse_error error = { 0 };

    if (sl_expression_parse(text, &e, &error) == SL_OK)
        return e;
    sl_assert(error.column >= 1 && error.column <= text.n + 1);
    sl_assert(error.text[0] != '\0');
    return NULL;
}

static void compare(struct sl_str text, const struct sl_expression *a)
{
    char *copy = sl_str_dup(text);
    struct sl_expression *b = parse(sl_str_make(copy, text.n));
    struct sl_buf again = { 0 };

    /* An expression keeps nothing of the text it came from. */
    sl_free(copy);
    sl_assert(b != NULL);
    sl_expression_write(b, &again);
    sl_assert(sl_str_eq(text, sl_buf_str(&again)));
    sl_assert(sl_expression_needs(a) == sl_expression_needs(b));
    for (size_t i = 0; i < SL_LEN(moments); i++)
        sl_assert(sl_expression_eval(a, &moments[i]) == sl_expression_eval(b, &moments[i]));
    sl_buf_fini(&again);
    sl_expression_free(&b);
}

static void feed_expression(struct sl_str text)
{
    struct sl_expression *e = parse(text);
    struct sl_buf out = { 0 };

    if (e == NULL)
        return;
    sl_expression_write(e, &out);
    /* Blanks and A-labels may lengthen a text that was at the limit. */
    if (out.len <= SL_EXPRESSION_MAX_BYTES)
        compare(sl_buf_str(&out), e);
    sl_buf_fini(&out);
    sl_expression_free(&e);
}

static void feed_list(struct sl_str text)
{
    struct sl_host_set *set = NULL;
    struct sl_fault fault = { 0 };

    if (sl_host_set_parse(text, "list", &set, &fault) != SL_OK)
        return;
    for (size_t i = 0; i < SL_LEN(moments); i++)
        (void)sl_host_set_match(set, moments[i].host);
    sl_host_set_free(&set);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str text = sl_str_make(data, size);

    if (sl_str_has_prefix(text, SL_STR("#")))
        feed_list(text);
    else
        feed_expression(text);
    return 0;
}
