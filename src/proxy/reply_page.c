/* reply_page.c -- one template; what is said above and below the facts depends on whose fault it
 * is. */
#include "proxy/reply_page.h"

#include "base/encode.h"
#include "base/mem.h"
#include "http/message.h"

struct story {
    const char *headline, *advice;
};

static const struct story of_denial = {
    "This request was blocked",
    "The rules of this network do not allow it. If you think that is wrong, send the request id to "
    "whoever runs the network.",
};
static const struct story of_certificate = {
    "This site cannot be trusted",
    "Its certificate does not prove that it is who it says it is, so nothing was sent to it. Do "
    "not enter passwords there until its owner has put that right.",
};
static const struct story of_origin = {
    "This site cannot be reached",
    "Check the address and try again in a while. If other sites work, the fault is at the site or "
    "on the way to it.",
};
static const struct story of_load = {
    "This request cannot be served now",
    "Wait a moment and try again. If it stays like this, tell whoever runs the network.",
};
static const struct story of_request = {
    "This request cannot be served",
    "It breaks the rules of HTTP or is larger than allowed. Reload the page; if it happens again, "
    "the program that sent it is to blame.",
};
static const struct story of_proxy = {
    "Something went wrong in the proxy",
    "Try again. If it happens again, send the request id to whoever runs the network.",
};

static const struct story *story_of(const struct sl_reply_page *page)
{
    if (page->err == SL_DENIED || page->err == SL_BLOCKED_ADDRESS)
        return &of_denial;
    if (strcmp(sl_err_proxy_status(page->err), "tls_certificate_error") == 0)
        return &of_certificate;
    if (page->status == 502 || page->status == 504)
        return &of_origin;
    if (page->status == 503 || page->status == 429)
        return &of_load;
    return page->status < 500 ? &of_request : &of_proxy;
}

static const char head_start[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"robots\" content=\"noindex\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<style>\n"
    ":root{--ground:#f4f5f7;--card:#fff;--ink:#1c2430;--faint:#5c6675;--line:#d9dde3;--mark:#"
    "b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--ground:#14171c;--card:#1e232b;--ink:#e8ebf0;"
    "--faint:#a3adbb;--line:#363d48;--mark:#ff8a80}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;"
    "background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,sans-serif}\n"
    "main{width:100%;max-width:40rem;padding:2rem;background:var(--card);border:1px solid "
    "var(--line);border-top:4px solid var(--mark);border-radius:8px}\n"
    "h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.25rem;margin:1.5rem 0;"
    "padding:1.25rem 0;border:solid var(--line);border-width:1px 0}\n"
    "dt{color:var(--faint)}\n"
    "dd{margin:0;min-width:0;overflow-wrap:anywhere}\n"
    "code{font:.9em ui-monospace,monospace}\n"
    "p{margin:.5rem 0}\n"
    "footer{color:var(--faint);font-size:.875rem}\n"
    "</style>\n"
    "<title>";

static void add_row(struct sl_buf *out, const char *name, struct sl_str value)
{
    if (value.n == 0)
        return;
    sl_buf_addf(out, "<dt>%s</dt><dd>", name);
    sl_add_html(out, value);
    sl_buf_add_str(out, SL_STR("</dd>\n"));
}

static void add_facts(struct sl_buf *out, const struct sl_reply_page *page)
{
    sl_buf_add_str(out, SL_STR("<dl>\n"));
    add_row(out, "Host", page->host);
    add_row(out, "Reason", page->reason);
    add_row(out, "Detail", page->detail);
    sl_buf_add_str(out, SL_STR("<dt>Request id</dt><dd><code>"));
    sl_add_html(out, page->id);
    sl_buf_add_str(out, SL_STR("</code></dd>\n</dl>\n"));
}

void sl_reply_page_write(struct sl_buf *out, const struct sl_reply_page *page)
{
    const struct story *s = story_of(page);

    sl_buf_add_str(out, sl_str_of(head_start));
    sl_buf_addf(out, "%s</title>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n", s->headline,
                s->headline);
    sl_buf_addf(out, "<p>The answer comes from <strong>sluice</strong>, the proxy of this network, "
                     "not from the site itself.</p>\n");
    add_facts(out, page);
    sl_buf_addf(out, "<p>%s</p>\n<footer>%u %s</footer>\n</main>\n</body>\n</html>\n", s->advice,
                (unsigned)page->status, sl_status_reason(page->status));
}
