/* identity.h -- as whom the process runs, and with which of root's rights.
 *
 * Thread: main's, while it is alone.
 */
#ifndef SL_APP_IDENTITY_H
#define SL_APP_IDENTITY_H

#include <stdbool.h>

#include "base/err.h"

/** SL_CONFIG when there is no user of that name. */
enum sl_err sl_identity_check(const char *name, struct sl_fault *fault) SL_MUST_USE;

/** Becomes the user of that name, with its first group and no others, for good.  Of root's rights
 * only the one to bind ports below 1024 stays.
 *
 * @return SL_CONFIG when there is none of that name, or we are not root and somebody else
 */
enum sl_err sl_identity_become(const char *name, struct sl_fault *fault) SL_MUST_USE;

/** Gives up those rights without becoming anybody: who is root keeps, besides, the one to open
 * files of others. */
enum sl_err sl_identity_shed(struct sl_fault *fault) SL_MUST_USE;

#endif
