/* admin.h -- what operators and their tools look at: health, metrics, the CA's certificate, a CPU
 * profile.
 *
 *     GET /healthz  200 while the process runs        GET /readyz  200 when ready, 503 while
 * draining GET /metrics  Prometheus text 0.0.4             GET /ca.pem  the authority's certificate
 *     GET /debug/pprof/profile?seconds=N              gperftools' format; 1..300 s, one at a time
 *     GET /         an index for eyes
 * Loopback or a unix socket; requests whose Host is neither an address, localhost nor a unix
 * socket's are refused with 421 (DNS rebinding). Thread: one loop's, that of the main thread.
 */
#ifndef SL_ADMIN_ADMIN_H
#define SL_ADMIN_ADMIN_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/err.h"

struct sl_admin;
struct sl_ca;
struct sl_loop;

/** Takes over the listening socket @a fd. */
struct sl_admin *sl_admin_new(struct sl_loop *loop, int fd);
void sl_admin_free(struct sl_admin **admin);
/** What /readyz answers from now on. */
void sl_admin_set_ready(struct sl_admin *admin, bool ready);
/** What /ca.pem answers from now on; a reference is taken. */
void sl_admin_set_ca(struct sl_admin *admin, struct sl_ca *ca);

#endif
