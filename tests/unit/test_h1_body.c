/* test_h1_body.c -- chunked coding and trailers, whole and in all splits; what the writers write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/h1_codec.h"

#define B(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define A511 A64 A64 A64 A64 A64 A64 A64 A8 A8 A8 A8 A8 A8 A8 "aaaaaaa"
#define A512 A511 "a"

static const struct sl_head_limits limits = {
    .uri_bytes = 64,
    .header_bytes = 512,
    .header_count = 4,
};

/* want: the content, or "!" where it is refused, or "..." appended where more must come. */
static const struct vector {
    const char *name;
    struct sl_str bytes;
    const char *want;
} chunked[] = {
    { "one chunk", B("5\r\nhello\r\n0\r\n"), "hello" },
    { "two chunks", B("2\r\nhe\r\n3\r\nllo\r\n0\r\n"), "hello" },
    { "hexadecimal", B("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n"), "01234567890123456789a" },
    { "leading zeros", B("0005\r\nhello\r\n000\r\n"), "hello" },
    { "nothing", B("0\r\n"), "" },
    { "15 digits", B("000000000000005\r\nhello\r\n0\r\n"), "hello" },
    { "16 digits", B("0000000000000005\r\nhello\r\n0\r\n"), "!" },
    { "size overflow", B("ffffffffffffffff\r\n"), "!" },
    { "size overflow by one", B("10000000000000005\r\nhello"), "!" },
    { "size prefixed", B("0x5\r\nhello\r\n0\r\n"), "!" },
    { "size signed", B("+5\r\nhello\r\n0\r\n"), "!" },
    { "size negative", B("-1\r\n"), "!" },
    { "size missing", B("\r\nhello"), "!" },
    { "size missing before extension", B(";a\r\nhello"), "!" },
    { "size missing in the second chunk", B("5\r\nhello\r\n\r\n"), "!" },
    { "size is no digit", B("g\r\n"), "!" },
    { "blank before the size", B(" 5\r\nhello\r\n0\r\n"), "!" },
    { "blank behind the size", B("5 \r\nhello\r\n0\r\n"), "!" },
    { "tab behind the size", B("5\t\r\nhello\r\n0\r\n"), "!" },
    { "size ends in LF (CVE-2023-46846)", B("5\nhello\r\n0\r\n"), "!" },
    { "size ends in CR", B("5\rhello\r\n0\r\n"), "!" },
    { "size ends in CR CR LF", B("5\r\r\nhello\r\n0\r\n"), "!" },
    { "NUL in the size", B("5\0\r\nhello\r\n0\r\n"), "!" },
    { "chunk too long", B("4\r\nhello\r\n0\r\n"), "!" },
    { "chunk too short", B("6\r\nhello\r\n0\r\n"), "!" },
    { "chunk ends in LF", B("5\r\nhello\n0\r\n"), "!" },
    { "chunk ends in CR", B("5\r\nhello\r0\r\n"), "!" },
    { "chunk ends at once", B("5\r\nhello0\r\n"), "!" },
    { "last chunk ends in LF", B("5\r\nhello\r\n0\n"), "!" },
    { "cut in the size", B("5"), "..." },
    { "cut in the content", B("5\r\nhel"), "hel..." },
    { "cut before the last chunk", B("5\r\nhello\r\n"), "hello..." },
    { "extension", B("5;a\r\nhello\r\n0;b\r\n"), "hello" },
    { "extension with value", B("5;a=b;c=\"d;\\\"=\xc3 \r"), "!" },
    { "extension quoted", B("5;a=b;c=\"d;\\\"\\\\= \t\xc3\"\r\nhello\r\n0\r\n"), "hello" },
    { "extension quoted, LF", B("5;a=\"\n\"\r\nhello\r\n0\r\n"), "!" },
    { "extension quoted, no end", B("5;a=\"\r\nhello\r\n0\r\n"), "!" },
    { "extension with LF", B("5;a\nhello\r\n0\r\n"), "!" },
    { "extension empty", B("5;\r\nhello\r\n0\r\n"), "!" },
    { "extension value empty", B("5;a=\r\nhello\r\n0\r\n"), "!" },
    { "extension without name", B("5;=a\r\nhello\r\n0\r\n"), "!" },
    { "extension with blanks", B("5 ; a\r\nhello\r\n0\r\n"), "!" },
    { "extension with a blank inside", B("5;a b\r\nhello\r\n0\r\n"), "!" },
    { "extension with NUL", B("5;a\0\r\nhello\r\n0\r\n"), "!" },
    { "extension behind a quote", B("5;a=\"b\"c\r\nhello\r\n0\r\n"), "!" },
};

/* Decodes @a in offered in pieces of at most @a step bytes. */
static void decode(struct sl_str in, size_t step, char ret_text[64])
{
    struct sl_h1_chunked c = { 0 };
    struct sl_h1_piece piece = { 0 };
    size_t n = 0;

    while (in.n != 0 && !piece.end) {
        struct sl_str part = sl_str_head(in, step);

        if (sl_h1_chunked_next(&c, part, &piece) != SL_OK) {
            memcpy(ret_text, "!", 2);
            return;
        }
        assert_true(piece.skip + piece.data <= part.n && piece.skip + piece.data > 0);
        memcpy(ret_text + n, in.p + piece.skip, piece.data);
        n += piece.data;
        in = sl_str_skip(in, piece.skip + piece.data);
    }
    if (piece.end)
        assert_int_equal(in.n, 0);
    memcpy(ret_text + n, piece.end ? "" : "...", piece.end ? 1 : 4);
}

/* threat: lenient-chunks */
static void test_chunked(void **state)
{
    char text[64];

    (void)state;
    for (size_t i = 0; i < SL_LEN(chunked); i++) {
        for (size_t step = 1; step <= chunked[i].bytes.n; step++) {
            decode(chunked[i].bytes, step, text);
            if (strcmp(text, chunked[i].want) != 0)
                fail_msg("%s in steps of %zu: \"%s\" instead of \"%s\"", chunked[i].name, step,
                         text, chunked[i].want);
        }
    }
}

/* threat: resource-floods */
static void test_extensions_are_limited_per_chunk(void **state)
{
    struct sl_h1_chunked c = { 0 };
    struct sl_h1_piece piece;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(sl_h1_chunked_next(&c, SL_STR("1;" A511 "\r\nx"), &piece), SL_OK);
        assert_int_equal(sl_h1_chunked_next(&c, SL_STR("\r\n"), &piece), SL_OK);
    }
    assert_int_equal(sl_h1_chunked_next(&c, SL_STR("1"), &piece), SL_OK);
    for (int i = 0; i < 8; i++)
        assert_int_equal(sl_h1_chunked_next(&c, SL_STR(";" A511), &piece), SL_OK);
    assert_int_equal(sl_h1_chunked_next(&c, SL_STR("a"), &piece), SL_BAD_FRAMING);
}

static void test_chunked_stops_at_its_end(void **state)
{
    struct sl_h1_chunked c = { 0 };
    struct sl_h1_piece piece;

    (void)state;
    assert_int_equal(sl_h1_chunked_next(&c, SL_STR("0\r\nA: b\r\n"), &piece), SL_OK);
    assert_true(piece.end);
    assert_int_equal(piece.skip, 3);
    assert_int_equal(piece.data, 0);
    assert_int_equal(sl_h1_chunked_next(&c, SL_STR("A: b\r\n"), &piece), SL_OK);
    assert_true(piece.end);
    assert_int_equal(piece.skip, 0);
}

static void add_fields(struct sl_buf *out, const struct sl_fields *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        sl_buf_addf(out, "%.*s=%.*s;", SL_FMT(f->v[i].name), SL_FMT(f->v[i].value));
    sl_buf_add_char(out, '\0');
}

static const struct vector trailers[] = {
    { "none", B("\r\n"), "" },
    { "two", B("A: 1\r\nB: 2\r\n\r\n"), "A=1;B=2;" },
    { "checksum", B("Content-MD5: x\r\n\r\n"), "Content-MD5=x;" },
    { "framing is dropped", B("A: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "A=1;" },
    { "routing is dropped", B("Host: b\r\nConnection: close\r\nB: 2\r\n\r\n"), "B=2;" },
    { "authentication is dropped",
      B("Authorization: x\r\nProxy-Authorization: y\r\nCookie: z\r\n\r\n"), "" },
    { "cookies are dropped", B("set-cookie: x\r\nWWW-Authenticate: y\r\n\r\n"), "" },
    { "bare LF", B("A: 1\n\r\n"), "bad_framing" },
    { "bare LF alone", B("\n"), "bad_framing" },
    { "bare CR", B("A: 1\r2\r\n\r\n"), "bad_framing" },
    { "NUL", B("A: \0"), "bad_framing" },
    { "no colon", B("A\r\n\r\n"), "bad_framing" },
    { "folded", B("A: 1\r\n 2\r\n\r\n"), "bad_framing" },
    { "too many", B("A:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"), "header_too_large" },
    { "dropped ones count", B("Host:\r\nHost:\r\nHost:\r\nHost:\r\nHost:\r\n\r\n"),
      "header_too_large" },
    { "too large", B("A: " A512), "header_too_large" },
};

static enum sl_err parse_trailers(struct sl_str in, struct sl_buf *out, size_t *ret_used)
{
    struct sl_arena arena = { 0 };
    struct sl_fields fields = { .n = 0 };
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_h1_parse_trailers(in, &limits, &arena, &fields, ret_used, &fault);

    if (err == SL_OK)
        add_fields(out, &fields);
    else
        sl_buf_addf(out, "%s%c", sl_err_name(err), 0);
    if (err == SL_AGAIN)
        assert_int_equal(arena.total, 0);
    sl_arena_fini(&arena);
    return err;
}

static void test_trailers(void **state)
{
    struct sl_buf out = { .len = 0 };
    size_t used;

    (void)state;
    for (size_t i = 0; i < SL_LEN(trailers); i++) {
        const struct vector *v = &trailers[i];

        for (size_t n = 0; n <= v->bytes.n; n++) {
            enum sl_err err = parse_trailers(sl_str_head(v->bytes, n), &out, &used);

            if (n < v->bytes.n ? err == SL_OK : strcmp(sl_buf_str(&out).p, v->want) != 0)
                fail_msg("%s at %zu: %s", v->name, n, sl_buf_str(&out).p);
            if (err == SL_OK)
                assert_int_equal(used, n);
            sl_buf_reset(&out);
        }
    }
    sl_buf_fini(&out);
}

/* "A: 1|B: 2" */
static struct sl_fields fields_of(struct sl_arena *a, const char *text)
{
    struct sl_str rest = sl_str_of(text), line;
    struct sl_fields f = { .n = 0 };

    while (sl_str_next(&rest, '|', &line)) {
        size_t colon = sl_str_find(line, ':');

        sl_fields_add(&f, a, sl_str_head(line, colon), sl_str_trim(sl_str_skip(line, colon + 1)));
    }
    return f;
}

static void assert_written(struct sl_buf *out, const char *want)
{
    sl_buf_add_char(out, '\0');
    assert_string_equal(sl_buf_str(out).p, want);
    sl_buf_reset(out);
}

static const struct {
    struct sl_head head;
    const char *fields;
    bool close;
    const char *want;
} requests[] = {
    { { .method = B("GET"), .scheme = B("https"), .host = B("a"), .port = 443, .target = B("/x") },
      "Accept: y|B: z",
      false,
      "GET /x HTTP/1.1\r\nHost: a\r\nAccept: y\r\nB: z\r\n\r\n" },
    { { .method = B("GET"), .scheme = B("http"), .host = B("::1"), .port = 443, .target = B("/") },
      "",
      true,
      "GET / HTTP/1.1\r\nHost: [::1]:443\r\nConnection: close\r\n\r\n" },
    { { .method = B("GET"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 8080,
        .target = B("/x"),
        .is_absolute = true },
      "",
      false,
      "GET http://a:8080/x HTTP/1.1\r\nHost: a:8080\r\n\r\n" },
    { { .method = B("OPTIONS"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 80,
        .target = B("*"),
        .is_absolute = true },
      "",
      false,
      "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n" },
    { { .method = B("OPTIONS"), .scheme = B("http"), .host = B("a"), .port = 80, .target = B("*") },
      "",
      false,
      "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" },
    { { .method = B("CONNECT"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 80,
        .is_connect = true },
      "",
      false,
      "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" },
    { { .method = B("POST"), .scheme = B("http"), .host = B("a"), .port = 80, .target = B("/") },
      "",
      false,
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" },
    { { .method = B("PUT"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 80,
        .target = B("/"),
        .framing = SL_FRAMING_LENGTH,
        .content_length = UINT64_MAX },
      "",
      false,
      "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n" },
    { { .method = B("GET"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 80,
        .target = B("/"),
        .framing = SL_FRAMING_CHUNKED },
      "TE: trailers",
      false,
      "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: "
      "TE\r\n\r\n" },
    { { .method = B("GET"),
        .scheme = B("http"),
        .host = B("a"),
        .port = 80,
        .target = B("/"),
        .wants_upgrade = true },
      "Upgrade: websocket",
      false,
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" },
    { { .method = B("GET"), .scheme = B("http"), .host = B("a"), .port = 80, .target = B("/") },
      "Host: evil|Content-Length: 7|A: 1|transfer-encoding: chunked|Connection: A|Upgrade: h2c",
      false,
      "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n" },
};

static void test_requests_are_written(void **state)
{
    struct sl_arena arena = { 0 };
    struct sl_buf out = { .len = 0 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(requests); i++) {
        struct sl_head head = requests[i].head;

        head.fields = fields_of(&arena, requests[i].fields);
        sl_h1_write_request(&out, &head, requests[i].close);
        assert_written(&out, requests[i].want);
    }
    sl_buf_fini(&out);
    sl_arena_fini(&arena);
}

static const struct {
    struct sl_head head;
    const char *fields;
    uint8_t minor;
    bool close;
    const char *want;
} replies[] = {
    { { .status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 5 },
      "A: 1",
      1,
      false,
      "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\n\r\n" },
    { { .status = 200, .reason = B("Fine"), .framing = SL_FRAMING_LENGTH },
      "",
      0,
      false,
      "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" },
    { { .status = 299, .framing = SL_FRAMING_CHUNKED },
      "",
      1,
      true,
      "HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" },
    { { .status = 200, .framing = SL_FRAMING_CHUNKED },
      "",
      0,
      true,
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" },
    { { .status = 200, .framing = SL_FRAMING_CHUNKED }, "", 0, false, "HTTP/1.1 200 OK\r\n\r\n" },
    { { .status = 200, .framing = SL_FRAMING_CLOSE },
      "",
      1,
      true,
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" },
    { { .status = 404 }, "", 1, false, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" },
    { { .status = 100 }, "", 1, false, "HTTP/1.1 100 Continue\r\n\r\n" },
    { { .status = 103 }, "Link: </x>", 0, false, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" },
    { { .status = 204 }, "", 1, false, "HTTP/1.1 204 No Content\r\n\r\n" },
    { { .status = 204, .framing = SL_FRAMING_LENGTH },
      "",
      1,
      false,
      "HTTP/1.1 204 No Content\r\n\r\n" },
    { { .status = 304 }, "", 1, false, "HTTP/1.1 304 Not Modified\r\n\r\n" },
    { { .status = 304, .framing = SL_FRAMING_LENGTH, .content_length = 5 },
      "",
      1,
      false,
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" },
    { { .status = 200, .framing = SL_FRAMING_RAW }, "", 1, false, "HTTP/1.1 200 OK\r\n\r\n" },
    { { .status = 101, .framing = SL_FRAMING_RAW, .wants_upgrade = true },
      "Upgrade: x",
      1,
      false,
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" },
    { { .status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 1 },
      "Content-Length: 9|Transfer-Encoding: chunked|Connection: keep-alive|Keep-Alive: x",
      1,
      false,
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" },
};

static void test_responses_are_written(void **state)
{
    struct sl_arena arena = { 0 };
    struct sl_buf out = { .len = 0 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(replies); i++) {
        struct sl_head head = replies[i].head;

        head.fields = fields_of(&arena, replies[i].fields);
        sl_h1_write_response(&out, &head, replies[i].minor, replies[i].close);
        assert_written(&out, replies[i].want);
    }
    sl_buf_fini(&out);
    sl_arena_fini(&arena);
}

static void test_last_chunk_is_written(void **state)
{
    struct sl_arena arena = { 0 };
    struct sl_fields f = fields_of(&arena, "A: 1|Content-Length: 5|B: 2");
    struct sl_buf out = { .len = 0 };

    (void)state;
    sl_h1_write_last_chunk(&out, NULL);
    assert_written(&out, "0\r\n\r\n");
    sl_h1_write_last_chunk(&out, &f);
    assert_written(&out, "0\r\nA: 1\r\nB: 2\r\n\r\n");
    sl_buf_fini(&out);
    sl_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_extensions_are_limited_per_chunk),
        cmocka_unit_test(test_chunked_stops_at_its_end),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_requests_are_written),
        cmocka_unit_test(test_responses_are_written),
        cmocka_unit_test(test_last_chunk_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
