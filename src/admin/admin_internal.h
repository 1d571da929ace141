/* admin_internal.h -- what admin.c shares with its connections and pages.  Private to src/admin.
 *
 * Thread: the loop's.
 */
#ifndef SL_ADMIN_ADMIN_INTERNAL_H
#define SL_ADMIN_ADMIN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "io/loop.h"

struct sl_ca;

struct sl_admin {
    struct sl_loop *loop;
    int fd;
    struct sl_watch *watch;
    struct sl_timer pause; /**< until descriptors may be free again */
    struct sl_link conns;
    uint32_t n_conns;
    struct sl_ca *ca; /**< NULL: none yet */
    bool is_ready;
    bool is_unix; /**< a socket that no browser can be lured to */
};

#endif
