/* fuzz_json_reply.c -- replies of check services from any bytes.
 *
 * A reply is a verdict or SL_PROTOCOL with a reason, never both; what a verdict would put into a
 * head can stand in one, and frames nothing.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/encode.h"
#include "base/mem.h"
#include "policy/check_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(const struct sl_fields *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        sl_assert(sl_is_token(f->v[i].name));
        sl_assert(sl_is_field_value(f->v[i].value));
        sl_assert(f->v[i].id != SL_FIELD_HOST && f->v[i].id != SL_FIELD_CONTENT_LENGTH);
        sl_assert(f->v[i].id != SL_FIELD_TRANSFER_ENCODING && f->v[i].id != SL_FIELD_CONNECTION);
    }
}

static void check_vary(const struct sl_vary *v)
{
    sl_assert(!v->all || (v->parts == 0 && v->n_headers == 0));
    sl_assert(v->parts < 1u << SL_VARY_N);
    sl_assert(v->n_headers <= SL_VARY_MAX_HEADERS);
    for (unsigned i = 0; i < v->n_headers; i++)
        sl_assert(sl_is_token(sl_str_of(v->headers[i])));
}

static void check_verdict(const struct sl_verdict *v)
{
    sl_assert(!v->is_failure);
    sl_assert(v->allow || (v->status >= 200 && v->status <= 599));
    sl_assert(v->reason.n <= 512 && sl_is_utf8(v->reason));
    sl_assert(!v->allow || (v->headers.n == 0 && v->body.p == NULL));
    sl_assert(v->allow || (v->request.set.n == 0 && v->response.set.n == 0));
    sl_assert(v->has_ttl || v->ttl_s == 0);
    check_vary(&v->vary);
    check_fields(&v->headers);
    check_fields(&v->request.set);
    check_fields(&v->request.remove);
    check_fields(&v->response.set);
    check_fields(&v->response.remove);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_verdict *v = NULL;
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_check_json_parse(sl_str_make(data, size), &v, &fault);

    if (err == SL_OK) {
        sl_assert(v != NULL && fault.err == SL_OK);
        check_verdict(v);
        sl_verdict_unref(&v);
        return 0;
    }
    sl_assert(err == SL_PROTOCOL && v == NULL);
    sl_assert(fault.err == SL_PROTOCOL && fault.text[0] != '\0');
    return 0;
}
