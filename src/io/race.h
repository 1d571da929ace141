/* race.h -- connect to the first address that answers (RFC 8305 section 5).
 *
 * Attempts start 250 ms apart, or at once when the one before has failed; the first to connect wins
 * and the others are closed. Thread: the loop's.
 */
#ifndef SL_IO_RACE_H
#define SL_IO_RACE_H

#include "base/addr.h"
#include "base/err.h"

struct sl_addrs;
struct sl_loop;
struct sl_race;
struct sl_stream;

/** Exactly once, from the loop, never from inside start.
 *
 * @param stream  now the callee's; NULL when every address failed
 * @param peer    the address that won, valid during the call
 * @param fault   the fault of the first address
 */
typedef void sl_race_fn(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                        const struct sl_fault *fault);

/** @a addrs (at least one) are copied.  No deadline of its own: the owner has one. */
struct sl_race *sl_race_start(struct sl_loop *loop, const struct sl_addrs *addrs, uint16_t port,
                              sl_race_fn *done, void *arg);
void sl_race_cancel(struct sl_race **race);

#endif
