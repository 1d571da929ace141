/* fuzz_addr.c -- addresses and networks from any bytes: what is taken for a literal is one to the C
 * library too, and the same; what is printed reads as what it was.
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ip(struct sl_str s)
{
    char *text = sl_str_dup(s), again[SL_ADDR_TEXT];
    bool is_whole = strlen(text) == s.n;
    uint8_t v4[4], v6[16];
    struct sl_addr addr, same;

    if (sl_addr_parse_ip(s, &addr)) {
        sl_assert(is_whole);
        if (addr.sa.sa_family == AF_INET)
            sl_assert(inet_pton(AF_INET, text, v4) == 1 && memcmp(v4, &addr.v4.sin_addr, 4) == 0);
        else
            sl_assert(inet_pton(AF_INET6, text, v6) == 1 &&
                      memcmp(v6, &addr.v6.sin6_addr, 16) == 0);
        sl_addr_ip_text(&addr, again);
        sl_assert(sl_addr_parse_ip(sl_str_of(again), &same) && sl_addr_eq(&addr, &same));
    } else if (is_whole) {
        sl_assert(inet_pton(AF_INET, text, v4) != 1 && inet_pton(AF_INET6, text, v6) != 1);
    }
    sl_free(text);
}

static void check_addr(struct sl_str s)
{
    char again[SL_ADDR_TEXT];
    struct sl_addr addr, same;

    if (!sl_addr_parse(s, &addr))
        return;
    sl_addr_text(&addr, again);
    sl_assert(sl_addr_parse(sl_str_of(again), &same) && sl_addr_eq(&addr, &same));
}

/* A network has its own address, and nothing of another family but what is mapped. */
static void check_cidr(struct sl_str s)
{
    struct sl_str host = sl_str_head(s, sl_str_find(s, '/'));
    struct sl_cidr cidr;
    struct sl_addr addr;

    if (!sl_cidr_parse(s, &cidr))
        return;
    sl_assert(cidr.bits <= 128);
    sl_assert(sl_addr_parse_ip(host, &addr));
    sl_assert(addr.sa.sa_family != AF_INET || (sl_cidr_has(&cidr, &addr) && cidr.bits >= 96));
    for (unsigned bit = cidr.bits; bit < 128; bit++)
        sl_assert((cidr.bytes[bit / 8] >> (7 - bit % 8) & 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str s = sl_str_make(data, size);

    check_ip(s);
    check_addr(s);
    check_cidr(s);
    return 0;
}
