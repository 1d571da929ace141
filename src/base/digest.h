/* digest.h -- message digests that protocols fix.
 *
 * Thread: any.
 */
#ifndef SL_BASE_DIGEST_H
#define SL_BASE_DIGEST_H

#include <stdint.h>

#include "base/str.h"

#define SL_SHA1_LEN 20

/** SHA-1, for what is no secret: RFC 6455 wants it. */
void sl_sha1(struct sl_str s, uint8_t ret_digest[SL_SHA1_LEN]);

#endif
