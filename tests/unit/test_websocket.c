/* test_websocket.c -- frames, each conversation also fed byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/websocket.h"

#define BYTES(lit)                                                                                 \
    {                                                                                              \
        "" lit, sizeof(lit) - 1                                                                    \
    }

static const struct {
    const char *name;
    struct sl_str bytes;
    unsigned messages, pings, code;
    bool broken, client;
} rows[] = {
    { "text", BYTES("\x81\x02hi"), 1, 0, 0, false, false },
    { "empty binary", BYTES("\x82\x00"), 1, 0, 0, false, false },
    { "masked", BYTES("\x81\x82\x01\x02\x03\x04\x69\x6b"), 1, 0, 0, false, true },
    { "compressed", BYTES("\xc1\x02\x00\x01"), 1, 0, 0, false, false },
    { "fragments around a ping", BYTES("\x01\x01\x61\x89\x00\x80\x01\x62"), 1, 1, 0, false, false },
    { "pong", BYTES("\x8a\x02hi"), 0, 1, 0, false, false },
    { "unfinished", BYTES("\x01\x01\x61"), 0, 0, 0, false, false },
    { "half a head", BYTES("\x81"), 0, 0, 0, false, false },
    { "close", BYTES("\x88\x02\x03\xe8"), 0, 0, 1000, false, false },
    { "close with a reason",
      BYTES("\x88\x05\x03\xe9"
            "bye"),
      0, 0, 1001, false, false },
    { "masked close", BYTES("\x88\x82\x01\x02\x03\x04\x02\xea"), 0, 0, 1000, false, true },
    { "close without a code", BYTES("\x88\x00"), 0, 0, 1005, false, false },
    { "close with half a code", BYTES("\x88\x01\x03"), 0, 0, 0, true, false },
    { "text after a close", BYTES("\x88\x00\x81\x00"), 0, 0, 1005, true, false },
    { "pong after a close", BYTES("\x88\x02\x03\xe8\x8a\x00"), 0, 0, 1000, true, false },
    { "not masked", BYTES("\x81\x02hi"), 0, 0, 0, true, true },
    { "masked by a server", BYTES("\x81\x82\x01\x02\x03\x04\x69\x6b"), 0, 0, 0, true, false },
    { "compressed ping", BYTES("\xc9\x00"), 0, 0, 0, true, false },
    { "compressed continuation", BYTES("\x41\x01\x61\xc0\x00"), 0, 0, 0, true, false },
    { "second reserved bit", BYTES("\xa1\x00"), 0, 0, 0, true, false },
    { "third reserved bit", BYTES("\x92\x00"), 0, 0, 0, true, false },
    { "reserved opcode", BYTES("\x83\x00"), 0, 0, 0, true, false },
    { "reserved control", BYTES("\x8b\x00"), 0, 0, 0, true, false },
    { "fragmented ping", BYTES("\x09\x00"), 0, 0, 0, true, false },
    { "long ping", BYTES("\x89\x7e\x00\x80"), 0, 0, 0, true, false },
    { "continuation of nothing", BYTES("\x80\x00"), 0, 0, 0, true, false },
    { "text inside a text", BYTES("\x01\x00\x81\x00"), 0, 0, 0, true, false },
    { "length longer than need be", BYTES("\x82\x7e\x00\x05"), 0, 0, 0, true, false },
    { "length of 63 bits and more", BYTES("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), 0, 0, 0,
      true, false },
    { "nothing after what is broken", BYTES("\x83\x00\x81\x00"), 0, 0, 0, true, false },
};

static void check(size_t i, const struct sl_ws *ws)
{
    if (ws->n_messages != rows[i].messages || ws->n_pings != rows[i].pings ||
        ws->close_code != rows[i].code || ws->is_broken != rows[i].broken)
        fail_msg("%s: %llu messages, %llu pings, code %u, %s", rows[i].name,
                 (unsigned long long)ws->n_messages, (unsigned long long)ws->n_pings,
                 ws->close_code, ws->is_broken ? "broken" : "sound");
}

static void follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct sl_ws whole = { .is_from_client = rows[i].client }, trickled = whole;
        size_t n = sl_ws_follow(&whole, rows[i].bytes);

        check(i, &whole);
        assert_int_equal(n < rows[i].bytes.n, rows[i].broken);
        for (n = 0; n < rows[i].bytes.n; n++)
            if (sl_ws_follow(&trickled, sl_str_make(rows[i].bytes.p + n, 1)) == 0)
                break;
        check(i, &trickled);
        assert_int_equal(n < rows[i].bytes.n, rows[i].broken);
    }
}

/* Whole frames in front of what is none, and of a head nothing that was not yet sound. */
static void says_how_much_may_pass(void **state)
{
    static const struct {
        struct sl_str first, then;
        size_t n, n_then;
    } cuts[] = {
        { BYTES("SSH-2.0-x\r\n"), BYTES("more"), 0, 0 },
        { BYTES("\x81\x02hi\x89\x00\x81\x82"), BYTES("\x81\x00"), 6, 0 },
        { BYTES("\x88\x02\x03\xe8SSH"), BYTES("\x81\x00"), 4, 0 },
        { BYTES("\x82\x7e\x01"), BYTES("\x00"), 3, 1 },
        { BYTES("\x82\x7e\x00"), BYTES("\x05"), 3, 0 },
        { BYTES("\x82\x05hel"), BYTES("loSSH"), 5, 2 },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cuts); i++) {
        struct sl_ws ws = { 0 };

        assert_int_equal(sl_ws_follow(&ws, cuts[i].first), cuts[i].n);
        assert_int_equal(sl_ws_follow(&ws, cuts[i].then), cuts[i].n_then);
    }
}

static void follow(struct sl_ws *ws, const char *p, size_t n)
{
    assert_int_equal(sl_ws_follow(ws, sl_str_make(p, n)), n);
}

static void long_frames(void **state)
{
    static const char head16[] = "\x82\x7e\x40\x00", head64[] = "\x82\x7f\0\0\0\0\0\1\0\0";
    static char payload[65536];
    struct sl_ws ws = { 0 };

    (void)state;
    for (unsigned i = 1; i <= 100; i++) {
        follow(&ws, head16, 4);
        follow(&ws, payload, 0x4000);
        follow(&ws, head64, 10);
        follow(&ws, payload, 65535);
        assert_int_equal(ws.n_messages, 2 * i - 1);
        follow(&ws, payload, 1);
        assert_int_equal(ws.n_messages, 2 * i);
    }
    assert_false(ws.is_broken);
}

static void add(struct sl_fields *f, struct sl_arena *a, const char *name, const char *value)
{
    if (value != NULL)
        sl_fields_add(f, a, sl_str_of(name), sl_str_of(value));
}

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static void offers(void **state)
{
    static const struct {
        const char *upgrade, *version, *key, *twice;
        bool ok;
    } heads[] = {
        { "websocket", "13", KEY, NULL, true },
        { "WebSocket", "13", "+/hlIHNhbXBsZSBub25jZQ==", NULL, true },
        { NULL, "13", KEY, NULL, false },
        { "h2c", "13", KEY, NULL, false },
        { "websocket, h2c", "13", KEY, NULL, false },
        { "websocket", NULL, KEY, NULL, false },
        { "websocket", "8", KEY, NULL, false },
        { "websocket", "13", NULL, NULL, false },
        { "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ", NULL, false },
        { "websocket", "13", "dGhlIHNhbXBsZSBub25jZQA=", NULL, false },
        { "websocket", "13", "dGhlIHNhbXBsZSBub25 ZQ==", NULL, false },
        { "websocket", "13", KEY, "upgrade", false },
        { "websocket", "13", KEY, "sec-websocket-version", false },
        { "websocket", "13", KEY, "sec-websocket-key", false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(heads); i++) {
        struct sl_arena a = { 0 };
        struct sl_head request = { .method = SL_STR("GET"), .wants_upgrade = true };

        add(&request.fields, &a, "Upgrade", heads[i].upgrade);
        add(&request.fields, &a, "Sec-WebSocket-Version", heads[i].version);
        add(&request.fields, &a, "Sec-WebSocket-Key", heads[i].key);
        if (heads[i].twice != NULL)
            add(&request.fields, &a, heads[i].twice, "x");
        if (sl_ws_is_offer(&request) != heads[i].ok)
            fail_msg("row %zu", i);
        sl_arena_fini(&a);
    }
}

static void handshakes(void **state)
{
    static const struct {
        const char *key, *accept, *protocol;
        bool ok;
    } answers[] = {
        { KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "websocket", true },
        { KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "WebSocket", true },
        { KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "h2c", false },
        { KEY, "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "websocket", false },
        { KEY, NULL, "websocket", false },
        { NULL, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "websocket", false },
        { KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", NULL, false },
        { "", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=", "websocket", false },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(answers); i++) {
        struct sl_arena a = { 0 };
        struct sl_fields request = { 0 }, response = { 0 };

        add(&request, &a, "Sec-WebSocket-Key", answers[i].key);
        add(&response, &a, "Sec-WebSocket-Accept", answers[i].accept);
        add(&response, &a, "Upgrade", answers[i].protocol);
        assert_int_equal(sl_ws_is_accepted(&request, &response, &a), answers[i].ok);
        sl_arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows),     cmocka_unit_test(says_how_much_may_pass),
        cmocka_unit_test(long_frames), cmocka_unit_test(offers),
        cmocka_unit_test(handshakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
