/* fuzz_first_bytes.c -- sl_first_bytes on any bytes, as they come in: an answer stands. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "proxy/first_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size);
    enum sl_first_bytes first = SL_FIRST_UNKNOWN;

    for (size_t n = 0; n <= size; n += n < 4096 ? 1 : 997) {
        enum sl_first_bytes now = sl_first_bytes(sl_str_head(in, n));

        sl_assert(first == SL_FIRST_UNKNOWN || now == first);
        first = now;
    }
    return 0;
}
