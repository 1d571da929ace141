/* h2_frames.h -- the frame headers in what a peer sends (RFC 9113 section 4.1), for those who have
 * to see each: the library is silent about frames that it drops.
 *
 * Embedded; zeroed memory stands before a frame header.  Thread: the owner's.
 */
#ifndef SL_HTTP_H2_FRAMES_H
#define SL_HTTP_H2_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SL_H2_FRAME_HEAD 9u
#define SL_H2_PREFACE_LEN 24u /* bytes that a client sends first */

struct sl_h2_frames {
    uint8_t head[SL_H2_FRAME_HEAD];
    uint32_t n_head; /**< bytes of it that have come */
    uint32_t skip;   /**< payload, or preface, that is still to come */
};

struct sl_h2_frame {
    uint32_t length; /**< of the payload */
    uint8_t type;
    int32_t stream;
};

/** Takes from @a in up to the end of the next frame header; false when it has no further one. */
bool sl_h2_frames_next(struct sl_h2_frames *frames, struct sl_str *in,
                       struct sl_h2_frame *ret_frame);

#endif
