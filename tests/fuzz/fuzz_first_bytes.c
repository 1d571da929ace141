/* fuzz_first_bytes.c -- any bytes, as they come in: an answer stands, and a request
 * line is found wherever it is cut. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "proxy/first_bytes.h"

static bool passes(struct sl_str in, size_t cut)
{
    struct sl_request_line line = { 0 };

    return sl_request_line_pass(&line, sl_str_head(in, cut)) &&
           sl_request_line_pass(&line, sl_str_skip(in, cut));
}

static void answer_stands(enum sl_first_bytes (*tell)(struct sl_str in), struct sl_str in)
{
    enum sl_first_bytes first = SL_FIRST_UNKNOWN;

    for (size_t n = 0; n <= in.n; n += n < 4096 ? 1 : 997) {
        enum sl_first_bytes now = tell(sl_str_head(in, n));

        sl_assert(first == SL_FIRST_UNKNOWN || now == first);
        first = now;
    }
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size);

    answer_stands(sl_first_bytes, in);
    answer_stands(sl_first_hello, in);
    for (size_t cut = 0; cut <= size; cut += size / 64 + 1)
        sl_assert(passes(in, cut) == passes(in, size));
    return 0;
}
