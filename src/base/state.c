/* state.c -- no state of its own: a life's state is its owner's byte, the gauges are metrics.
 *
 * Invariant: between begin and end a life is counted in exactly one gauge.
 */
#include "base/state.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

void sl_state_register(const struct sl_state_table *t)
{
    char name[64];
    int n = snprintf(name, sizeof(name), "sluice_%ss", t->machine);

    sl_assert(n > 0 && (size_t)n < sizeof(name) && t->n_rows <= 32);
    if (t->gauges == NULL)
        return;
    /* Kept by the family, which lives as long as the process. */
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_GAUGE, sl_memdup(name, (size_t)n),
                                                  "How many there are now, by state.", "state");

    for (uint32_t i = 0; i < t->n_rows; i++)
        t->gauges[i] = sl_metric_child(f, (const char *const[]){ t->rows[i].name });
}

/* A table that was never registered, as in unit tests, is simply not counted. */
static void count(const struct sl_state_table *t, uint8_t state, int64_t n)
{
    if (t->gauges != NULL && t->gauges[state] != NULL)
        sl_metric_add(t->gauges[state], n);
}

void sl_state_begin(const struct sl_state_table *t, uint8_t *state)
{
    *state = 0;
    count(t, 0, 1);
}

static bool is_allowed(const struct sl_state_table *t, uint8_t from, uint8_t to)
{
    return to < t->n_rows && (t->rows[from].next & SL_TO(to)) != 0;
}

void sl_state_go(const struct sl_state_table *t, uint8_t *state, uint8_t to)
{
    sl_assert(*state < t->n_rows);
    if (!is_allowed(t, *state, to))
        sl_log(SL_LOG_ERROR, "%s: state %s may not be followed by %s", t->machine,
               t->rows[*state].name, to < t->n_rows ? t->rows[to].name : "an unknown one");
    sl_assert(is_allowed(t, *state, to));
    count(t, *state, -1);
    count(t, to, 1);
    *state = to;
}

void sl_state_run(const struct sl_state_table *t, uint8_t *state, void *self)
{
    uint8_t before;

    do {
        before = *state;
        sl_assert(before < t->n_rows);
        if (t->rows[before].step == NULL)
            return;
        t->rows[before].step(self);
    } while (*state != before);
}

void sl_state_end(const struct sl_state_table *t, const uint8_t *state)
{
    sl_assert(*state < t->n_rows);
    count(t, *state, -1);
}
