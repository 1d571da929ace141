/* access_log.h -- one line an exchange or tunnel, refused ones included.
 *
 * Lines are written by a thread of its own (base/log_writer.h), in batches, so that a slow disk
 * never holds up a loop; when more than SL_ACCESS_LOG_QUEUE bytes wait, lines are dropped.  A log
 * that cannot be written is reported once and its lines are counted
 * (sluice_log_lines_dropped_total{log="access"}); traffic goes on.
 * Thread: any.
 */
#ifndef SL_PROXY_ACCESS_LOG_H
#define SL_PROXY_ACCESS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

struct sl_access_log;

#define SL_ACCESS_LOG_QUEUE ((size_t)8 * 1024 * 1024)

/** Whether `log.access` names a file, or what stands for one. */
bool sl_access_log_is_file(const char *path);

struct sl_access_log_conf {
    const char *path; /**< "stderr", "stdout", "off", or a file, appended to, 0640 */
    bool json;
};

/** What happened.  Slices are borrowed during the call; empty ones are shown as "-" or null. */
struct sl_record {
    uint64_t start_us; /**< wall clock */
    const char *id;
    const struct sl_addr *client;
    struct sl_str user, listener, method, scheme, host, target;
    struct sl_str connect, sni; /**< where they are not host, else empty */
    uint16_t port;
    uint8_t http_major, http_minor;
    uint16_t status; /**< sent to the client; 0: none */
    uint64_t bytes_in, bytes_out, duration_us, check_us;
    const char *verdict;                   /**< allow deny refuse tunnel error */
    const char *cache;                     /**< hit miss none */
    const char *leaf;                      /**< hit forged none */
    const char *tls_client, *tls_upstream; /**< versions, NULL for none */
    struct sl_str decided_by, reason;
    const struct sl_addr *upstream; /**< NULL: none */
    uint16_t close_code;            /**< of a WebSocket, 0: none */
    bool upstream_reused;
    bool opaque;
    bool hide_query;    /**< of a denied request: the target is cut at '?' */
    enum sl_err error;  /**< SL_OK for none */
    const char *detail; /**< of the error, NULL for none */
};

/** SL_CONFIG when the file cannot be opened. */
enum sl_err sl_access_log_new(const struct sl_access_log_conf *conf, struct sl_access_log **ret_log,
                              struct sl_fault *fault) SL_MUST_USE;
/** Whether that could be done, as far as can be told without making the file. */
enum sl_err sl_access_log_check(const struct sl_access_log_conf *conf,
                                struct sl_fault *fault) SL_MUST_USE;
/** Writes out what waits, for 2 s at most. */
void sl_access_log_free(struct sl_access_log **log);

/** False for "off": then no record need be made. */
bool sl_access_log_is_on(const struct sl_access_log *log);
void sl_access_log_write(struct sl_access_log *log, const struct sl_record *r);

/** Opens the file anew under its name (after rotation).  When that fails the old one stays, and it
 * is reported. */
void sl_access_log_reopen(struct sl_access_log *log);

/** Other settings from now on (reload): opens before it switches; SL_CONFIG leaves all as it was.
 */
enum sl_err sl_access_log_configure(struct sl_access_log *log,
                                    const struct sl_access_log_conf *conf,
                                    struct sl_fault *fault) SL_MUST_USE;

#endif
