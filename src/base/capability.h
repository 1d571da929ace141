/* capability.h -- rights of root that a process keeps; capabilities(7), without a library.
 *
 * Thread: the calling one's, and those it makes.
 */
#ifndef SL_BASE_CAPABILITY_H
#define SL_BASE_CAPABILITY_H

#include <linux/capability.h>
#include <stdint.h>

#include "base/err.h"

#define SL_CAPABILITY(number) (1u << (number)) /**< of the first 32, where all of ours are */

/** Of those that it has, gives up all but @a kept, for good. */
enum sl_err sl_capability_keep(uint32_t kept, struct sl_fault *fault) SL_MUST_USE;

#endif
