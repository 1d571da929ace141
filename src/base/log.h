/* log.h -- the error log: one line an event, on stderr.
 *
 * The access log is another thing (proxy/access_log.h).  A command writes its lines at once, with
 * one write(2) each.  A daemon calls sl_log_start: then a thread writes them (base/log_writer.h),
 * no caller waits for a stderr that nobody reads, and what finds no room is counted in
 * sluice_log_lines_dropped_total{log="error"}.
 * Thread: any; start and stop are main's.
 */
#ifndef SL_BASE_LOG_H
#define SL_BASE_LOG_H

#include <stdbool.h>

#include "base/str.h"

struct sl_metric;

enum sl_log_level { SL_LOG_ERROR, SL_LOG_WARN, SL_LOG_INFO, SL_LOG_DEBUG };

struct sl_log_conf {
    enum sl_log_level level; /**< lines above it are dropped */
    bool json;               /**< {"ts":...,"level":...,"msg":...} in place of text */
};

/** Takes effect for all threads; may be called again at any time. */
void sl_log_configure(const struct sl_log_conf *conf);

/** Whether a line of @a level would be written: ask before building an expensive one. */
bool sl_log_is_on(enum sl_log_level level);

/** Writes "sluice: LEVEL: text"; control characters in the text are escaped. */
void sl_log(enum sl_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Writes @a lines, complete ones, as they are: for what is fixed by contract, whatever the level
 * and format. */
void sl_log_put(struct sl_str lines);

/** From here on a thread writes. */
void sl_log_start(void);
/** Writes out what waits, for 1 s at most, and goes back to writing at once; if that was too short,
 * what is logged from then on is forgotten. */
void sl_log_stop(void);

/** The counter of lines that the log of that name lost. */
struct sl_metric *sl_log_dropped(const char *log);

#endif
