/* verdict.c -- nothing but counting and freeing. */
#include "policy/verdict.h"

#include "base/mem.h"

/* A reason and a few fields; caches keep many verdicts. */
#define FIRST_BLOCK 240u

struct sl_verdict *sl_verdict_new(void)
{
    struct sl_verdict *v = sl_zalloc(sizeof(*v));

    atomic_init(&v->refs, 1);
    sl_arena_init_small(&v->arena, FIRST_BLOCK);
    return v;
}

struct sl_verdict *sl_verdict_ref(struct sl_verdict *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void sl_verdict_unref(struct sl_verdict **verdict)
{
    struct sl_verdict *v = *verdict;

    if (v == NULL)
        return;
    *verdict = NULL;
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    sl_verdict_unref(&v->base);
    sl_arena_fini(&v->arena);
    sl_free(v);
}

struct sl_verdict *sl_verdict_make_stale(struct sl_verdict *v)
{
    struct sl_verdict *stale = sl_verdict_new();

    stale->is_stale = true;
    stale->base = v;
    stale->allow = v->allow;
    stale->status = v->status;
    stale->reason = v->reason;
    stale->headers = v->headers;
    stale->body = v->body;
    stale->request = v->request;
    stale->response = v->response;
    return stale;
}

void sl_edit_apply(const struct sl_edit *edit, struct sl_fields *fields, struct sl_arena *a)
{
    for (uint32_t i = 0; i < edit->remove.n; i++)
        sl_fields_remove_name(fields, edit->remove.v[i].name);
    for (uint32_t i = 0; i < edit->set.n; i++)
        sl_fields_remove_name(fields, edit->set.v[i].name);
    for (uint32_t i = 0; i < edit->set.n; i++)
        sl_fields_add(fields, a, edit->set.v[i].name, edit->set.v[i].value);
}

void sl_edit_names(const struct sl_edit *edit, struct sl_fields *names, struct sl_arena *a)
{
    for (uint32_t i = 0; i < edit->set.n; i++)
        sl_fields_add(names, a, edit->set.v[i].name, SL_STR(""));
    for (uint32_t i = 0; i < edit->remove.n; i++)
        sl_fields_add(names, a, edit->remove.v[i].name, SL_STR(""));
}
