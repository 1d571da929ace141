/* account.c -- the one place that turns a ruling into words. */
#include "proxy/account.h"

#include "base/mem.h"
#include "base/metric.h"

static struct sl_metric_family *requests;

void sl_account_register(void)
{
    requests = sl_metric_family(SL_METRIC_COUNTER, "sluice_requests_total",
                                "Exchanges and tunnels ended, by verdict and who gave it.",
                                "verdict,decided_by");
}

/* Rules by the thousand make one value, checks have one each: labels stay few. */
static const char *label(const struct sl_ruling *r)
{
    if (r->decider != NULL)
        return sl_check_name(r->decider);
    if (r->rule == NULL)
        return "proxy";
    return sl_str_eq(r->rule->name, SL_STR("default")) ? "default" : "rule";
}

static struct sl_str decided_by(const struct sl_ruling *r)
{
    if (r->decider != NULL)
        return sl_str_of(sl_check_name(r->decider));
    return r->rule != NULL ? r->rule->name : SL_STR("proxy");
}

static struct sl_str reason(const struct sl_ruling *r)
{
    if (r->n_verdicts != 0 && r->verdicts[r->n_verdicts - 1]->reason.n != 0)
        return r->verdicts[r->n_verdicts - 1]->reason;
    return r->rule != NULL ? r->rule->reason : SL_STR("");
}

static void add_passes(struct sl_buf *out, const struct sl_ruling *r)
{
    for (uint32_t i = 0; r != NULL && i < r->n_verdicts; i++) {
        if (!r->verdicts[i]->allow || !r->verdicts[i]->is_failure)
            continue;
        sl_buf_add_str(out, out->len == 0 ? SL_STR("passed on error: ") : SL_STR(", "));
        sl_buf_add_str(out, sl_str_of(sl_check_name(r->checks[i])));
    }
}

static const char *cache_name(enum sl_cache_use use)
{
    static const char *const names[] = { [SL_CACHE_NONE] = "none",
                                         [SL_CACHE_HIT] = "hit",
                                         [SL_CACHE_MISS] = "miss",
                                         [SL_CACHE_STALE] = "stale" };

    return names[use];
}

void sl_account(struct sl_access_log *log, struct sl_record *r, const struct sl_ruling *ruling,
                const struct sl_ruling *connect)
{
    struct sl_buf passes = { 0 };
    const char *values[] = { r->verdict, label(ruling) };

    sl_metric_add(sl_metric_child(requests, values), 1);
    if (!sl_access_log_is_on(log))
        return;
    r->decided_by = decided_by(ruling);
    /* No pass without a verdict may go unseen, whoever decided in the end. */
    if (strcmp(r->verdict, "allow") == 0) {
        add_passes(&passes, connect);
        add_passes(&passes, ruling);
    }
    r->reason = passes.len != 0 ? sl_buf_str(&passes) : reason(ruling);
    r->cache = cache_name(ruling->cache);
    r->check_us = ruling->check_us;
    r->hide_query = strcmp(r->verdict, "allow") != 0;
    sl_access_log_write(log, r);
    sl_buf_fini(&passes);
}
