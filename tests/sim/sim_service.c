/* sim_service.c -- a question is taken whole, thought about for some turns,
 * then answered. */
#include "sim_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#define ANSWER_TURNS 5

const char sim_stall[] = "stall", sim_die[] = "die", sim_babble[] = "babble", sim_error[] = "error";

/* Takes one whole question off the front of what came in. */
static bool take_question(struct sim_service *q, struct sim_witness *w, unsigned now)
{
    struct sl_str in = sl_buf_str(&q->peer.got), subject = { 0 };
    const char *end = memmem(in.p, in.n, "\r\n\r\n", 4), *length;
    size_t head, body;

    if (end == NULL)
        return false;
    head = (size_t)(end - in.p) + 4;
    length = memmem(in.p, head, "Content-Length: ", 16);
    assert_non_null(length);
    body = strtoul(length + 16, NULL, 10);
    if (in.n < head + body)
        return false;
    q->answer = sim_witness_asked(w, sl_str_make(in.p + head, body), &subject);
    assert_in_range(subject.n, 0, sizeof(q->subject) - 1);
    memcpy(q->subject, subject.p, subject.n);
    q->subject[subject.n] = '\0';
    q->due_turn = now + ANSWER_TURNS;
    sl_buf_consume(&q->peer.got, head + body);
    return true;
}

static enum sl_err say_answer(struct sim_service *q)
{
    char text[512];

    if (q->answer == sim_babble)
        return sim_peer_say(&q->peer, "HTTP/1.1 yes of course\r\n\r\n");
    if (q->answer == sim_error)
        return sim_peer_say(&q->peer, "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}");
    (void)snprintf(text, sizeof(text),
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                   "%zu\r\n\r\n%s",
                   strlen(q->answer), q->answer);
    return sim_peer_say(&q->peer, text);
}

void sim_service_poll(struct sim_service *q, struct sim_witness *w, unsigned now)
{
    enum sl_err err;

    if (q->peer.is_silent)
        return;
    sim_peer_read(&q->peer);
    if (q->answer == NULL && !take_question(q, w, now))
        return;
    *q->peer.n_moves += now < q->due_turn;
    if (now < q->due_turn || q->answer == sim_stall)
        return;
    err = q->answer == sim_die ? SL_EOF : say_answer(q);
    if (err == SL_AGAIN)
        return;
    sim_witness_answered(w, err == SL_OK ? q->answer : "", sl_str_of(q->subject));
    q->answer = NULL;
    ++*q->peer.n_moves;
    if (err != SL_OK)
        sim_peer_close(&q->peer);
}
