/* log.h -- the error log: one line an event, on stderr.
 *
 * The access log is another thing (proxy/access_log.h).  A line is written with one write(2).
 * Thread: any.
 */
#ifndef SL_BASE_LOG_H
#define SL_BASE_LOG_H

#include <stdbool.h>

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

#endif
