/* tcp.h -- streams over TCP and unix sockets: listen, accept, connect.
 *
 * Thread: the loop's; sl_tcp_listen from any.
 */
#ifndef SL_IO_TCP_H
#define SL_IO_TCP_H

#include "base/addr.h"
#include "base/err.h"
#include "io/loop.h"

struct sl_stream;
struct sl_tcp_connect;

/** Binds and listens, non-blocking, close-on-exec.  A stale unix socket nobody answers on is
 * replaced.
 *
 * @param ret_bound  the address with the port that port 0 became
 */
enum sl_err sl_tcp_listen(const struct sl_addr *addr, int *ret_fd, struct sl_addr *ret_bound,
                          struct sl_fault *fault) SL_MUST_USE;

/** As sl_tcp_listen, where listening sockets of this process that yield are no obstacle. */
enum sl_err sl_tcp_listen_over(const struct sl_addr *addr, int *ret_fd, struct sl_addr *ret_bound,
                               struct sl_fault *fault) SL_MUST_USE;
/** Whether the listening socket @a fd yields: for the moment in which another takes its place,
 * since any process of the same user may do so meanwhile. */
void sl_tcp_yield(int fd, bool yields);

/** SL_AGAIN when nobody waits; SL_LIMIT when descriptors ran out; errors of the connection that was
 * being accepted are skipped. */
enum sl_err sl_tcp_accept(int listen_fd, int *ret_fd, struct sl_addr *ret_peer) SL_MUST_USE;

/** Turns a connection away: sends what of @a last the socket takes at once, then closes it. */
void sl_tcp_dismiss(int fd, struct sl_str last);

/** A stream over a connected non-blocking socket, which it owns from now on.  TCP_NODELAY is set.
 */
struct sl_stream *sl_tcp_stream_new(struct sl_loop *loop, int fd);

/** The descriptor under a stream made by sl_tcp_stream_new. */
int sl_tcp_stream_fd(const struct sl_stream *s);

/** Exactly once, from the loop, never from inside start.  The connect is already gone. */
typedef void sl_tcp_connect_fn(void *arg, struct sl_stream *stream, const struct sl_fault *fault);

/** Connects to one address; no deadline of its own (see io/race.h). */
struct sl_tcp_connect *sl_tcp_connect_start(struct sl_loop *loop, const struct sl_addr *addr,
                                            sl_tcp_connect_fn *done, void *arg);
void sl_tcp_connect_cancel(struct sl_tcp_connect **c);

#endif
