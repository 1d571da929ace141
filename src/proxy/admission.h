/* admission.h -- how many connections there may be: in all, and from one client address; and
 * whether anything new may begin at all.
 *
 * Shared by all workers; one short lock a connection.
 * Thread: any.
 */
#ifndef SL_PROXY_ADMISSION_H
#define SL_PROXY_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct sl_admission;

struct sl_admission_conf {
    uint32_t connections;            /**< in all; 0: no limit */
    uint32_t connections_per_client; /**< of one IP address; unix sockets count as one client; 0: no
                                        limit */
};

struct sl_admission *sl_admission_new(const struct sl_admission_conf *conf);
void sl_admission_free(struct sl_admission **a);
/** New limits; connections that are there stay. */
void sl_admission_configure(struct sl_admission *a, const struct sl_admission_conf *conf);

/** While closed, for want of memory, nobody enters and no request begins; who is there stays. */
void sl_admission_close(struct sl_admission *a, bool is_closed);
/** @a a NULL: never. */
bool sl_admission_is_closed(const struct sl_admission *a);

/** SL_OK, then sl_admission_leave when the connection ends; or SL_TOO_MANY, or while it is closed
 * SL_LIMIT. */
enum sl_err sl_admission_enter(struct sl_admission *a, const struct sl_addr *client) SL_MUST_USE;
void sl_admission_leave(struct sl_admission *a, const struct sl_addr *client);

#endif
