/* guard.h -- which addresses the proxy may connect to (SSRF and DNS rebinding).
 *
 * Sees the very address that is about to be connected to, so there is nothing to rebind.  Blocked
 * unless allowed by name: private, loopback, link-local, CGNAT, multicast, reserved ranges, IPv4
 * inside IPv6, and the machine's own addresses.  The proxy's own listeners are blocked whatever is
 * allowed. Thread: any; immutable once made.
 */
#ifndef SL_UPSTREAM_GUARD_H
#define SL_UPSTREAM_GUARD_H

#include <stddef.h>

#include "base/addr.h"
#include "base/err.h"

struct sl_guard;

struct sl_guard_conf {
    const struct sl_cidr *allow; /**< upstream.allow_addresses; copied */
    size_t n_allow;
    const struct sl_addr *own; /**< listeners and admin, with their ports; copied */
    size_t n_own;
};

/** Reads the machine's own addresses once, now. */
struct sl_guard *sl_guard_new(const struct sl_guard_conf *conf);
void sl_guard_free(struct sl_guard **guard);

/** SL_OK or SL_BLOCKED_ADDRESS.  @a addr carries the port that will be connected to. */
enum sl_err sl_guard_check(const struct sl_guard *guard, const struct sl_addr *addr) SL_MUST_USE;

#endif
