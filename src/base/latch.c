/* latch.c -- a flag, its lock, and who waits for it. */
#include "base/latch.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"

void sl_latch_init(struct sl_latch *l)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->opened, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->lock, NULL);
    l->is_open = false;
}

void sl_latch_fini(struct sl_latch *l)
{
    pthread_cond_destroy(&l->opened);
    pthread_mutex_destroy(&l->lock);
}

void sl_latch_open(struct sl_latch *l)
{
    pthread_mutex_lock(&l->lock);
    l->is_open = true;
    pthread_cond_broadcast(&l->opened);
    pthread_mutex_unlock(&l->lock);
}

bool sl_latch_wait(struct sl_latch *l, uint32_t ms)
{
    uint64_t until_us = sl_mono_us() + (uint64_t)ms * 1000;
    struct timespec until = { .tv_sec = (time_t)(until_us / 1000000),
                              .tv_nsec = (long)(until_us % 1000000) * 1000 };
    bool is_open;

    pthread_mutex_lock(&l->lock);
    while (!l->is_open && pthread_cond_timedwait(&l->opened, &l->lock, &until) != ETIMEDOUT)
        continue;
    is_open = l->is_open;
    pthread_mutex_unlock(&l->lock);
    return is_open;
}
