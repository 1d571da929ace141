/* listeners.h -- the sockets that clients connect to, and what a reload changes about them.
 *
 * A socket is known by the address that the configuration names; port 0 stays with the port it got.
 * Thread: main's.
 */
#ifndef SL_APP_LISTENERS_H
#define SL_APP_LISTENERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

struct sl_config_listener;

struct sl_listener {
    struct sl_link in_set;
    struct sl_addr asked; /**< as configured */
    struct sl_addr bound;
    int fd;
    char name[SL_ADDR_TEXT]; /**< of bound; connections refer to it, so it lives until the end */
    uint32_t n_using; /**< orders to accept from it that no worker has reported to be over; the
                         socket may be closed at 0 */
};

/** Zeroed memory is not a set: init first. */
struct sl_listeners {
    struct sl_link active, gone;
    int admin_fd; /**< of this process too, and no listener; -1: none; set by the owner */
    struct sl_addr admin_bound;
};

void sl_listeners_init(struct sl_listeners *set);
/** Closes all, and removes the files of unix sockets. */
void sl_listeners_fini(struct sl_listeners *set);
/** Removes the files of unix sockets alone, for an end that leaves a worker behind. */
void sl_listeners_remove_files(const struct sl_listeners *set);

/** What a configuration changes: a plan, made first, then committed or dropped. */
struct sl_listener_plan {
    struct sl_listeners *set;
    struct sl_link opened;  /**< new ones, and gone ones whose socket was still in use */
    struct sl_link kept;    /**< those that stay */
    struct sl_link dropped; /**< those to be closed */
};

/** Opens what is new.  On failure nothing has changed, and @a fault names the address. */
enum sl_err sl_listeners_plan(struct sl_listeners *set, const struct sl_config_listener *wanted,
                              uint32_t n_wanted, struct sl_listener_plan *ret_plan,
                              struct sl_fault *fault) SL_MUST_USE;
/** A socket for @a addr beside the plan's, where one that the plan drops may still be. */
enum sl_err sl_listeners_bind(const struct sl_listener_plan *plan, const struct sl_addr *addr,
                              int *ret_fd, struct sl_addr *ret_bound,
                              struct sl_fault *fault) SL_MUST_USE;
/** Closes what is new; the set is as it was. */
void sl_listeners_undo(struct sl_listeners *set, struct sl_listener_plan *plan);
/** The set is opened and kept ones; dropped ones are in `gone`. */
void sl_listeners_commit(struct sl_listeners *set, struct sl_listener_plan *plan);

/** Closes the socket; no worker may use it any more.  The name lives on. */
void sl_listener_close(struct sl_listener *l);

#endif
