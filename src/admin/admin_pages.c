/* admin_pages.c -- a table of paths; nothing here waits. */
#include "admin/admin_pages.h"

#include "admin/admin_internal.h"
#include "admin/prometheus.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/metric.h"
#include "tls/ca.h"

struct page {
    struct sl_str path;
    void (*write)(const struct sl_admin *admin, struct sl_admin_answer *answer);
};

void sl_admin_say(struct sl_admin_answer *answer, uint16_t status, const char *text)
{
    answer->status = status;
    answer->type = "text/plain; charset=utf-8";
    sl_buf_addf(&answer->body, "%s\n", text);
}

static void write_health(const struct sl_admin *admin, struct sl_admin_answer *answer)
{
    (void)admin;
    sl_admin_say(answer, 200, "ok");
}

static void write_readiness(const struct sl_admin *admin, struct sl_admin_answer *answer)
{
    if (admin->is_ready)
        sl_admin_say(answer, 200, "ready");
    else
        sl_admin_say(answer, 503, "not ready");
}

static void write_metrics(const struct sl_admin *admin, struct sl_admin_answer *answer)
{
    (void)admin;
    answer->status = 200;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    sl_metric_write(&answer->body);
    sl_prometheus_write_process(&answer->body);
}

static void write_ca(const struct sl_admin *admin, struct sl_admin_answer *answer)
{
    struct sl_fault fault;

    if (admin->ca == NULL) {
        sl_admin_say(answer, 404, "no certificate authority is loaded");
    } else if (sl_ca_export(admin->ca, SL_CA_PEM, &answer->body, &fault) != SL_OK) {
        sl_buf_reset(&answer->body);
        sl_admin_say(answer, 500, fault.text);
    } else {
        answer->status = 200;
        answer->type = "application/x-x509-ca-cert";
    }
}

/* -- the page for eyes -- */

static const char index_start[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>sluice</title>\n"
    "<style>\n"
    ":root{--ground:#f4f5f7;--card:#fff;--ink:#1c2430;--faint:#5c6675;--line:#d9dde3}\n"
    "@media(prefers-color-scheme:dark){:root{--ground:#14171c;--card:#1e232b;--ink:#e8ebf0;"
    "--faint:#a3adbb;--line:#363d48}}\n"
    "body{margin:0;padding:1.5rem;background:var(--ground);color:var(--ink);"
    "font:1rem/1.55 system-ui,sans-serif}\n"
    "main{max-width:48rem;margin:auto;padding:1.5rem 2rem;background:var(--card);"
    "border:1px solid var(--line);border-radius:8px}\n"
    "h1{font-size:1.5rem}h2{font-size:1.125rem}\n"
    "table{width:100%;border-collapse:collapse}\n"
    "td{padding:.25rem .5rem .25rem 0;border-top:1px solid var(--line)}\n"
    "td+td{text-align:right;font-variant-numeric:tabular-nums}\n"
    "p,li{color:var(--faint)}a{color:inherit}\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<main>\n";

static const char index_links[] =
    "<h2>Pages</h2>\n"
    "<ul>\n"
    "<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>\n"
    "<li><a href=\"/healthz\">/healthz</a> and <a href=\"/readyz\">/readyz</a> for probes</li>\n"
    "<li><a href=\"/ca.pem\">/ca.pem</a>, the certificate that clients must trust</li>\n"
    "<li><a href=\"/debug/pprof/profile?seconds=10\">/debug/pprof/profile?seconds=10</a>, a CPU "
    "profile</li>\n"
    "</ul>\n"
    "</main>\n"
    "</body>\n"
    "</html>\n";

/* What tells how it is right now: gauges of states and of open things. */
static bool is_of_interest(struct sl_str line)
{
    return memmem(line.p, line.n, "{state=", 7) != NULL ||
           sl_str_has_prefix(line, SL_STR("sluice_open_"));
}

static void add_row(struct sl_buf *out, struct sl_str line)
{
    size_t blank = line.n;

    while (blank > 0 && line.p[blank - 1] != ' ')
        blank--;
    if (blank == 0)
        return;
    sl_buf_add_str(out, SL_STR("<tr><td>"));
    sl_add_html(out, sl_str_head(line, blank - 1));
    sl_buf_add_str(out, SL_STR("</td><td>"));
    sl_add_html(out, sl_str_skip(line, blank));
    sl_buf_add_str(out, SL_STR("</td></tr>\n"));
}

static void add_gauges(struct sl_buf *out)
{
    struct sl_buf metrics = { 0 };
    struct sl_str rest, line;

    sl_metric_write(&metrics);
    rest = sl_buf_str(&metrics);
    sl_buf_add_str(out, SL_STR("<h2>Now</h2>\n<table>\n"));
    while (sl_str_next(&rest, '\n', &line))
        if (is_of_interest(line))
            add_row(out, line);
    sl_buf_add_str(out, SL_STR("</table>\n"));
    sl_buf_fini(&metrics);
}

static void write_index(const struct sl_admin *admin, struct sl_admin_answer *answer)
{
    struct sl_buf *out = &answer->body;

    answer->status = 200;
    answer->type = "text/html; charset=utf-8";
    sl_buf_add_str(out, sl_str_of(index_start));
    sl_buf_addf(out, "<h1>sluice %s</h1>\n<p>%s</p>\n", SL_VERSION,
                admin->is_ready ? "ready" : "not ready");
    add_gauges(out);
    sl_buf_add_str(out, sl_str_of(index_links));
}

/* -- the choice of the page -- */

void sl_admin_page(const struct sl_admin *admin, struct sl_str path, struct sl_admin_answer *answer)
{
    static const struct page pages[] = {
        { { "/", 1 }, write_index },           { { "/healthz", 8 }, write_health },
        { { "/readyz", 7 }, write_readiness }, { { "/metrics", 8 }, write_metrics },
        { { "/ca.pem", 7 }, write_ca },
    };

    for (size_t i = 0; i < SL_LEN(pages); i++) {
        if (sl_str_eq(pages[i].path, path)) {
            pages[i].write(admin, answer);
            return;
        }
    }
    sl_admin_say(answer, 404, "no such page");
}
