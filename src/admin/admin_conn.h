/* admin_conn.h -- one connection to the admin address, request after request.  Private to
 * src/admin.
 *
 * Thread: the loop's.
 */
#ifndef SL_ADMIN_ADMIN_CONN_H
#define SL_ADMIN_ADMIN_CONN_H

#include "admin/admin_pages.h"
#include "base/arena.h"
#include "base/list.h"
#include "io/loop.h"

struct sl_admin;
struct sl_h1_server;
struct sl_http_stream;
struct sl_profile;
struct sl_stream;

struct sl_admin_conn {
    struct sl_link in_admin;
    struct sl_admin *admin;
    struct sl_h1_server *server;
    struct sl_http_stream *stream; /**< of the request under way, NULL between two */
    struct sl_profile *profile;    /**< the request waits for it */
    struct sl_timer deadline;
    struct sl_arena arena; /**< of the response */
    struct sl_admin_answer answer;
    size_t n_sent;    /**< of the answer's body */
    bool has_no_body; /**< the request was HEAD */
    void (*ended)(void *admin);
};

/** Takes over @a stream and lives by itself; @a ended(admin) runs when it closes, however it comes
 * to that. */
void sl_admin_conn_open(struct sl_admin *admin, struct sl_stream *stream,
                        void (*ended)(void *admin));
void sl_admin_conn_close(struct sl_admin_conn *c);

#endif
