/* prometheus.h -- the metrics that every process has, by the names that Prometheus' own clients
 * use.
 *
 * Private to src/admin.
 * Thread: any.
 */
#ifndef SL_ADMIN_PROMETHEUS_H
#define SL_ADMIN_PROMETHEUS_H

#include "base/buf.h"

/** Sets sluice_build_info; may be called again. */
void sl_prometheus_register(void);

/** Appends process_*, read from the kernel now; what cannot be read is left out. */
void sl_prometheus_write_process(struct sl_buf *out);

#endif
