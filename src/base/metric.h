/* metric.h -- counters, gauges and histograms in the Prometheus data model.
 *
 * Families are registered once, by name, and live as long as the process.  A child is one
 * combination of label values; look it up once and keep the pointer.  The number of children of a
 * family is bounded (SL_METRIC_MAX_CHILDREN): label values never come from the network, and
 * combinations beyond the bound share one child whose labels all say "other". Thread: any; updates
 * are relaxed atomics.
 */
#ifndef SL_BASE_METRIC_H
#define SL_BASE_METRIC_H

#include <stdint.h>

#include "base/buf.h"

#define SL_METRIC_MAX_CHILDREN 1024

enum sl_metric_kind { SL_METRIC_COUNTER, SL_METRIC_GAUGE, SL_METRIC_HISTOGRAM };

struct sl_metric_family;
struct sl_metric;

/** Registers a family, or answers the one already registered under @a name.
 *
 * @param name    static, e.g. "sluice_requests_total"
 * @param help    static, one sentence
 * @param labels  static, comma-separated label names, "" for none
 */
struct sl_metric_family *sl_metric_family(enum sl_metric_kind kind, const char *name,
                                          const char *help, const char *labels);

/** The child with these label values (as many NUL-terminated strings as the family has labels; NULL
 * when it has none), created on first use.  Takes a lock: not for hot paths. */
struct sl_metric *sl_metric_child(struct sl_metric_family *f, const char *const *values);

void sl_metric_add(struct sl_metric *m, int64_t n);     /**< counter: n >= 0; gauge: any */
void sl_metric_set(struct sl_metric *m, int64_t value); /**< gauge */
void sl_metric_observe_us(struct sl_metric *m,
                          uint64_t us);             /**< histogram of seconds, 50 us to 60 s */
int64_t sl_metric_value(const struct sl_metric *m); /**< counter, gauge; histogram: its count */

/** Appends all families in the Prometheus text format 0.0.4, in order of registration. */
void sl_metric_write(struct sl_buf *out);

#endif
