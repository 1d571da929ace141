/* latch.h -- opened once, by one thread; others wait for it, for a time.
 *
 * The time is monotonic: whoever sets the wall clock moves no deadline, as he would that of
 * pthread_timedjoin_np.  Thread: any, once initialised.
 */
#ifndef SL_BASE_LATCH_H
#define SL_BASE_LATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct sl_latch {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool is_open;
};

void sl_latch_init(struct sl_latch *l);
/** Nobody waits, and the thread that opened it was joined. */
void sl_latch_fini(struct sl_latch *l);
void sl_latch_open(struct sl_latch *l);
/** False when it did not open within @a ms. */
bool sl_latch_wait(struct sl_latch *l, uint32_t ms);

#endif
