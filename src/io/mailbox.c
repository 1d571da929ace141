/* mailbox.c -- a list under a mutex; whoever posts to the empty list wakes the loop.
 *
 * The wake happens under the mutex as well: a mail may end the loop's thread and its mailbox, which
 * must not go while its sender is still inside.
 */
#include "io/mailbox.h"

#include <pthread.h>

#include "base/mem.h"
#include "io/loop_async.h"

struct sl_mailbox {
    struct sl_async *async;
    pthread_mutex_t mutex; /* guards the list */
    struct sl_mail *head, **tail;
};

static struct sl_mail *take_all(struct sl_mailbox *mb)
{
    struct sl_mail *first;

    pthread_mutex_lock(&mb->mutex);
    first = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    pthread_mutex_unlock(&mb->mutex);
    return first;
}

/* The mail is gone once its fn ran, and perhaps the mailbox with it. */
static void deliver(void *arg)
{
    struct sl_mail *mail = take_all(arg);

    while (mail != NULL) {
        struct sl_mail *next = mail->next;

        mail->fn(mail);
        mail = next;
    }
}

struct sl_mailbox *sl_mailbox_new(struct sl_loop *loop)
{
    struct sl_mailbox *mb = sl_zalloc(sizeof(*mb));

    pthread_mutex_init(&mb->mutex, NULL);
    mb->tail = &mb->head;
    mb->async = sl_async_new(loop, deliver, mb);
    return mb;
}

void sl_mailbox_free(struct sl_mailbox **mb)
{
    struct sl_mailbox *gone = *mb;

    if (gone == NULL)
        return;
    *mb = NULL;
    deliver(gone);
    sl_async_free(&gone->async);
    pthread_mutex_destroy(&gone->mutex);
    sl_free(gone);
}

void sl_mailbox_post(struct sl_mailbox *mb, struct sl_mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mb->mutex);
    if (mb->head == NULL)
        sl_async_wake(mb->async);
    *mb->tail = mail;
    mb->tail = &mail->next;
    pthread_mutex_unlock(&mb->mutex);
}
