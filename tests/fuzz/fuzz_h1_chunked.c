/* fuzz_h1_chunked.c -- the chunked coding in any split, and the trailer section behind it.
 *
 * The first byte seeds the split.  Whole or in pieces, the same content comes out, and the coding
 * ends, waits or fails at the same byte.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "http/h1_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct sl_buf content;
    size_t used;
    enum sl_err err;
    bool end;
};

/* Pieces of 1 to 16 bytes when @a seed is not 0, else all at once. */
static size_t next_len(uint32_t *seed, size_t left)
{
    size_t n;

    if (*seed == 0)
        return left;
    *seed = *seed * 1664525u + 1013904223u;
    n = 1 + (*seed >> 28);
    return n < left ? n : left;
}

static struct outcome decode(struct sl_str in, uint32_t seed)
{
    struct outcome o = { .err = SL_OK };
    struct sl_h1_chunked c = { 0 };
    struct sl_h1_piece piece;

    while (o.used < in.n && !o.end) {
        struct sl_str part = sl_str_make(in.p + o.used, next_len(&seed, in.n - o.used));

        o.err = sl_h1_chunked_next(&c, part, &piece);
        if (o.err != SL_OK)
            break;
        sl_assert(piece.skip <= part.n && piece.data <= part.n - piece.skip);
        sl_assert(piece.end || piece.skip + piece.data > 0);
        sl_buf_add(&o.content, part.p + piece.skip, piece.data);
        o.used += piece.skip + piece.data;
        o.end = piece.end;
    }
    return o;
}

static void check_trailers(struct sl_str in)
{
    static const struct sl_head_limits limits = { .header_bytes = 4096, .header_count = 64 };
    struct sl_arena a = { 0 };
    struct sl_fields fields = { .n = 0 };
    struct sl_fault fault;
    struct sl_buf out = { .len = 0 };
    size_t used, again;

    if (sl_h1_parse_trailers(in, &limits, &a, &fields, &used, &fault) == SL_OK) {
        struct sl_fields copy = { .n = 0 };
        struct sl_str text;

        sl_h1_write_last_chunk(&out, &fields);
        text = sl_str_skip(sl_buf_str(&out), 3);
        sl_assert(sl_h1_parse_trailers(text, &limits, &a, &copy, &again, &fault) == SL_OK ||
                  fault.err == SL_HEADER_TOO_LARGE);
        sl_assert(copy.n == 0 || copy.n == fields.n);
        sl_assert(sl_h1_parse_trailers(sl_str_head(in, used - 1), &limits, &a, &copy, &again,
                                       &fault) == SL_AGAIN);
    }
    sl_buf_fini(&out);
    sl_arena_fini(&a);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size);
    struct outcome whole, split;

    if (size == 0)
        return 0;
    in = sl_str_skip(in, 1);
    whole = decode(in, 0);
    split = decode(in, data[0] | 0x100u);
    sl_assert(whole.err == split.err && whole.end == split.end);
    if (whole.err == SL_OK) {
        sl_assert(whole.used == split.used);
        sl_assert(sl_str_eq(sl_buf_str(&whole.content), sl_buf_str(&split.content)));
    }
    if (whole.end)
        check_trailers(sl_str_skip(in, whole.used));
    sl_buf_fini(&whole.content);
    sl_buf_fini(&split.content);
    return 0;
}
