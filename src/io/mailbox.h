/* mailbox.h -- the one way from another thread into a loop.
 *
 * Thread: sl_mailbox_post from any; the rest from the loop's own.
 */
#ifndef SL_IO_MAILBOX_H
#define SL_IO_MAILBOX_H

struct sl_loop;
struct sl_mailbox;

/** Embedded in what is sent; belongs to the mailbox from post until fn runs. */
struct sl_mail {
    struct sl_mail *next;
    void (*fn)(struct sl_mail *mail); /**< runs on the loop */
};

struct sl_mailbox *sl_mailbox_new(struct sl_loop *loop);
/** Mail not yet delivered is run first. */
void sl_mailbox_free(struct sl_mailbox **mb);
/** Delivers in order of posting. */
void sl_mailbox_post(struct sl_mailbox *mb, struct sl_mail *mail);

#endif
