/* metric.c -- families in a list, children in a list per family; both only grow, under one lock.
 *
 * Invariant: a child's labels are rendered once, escaped, and are its key.  Values are relaxed
 * atomics, read one by one: a scrape may see one of two updates made together.
 */
#include "base/metric.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"

#define MAX_LABELS 8

struct bound {
    uint64_t us;
    const char *seconds;
};

static const struct bound bounds[] = {
    { 50, "0.00005" },  { 100, "0.0001" },  { 250, "0.00025" }, { 500, "0.0005" },
    { 1000, "0.001" },  { 2500, "0.0025" }, { 5000, "0.005" },  { 10000, "0.01" },
    { 25000, "0.025" }, { 50000, "0.05" },  { 100000, "0.1" },  { 250000, "0.25" },
    { 500000, "0.5" },  { 1000000, "1" },   { 2500000, "2.5" }, { 5000000, "5" },
    { 10000000, "10" }, { 25000000, "25" }, { 60000000, "60" },
};

#define N_BOUNDS SL_LEN(bounds)

struct histogram {
    _Atomic uint64_t sum_us;
    _Atomic uint64_t buckets[N_BOUNDS + 1]; /* not cumulative; the last is +Inf */
};

struct sl_metric {
    struct sl_metric *next;
    char *labels;                /* `a="b",c="d"`, "" for none */
    _Atomic int64_t value;       /* counter, gauge */
    struct histogram *histogram; /* NULL for the other kinds */
};

struct sl_metric_family {
    struct sl_metric_family *next;
    enum sl_metric_kind kind;
    const char *name, *help, *labels;
    struct sl_metric *children, **last_child;
    size_t n_children;
};

static struct {
    pthread_mutex_t lock;
    struct sl_metric_family *families;
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct sl_metric_family *family_new(enum sl_metric_kind kind)
{
    struct sl_metric_family *f = sl_zalloc(sizeof(*f));

    f->kind = kind;
    f->last_child = &f->children;
    return f;
}

struct sl_metric_family *sl_metric_family(enum sl_metric_kind kind, const char *name,
                                          const char *help, const char *labels)
{
    struct sl_metric_family **at = &registry.families;

    pthread_mutex_lock(&registry.lock);
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = family_new(kind);
        (*at)->name = name;
        (*at)->help = help;
        (*at)->labels = labels;
    }
    struct sl_metric_family *f = *at;

    pthread_mutex_unlock(&registry.lock);
    sl_assert(f->kind == kind);
    return f;
}

static void add_label_value(struct sl_buf *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            sl_buf_add_str(out, SL_STR("\\n"));
            continue;
        }
        if (*value == '\\' || *value == '"')
            sl_buf_add_char(out, '\\');
        sl_buf_add_char(out, *value);
    }
}

/* With values NULL every label says "other". */
static void render_labels(struct sl_buf *out, const char *labels, const char *const *values)
{
    struct sl_str rest = sl_str_of(labels), name;

    for (size_t i = 0; sl_str_next(&rest, ',', &name); i++) {
        sl_assert(i < MAX_LABELS);
        sl_buf_addf(out, "%s%.*s=\"", i == 0 ? "" : ",", SL_FMT(name));
        add_label_value(out, values == NULL ? "other" : values[i]);
        sl_buf_add_char(out, '"');
    }
}

static struct sl_metric *find_child(const struct sl_metric_family *f, struct sl_str labels)
{
    for (struct sl_metric *m = f->children; m != NULL; m = m->next)
        if (sl_str_eq(sl_str_of(m->labels), labels))
            return m;
    return NULL;
}

static struct sl_metric *add_child(struct sl_metric_family *f, struct sl_str labels)
{
    struct sl_metric *m = sl_zalloc(sizeof(*m));

    m->labels = sl_str_dup(labels);
    if (f->kind == SL_METRIC_HISTOGRAM)
        m->histogram = sl_zalloc(sizeof(*m->histogram));
    *f->last_child = m;
    f->last_child = &m->next;
    f->n_children++;
    return m;
}

struct sl_metric *sl_metric_child(struct sl_metric_family *f, const char *const *values)
{
    struct sl_buf labels = { 0 };

    sl_assert(values != NULL || f->labels[0] == '\0');
    render_labels(&labels, f->labels, values);
    pthread_mutex_lock(&registry.lock);
    struct sl_metric *m = find_child(f, sl_buf_str(&labels));

    if (m == NULL && f->n_children >= SL_METRIC_MAX_CHILDREN - 1) {
        sl_buf_reset(&labels);
        render_labels(&labels, f->labels, NULL);
        m = find_child(f, sl_buf_str(&labels));
    }
    if (m == NULL)
        m = add_child(f, sl_buf_str(&labels));
    pthread_mutex_unlock(&registry.lock);
    sl_buf_fini(&labels);
    return m;
}

void sl_metric_add(struct sl_metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void sl_metric_set(struct sl_metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void sl_metric_observe_us(struct sl_metric *m, uint64_t us)
{
    size_t i = 0;

    sl_assert(m->histogram != NULL);
    while (i < N_BOUNDS && us > bounds[i].us)
        i++;
    atomic_fetch_add_explicit(&m->histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->histogram->sum_us, us, memory_order_relaxed);
}

int64_t sl_metric_value(const struct sl_metric *m)
{
    uint64_t count = 0;

    if (m->histogram == NULL)
        return atomic_load_explicit(&m->value, memory_order_relaxed);
    for (size_t i = 0; i <= N_BOUNDS; i++)
        count += atomic_load_explicit(&m->histogram->buckets[i], memory_order_relaxed);
    return (int64_t)count;
}

/* name_suffix{labels} -- with the blank behind it. */
static void write_series(struct sl_buf *out, const char *name, const char *suffix,
                         const struct sl_metric *m)
{
    sl_buf_addf(out, "%s%s", name, suffix);
    if (m->labels[0] != '\0')
        sl_buf_addf(out, "{%s}", m->labels);
    sl_buf_add_char(out, ' ');
}

/* The count is the last bucket and not a value of its own, so that the two never disagree. */
static void write_histogram(struct sl_buf *out, const char *name, const struct sl_metric *m)
{
    uint64_t sum_us = atomic_load_explicit(&m->histogram->sum_us, memory_order_relaxed);
    uint64_t count = 0;

    for (size_t i = 0; i <= N_BOUNDS; i++) {
        count += atomic_load_explicit(&m->histogram->buckets[i], memory_order_relaxed);
        sl_buf_addf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, m->labels,
                    m->labels[0] == '\0' ? "" : ",", i == N_BOUNDS ? "+Inf" : bounds[i].seconds,
                    count);
    }
    write_series(out, name, "_sum", m);
    sl_buf_addf(out, "%" PRIu64 ".%06" PRIu64 "\n", sum_us / 1000000, sum_us % 1000000);
    write_series(out, name, "_count", m);
    sl_buf_addf(out, "%" PRIu64 "\n", count);
}

static void write_family(struct sl_buf *out, const struct sl_metric_family *f)
{
    static const char *const kinds[] = {
        [SL_METRIC_COUNTER] = "counter",
        [SL_METRIC_GAUGE] = "gauge",
        [SL_METRIC_HISTOGRAM] = "histogram",
    };

    sl_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kinds[f->kind]);
    for (const struct sl_metric *m = f->children; m != NULL; m = m->next) {
        if (m->histogram != NULL) {
            write_histogram(out, f->name, m);
            continue;
        }
        write_series(out, f->name, "", m);
        sl_buf_addf(out, "%" PRId64 "\n", sl_metric_value(m));
    }
}

void sl_metric_write(struct sl_buf *out)
{
    pthread_mutex_lock(&registry.lock);
    for (const struct sl_metric_family *f = registry.families; f != NULL; f = f->next)
        write_family(out, f);
    pthread_mutex_unlock(&registry.lock);
}
