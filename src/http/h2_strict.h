/* h2_strict.h -- what a peer MUST NOT do (RFC 9113) and the library forgives: it would ignore the
 * frame, or end one stream where the connection is lost.
 *
 * Embedded in a connection; zeroed memory is one that has heard nothing.  Thread: the loop's.
 */
#ifndef SL_HTTP_H2_STRICT_H
#define SL_HTTP_H2_STRICT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

struct sl_h2_conn;

struct sl_h2_strict {
    int32_t last;             /**< the highest stream that the peer has opened */
    int32_t gap_from, gap_to; /**< those that it skipped on its way there; the latest such gap */
    int64_t widest;           /**< of the streams' windows, before the SETTINGS under way */
    int64_t initial;          /**< what such a window began with then */
};

/** A frame begins; false: the connection is lost to a PROTOCOL_ERROR. */
bool sl_h2_strict_begin(struct sl_h2_conn *c, const nghttp2_frame_hd *hd);
/** SETTINGS came; false: the connection is lost to a FLOW_CONTROL_ERROR. */
bool sl_h2_strict_settings(struct sl_h2_conn *c, const nghttp2_settings *settings);

#endif
