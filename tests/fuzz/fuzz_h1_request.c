/* fuzz_h1_request.c -- request heads from any bytes, at a proxy and inside a tunnel.
 *
 * What parses was SL_AGAIN one byte before and costs nothing until then; what is written from it
 * parses to the same head.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "http/h1_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sl_head_limits limits = {
    .uri_bytes = 1024,
    .header_bytes = 4096,
    .header_count = 64,
};
/* Names in canonical form and default ports may be longer than what came. */
static const struct sl_head_limits wide = {
    .uri_bytes = 8192,
    .header_bytes = 16384,
    .header_count = 128,
};
static const struct sl_h1_origin origins[] = {
    { .scheme = { "http", 4 }, .is_proxy = true },
    { .scheme = { "https", 5 }, .is_proxy = false },
};

static void check_prefixes(struct sl_str in, size_t used, const struct sl_h1_origin *origin)
{
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a };
    struct sl_fault fault;
    size_t none;

    for (size_t n = used - 1;; n /= 2) {
        struct sl_str prefix = sl_str_head(in, n);

        sl_assert(sl_h1_parse_request(prefix, &limits, origin, &head, &none, &fault) == SL_AGAIN);
        if (n == 0)
            break;
    }
    sl_assert(a.total == 0);
}

static void check_fields(const struct sl_head *head, const struct sl_head *again)
{
    struct sl_fields travelled = { .n = 0 };

    sl_fields_copy_end_to_end(&travelled, again->arena, &again->fields);
    sl_assert(travelled.n == head->fields.n);
    for (uint32_t i = 0; i < travelled.n; i++) {
        sl_assert(sl_str_eq(travelled.v[i].name, head->fields.v[i].name));
        sl_assert(sl_str_eq(travelled.v[i].value, head->fields.v[i].value));
    }
}

static bool is_same_framing(const struct sl_head *head, const struct sl_head *again)
{
    if (head->framing == SL_FRAMING_NONE)
        return again->content_length == 0 && again->framing != SL_FRAMING_CHUNKED;
    return head->framing == again->framing && head->content_length == again->content_length;
}

/* Reads what a head was written to. */
static void check_again(const struct sl_head *head, struct sl_str text,
                        const struct sl_h1_origin *origin)
{
    struct sl_head again = { .arena = head->arena };
    struct sl_fault fault;
    size_t used = 0;

    sl_assert(sl_h1_parse_request(text, &wide, origin, &again, &used, &fault) == SL_OK);
    sl_assert(used == text.n);
    sl_assert(sl_str_eq(head->method, again.method) && sl_str_eq(head->target, again.target));
    sl_assert(sl_str_eq(head->host, again.host) && head->port == again.port);
    sl_assert(sl_str_eq(head->scheme, again.scheme));
    sl_assert(head->is_absolute == again.is_absolute && head->is_connect == again.is_connect);
    sl_assert(is_same_framing(head, &again));
    sl_assert(again.keep_alive);
    check_fields(head, &again);
}

static void check(struct sl_str in, const struct sl_h1_origin *origin)
{
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a };
    struct sl_fields travelled = { .n = 0 };
    struct sl_fault fault;
    struct sl_buf out = { .len = 0 };
    size_t used;

    if (sl_h1_parse_request(in, &limits, origin, &head, &used, &fault) == SL_OK) {
        sl_assert(used <= in.n && head.host.n != 0 && head.port != 0);
        check_prefixes(in, used, origin);
        sl_fields_copy_end_to_end(&travelled, &a, &head.fields);
        head.fields = travelled;
        head.wants_upgrade = false;
        sl_h1_write_request(&out, &head, false);
        check_again(&head, sl_buf_str(&out), origin);
    }
    sl_buf_fini(&out);
    sl_arena_fini(&a);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < SL_LEN(origins); i++)
        check(sl_str_make(data, size), &origins[i]);
    return 0;
}
