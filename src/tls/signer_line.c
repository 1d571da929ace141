/* signer_line.c -- questions wait, are asked, are answered.
 *
 * state: APART -> JOINED -> APART when the signer dies; any -> CLOSED.
 * Invariants: asked holds what was sent and has no answer, in the order of numbers; n_out counts
 * what was sent and not answered, given up or not, so that answers always find room; is_silent from
 * questions that were given up to whatever is heard next.  Silence is counted from what was heard
 * last: a signer with more to do than it can is slow, and answers.
 */
#include "tls/signer_line.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "tls/signer_internal.h"

#define PATIENCE_MS 1000u
#define TRY_AGAIN_MS 10u /* to join, or to send */
#define LIVES 2          /* of signers, that one question may cost */

enum line_state { APART, JOINED, CLOSED };

struct question {
    struct sl_link in_line;
    const struct sl_signer_key *key;
    struct sl_str text; /* its bytes stand behind the question */
    uint64_t number;
    uint64_t due_ms;
    int lives;
    sl_signed_fn *done;
    void *arg;
};

struct sl_signer_line {
    unsigned refs;
    enum line_state state;
    bool is_silent;
    struct sl_loop *loop;
    struct sl_signer *signer;
    int fd; /* JOINED */
    struct sl_watch *watch;
    struct sl_timer patience;
    struct sl_link waiting, asked;
    unsigned n_out;
    uint64_t heard_ms; /* or began to listen */
    uint64_t last_number;
    struct sl_signer_message message; /* the one that is written or read */
};

static void on_patience(void *arg);

/* -- life -- */

struct sl_signer_line *sl_signer_line_new(struct sl_loop *loop, struct sl_signer *signer)
{
    struct sl_signer_line *l = sl_zalloc(sizeof(*l));

    l->refs = 1;
    l->loop = loop;
    l->signer = sl_signer_ref(signer);
    sl_list_init(&l->waiting);
    sl_list_init(&l->asked);
    return l;
}

struct sl_signer_line *sl_signer_line_ref(struct sl_signer_line *line)
{
    line->refs++;
    return line;
}

void sl_signer_line_unref(struct sl_signer_line **line)
{
    struct sl_signer_line *l = *line;

    *line = NULL;
    if (l != NULL && --l->refs == 0)
        sl_free(l);
}

static void part(struct sl_signer_line *l)
{
    if (l->state != JOINED)
        return;
    sl_watch_free(&l->watch);
    (void)close(l->fd);
    l->state = APART;
    l->n_out = 0;
    l->is_silent = false;
}

/* -- answers -- */

static void answer(struct question *q, const struct sl_signature *signature,
                   const struct sl_fault *fault)
{
    sl_link_remove(&q->in_line);
    q->done(q->arg, signature, fault);
    sl_free(q);
}

static void fail(struct question *q, enum sl_err err, const char *text)
{
    struct sl_fault fault = { 0 };

    (void)sl_fault_set(&fault, err, "%s", text);
    answer(q, NULL, &fault);
}

static void fail_all(struct sl_link *questions, const char *text)
{
    while (!sl_list_is_empty(questions))
        fail(SL_CONTAINER(questions->next, struct question, in_line), SL_INTERNAL, text);
}

static void take_answer(struct question *q, const struct sl_signer_message *m)
{
    struct sl_signature signature = { .n = m->n };
    struct sl_fault fault = { 0 };

    if (m->err != SL_OK) {
        (void)sl_signer_refusal(m, &fault);
        answer(q, NULL, &fault);
        return;
    }
    if (m->n > sizeof(signature.bytes)) {
        fail(q, SL_INTERNAL, "a signature without end");
        return;
    }
    memcpy(signature.bytes, m->body, m->n);
    answer(q, &signature, NULL);
}

void sl_signer_line_close(struct sl_signer_line **line)
{
    struct sl_signer_line *l = *line;

    *line = NULL;
    if (l == NULL)
        return;
    part(l);
    l->state = CLOSED;
    sl_timer_stop(&l->patience);
    fail_all(&l->asked, "the proxy ends");
    fail_all(&l->waiting, "the proxy ends");
    sl_signer_unref(&l->signer);
    sl_signer_line_unref(&l);
}

/* -- questions -- */

/* Not the loop's: whatever a turn takes is not the signer's fault. */
static uint64_t now_ms(void)
{
    return sl_mono_us() / 1000;
}

static const struct question *first_waiting(const struct sl_signer_line *l)
{
    return sl_list_is_empty(&l->waiting) ? NULL
                                         : SL_CONTAINER(l->waiting.next, struct question, in_line);
}

/* When to give up, were nothing heard until then; 0: nothing is asked. */
static uint64_t end_of_patience(const struct sl_signer_line *l)
{
    if (!sl_list_is_empty(&l->asked))
        return l->heard_ms + PATIENCE_MS;
    return first_waiting(l) != NULL ? first_waiting(l)->due_ms : 0;
}

static void put_off(struct sl_signer_line *l)
{
    uint64_t end = end_of_patience(l), now = now_ms();
    uint64_t wait = end > now ? end - now : 0;
    bool is_stuck = first_waiting(l) != NULL && l->n_out < SL_SIGNER_WINDOW;

    if (end == 0)
        sl_timer_stop(&l->patience);
    else
        sl_timer_start(l->loop, &l->patience, is_stuck && wait > TRY_AGAIN_MS ? TRY_AGAIN_MS : wait,
                       on_patience, l);
}

static bool write_question(struct sl_signer_message *m, const struct question *q)
{
    m->op = SL_SIGNER_SIGN;
    m->number = q->number;
    if (!sl_signer_name_key(q->key, m) || q->text.n >= sizeof(m->body) - m->n)
        return false;
    memcpy(m->body + m->n, q->text.p, q->text.n);
    m->n += (uint32_t)q->text.n;
    return true;
}

static void lose_signer(struct sl_signer_line *l);

/* SL_AGAIN: there is no room yet. */
static enum sl_err send_message(const struct sl_signer_line *l)
{
    if (send(l->fd, &l->message, sl_signer_size(&l->message), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return SL_OK;
    switch (errno) {
    case EAGAIN:
    case EINTR:
    case ENOBUFS:
    case ENOMEM:
        return SL_AGAIN;
    default:
        return SL_RESET;
    }
}

static void note_asked(struct sl_signer_line *l, struct question *q)
{
    if (l->n_out++ == 0)
        l->heard_ms = now_ms();
    sl_link_remove(&q->in_line);
    sl_list_add(&l->asked, &q->in_line);
}

static void ask(struct sl_signer_line *l)
{
    while (l->state == JOINED && l->n_out < SL_SIGNER_WINDOW && !sl_list_is_empty(&l->waiting)) {
        struct question *q = SL_CONTAINER(l->waiting.next, struct question, in_line);
        enum sl_err err;

        q->number = ++l->last_number;
        if (!write_question(&l->message, q)) {
            fail(q, SL_LIMIT, "more than the signer takes");
            continue;
        }
        err = send_message(l);
        if (err == SL_RESET)
            lose_signer(l);
        if (err != SL_OK)
            return;
        note_asked(l, q);
    }
}

static void on_readable(void *arg, unsigned events);

static enum sl_err join(struct sl_signer_line *l)
{
    int fds[2];
    enum sl_err err;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return SL_AGAIN;
    err = sl_signer_join(l->signer, fds[1]);
    (void)close(fds[1]);
    l->watch = err == SL_OK ? sl_watch_new(l->loop, fds[0], on_readable, l) : NULL;
    if (l->watch == NULL) {
        (void)close(fds[0]);
        return err == SL_OK ? SL_AGAIN : err;
    }
    l->fd = fds[0];
    l->state = JOINED;
    sl_watch_want(l->watch, SL_READABLE);
    return SL_OK;
}

static void go_on(struct sl_signer_line *l)
{
    if (l->state == APART && !sl_list_is_empty(&l->waiting) && join(l) == SL_RESET)
        fail_all(&l->waiting, "the signer has died");
    ask(l);
    put_off(l);
}

/* They are the older ones. */
static void put_again(struct sl_signer_line *l)
{
    for (struct sl_link *q; (q = sl_list_pop(&l->waiting)) != NULL;)
        sl_list_add(&l->asked, q);
    for (struct sl_link *q; (q = sl_list_pop(&l->asked)) != NULL;)
        sl_list_add(&l->waiting, q);
}

static void lose_signer(struct sl_signer_line *l)
{
    part(l);
    SL_LIST_FOREACH_SAFE (it, &l->asked) {
        struct question *q = SL_CONTAINER(it, struct question, in_line);

        if (--q->lives == 0)
            fail(q, SL_INTERNAL, "the signer has died");
    }
    put_again(l);
}

/* Answers that nobody waits for any more are passed over. */
static bool hear(struct sl_signer_line *l)
{
    struct sl_signer_message *m = &l->message;
    ssize_t n = recv(l->fd, m, sizeof(*m), MSG_DONTWAIT);
    struct question *first = SL_CONTAINER(l->asked.next, struct question, in_line);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0 || !sl_signer_is_whole(m, n) || l->n_out == 0) {
        lose_signer(l);
        return false;
    }
    l->n_out--;
    l->heard_ms = now_ms();
    l->is_silent = false;
    if (!sl_list_is_empty(&l->asked) && first->number == m->number)
        take_answer(first, m);
    return true;
}

static void give_up(struct sl_signer_line *l)
{
    l->is_silent = l->n_out != 0;
    fail_all(&l->asked, "the signer does not answer");
    fail_all(&l->waiting, "the signer does not answer");
}

static bool is_late(const struct sl_signer_line *l)
{
    uint64_t end = end_of_patience(l);

    return end != 0 && end <= now_ms();
}

static void hear_all(struct sl_signer_line *l)
{
    while (l->state == JOINED && l->n_out != 0 && hear(l))
        continue;
}

/* What has come in a turn that was long is heard first. */
static void on_patience(void *arg)
{
    struct sl_signer_line *l = arg;

    sl_signer_line_ref(l);
    hear_all(l);
    if (is_late(l))
        give_up(l);
    if (l->state != CLOSED)
        go_on(l);
    sl_signer_line_unref(&l);
}

static void on_readable(void *arg, unsigned events)
{
    struct sl_signer_line *l = arg;

    (void)events;
    sl_signer_line_ref(l);
    if (hear(l))
        hear_all(l);
    if (l->state != CLOSED)
        go_on(l);
    sl_signer_line_unref(&l);
}

static struct question *question_new(const struct sl_signer_key *key, struct sl_str text)
{
    struct question *q = sl_zalloc(sizeof(*q) + text.n);
    char *copy = (char *)(q + 1);

    memcpy(copy, text.p, text.n);
    q->key = key;
    q->text = sl_str_make(copy, text.n);
    q->lives = LIVES;
    q->due_ms = now_ms() + PATIENCE_MS;
    return q;
}

void sl_signer_line_sign(struct sl_signer_line *l, const struct sl_signer_key *key,
                         struct sl_str text, sl_signed_fn *done, void *arg)
{
    struct question *q = question_new(key, text);

    q->done = done;
    q->arg = arg;
    sl_list_add(&l->waiting, &q->in_line);
    if (l->state == CLOSED)
        fail(q, SL_INTERNAL, "the proxy ends");
    else if (l->is_silent)
        fail(q, SL_INTERNAL, "the signer does not answer");
    else
        go_on(l);
}
