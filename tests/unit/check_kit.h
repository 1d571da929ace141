/* check_kit.h -- for tests of checks: a check service on the loop, the check that asks it, and its
 * metrics.
 */
#ifndef SL_TEST_CHECK_KIT_H
#define SL_TEST_CHECK_KIT_H

#include "question_kit.h"
#include "web_peer.h"

#include "base/metric.h"
#include "io/mailbox.h"
#include "policy/check.h"

#define JSON_REPLY(length, text)                                                                   \
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " length "\r\n\r\n" text
#define ALLOW JSON_REPLY("18", "{\"action\":\"allow\"}")
#define DENY JSON_REPLY("17", "{\"action\":\"deny\"}")

/* One worker: a loop and what belongs to it. */
struct worker {
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_route route;
};

static inline void worker_begin(struct worker *w, struct sl_loop *loop)
{
    w->loop = loop;
    w->mailbox = sl_mailbox_new(loop);
    w->route = web_route(loop);
}

static inline void worker_end(struct worker *w)
{
    sl_resolver_free(&w->route.resolver);
    sl_mailbox_free(&w->mailbox);
    sl_loop_free(&w->loop);
}

/* Zeroed members: phase request, 500 ms, 100 in flight, deny on every error, nothing cached. */
static inline struct sl_check *check_at(const struct web *web, struct sl_check_conf conf)
{
    conf.origin = web_origin(web);
    conf.target = "/check";
    if (conf.name == NULL)
        conf.name = "c";
    if (conf.phases == 0)
        conf.phases = 1u << SL_PHASE_REQUEST;
    if (conf.timeout_ms == 0)
        conf.timeout_ms = 500;
    if (conf.max_in_flight == 0)
        conf.max_in_flight = 100;
    if (conf.max_ttl_ms == 0)
        conf.max_ttl_ms = 3600000;
    if (conf.cache_entries == 0)
        conf.cache_entries = 1000;
    if (conf.cache_bytes == 0)
        conf.cache_bytes = 1000000;
    return sl_check_new(&conf);
}

static inline int64_t n_failures(const char *check, const char *cls, const char *outcome)
{
    const char *values[] = { check, cls, outcome };
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_COUNTER, "sluice_check_failures_total",
                                                  "", "check,class,outcome");

    return sl_metric_value(sl_metric_child(f, values));
}

static inline int64_t n_shadow_denied(const char *check)
{
    struct sl_metric_family *f =
        sl_metric_family(SL_METRIC_COUNTER, "sluice_check_shadow_denied_total", "", "check");

    return sl_metric_value(sl_metric_child(f, &check));
}

#endif
