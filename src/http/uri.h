/* uri.h -- host names in canonical form, authorities, request targets (RFC 3986, RFC 9110
 * section 4.2).
 *
 * The canonical host is the identity that rules, checks, certificates and the connection share:
 * lower case, A-label (IDNA 2008 through libidn2), one trailing dot stripped, an IPv4 or IPv6
 * literal in its one normal form without brackets. Thread: any.
 */
#ifndef SL_HTTP_URI_H
#define SL_HTTP_URI_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define SL_HOST_MAX 253

struct sl_authority {
    struct sl_str host; /**< canonical, in the arena */
    uint16_t port;      /**< 0 when none was named */
    bool is_ip;         /**< host is an address literal */
};

/** "example.com", "EXAMPLE.com.:443", "[2001:db8::1]:443".  User information is refused, as are
 * port 0 and above 65535, empty hosts, odd IPv4 forms (any last label that is all digits or 0x...
 * unless the whole is dotted decimal), brackets around anything but IPv6, characters outside
 * [a-z0-9._-] after conversion, labels over 63 bytes, names over 253. */
enum sl_err sl_authority_parse(struct sl_str s, struct sl_arena *a,
                               struct sl_authority *ret_auth) SL_MUST_USE;

/** The host part alone, as in a rule or an SNI. */
enum sl_err sl_host_canonical(struct sl_str s, struct sl_arena *a,
                              struct sl_str *ret_host) SL_MUST_USE;

/** Whether a canonical host is an address literal. */
bool sl_host_is_ip(struct sl_str host);

struct sl_uri {
    struct sl_str scheme; /**< "http", "https", lower case; as given for others */
    struct sl_authority authority;
    struct sl_str target; /**< path and query, at least "/" */
};

/** An absolute http or https URI (also ws, wss for explain); a fragment is refused. */
enum sl_err sl_uri_parse(struct sl_str s, struct sl_arena *a, struct sl_uri *ret_uri) SL_MUST_USE;

/** Splits a target at its first '?': path without it, query without it (empty when there is none).
 */
void sl_target_split(struct sl_str target, struct sl_str *ret_path, struct sl_str *ret_query);

uint16_t sl_scheme_port(struct sl_str scheme); /**< 80, 443, or 0 */

#endif
