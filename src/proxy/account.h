/* account.h -- the end of an exchange or tunnel: its line in the log, its place in the counters.
 *
 * Thread: any.
 */
#ifndef SL_PROXY_ACCOUNT_H
#define SL_PROXY_ACCOUNT_H

#include "policy/gate.h"
#include "proxy/access_log.h"

/** Registers sluice_requests_total{verdict,decided_by}; once, before the first use. */
void sl_account_register(void);

/** Completes @a r with who decided and why, counts it, and writes the line.
 *
 * @param ruling   rule NULL: the proxy itself decided (malformed, misdirected, ...)
 * @param connect  of checks on the CONNECT that it came through; NULL: none were asked
 */
void sl_account(struct sl_access_log *log, struct sl_record *r, const struct sl_ruling *ruling,
                const struct sl_ruling *connect);

#endif
