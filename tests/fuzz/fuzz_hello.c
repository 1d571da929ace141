/* fuzz_hello.c -- sl_hello_parse on any bytes.
 *
 * A hello that parses whole must have been SL_AGAIN at every shorter length that lacks its last
 * needed byte: once a prefix is refused or accepted, more bytes never change the answer.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "tls/hello.h"

static enum sl_err parse(struct sl_str in)
{
    struct sl_arena a = { 0 };
    struct sl_hello hello = { 0 };
    enum sl_err err = sl_hello_parse(in, &a, &hello);

    sl_assert(err == SL_OK || err == SL_AGAIN || err == SL_TLS_PROTOCOL);
    sl_assert(err == SL_OK || a.total == 0);
    sl_assert(hello.sni.n <= 255);
    sl_arena_fini(&a);
    return err;
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size);
    enum sl_err settled = SL_AGAIN;

    for (size_t n = 0; n <= size; n += n < 4096 ? 1 : 997) {
        enum sl_err err = parse(sl_str_head(in, n));

        sl_assert(settled == SL_AGAIN || err == settled);
        settled = err;
    }
    (void)parse(in);
    return 0;
}
