/* test_mailbox.c -- mail from other threads: order, wake-ups, the end of a mailbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"

#define N_THREADS 4
#define N_MAILS 2000

struct letter {
    struct sl_mail mail; /* first: a mail is cast to its letter */
    size_t thread, n;
};

static size_t next_of[N_THREADS];
static size_t n_got;

static void on_letter(struct sl_mail *mail)
{
    struct letter *l = (struct letter *)mail;

    assert_int_equal(l->n, next_of[l->thread]);
    next_of[l->thread]++;
    n_got++;
    sl_free(l);
}

static void post(struct sl_mailbox *mb, size_t thread, size_t n)
{
    struct letter *l = sl_zalloc(sizeof(*l));

    *l = (struct letter){ .mail.fn = on_letter, .thread = thread, .n = n };
    sl_mailbox_post(mb, &l->mail);
}

struct sender {
    pthread_t id;
    struct sl_mailbox *mb;
    size_t thread;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (size_t n = 0; n < N_MAILS; n++)
        post(s->mb, s->thread, n);
    return NULL;
}

static int reset(void **state)
{
    (void)state;
    memset(next_of, 0, sizeof(next_of));
    n_got = 0;
    return 0;
}

static void each_thread_is_heard_in_order(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_mailbox *mb = sl_mailbox_new(loop);
    struct sender s[N_THREADS];

    (void)state;
    for (size_t i = 0; i < N_THREADS; i++) {
        s[i] = (struct sender){ .mb = mb, .thread = i };
        assert_int_equal(pthread_create(&s[i].id, NULL, send_all, &s[i]), 0);
    }
    while (n_got < (size_t)N_THREADS * N_MAILS)
        sl_loop_turn(loop, true);
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(s[i].id, NULL);
    sl_mailbox_free(&mb);
    assert_null(mb);
    sl_loop_free(&loop);
}

static void freeing_delivers_first(void **state)
{
    struct sl_loop *loop = sl_loop_new();
    struct sl_mailbox *mb = sl_mailbox_new(loop);

    (void)state;
    for (size_t n = 0; n < 5; n++)
        post(mb, 0, n);
    assert_int_equal(n_got, 0);
    sl_mailbox_free(&mb);
    assert_int_equal(n_got, 5);
    sl_loop_free(&loop);
}

struct last {
    struct sl_mail mail; /* first: a mail is cast to it */
    struct sl_loop *loop;
    struct sl_mailbox *mb;
};

static void on_last(struct sl_mail *mail)
{
    struct last *l = (struct last *)mail;

    sl_mailbox_free(&l->mb);
    sl_loop_stop(l->loop);
}

static void *send_last(void *arg)
{
    struct last *l = arg;

    sl_mailbox_post(l->mb, &l->mail);
    return NULL;
}

static void a_mail_may_end_its_mailbox(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct sl_loop *loop = sl_loop_new();
        struct last l = { .mail.fn = on_last, .loop = loop, .mb = sl_mailbox_new(loop) };
        pthread_t id;

        assert_int_equal(pthread_create(&id, NULL, send_last, &l), 0);
        sl_loop_run(loop);
        assert_null(l.mb);
        sl_loop_free(&loop);
        pthread_join(id, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_thread_is_heard_in_order, reset),
        cmocka_unit_test_setup(freeing_delivers_first, reset),
        cmocka_unit_test_setup(a_mail_may_end_its_mailbox, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
