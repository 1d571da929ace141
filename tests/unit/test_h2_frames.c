/* test_h2_frames.c -- frame headers come out however the bytes come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/h2_frames.h"

static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                            "\0\0\0\x04\0\0\0\0\0"              /* SETTINGS */
                            "\0\0\x05\x01\x05\x80\0\0\x01hello" /* HEADERS, the reserved bit set */
                            "\0\0\x01\0\0\0\0\x01\x02x"         /* DATA */
                            "\x01\x02\x03\xfa\0\x7f\xff\xff\xff"; /* unknown, of 66051 bytes */

static const struct sl_h2_frame expected[] = {
    { .length = 0, .type = 4, .stream = 0 },
    { .length = 5, .type = 1, .stream = 1 },
    { .length = 1, .type = 0, .stream = 258 },
    { .length = 66051, .type = 0xfa, .stream = INT32_MAX },
};

/* In pieces of so many bytes. */
static void run(size_t piece)
{
    struct sl_h2_frames frames = { .skip = SL_H2_PREFACE_LEN };
    size_t n = 0;

    for (size_t at = 0; at < sizeof(bytes) - 1; at += piece) {
        size_t left = sizeof(bytes) - 1 - at;
        struct sl_str in = sl_str_make(bytes + at, left < piece ? left : piece);
        struct sl_h2_frame f;

        while (sl_h2_frames_next(&frames, &in, &f)) {
            assert_true(n < SL_LEN(expected));
            assert_int_equal(f.length, expected[n].length);
            assert_int_equal(f.type, expected[n].type);
            assert_int_equal(f.stream, expected[n].stream);
            n++;
        }
        assert_int_equal(in.n, 0);
    }
    assert_int_equal(n, SL_LEN(expected));
    assert_int_equal(frames.skip, 66051);
}

static void every_piece_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < sizeof(bytes); piece++)
        run(piece);
}

static void nothing_is_nothing(void **state)
{
    struct sl_h2_frames frames = { 0 };
    struct sl_str in = SL_STR("");
    struct sl_h2_frame f;

    (void)state;
    assert_false(sl_h2_frames_next(&frames, &in, &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_size),
        cmocka_unit_test(nothing_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
