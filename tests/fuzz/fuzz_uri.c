/* fuzz_uri.c -- hosts, authorities and URIs from any bytes.
 *
 * A canonical host is within the alphabet and its limits, and canonical again; an authority that
 * passes is the same one when it is put together again.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "http/chars.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(struct sl_str host, struct sl_arena *a)
{
    struct sl_str again;

    sl_assert(host.n != 0 && host.n <= SL_HOST_MAX);
    for (size_t i = 0; i < host.n; i++)
        sl_assert(sl_char_is(host.p[i], SL_CHAR_HOST) || host.p[i] == '.' || host.p[i] == ':');
    sl_assert(sl_host_canonical(host, a, &again) == SL_OK);
    sl_assert(sl_str_eq(host, again));
}

static void check_authority(const struct sl_authority *auth, struct sl_arena *a)
{
    bool is_v6 = sl_str_find(auth->host, ':') < auth->host.n;
    struct sl_authority again;
    struct sl_str text;

    check_host(auth->host, a);
    sl_assert(auth->is_ip == sl_host_is_ip(auth->host));
    text = sl_arena_printf(a, is_v6 ? "[%.*s]" : "%.*s", SL_FMT(auth->host));
    if (auth->port != 0)
        text = sl_arena_printf(a, "%.*s:%u", SL_FMT(text), auth->port);
    sl_assert(sl_authority_parse(text, a, &again) == SL_OK);
    sl_assert(sl_str_eq(auth->host, again.host) && auth->port == again.port);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size);
    struct sl_arena a = { 0 };
    struct sl_authority auth;
    struct sl_str host;
    struct sl_uri uri;

    if (sl_host_canonical(in, &a, &host) == SL_OK)
        check_host(host, &a);
    if (sl_authority_parse(in, &a, &auth) == SL_OK)
        check_authority(&auth, &a);
    if (sl_uri_parse(in, &a, &uri) == SL_OK) {
        check_authority(&uri.authority, &a);
        sl_assert(uri.target.p[0] == '/');
        sl_assert(sl_scheme_port(uri.scheme) != 0);
    }
    sl_arena_fini(&a);
    return 0;
}
