/* sim_witness.c -- see the header. */
#include "sim_witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/access_log.h"
#include "upstream/origin.h"

void sim_witness_fini(struct sim_witness *w)
{
    sl_buf_fini(&w->asked);
    sl_buf_fini(&w->opened);
    sl_buf_fini(&w->log);
    sl_buf_fini(&w->ids);
    sl_buf_fini(&w->logged_ids);
    sl_buf_fini(&w->allowed);
}

bool sim_matches(struct sl_str text, const char *pattern)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;

    while (at < text.n) {
        if (*pattern == '*') {
            star = pattern++;
            star_at = at;
        } else if (*pattern == text.p[at]) {
            pattern++;
            at++;
        } else if (star != NULL) {
            pattern = star + 1;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* A word with a blank behind it: lists of them can be searched for another such
 * word. */
static void add_word(struct sl_buf *list, struct sl_str word)
{
    sl_buf_add_str(list, word);
    sl_buf_add_char(list, ' ');
}

static unsigned count_word(const struct sl_buf *list, struct sl_str word)
{
    struct sl_str rest = sl_buf_str(list), each;
    unsigned n = 0;

    while (sl_str_next(&rest, ' ', &each))
        n += sl_str_eq(each, word);
    return n;
}

/* -- questions -- */

/* The string behind "name":" -- the documents asked for here escape nothing. */
static struct sl_str member(struct sl_str document, const char *name)
{
    const char *at = memmem(document.p, document.n, name, strlen(name));
    struct sl_str rest;

    if (at == NULL)
        return SL_STR("");
    rest = sl_str_skip(document, (size_t)(at - document.p) + strlen(name));
    return sl_str_head(rest, sl_str_find(rest, '"'));
}

const char *sim_witness_asked(struct sim_witness *w, struct sl_str document,
                              struct sl_str *ret_subject)
{
    struct sl_str phase = member(document, "\"phase\":\"");
    bool is_request = sl_str_eq(phase, SL_STR("request"));
    const char *answer = w->c->answers[w->n_questions];

    if (answer == NULL)
        fail_msg("%s: question %u was not expected: %.*s", w->c->name, w->n_questions,
                 SL_FMT(document));
    *ret_subject = is_request ? member(document, "\"target\":\"") : member(document, "\"host\":\"");
    add_word(&w->asked, phase);
    add_word(&w->asked, *ret_subject);
    if (is_request)
        add_word(&w->ids, member(document, "\"id\":\""));
    w->n_questions++;
    w->n_out++;
    return answer;
}

void sim_witness_answered(struct sim_witness *w, const char *answer, struct sl_str subject)
{
    w->n_out--;
    if (strstr(answer, "\"action\":\"allow\"") == NULL)
        return;
    w->n_allowed++;
    add_word(&w->allowed, subject);
}

/* -- origins -- */

void sim_witness_opened(struct sim_witness *w, const struct sl_origin *origin)
{
    sl_buf_addf(&w->opened, "%.*s:%u ", SL_FMT(origin->host), origin->port);
    if (w->c->preconnect || w->c->is_ruled)
        return;
    assert_int_equal(w->n_out, 0);
    assert_int_not_equal(w->n_allowed, 0);
}

/* Of "METHOD /target HTTP/1.1", @a line ending where the version begins. */
static void check_request_line(const struct sim_witness *w, struct sl_str line)
{
    size_t start = line.n;

    while (start != 0 && line.p[start - 1] != ' ')
        start--;
    if (count_word(&w->allowed, sl_str_skip(line, start)) == 0)
        fail_msg("%s: not allowed, yet at the origin: %.*s", w->c->name, SL_FMT(line));
}

void sim_witness_arrived(struct sim_witness *w, struct sl_str got, size_t before)
{
    static const char version[] = " HTTP/1.1\r\n";
    struct sl_str rest = got;
    const char *at;

    if (got.n == before || w->c->is_ruled)
        return;
    assert_int_equal(w->n_out, 0);
    assert_int_not_equal(w->n_allowed, 0);
    while ((at = memmem(rest.p, rest.n, version, sizeof(version) - 1)) != NULL) {
        check_request_line(w, sl_str_head(rest, (size_t)(at - rest.p)));
        rest = sl_str_skip(rest, (size_t)(at - rest.p) + sizeof(version) - 1);
    }
}

/* -- the log -- */

bool sl_access_log_is_on(const struct sl_access_log *log)
{
    return log != NULL;
}

void sl_access_log_write(struct sl_access_log *log, const struct sl_record *r)
{
    struct sim_witness *w = log->witness;

    w->n_records++;
    assert_int_equal(count_word(&w->logged_ids, sl_str_of(r->id)), 0);
    add_word(&w->logged_ids, sl_str_of(r->id));
    sl_buf_addf(&w->log, "%s %u ", r->verdict, r->status);
    if (r->error != SL_OK)
        sl_buf_addf(&w->log, "%s ", sl_err_name(r->error));
}

void sim_witness_end(struct sim_witness *w)
{
    struct sl_str rest = sl_buf_str(&w->ids), id;

    while (sl_str_next(&rest, ' ', &id)) {
        if (id.n != 0)
            assert_int_equal(count_word(&w->logged_ids, id), 1);
    }
    if (w->opened.len != 0)
        assert_int_not_equal(w->n_records, 0);
}
