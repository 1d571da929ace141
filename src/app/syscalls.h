/* syscalls.h -- which calls the kernel answers from now on: those that serving needs, and no
 * others.
 *
 * What is not needed ends in ENOSYS, as on a kernel that does not have it, so that libraries take
 * another way.  Thread: it holds for the calling one and those it makes.
 * Source: seccomp(2).
 */
#ifndef SL_APP_SYSCALLS_H
#define SL_APP_SYSCALLS_H

#include "base/err.h"

/** For good.  SL_NOT_IMPLEMENTED when the kernel cannot. */
enum sl_err sl_syscalls_restrict(struct sl_fault *fault) SL_MUST_USE;

#endif
