/* proxy.h -- one worker's proxy: its listeners, its client connections, the configuration in force.
 *
 * Thread: the loop's.
 */
#ifndef SL_PROXY_PROXY_H
#define SL_PROXY_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct sl_env;
struct sl_loop;
struct sl_mailbox;
struct sl_proxy;
struct sl_snapshot;

struct sl_proxy *sl_proxy_new(struct sl_loop *loop, struct sl_mailbox *mailbox);
/** Closes whatever is left at once. */
void sl_proxy_free(struct sl_proxy **proxy);

/** Works by @a snapshot from now on (a reference is taken): new exchanges see it, those under way
 * keep theirs. On failure the one in force stays. */
enum sl_err sl_proxy_configure(struct sl_proxy *proxy, struct sl_snapshot *snapshot,
                               struct sl_fault *fault) SL_MUST_USE;

/** Accepts from @a fd, a listening socket that other workers accept from too; it stays the caller's
 * and outlives the proxy.  @a name is for the log, static or outliving too. */
void sl_proxy_listen(struct sl_proxy *proxy, int fd, const char *name);

/** No longer accepts from @a fd; connections that are there, or wait for it to accept them, stay.
 */
void sl_proxy_unlisten(struct sl_proxy *proxy, int fd);

/** Takes no new connection, ends each keep-alive connection with its exchange; @a drained runs
 * once, from the loop, when the last is gone. */
void sl_proxy_drain(struct sl_proxy *proxy, void (*drained)(void *arg), void *arg);

size_t sl_proxy_n_conns(const struct sl_proxy *proxy);

/** The environment of new exchanges, for `explain` and the admin pages; borrowed. */
struct sl_env *sl_proxy_env(const struct sl_proxy *proxy);

#endif
