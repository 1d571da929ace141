/* profile.h -- a CPU profile of the whole process, by gperftools.
 *
 * One at a time in a process.  The loop goes on while it is taken.
 * Thread: the loop's; sl_profile_register_thread each thread's own.
 */
#ifndef SL_ADMIN_PROFILE_H
#define SL_ADMIN_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct sl_loop;
struct sl_profile;

#define SL_PROFILE_MAX_S 300u
#define SL_PROFILE_DEFAULT_S 30u

/** "seconds=N" among the members of a query; SL_PROFILE_DEFAULT_S without.  False for N that is no
 * number or not in 1..SL_PROFILE_MAX_S. */
bool sl_profile_parse_seconds(struct sl_str query, uint64_t *ret_seconds) SL_MUST_USE;

struct sl_profile_conf {
    struct sl_loop *loop;
    uint64_t seconds;
};

/** Exactly once, from the loop, never from inside start; the operation is already gone.
 *
 * @param profile  as `pprof` reads it, borrowed; empty on failure
 * @param fault    NULL on success
 */
typedef void sl_profile_fn(void *arg, struct sl_str profile, const struct sl_fault *fault);

/** SL_TOO_MANY when one is being taken, SL_NOT_IMPLEMENTED when built without, SL_INTERNAL when
 * there is no temporary file or no timer. */
enum sl_err sl_profile_start(const struct sl_profile_conf *conf, sl_profile_fn *done, void *arg,
                             struct sl_profile **ret_profile, struct sl_fault *fault) SL_MUST_USE;
void sl_profile_cancel(struct sl_profile **profile);

/** Each thread that is to appear in profiles calls it once, when it starts. */
void sl_profile_register_thread(void);

/** The main thread calls it before it starts others: the kernel hands the profiler's signal to the
 * main thread wherever that takes it, and the profile would show nothing else. */
void sl_profile_leave_to_threads(void);

#endif
