/* h1_wire.h -- an HTTP/1 connection below its requests: the byte stream, both halves, and who hears
 * of readiness.  Private to http/h1_server and http/h1_client.
 *
 * Embedded.  Its memory must outlive a call of on_ready: owners free themselves with
 * sl_loop_defer_free. Thread: the loop's.
 */
#ifndef SL_HTTP_H1_WIRE_H
#define SL_HTTP_H1_WIRE_H

#include "http/h1_recv.h"
#include "http/h1_send.h"
#include "http/http_stream.h"

struct sl_h1_wire {
    struct sl_loop *loop;
    struct sl_stream *stream; /**< owned; NULL once closed or given away */
    struct sl_h1_recv recv;
    struct sl_h1_send send;
    unsigned wanted;     /**< events asked for last */
    struct sl_task wake; /**< reports what was read ahead, as the transport will not */
    sl_ready_fn *on_ready;
    void *arg;
};

/** on_ready and arg are set by the owner before; @a limits is borrowed. */
void sl_h1_wire_init(struct sl_h1_wire *w, struct sl_loop *loop, struct sl_stream *stream,
                     const struct sl_head_limits *limits);
/** Closes the byte stream; no callback runs afterwards.  Closing again is a no-op. */
void sl_h1_wire_close(struct sl_h1_wire *w);
/** The same; a message that ends with the connection and has not ended is seen to be cut (RFC 9112
 * section 8). */
void sl_h1_wire_abandon(struct sl_h1_wire *w);
/** Gives the byte stream away. */
struct sl_stream *sl_h1_wire_release(struct sl_h1_wire *w);
/** Level-triggered, over what was read ahead too. */
void sl_h1_wire_want(struct sl_h1_wire *w, unsigned events);
/** The body for recv_body of @a s, counted there; sets its fault. */
enum sl_err sl_h1_wire_recv_body(struct sl_h1_wire *w, struct sl_http_stream *s, struct iovec buf,
                                 size_t *ret_n) SL_MUST_USE;
/** The same for send_body. */
enum sl_err sl_h1_wire_send_body(struct sl_h1_wire *w, struct sl_http_stream *s,
                                 struct sl_str content, size_t *ret_n) SL_MUST_USE;

#endif
