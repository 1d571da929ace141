/* options.h -- the command line, by one table of flags that help is printed from too.
 *
 * Thread: main's.
 */
#ifndef SL_APP_OPTIONS_H
#define SL_APP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/config.h"
#include "base/addr.h"
#include "base/buf.h"
#include "tls/ca.h"

enum sl_command {
    SL_COMMAND_RUN,
    SL_COMMAND_CHECK_CONFIG,
    SL_COMMAND_CA_INIT,
    SL_COMMAND_CA_SHOW,
    SL_COMMAND_CA_EXPORT,
    SL_COMMAND_CA_INSTALL,
    SL_COMMAND_CA_UNINSTALL,
    SL_COMMAND_EXPLAIN,
    SL_COMMAND_VERSION,
    SL_COMMAND_HELP, /**< of `topic` */
};

struct sl_option_list {
    const char **v;
    uint32_t n;
};

/** Strings are those of argv. */
struct sl_options {
    enum sl_command command;
    struct sl_config_source config;
    const char *state_dir; /**< NULL: the default */
    struct sl_ca_new_conf ca;
    enum sl_ca_format format;
    const char *output; /**< NULL: stdout */
    const char *url, *method, *user;
    struct sl_addr client;
    struct sl_option_list headers; /**< "Name: value" */
    const char *topic;             /**< a command, "keys", or NULL for the overview */

    /* As they were given; the fields above are made from them. */
    struct sl_option_list listens, sets;
    const char *key_text, *days_text, *format_text, *client_text;
    bool wants_help, wants_version;
};

/** @return SL_OK, or SL_CONFIG with one line about what is wrong in @a fault; fini in both cases */
enum sl_err sl_options_parse(int argc, char *const argv[], struct sl_options *ret_options,
                             struct sl_fault *fault) SL_MUST_USE;
void sl_options_fini(struct sl_options *options);

/** Help on @a topic; NULL: the overview.  False when there is no such topic. */
bool sl_options_help(const char *topic, struct sl_buf *out);

#endif
