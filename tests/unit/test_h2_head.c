/* test_h2_head.c -- heads from field lists and back; what the library below refuses by itself is
 * tested with the whole connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/h2_head.h"

static const struct sl_head_limits limits = { .uri_bytes = 64,
                                              .header_bytes = 1024,
                                              .header_count = 10 };

/* "name: value\n" a line; the name may begin with a colon. */
static void read_lines(struct sl_h2_reader *r, const char *text)
{
    struct sl_str rest = sl_str_of(text), line;

    while (sl_str_next(&rest, '\n', &line)) {
        size_t colon = 1 + sl_str_find(sl_str_skip(line, 1), ':');

        if (line.n == 0)
            continue;
        sl_h2_reader_add(r, sl_str_head(line, colon), sl_str_trim(sl_str_skip(line, colon + 1)));
    }
}

#define TO_A ":method: GET\n:scheme: https\n:authority: a.example\n"

/* threat: smuggled-past-hooks */
static void requests(void **state)
{
    static const struct {
        const char *text;
        bool ends;
        enum sl_err err;
        const char *host;
        unsigned port;
        const char *target;
        enum sl_framing framing;
    } rows[] = {
        { TO_A ":path: /x?y", true, SL_OK, "a.example", 443, "/x?y", SL_FRAMING_NONE },
        { TO_A ":path: /", false, SL_OK, "a.example", 443, "/", SL_FRAMING_CHUNKED },
        { TO_A ":path: /\ncontent-length: 7", false, SL_OK, "a.example", 443, "/",
          SL_FRAMING_LENGTH },
        { TO_A ":path: /\ncontent-length: 0", true, SL_OK, "a.example", 443, "/", SL_FRAMING_NONE },
        { TO_A ":path: /\ncontent-length: x", false, SL_BAD_FRAMING, NULL, 0, NULL, 0 },
        { TO_A ":path: /\ncontent-length: 1\ncontent-length: 1", false, SL_BAD_FRAMING, NULL, 0,
          NULL, 0 },
        { TO_A ":path: /\nexpect: magic", false, SL_BAD_REQUEST, NULL, 0, NULL, 0 },
        { ":method: GET\n:scheme: https\n:authority: A.Example.:8443\n:path: /", true, SL_OK,
          "a.example", 8443, "/", SL_FRAMING_NONE },
        { ":method: GET\n:scheme: http\n:authority: [::1]\n:path: /", true, SL_OK, "::1", 80, "/",
          SL_FRAMING_NONE },
        { ":method: GET\n:scheme: https\n:path: /\nhost: b.example", true, SL_OK, "b.example", 443,
          "/", SL_FRAMING_NONE },
        { TO_A ":path: /\nhost: A.example", true, SL_OK, "a.example", 443, "/", SL_FRAMING_NONE },
        { TO_A ":path: /\nhost: b.example", true, SL_BAD_HOST, NULL, 0, NULL, 0 },
        { TO_A ":path: /\nhost: a.example:8443", true, SL_BAD_HOST, NULL, 0, NULL, 0 },
        { TO_A ":path: /\nhost: a.example\nhost: a.example", true, SL_BAD_HOST, NULL, 0, NULL, 0 },
        { ":method: GET\n:scheme: https\n:path: /", true, SL_BAD_HOST, NULL, 0, NULL, 0 },
        { ":method: GET\n:scheme: https\n:authority: u@a.example\n:path: /", true, SL_BAD_HOST,
          NULL, 0, NULL, 0 },
        { ":method: GET\n:scheme: https\n:authority: 127.1\n:path: /", true, SL_BAD_HOST, NULL, 0,
          NULL, 0 },
        { ":method: GET\n:scheme: ftp\n:authority: a.example\n:path: /", true, SL_BAD_TARGET, NULL,
          0, NULL, 0 },
        { TO_A ":path: x", true, SL_BAD_TARGET, NULL, 0, NULL, 0 },
        { TO_A ":path: /#f", true, SL_BAD_TARGET, NULL, 0, NULL, 0 },
        { TO_A ":path: /a b", true, SL_BAD_TARGET, NULL, 0, NULL, 0 },
        { TO_A ":path: *", true, SL_BAD_TARGET, NULL, 0, NULL, 0 },
        { ":method: OPTIONS\n:scheme: https\n:authority: a.example\n:path: *", true, SL_OK,
          "a.example", 443, "*", SL_FRAMING_NONE },
        { TO_A ":path: /0123456789012345678901234567890123456789012345678901234567890123", true,
          SL_URI_TOO_LONG, NULL, 0, NULL, 0 },
        { ":method: CONNECT\n:authority: a.example:443", false, SL_OK, "a.example", 443, "",
          SL_FRAMING_CHUNKED },
        { ":method: CONNECT\n:authority: a.example", false, SL_BAD_HOST, NULL, 0, NULL, 0 },
        { ":method: CONNECT\n:protocol: connect-udp\n:scheme: https\n:authority: a.example\n"
          ":path: /",
          false, SL_NOT_IMPLEMENTED, NULL, 0, NULL, 0 },
        { ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a.example\n"
          ":path: /chat\nsec-websocket-version: 13",
          true, SL_BAD_REQUEST, NULL, 0, NULL, 0 },
        { ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a.example\n"
          ":path: /chat\nsec-websocket-version: 8",
          false, SL_BAD_REQUEST, NULL, 0, NULL, 0 },
        { TO_A ":path: /\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8\ni: 9\nj: 10\nk: 11", true,
          SL_HEADER_TOO_LARGE, NULL, 0, NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_arena a = { 0 };
        struct sl_h2_reader r = { .arena = &a, .limits = &limits };
        struct sl_head head;
        struct sl_fault fault = { 0 };

        read_lines(&r, rows[i].text);
        if (sl_h2_read_request(&r, rows[i].ends, &head, &fault) != rows[i].err)
            fail_msg("%s: %s, not %s", rows[i].text, sl_err_name(fault.err),
                     sl_err_name(rows[i].err));
        assert_int_equal(fault.err, rows[i].err);
        if (rows[i].err == SL_OK) {
            assert_true(sl_str_eq(head.host, sl_str_of(rows[i].host)));
            assert_int_equal(head.port, rows[i].port);
            assert_true(sl_str_eq(head.target, sl_str_of(rows[i].target)));
            assert_int_equal(head.framing, rows[i].framing);
            assert_int_equal(head.major, 2);
        }
        sl_arena_fini(&a);
    }
}

static void websocket_reads_as_upgrade(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_h2_reader r = { .arena = &a, .limits = &limits };
    const struct sl_field *key;
    struct sl_head head;
    struct sl_fault fault = { 0 };

    (void)state;
    read_lines(&r, ":method: CONNECT\n:protocol: websocket\n:scheme: https\n"
                   ":authority: a.example\n:path: /chat\nsec-websocket-version: 13\n"
                   "sec-websocket-key: theirs");
    assert_int_equal(sl_h2_read_request(&r, false, &head, &fault), SL_OK);
    assert_true(sl_str_eq(head.method, SL_STR("GET")));
    assert_true(head.wants_upgrade && head.is_extended && !head.is_connect);
    assert_int_equal(head.framing, SL_FRAMING_NONE);
    assert_true(
        sl_str_eq(sl_fields_find(&head.fields, SL_FIELD_UPGRADE)->value, SL_STR("websocket")));
    key = sl_fields_find_name(&head.fields, SL_STR("sec-websocket-key"));
    assert_int_equal(key->value.n, 24);
    sl_arena_fini(&a);
}

/* threat: resource-floods */
static void bombs_are_known(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_h2_reader r = { .arena = &a, .limits = &limits };
    char value[500] = { 0 };
    unsigned n = 0;

    (void)state;
    while (!sl_h2_reader_is_bomb(&r)) {
        sl_h2_reader_add(&r, SL_STR("x"), sl_str_make(value, sizeof(value)));
        n++;
    }
    assert_in_range(n, 30, 35);
    assert_in_range(a.total, 0, 2 * limits.header_bytes);
    sl_arena_fini(&a);
}

/* -- writing -- */

static void assert_list(const struct sl_h2_list *list, const char *text)
{
    struct sl_buf b = { 0 };

    for (size_t i = 0; i < list->n; i++)
        sl_buf_addf(&b, "%.*s: %.*s\n", (int)list->v[i].namelen, (const char *)list->v[i].name,
                    (int)list->v[i].valuelen, (const char *)list->v[i].value);
    sl_buf_add_char(&b, '\0');
    assert_string_equal(sl_buf_str(&b).p, text);
    sl_buf_fini(&b);
}

static void add(struct sl_head *head, struct sl_str name, struct sl_str value)
{
    sl_fields_add(&head->fields, head->arena, name, value);
}

static void writes_requests(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a,
                            .method = SL_STR("POST"),
                            .scheme = SL_STR("https"),
                            .host = SL_STR("::1"),
                            .port = 8443,
                            .target = SL_STR("/x"),
                            .framing = SL_FRAMING_LENGTH,
                            .content_length = 12 };
    struct sl_h2_list list;

    (void)state;
    add(&head, SL_STR("Accept"), SL_STR("*/*"));
    add(&head, SL_STR("Connection"), SL_STR("close"));
    add(&head, SL_STR("Host"), SL_STR("evil"));
    add(&head, SL_STR("Content-Length"), SL_STR("99"));
    add(&head, SL_STR("Transfer-Encoding"), SL_STR("chunked"));
    add(&head, SL_STR("Keep-Alive"), SL_STR("1"));
    add(&head, SL_STR("Upgrade"), SL_STR("h2c"));
    add(&head, SL_STR("TE"), SL_STR("trailers"));
    add(&head, SL_STR("X-Mixed"), SL_STR("Kept As It Is"));
    sl_h2_write_request(&head, &list);
    assert_list(&list, ":method: POST\n:scheme: https\n:authority: [::1]:8443\n:path: /x\n"
                       "accept: */*\nte: trailers\nx-mixed: Kept As It Is\ncontent-length: 12\n");
    sl_arena_fini(&a);
}

static void writes_responses(void **state)
{
    static const struct {
        unsigned status;
        bool bodiless;
        enum sl_framing framing;
        uint64_t length;
        const char *text;
    } rows[] = {
        { 200, false, SL_FRAMING_LENGTH, 5, ":status: 200\nserver: s\ncontent-length: 5\n" },
        { 200, false, SL_FRAMING_CHUNKED, 0, ":status: 200\nserver: s\n" },
        { 200, false, SL_FRAMING_NONE, 0, ":status: 200\nserver: s\n" },
        { 200, true, SL_FRAMING_LENGTH, 5, ":status: 200\nserver: s\ncontent-length: 5\n" },
        { 304, true, SL_FRAMING_NONE, 5, ":status: 304\nserver: s\ncontent-length: 5\n" },
        { 204, true, SL_FRAMING_LENGTH, 5, ":status: 204\nserver: s\n" },
        { 103, true, SL_FRAMING_NONE, 0, ":status: 103\nserver: s\n" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_arena a = { 0 };
        struct sl_head head = { .arena = &a,
                                .status = (uint16_t)rows[i].status,
                                .framing = rows[i].framing,
                                .content_length = rows[i].length };
        struct sl_h2_list list;

        add(&head, SL_STR("Server"), SL_STR("s"));
        add(&head, SL_STR("Connection"), SL_STR("x"));
        sl_h2_write_response(&head, rows[i].bodiless, &list);
        assert_list(&list, rows[i].text);
        sl_arena_fini(&a);
    }
}

static void trailers_are_sifted(void **state)
{
    struct sl_arena a = { 0 };
    struct sl_h2_reader r = { .arena = &a, .limits = &limits };
    struct sl_fields fields;
    struct sl_fault fault = { 0 };

    (void)state;
    read_lines(&r, "grpc-status: 0\nauthorization: x\ncontent-length: 3\nx-sum: 1");
    assert_int_equal(sl_h2_read_trailers(&r, &fields, &fault), SL_OK);
    assert_int_equal(fields.n, 2);
    assert_true(sl_str_eq(fields.v[0].name, SL_STR("grpc-status")));
    assert_true(sl_str_eq(fields.v[1].name, SL_STR("x-sum")));
    sl_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),         cmocka_unit_test(websocket_reads_as_upgrade),
        cmocka_unit_test(bombs_are_known),  cmocka_unit_test(writes_requests),
        cmocka_unit_test(writes_responses), cmocka_unit_test(trailers_are_sifted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
