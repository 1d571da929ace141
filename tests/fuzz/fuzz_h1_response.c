/* fuzz_h1_response.c -- response heads from any bytes, to requests of four kinds.
 *
 * What parses was SL_AGAIN one byte before and costs nothing until then; what is written from it
 * parses to the same head.  Raw bytes follow only what allows them.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "http/h1_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sl_head_limits limits = { .header_bytes = 4096, .header_count = 64 };
static const struct sl_head_limits wide = { .header_bytes = 16384, .header_count = 128 };
static struct sl_field websocket = { SL_FIELD_UPGRADE, { "Upgrade", 7 }, { "websocket", 9 } };

static const struct sl_head requests[] = {
    { .method = { "GET", 3 } },
    { .method = { "HEAD", 4 } },
    { .method = { "CONNECT", 7 }, .is_connect = true },
    { .method = { "GET", 3 }, .wants_upgrade = true, .fields = { .v = &websocket, .n = 1 } },
};

static void check_prefixes(struct sl_str in, size_t used, const struct sl_head *request)
{
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a };
    struct sl_fault fault;
    size_t none;

    for (size_t n = used - 1;; n /= 2) {
        struct sl_str prefix = sl_str_head(in, n);

        sl_assert(sl_h1_parse_response(prefix, &limits, request, &head, &none, &fault) == SL_AGAIN);
        if (n == 0)
            break;
    }
    sl_assert(a.total == 0);
}

static void check_raw(const struct sl_head *head, const struct sl_head *request)
{
    if (head->framing != SL_FRAMING_RAW)
        return;
    sl_assert(!head->keep_alive);
    sl_assert(head->status == 101 ? request->wants_upgrade
                                  : request->is_connect && head->status / 100 == 2);
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

/* A body of unknown length ends with the connection; its reply to GET has no framing field. */
static void check_again(const struct sl_head *head, struct sl_str text,
                        const struct sl_head *request)
{
    struct sl_head again = { .arena = head->arena };
    struct sl_fault fault;
    size_t used = 0;

    sl_assert(sl_h1_parse_response(text, &wide, request, &again, &used, &fault) == SL_OK);
    sl_assert(used == text.n && head->status == again.status);
    sl_assert(head->reason.n == 0 || sl_str_eq(head->reason, again.reason));
    sl_assert(head->framing == again.framing);
    if (head->framing == SL_FRAMING_LENGTH)
        sl_assert(head->content_length == again.content_length);
    check_fields(head, &again);
}

static void check(struct sl_str in, const struct sl_head *request)
{
    struct sl_arena a = { 0 };
    struct sl_head head = { .arena = &a };
    struct sl_fields travelled = { .n = 0 };
    struct sl_fault fault;
    struct sl_buf out = { .len = 0 };
    size_t used;

    if (sl_h1_parse_response(in, &limits, request, &head, &used, &fault) == SL_OK) {
        sl_assert(used <= in.n && head.status >= 100 && head.status <= 599);
        check_prefixes(in, used, request);
        check_raw(&head, request);
        sl_fields_copy_end_to_end(&travelled, &a, &head.fields);
        head.fields = travelled;
        head.wants_upgrade = head.status == 101;
        if (head.wants_upgrade)
            sl_fields_add(&head.fields, &a, websocket.name, websocket.value);
        sl_h1_write_response(&out, &head, 1, false);
        sl_fields_remove_name(&head.fields, SL_STR("Upgrade"));
        check_again(&head, sl_buf_str(&out), request);
    }
    sl_buf_fini(&out);
    sl_arena_fini(&a);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < SL_LEN(requests); i++)
        check(sl_str_make(data, size), &requests[i]);
    return 0;
}
