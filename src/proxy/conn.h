/* conn.h -- one client connection: requests to exchanges, CONNECT to interception or a tunnel.
 *
 * Steps are a table, as in the exchange; docs/STATES.md shows it.
 * Thread: the loop's.
 */
#ifndef SL_PROXY_CONN_H
#define SL_PROXY_CONN_H

#include "base/addr.h"
#include "base/str.h"

struct sl_conn;
struct sl_env;
struct sl_stream;

struct sl_conn_conf {
    struct sl_env *env;       /**< a reference is taken; sl_conn_set_env replaces it */
    struct sl_stream *stream; /**< taken over */
    struct sl_addr peer;
    struct sl_str listener; /**< outlives the connection */
    uint64_t id;
};

/** The connection has ended, from the loop; free it now. */
typedef void sl_conn_fn(void *arg, struct sl_conn *conn);

/** Registers the metrics and states; once, before the first connection. */
void sl_conn_register(void);

struct sl_conn *sl_conn_new(const struct sl_conn_conf *conf, sl_conn_fn *ended, void *arg);
/** Ends what is under way. */
void sl_conn_free(struct sl_conn **conn);

/** New exchanges work by @a env from now on. */
void sl_conn_set_env(struct sl_conn *conn, struct sl_env *env);
/** No further exchange; ends at once when none is under way. */
void sl_conn_drain(struct sl_conn *conn);
const struct sl_addr *sl_conn_peer(const struct sl_conn *conn);

#endif
