/* host_pattern.h -- one pattern of host names or addresses, as in rules and list files.
 *
 *     example.com      that name
 *     *.example.com    any name below it, at any depth
 *     .example.com     the name and all below
 *     192.0.2.7  2001:db8::1  [2001:db8::1]     that address
 *     10.0.0.0/8  fc00::/7                      a network, host bits zero
 *
 * Thread: any.
 */
#ifndef SL_POLICY_HOST_PATTERN_H
#define SL_POLICY_HOST_PATTERN_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/** As bits: a list file may name the same host both ways. */
enum sl_host_kind {
    SL_HOST_NAME = 1,  /**< the name itself */
    SL_HOST_BELOW = 2, /**< what is below it */
    SL_HOST_TREE = 3,  /**< both */
    SL_HOST_NET = 4,   /**< `net`; an address is a network of one */
};

struct sl_host_pattern {
    enum sl_host_kind kind;
    struct sl_str name; /**< canonical; in the arena given to parse */
    struct sl_cidr net;
};

/** False when @a s is none of the forms above; @a ret_pattern is untouched then. */
bool sl_host_pattern_parse(struct sl_str s, struct sl_arena *a,
                           struct sl_host_pattern *ret_pattern) SL_MUST_USE;

/** @a host is canonical (http/uri.h).  An IPv4-mapped IPv6 literal is its IPv4 address. */
bool sl_host_pattern_match(const struct sl_host_pattern *p, struct sl_str host);

/** Whether @a net lies within ::ffff:0:0/96, which is how sl_cidr holds IPv4. */
bool sl_host_net_is_v4(const struct sl_cidr *net);

/** Appends the normal form. */
void sl_host_pattern_write(const struct sl_host_pattern *p, struct sl_buf *out);

#endif
