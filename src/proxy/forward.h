/* forward.h -- what goes on: heads as the next hop gets them, and who a request may speak to.
 *
 * Pure functions on heads.
 * Thread: the owner's.
 */
#ifndef SL_PROXY_FORWARD_H
#define SL_PROXY_FORWARD_H

#include "base/arena.h"
#include "base/err.h"
#include "http/message.h"
#include "policy/facts.h"

struct sl_client;
struct sl_rule;

/** One name per exchange: inside a tunnel the request's authority is that of the CONNECT (a Host
 * without port means the CONNECT's port), and its scheme that of the connection.  SNI and Host may
 * say a name of @a rule, which decides the request, in place of the CONNECT's, and Host the SNI
 * then.  SL_MISDIRECTED names both sides; CONNECT inside a tunnel is SL_NOT_IMPLEMENTED. */
enum sl_err sl_forward_identity(const struct sl_client *client, const struct sl_head *request,
                                const struct sl_rule *rule, struct sl_fault *fault) SL_MUST_USE;

/** The request as rules and checks see it and the origin gets it: end-to-end fields, `Via` last. Of
 * upgrades only the handshake of a WebSocket goes on (RFC 6455); others would lead out of the
 * checks, and are ignored as a server may (RFC 9110 section 7.8). */
void sl_forward_request(const struct sl_client *client, const struct sl_head *request,
                        struct sl_arena *arena, struct sl_head *ret_head);

/** The response as the client gets it: end-to-end fields, `Via` last.  Alt-Svc leads past the
 * proxy, and goes unless @a keeps_alt_svc. */
void sl_forward_response(const struct sl_head *response, const struct sl_head *request,
                         bool keeps_alt_svc, struct sl_arena *arena, struct sl_head *ret_head);

/** What is known once the request is; the host is the one that is connected to, whatever name the
 * request says. */
void sl_forward_facts(const struct sl_client *client, const struct sl_head *head,
                      struct sl_facts *ret_facts);

#endif
