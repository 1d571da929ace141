/* sni.c -- see the header; nothing is kept. */
#include "proxy/sni.h"

#include "base/mem.h"
#include "http/uri.h"
#include "policy/ruleset.h"
#include "proxy/first_bytes.h"
#include "tls/hello.h"

enum sl_err sl_sni_parse(struct sl_str in, struct sl_arena *a, struct sl_hello *ret_hello,
                         struct sl_fault *fault)
{
    struct sl_hello hello;
    enum sl_err err = sl_hello_parse(in, a, &hello);

    if (err == SL_AGAIN)
        return err;
    if (err != SL_OK)
        return sl_fault_set(fault, SL_TLS_PROTOCOL, "malformed ClientHello");
    if (hello.sni.n != 0 && sl_host_canonical(hello.sni, a, &hello.sni) != SL_OK)
        return sl_fault_set(fault, SL_TLS_PROTOCOL, "malformed SNI");
    *ret_hello = hello;
    return SL_OK;
}

enum sl_err sl_sni_check(struct sl_str sni, struct sl_str host, const struct sl_rule *rule,
                         struct sl_fault *fault)
{
    if (sni.n == 0 || sl_rule_permits_name(rule, host, sni))
        return SL_OK;
    return sl_fault_set(fault, SL_MISDIRECTED, "SNI %.*s, CONNECT %.*s", SL_FMT(sni), SL_FMT(host));
}

enum sl_err sl_sni_look(struct sl_str in, struct sl_str host, const struct sl_rule *rule,
                        struct sl_arena *a, struct sl_fault *fault)
{
    enum sl_first_bytes first = sl_first_hello(in);
    struct sl_hello hello = { 0 };
    enum sl_err err;

    if (first != SL_FIRST_TLS)
        return first == SL_FIRST_UNKNOWN ? SL_AGAIN : SL_OK;
    err = sl_sni_parse(in, a, &hello, fault);
    return err == SL_OK ? sl_sni_check(hello.sni, host, rule, fault) : err;
}
