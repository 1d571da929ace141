/* h2_fuzz.h -- what the fuzz targets of both HTTP/2 roles share: a loop that stands still, a peer
 * in memory that says what it is given, and an owner that echoes what it gets.
 */
#ifndef SL_FUZZ_H2_FUZZ_H
#define SL_FUZZ_H2_FUZZ_H

#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/h1_codec.h"
#include "http/http_stream.h"
#include "io/loop.h"
#include "io/memory.h"
#include "io/stream.h"

#define TURNS 8

static const struct sl_head_limits h2_limits = {
    .uri_bytes = 1024,
    .header_bytes = 4096,
    .header_count = 64,
};

static inline void turn(struct sl_loop *loop)
{
    for (int i = 0; i < TURNS; i++)
        sl_loop_turn(loop, false);
}

/* Reads what was said, so that nothing is held up. */
static inline void drain(struct sl_stream *peer)
{
    char in[4096];
    size_t n;

    while (sl_stream_read(peer, in, sizeof(in), &n) == SL_OK)
        ;
}

static inline void say(struct sl_loop *loop, struct sl_stream *peer, struct sl_str bytes)
{
    size_t n;

    if (bytes.n != 0 && sl_stream_write(peer, bytes.p, bytes.n, &n) != SL_OK)
        return;
    turn(loop);
    drain(peer);
    turn(loop);
}

/* What HTTP/2 brings must be written into HTTP/1 as exactly one head, the same again. */
static inline void check_request(const struct sl_head *head)
{
    static const struct sl_head_limits wide = { 8192, 16384, 128 };
    const struct sl_h1_origin origin = { .scheme = head->scheme };
    struct sl_head sent = *head, again = { .arena = head->arena };
    struct sl_buf out = { 0 };
    struct sl_fault fault;
    size_t used = 0;

    sl_assert(head->host.n != 0 && head->port != 0);
    sent.fields = (struct sl_fields){ 0 };
    sl_fields_copy_end_to_end(&sent.fields, head->arena, &head->fields);
    sent.wants_upgrade = false;
    sl_h1_write_request(&out, &sent, false);
    if (!head->is_connect) {
        sl_assert(sl_h1_parse_request(sl_buf_str(&out), &wide, &origin, &again, &used, &fault) ==
                  SL_OK);
        sl_assert(used == out.len && sl_str_eq(again.host, head->host));
        sl_assert(sl_str_eq(again.target, head->target) && sl_str_eq(again.method, head->method));
    }
    sl_buf_fini(&out);
}

#endif
