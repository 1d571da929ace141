/* h2_events.h -- a session of the HTTP/2 library whose callbacks keep a connection's books. Private
 * to http/h2_conn.
 *
 * Thread: the loop's.
 */
#ifndef SL_HTTP_H2_EVENTS_H
#define SL_HTTP_H2_EVENTS_H

#include "http/h2_conn.h"

/** A new session for @a c, whose conf is set; never NULL, the caller's. */
nghttp2_session *sl_h2_events_attach(struct sl_h2_conn *c);
/** Takes the price of the frames in @a in, which the session is to get next. */
void sl_h2_events_pay(struct sl_h2_conn *c, struct sl_str in);
/** For one that ends without the GOAWAY by which floods are counted. */
void sl_h2_events_count_flood(const struct sl_h2_conn *c);

#endif
