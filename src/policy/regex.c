/* regex.c -- state: none; the pattern, its limits and its counter never change after compiling.
 *
 * Match data is scratch memory of PCRE2: one per thread, made on first use, freed when the thread
 * ends.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "policy/regex.h"

#include <pcre2.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/metric.h"

/* A header line may be 64 KiB: a linear pattern needs about that many steps, a quadratic one is
 * stopped after some milliseconds. */
#define MATCH_LIMIT 200000
#define DEPTH_LIMIT 20000
#define HEAP_LIMIT_KIB 20480
/* No (*UTF) from within a pattern: subjects are bytes of the network, not checked UTF-8. */
#define OPTIONS (PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY)

struct sl_regex {
    pcre2_code *code;
    pcre2_match_context *limits;
    struct sl_metric *limit_hits;
};

static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static pthread_key_t scratch_key;

static void scratch_free(void *data)
{
    pcre2_match_data_free(data);
}

static void scratch_register(void)
{
    sl_assert(pthread_key_create(&scratch_key, scratch_free) == 0);
}

static pcre2_match_data *scratch(void)
{
    pcre2_match_data *data;

    pthread_once(&scratch_once, scratch_register);
    data = pthread_getspecific(scratch_key);
    if (data != NULL)
        return data;
    data = pcre2_match_data_create(1, NULL);
    sl_mem_need(data != NULL);
    sl_mem_need(pthread_setspecific(scratch_key, data) == 0);
    return data;
}

static pcre2_match_context *limits_new(void)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);

    sl_mem_need(limits != NULL);
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    pcre2_set_depth_limit(limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
    return limits;
}

static struct sl_metric *limit_counter(void)
{
    struct sl_metric_family *family =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_expression_limit_total",
                         "Patterns of rules that hit their match limit.", "");

    return sl_metric_child(family, NULL);
}

struct sl_regex *sl_regex_new(struct sl_str source, struct sl_parse_error *ret_error)
{
    struct sl_regex *re;
    pcre2_code *code;
    PCRE2_SIZE offset = 0;
    int error;

    if (source.n > SL_REGEX_MAX_BYTES) {
        ret_error->column = 1;
        snprintf(ret_error->text, sizeof(ret_error->text), "pattern is longer than %d bytes",
                 SL_REGEX_MAX_BYTES);
        return NULL;
    }
    code = pcre2_compile((PCRE2_SPTR)source.p, source.n, OPTIONS, &error, &offset, NULL);
    if (code == NULL) {
        ret_error->column = offset + 1;
        pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_error->text, sizeof(ret_error->text));
        return NULL;
    }
    /* Where memory may not be made executable this fails and the interpreter serves. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    re = sl_zalloc(sizeof(*re));
    *re = (struct sl_regex){ .code = code, .limits = limits_new(), .limit_hits = limit_counter() };
    return re;
}

void sl_regex_free(struct sl_regex **re)
{
    if (*re == NULL)
        return;
    pcre2_code_free((*re)->code);
    pcre2_match_context_free((*re)->limits);
    sl_free(*re);
    *re = NULL;
}

enum sl_truth sl_regex_match(const struct sl_regex *re, struct sl_str s)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(s.n != 0 ? s.p : "");
    int n = pcre2_match(re->code, subject, s.n, 0, 0, scratch(), re->limits);

    if (n >= 0)
        return SL_TRUE;
    if (n == PCRE2_ERROR_NOMATCH)
        return SL_FALSE;
    sl_metric_add(re->limit_hits, 1);
    return SL_UNKNOWN;
}
