/* h2_guard.h -- how much nuisance a peer may be (CVE-2023-44487, CVE-2019-9511 to 9518 and kin).
 *
 * Frames that cost us work and bring nobody forward (resets, pings, settings, priorities, window
 * updates, empty data, unknown ones) are paid for from a budget that time fills slowly and useful
 * frames fill as they come; whoever is broke is no client but a flood.  What answers DATA of ours
 * has a budget of its own that waits for a peer far behind, and buys nothing else. Embedded; zeroed
 * memory is a guard that has not begun.  Thread: the owner's.
 */
#ifndef SL_HTTP_H2_GUARD_H
#define SL_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_H2_GUARD_BURST 1000u     /* what a new connection may spend at once */
#define SL_H2_GUARD_PER_SECOND 100u /* what time gives back */
#define SL_H2_GUARD_EARNED 2u       /* a download acknowledges DATA with up to two window updates */
#define SL_H2_GUARD_WORTHY 512u     /* DATA with fewer bytes pays for no other frames */

#define SL_H2_GUARD_ANSWERS 65536u /* window updates and pings that may be outstanding */

struct sl_h2_guard {
    int64_t left;       /**< in thousandths of a frame */
    uint32_t answers;   /**< frames that DATA of ours may still be answered with */
    uint64_t filled_ms; /**< 0: not begun */
};

/** A frame's header came; false when the peer has spent more than it had. */
bool sl_h2_guard_frame(struct sl_h2_guard *g, uint64_t now_ms, uint8_t type);
/** DATA came without any. */
bool sl_h2_guard_waste(struct sl_h2_guard *g, uint64_t now_ms);
/** DATA or HEADERS with a payload of @a n bytes came for a stream that is gone.  Whoever has not
 * heard of its end yet may fill its window: large frames cost a quarter. */
bool sl_h2_guard_late(struct sl_h2_guard *g, uint64_t now_ms, size_t n);
/** A header block, or a part of it with @a n bytes, came for a stream that we refuse.  It has to be
 * decoded all the same, and may be a hundred times as large then. */
bool sl_h2_guard_refused(struct sl_h2_guard *g, uint64_t now_ms, size_t n);
/** We had to reset a stream for what the peer did in it; counts like a reset of its own. */
bool sl_h2_guard_reset(struct sl_h2_guard *g, uint64_t now_ms);
/** The peer sent content, got a head, or ended a stream well: it may spend so much more. */
void sl_h2_guard_earn(struct sl_h2_guard *g, uint32_t frames);
/** DATA went to the peer, which may answer it with so many window updates or pings when it comes to
 * read it; windows and sockets hold far more than a burst. */
void sl_h2_guard_expect(struct sl_h2_guard *g, uint32_t frames);

#endif
