/* reload.h -- a configuration put into force, whole or not at all.
 *
 * Everything that can fail is prepared first: reading, the authority, sockets, files of
 * certificates, the access log.  Only then is it handed to the workers, so that a bad file leaves
 * the old one in force. Thread: main's.
 */
#ifndef SL_APP_RELOAD_H
#define SL_APP_RELOAD_H

#include "base/err.h"

struct sl_config;
struct sl_daemon;

struct sl_reload_error {
    char text[512]; /**< one line: where, what */
};

/** Reads the configuration anew and puts it into force. */
enum sl_err sl_reload(struct sl_daemon *daemon, struct sl_reload_error *error) SL_MUST_USE;

/** Puts the first configuration into force, and takes it over; there are no workers yet:
 * daemon->first is set, and the caller starts them with it. */
enum sl_err sl_reload_first(struct sl_daemon *daemon, struct sl_config *config,
                            struct sl_reload_error *error) SL_MUST_USE;

#endif
