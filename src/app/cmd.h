/* cmd.h -- the subcommands; each answers the exit status of the process.
 *
 * Thread: main's.
 */
#ifndef SL_APP_CMD_H
#define SL_APP_CMD_H

#include "base/err.h"
#include "base/str.h"

struct sl_options;

#define SL_EXIT_OK 0
#define SL_EXIT_FAILED 1
#define SL_EXIT_USAGE 2
#define SL_EXIT_CONFIG 78

int sl_cmd_run(const struct sl_options *options);
int sl_cmd_check_config(const struct sl_options *options);
int sl_cmd_ca(const struct sl_options *options);
/** `ca install` and `ca uninstall`. */
int sl_cmd_trust(const struct sl_options *options);
int sl_cmd_explain(const struct sl_options *options);

/** Says what failed, one line on stderr, and answers the exit status that goes with it. */
int sl_cmd_failed(enum sl_err err, const char *text);
/** Writes to stdout; SL_EXIT_FAILED when it takes no more. */
int sl_cmd_print(struct sl_str text);

#endif
