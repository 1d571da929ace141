/* sni.h -- the name in a ClientHello, and whether the tunnel may be for it.
 *
 * Pure functions on bytes.
 * Thread: any.
 */
#ifndef SL_PROXY_SNI_H
#define SL_PROXY_SNI_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct sl_hello;
struct sl_rule;

/** As sl_hello_parse, but the SNI is canonical; SL_TLS_PROTOCOL says in @a fault what is malformed.
 */
enum sl_err sl_sni_parse(struct sl_str in, struct sl_arena *a, struct sl_hello *ret_hello,
                         struct sl_fault *fault) SL_MUST_USE;

/** SL_MISDIRECTED when there is an SNI that is neither @a host, which the CONNECT gave, nor a name
 * of @a rule, which decides. */
enum sl_err sl_sni_check(struct sl_str sni, struct sl_str host, const struct sl_rule *rule,
                         struct sl_fault *fault) SL_MUST_USE;

/** Of what a client begins with in a tunnel to @a host that @a rule leaves unopened: SL_OK when it
 * may go on, SL_AGAIN while more is needed to tell, else the fault: it is TLS for another name, or
 * TLS that only some servers would understand. */
enum sl_err sl_sni_look(struct sl_str in, struct sl_str host, const struct sl_rule *rule,
                        struct sl_arena *a, struct sl_fault *fault) SL_MUST_USE;

#endif
