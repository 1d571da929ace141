/* memory_watch.h -- limits.memory: how much the process occupies, told to the admission.
 *
 * Embedded; zeroed memory watches nothing.  Thread: the loop's.
 */
#ifndef SL_APP_MEMORY_WATCH_H
#define SL_APP_MEMORY_WATCH_H

#include "io/loop.h"

struct sl_admission;

struct sl_memory_watch {
    struct sl_loop *loop;
    struct sl_admission *admission;
    uint64_t limit; /**< in bytes */
    int fd;         /**< of /proc/self/statm, kept for when there are no more; limit 0: none */
    bool is_over;
    struct sl_timer timer;
};

/** Watches from now on, or not at all: @a limit 0.  A process that cannot be measured is never
 * over, and the log says so once. */
void sl_memory_watch_configure(struct sl_memory_watch *w, struct sl_loop *loop,
                               struct sl_admission *admission, uint64_t limit);
void sl_memory_watch_stop(struct sl_memory_watch *w);

#endif
