/* loop_async.h -- waking a loop from another thread; io/mailbox.c is built on it.
 *
 * Thread: sl_async_wake from any; the rest from the loop's own.
 */
#ifndef SL_IO_LOOP_ASYNC_H
#define SL_IO_LOOP_ASYNC_H

struct sl_async;
struct sl_loop;

/** @a fn runs on the loop some time after each wake; several wakes may become one call. */
struct sl_async *sl_async_new(struct sl_loop *loop, void (*fn)(void *arg), void *arg);
/** No wake may be under way on another thread. */
void sl_async_free(struct sl_async **a);
void sl_async_wake(struct sl_async *a);

#endif
