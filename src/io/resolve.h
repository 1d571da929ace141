/* resolve.h -- names to addresses: c-ares with a small cache that honours TTLs.
 *
 * One resolver a loop.  /etc/hosts is honoured, the search list of /etc/resolv.conf is not;
 * identical look-ups in flight are made once. Thread: the loop's.
 */
#ifndef SL_IO_RESOLVE_H
#define SL_IO_RESOLVE_H

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"

struct sl_loop;
struct sl_resolver;
struct sl_resolve;

struct sl_resolver_conf {
    const char *servers;  /**< "127.0.0.1:5353,[::1]:53", NULL: those of the system; copied */
    uint32_t max_entries; /**< names kept; the least recently used goes first */
    uint32_t max_ttl_s;   /**< longer TTLs are cut to this; names of /etc/hosts are kept for 5 s */
    uint32_t timeout_ms;  /**< of a question's first try, doubled for each of two more; 0: 2 s */
};

#define SL_ADDRS_MAX 16

/** In the order to try them: families interleaved, IPv6 first (RFC 8305 section 4). */
struct sl_addrs {
    size_t n;
    struct sl_addr a[SL_ADDRS_MAX]; /**< port 0 */
};

/** Exactly once, from the loop, never from inside start.  @a addrs: valid during the call, NULL on
 * failure (SL_NO_NAME, SL_NO_ADDRESS, SL_DNS_TIMEOUT; SL_LIMIT when far too many names are being
 * asked for); @a fault: NULL on success. */
typedef void sl_resolve_fn(void *arg, const struct sl_addrs *addrs, const struct sl_fault *fault);

/** NULL when `servers` does not read as a list of addresses. */
struct sl_resolver *sl_resolver_new(struct sl_loop *loop, const struct sl_resolver_conf *conf);
/** Every resolve must have ended or been cancelled. */
void sl_resolver_free(struct sl_resolver **r);

/** Literal addresses and localhost (RFC 6761 section 6.3) are answered without asking anybody, from
 * the loop all the same.  @a host is copied. */
struct sl_resolve *sl_resolve_start(struct sl_resolver *r, struct sl_str host, sl_resolve_fn *done,
                                    void *arg);
void sl_resolve_cancel(struct sl_resolve **op);

#endif
