/* addr.h -- socket addresses and networks: parse, print, compare, match.
 *
 * Thread: any.
 */
#ifndef SL_BASE_ADDR_H
#define SL_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/str.h"

struct sl_addr {
    socklen_t len; /**< 0: no address */
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    };
};

struct sl_cidr {
    uint8_t bytes[16]; /**< IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;      /**< 0..128, IPv4 prefixes plus 96 */
};

#define SL_ADDR_TEXT 120 /**< room for sl_addr_text, NUL included */

/** A literal as RFC 3986 section 3.2.2 has it: dotted decimal with four parts, or IPv6 without
 * brackets and without a zone.  Odd forms (0x7f.1, 127.1, 2130706433, leading zeros) are refused.
 */
bool sl_addr_parse_ip(struct sl_str s, struct sl_addr *ret_addr) SL_MUST_USE;
/** "127.0.0.1:80", "[::1]:80", "unix:/path"; the path is absolute. */
bool sl_addr_parse(struct sl_str s, struct sl_addr *ret_addr) SL_MUST_USE;
/** "10.0.0.0/8", "fc00::/7", or a bare address.  Host bits must be zero. */
bool sl_cidr_parse(struct sl_str s, struct sl_cidr *ret_cidr) SL_MUST_USE;
/** IPv4-mapped IPv6 addresses count as IPv4; IPv4 matches no network shorter than ::ffff:0:0/96,
 * ::/0 included; unix sockets match none.
 */
bool sl_cidr_has(const struct sl_cidr *c, const struct sl_addr *a);

/** The address alone ("127.0.0.1", "::1"), NUL-terminated; "unix" for unix sockets, "" for
 * no address. */
void sl_addr_ip_text(const struct sl_addr *a, char ret_text[SL_ADDR_TEXT]);
/** With port, in the form sl_addr_parse reads. */
void sl_addr_text(const struct sl_addr *a, char ret_text[SL_ADDR_TEXT]);
uint16_t sl_addr_port(const struct sl_addr *a); /**< 0 for unix sockets */
void sl_addr_set_port(struct sl_addr *a, uint16_t port);
bool sl_addr_eq(const struct sl_addr *a, const struct sl_addr *b);
/** What a connection to @a a reaches: of an IPv4-mapped IPv6 address, the IPv4 address. */
struct sl_addr sl_addr_unmapped(const struct sl_addr *a);
bool sl_addr_is_wildcard(const struct sl_addr *a); /**< 0.0.0.0 or [::], with any port */
/** Whether two sockets cannot listen on them at once; port 0 never collides. */
bool sl_addr_collides(const struct sl_addr *a, const struct sl_addr *b);

#endif
