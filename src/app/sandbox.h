/* sandbox.h -- what the process that serves clients gives up before it serves any: root, all files
 * but those it was told of, all system calls but those it needs.
 *
 * What comes after, a reload above all, has no more than the start had.  The signer is another
 * process, which keeps what it has.
 * Thread: main's, while it is alone.
 */
#ifndef SL_APP_SANDBOX_H
#define SL_APP_SANDBOX_H

#include "base/err.h"

struct sl_authority;
struct sl_config;

/** SL_CONFIG when this process cannot read what a configuration names, or names depend on. */
enum sl_err sl_sandbox_try(const struct sl_config *config, struct sl_fault *fault) SL_MUST_USE;

/** As `security` says.  What the kernel cannot do is done without, and logged.
 *
 * @return SL_CONFIG with one line when the user is not to be had, or may not read what a reload
 *         would read
 */
enum sl_err sl_sandbox_enter(const struct sl_config *config, const struct sl_authority *authority,
                             struct sl_fault *fault) SL_MUST_USE;

#endif
