/* log_writer.h -- a thread that writes lines to a descriptor, so that nobody else waits for it.
 *
 * Lines wait in a queue of bounded size; one that finds no room, or that the descriptor did not
 * take, is lost: counted, and told when the trouble begins (if the descriptor gave an error) and
 * when it is over.  Whoever makes a writer owns it.
 * Thread: any; on_trouble runs on the writer's own and may put lines.
 */
#ifndef SL_BASE_LOG_WRITER_H
#define SL_BASE_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define SL_LOG_WRITER_OFF (-1) /**< in place of a descriptor: lines are taken and forgotten */

struct sl_log_writer;
struct sl_metric;

/** @a os_errno: why lines are lost from now on; 0: it works again, @a n_lost lines were lost. */
typedef void sl_log_trouble_fn(int os_errno, uint64_t n_lost);

struct sl_log_writer_conf {
    int fd;             /**< closed when it is no longer used, but for 0 to 2 */
    size_t queue_bytes; /**< of lines that wait or are being written */
    uint32_t batch_ms;  /**< how long a first line may wait for others to share its write */
    uint32_t stop_ms;   /**< what the last lines have to get out */
    struct sl_metric *n_dropped; /**< counts lost lines */
    sl_log_trouble_fn *on_trouble;
};

/** Starts the thread. */
struct sl_log_writer *sl_log_writer_new(const struct sl_log_writer_conf *conf);
/** Writes out what waits and ends the thread, within stop_ms.  False when that was too short: then
 * it is left behind, with all it holds, and must not be freed. */
bool sl_log_writer_stop(struct sl_log_writer *w) SL_MUST_USE;
/** After a stop that was in time; what was put since is forgotten. */
void sl_log_writer_free(struct sl_log_writer **w);

/** Takes a copy of a line that ends in a newline; never waits for the descriptor. */
void sl_log_writer_put(struct sl_log_writer *w, struct sl_str line);
/** Lines put from now on go to @a fd; those put before still go to the old one. */
void sl_log_writer_switch(struct sl_log_writer *w, int fd);

#endif
