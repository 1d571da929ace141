/* multiplex.h -- an HTTP/2 client connection: every stream an exchange, all at once.
 *
 * What conn.c is for HTTP/1, from the first request on.  An operation: it ends with the connection.
 * Thread: the loop's.
 */
#ifndef SL_PROXY_MULTIPLEX_H
#define SL_PROXY_MULTIPLEX_H

#include "base/str.h"

struct sl_client;
struct sl_env;
struct sl_multiplex;
struct sl_stream;

struct sl_multiplex_conf {
    struct sl_env *env;       /**< a reference is taken */
    struct sl_client *client; /**< borrowed until the end */
    struct sl_stream *stream; /**< taken over */
    struct sl_str preface;    /**< bytes already read from it; copied */
};

/** Exactly once, from the loop, never from inside start; the operation is already gone. */
typedef void sl_multiplex_fn(void *arg);

struct sl_multiplex *sl_multiplex_start(const struct sl_multiplex_conf *conf, sl_multiplex_fn *done,
                                        void *arg);
/** Ends the exchanges under way. */
void sl_multiplex_cancel(struct sl_multiplex **mux);

/** New exchanges work by @a env from now on. */
void sl_multiplex_set_env(struct sl_multiplex *mux, struct sl_env *env);
/** No further exchange; ends with those under way. */
void sl_multiplex_drain(struct sl_multiplex *mux);

#endif
