/* dial.h -- open one byte stream: resolve, guard, then connect.
 *
 * Thread: a dial lives and reports on its loop.
 */
#ifndef SL_UPSTREAM_DIAL_H
#define SL_UPSTREAM_DIAL_H

#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"

struct sl_dial;
struct sl_guard;
struct sl_loop;
struct sl_resolver;
struct sl_stream;

struct sl_dial_conf {
    struct sl_loop *loop;
    struct sl_resolver *resolver;
    const struct sl_guard
        *guard;         /**< NULL: any address will do (check services, from the operator) */
    struct sl_str host; /**< canonical name or literal, or the path of a unix socket; borrowed */
    uint16_t port;
    bool is_unix;
};

/** Exactly once, from the loop, never from inside start; the dial is already gone.
 *
 * @param stream  connected, now the callee's; NULL on failure
 * @param peer    the address connected to, valid during the call
 */
typedef void sl_dial_fn(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                        const struct sl_fault *fault);

/** No deadline of its own: the owner has one. */
struct sl_dial *sl_dial_start(const struct sl_dial_conf *conf, sl_dial_fn *done, void *arg);
void sl_dial_cancel(struct sl_dial **dial);

#endif
