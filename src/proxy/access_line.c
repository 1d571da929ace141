/* access_line.c -- no state but each thread's memory of how the present second is written. */
#include "proxy/access_line.h"

#include <inttypes.h>

#include "base/encode.h"
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/access_log.h"

#define SECOND_LEN 20 /* "2026-01-31T23:59:59." */

static void add_u64(struct sl_buf *out, uint64_t n)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    sl_buf_add(out, digits + i, sizeof(digits) - i);
}

/* gmtime_r takes a lock of the C library's: too dear for every line of every worker. */
static void add_second(struct sl_buf *out, uint64_t us)
{
    static _Thread_local uint64_t second = UINT64_MAX;
    static _Thread_local char text[28];

    if (us / 1000000 != second) {
        second = us / 1000000;
        sl_clock_iso8601(us, text);
    }
    sl_buf_add(out, text, SECOND_LEN);
}

static struct sl_str shown_target(const struct sl_record *r)
{
    struct sl_str path, query;

    if (!r->hide_query)
        return r->target;
    sl_target_split(r->target, &path, &query);
    return path;
}

static void add_version(struct sl_buf *out, const struct sl_record *r)
{
    add_u64(out, r->http_major);
    if (r->http_major > 1)
        return;
    sl_buf_add_char(out, '.');
    add_u64(out, r->http_minor);
}

/* -- json --------------------------------------------------------------------------------- */

static void add_name(struct sl_buf *out, const char *name)
{
    sl_buf_add_str(out, SL_STR(",\""));
    sl_buf_add_str(out, sl_str_of(name));
    sl_buf_add_str(out, SL_STR("\":"));
}

static bool is_plain(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static void add_str(struct sl_buf *out, const char *name, struct sl_str value)
{
    add_name(out, name);
    if (value.n == 0) {
        sl_buf_add_str(out, SL_STR("null"));
    } else if (is_plain(value)) {
        sl_buf_add_char(out, '"');
        sl_buf_add_str(out, value);
        sl_buf_add_char(out, '"');
    } else {
        sl_add_json(out, value);
    }
}

static void add_number(struct sl_buf *out, const char *name, uint64_t value)
{
    add_name(out, name);
    add_u64(out, value);
}

static void add_number_or_null(struct sl_buf *out, const char *name, uint64_t value)
{
    if (value == 0)
        add_str(out, name, SL_STR(""));
    else
        add_number(out, name, value);
}

static void add_bool(struct sl_buf *out, const char *name, bool value)
{
    add_name(out, name);
    sl_buf_add_str(out, value ? SL_STR("true") : SL_STR("false"));
}

static void add_ip(struct sl_buf *out, const char *name, const struct sl_addr *addr)
{
    char text[SL_ADDR_TEXT] = "";

    if (addr != NULL)
        sl_addr_ip_text(addr, text);
    add_str(out, name, sl_str_of(text));
}

static void add_json_time(struct sl_buf *out, uint64_t us)
{
    sl_buf_add_str(out, SL_STR("{\"ts\":\""));
    add_second(out, us);
    sl_buf_addf(out, "%06uZ\"", (unsigned)(us % 1000000));
}

static void add_json_request(struct sl_buf *out, const struct sl_record *r)
{
    add_str(out, "id", sl_str_of(r->id));
    add_ip(out, "client", r->client);
    add_str(out, "user", r->user);
    add_str(out, "listener", r->listener);
    add_str(out, "method", r->method);
    add_str(out, "scheme", r->scheme);
    add_str(out, "host", r->host);
    add_number_or_null(out, "port", r->port);
    add_str(out, "target", shown_target(r));
    add_name(out, "http");
    if (r->http_major == 0) {
        sl_buf_add_str(out, SL_STR("null"));
        return;
    }
    sl_buf_add_char(out, '"');
    add_version(out, r);
    sl_buf_add_char(out, '"');
}

static void add_json_result(struct sl_buf *out, const struct sl_record *r)
{
    add_number_or_null(out, "status", r->status);
    add_number(out, "bytes_in", r->bytes_in);
    add_number(out, "bytes_out", r->bytes_out);
    add_number(out, "duration_us", r->duration_us);
    add_str(out, "verdict", sl_str_of(r->verdict));
    add_str(out, "decided_by", r->decided_by);
    add_str(out, "reason", r->reason);
    add_number(out, "check_us", r->check_us);
    add_str(out, "cache", sl_str_of(r->cache));
    add_str(out, "leaf", sl_str_of(r->leaf));
}

static void add_json_upstream(struct sl_buf *out, const struct sl_record *r)
{
    add_ip(out, "upstream_ip", r->upstream);
    if (r->upstream == NULL)
        add_str(out, "upstream_reused", SL_STR(""));
    else
        add_bool(out, "upstream_reused", r->upstream_reused);
    add_str(out, "tls_client", sl_str_of(r->tls_client));
    add_str(out, "tls_upstream", sl_str_of(r->tls_upstream));
    add_bool(out, "opaque", r->opaque);
}

static void add_json_error(struct sl_buf *out, const struct sl_record *r)
{
    if (r->error == SL_OK) {
        add_str(out, "error", SL_STR(""));
        return;
    }
    add_str(out, "error", sl_str_of(sl_err_name(r->error)));
    if (r->detail != NULL && r->detail[0] != '\0')
        add_str(out, "detail", sl_str_of(r->detail));
}

void sl_access_line_json(struct sl_buf *out, const struct sl_record *r)
{
    add_json_time(out, r->start_us);
    add_json_request(out, r);
    add_json_result(out, r);
    add_json_upstream(out, r);
    add_json_error(out, r);
    sl_buf_add_str(out, SL_STR("}\n"));
}

/* -- text --------------------------------------------------------------------------------- */

static void add_word(struct sl_buf *out, struct sl_str s)
{
    sl_buf_add_char(out, ' ');
    sl_add_text(out, s);
}

static void add_pair(struct sl_buf *out, const char *name, struct sl_str value)
{
    if (value.n == 0)
        return;
    sl_buf_addf(out, " %s=", name);
    sl_add_text(out, value);
}

/* What is "none" or not there needs no room on a line for eyes. */
static void add_fact(struct sl_buf *out, const char *name, const char *value)
{
    if (value != NULL && strcmp(value, "none") != 0)
        add_pair(out, name, sl_str_of(value));
}

static void add_time(struct sl_buf *out, const char *before, uint64_t us)
{
    if (us < 1000)
        sl_buf_addf(out, " %s%" PRIu64 "us", before, us);
    else if (us < 1000000)
        sl_buf_addf(out, " %s%" PRIu64 ".%" PRIu64 "ms", before, us / 1000, us % 1000 / 100);
    else
        sl_buf_addf(out, " %s%" PRIu64 ".%02" PRIu64 "s", before, us / 1000000,
                    us % 1000000 / 10000);
}

static void add_text_start(struct sl_buf *out, const struct sl_record *r)
{
    char client[SL_ADDR_TEXT] = "";

    add_second(out, r->start_us);
    sl_buf_addf(out, "%03uZ", (unsigned)(r->start_us / 1000 % 1000));
    if (r->client != NULL)
        sl_addr_ip_text(r->client, client);
    add_word(out, sl_str_of(client));
    add_word(out, r->method);
}

/* scheme://host:port/target, with what there is; the port only where it says something. */
static void add_url(struct sl_buf *out, const struct sl_record *r)
{
    struct sl_str target = shown_target(r);
    bool is_v6 = sl_str_find(r->host, ':') != r->host.n;

    if (r->host.n == 0) {
        add_word(out, target);
        return;
    }
    sl_buf_add_char(out, ' ');
    if (r->scheme.n != 0) {
        sl_add_text(out, r->scheme);
        sl_buf_add_str(out, SL_STR("://"));
    }
    sl_buf_add_str(out, is_v6 ? SL_STR("[") : SL_STR(""));
    sl_add_text(out, r->host);
    sl_buf_add_str(out, is_v6 ? SL_STR("]") : SL_STR(""));
    if (r->port != 0 && r->port != sl_scheme_port(r->scheme))
        sl_buf_addf(out, ":%u", (unsigned)r->port);
    if (target.n != 0)
        sl_add_text(out, target);
}

static void add_status(struct sl_buf *out, uint16_t status)
{
    if (status == 0)
        sl_buf_add_str(out, SL_STR(" -"));
    else
        sl_buf_addf(out, " %u", (unsigned)status);
}

static void add_text_result(struct sl_buf *out, const struct sl_record *r)
{
    add_status(out, r->status);
    add_word(out, sl_str_of(r->verdict));
    add_word(out, r->decided_by);
    sl_buf_addf(out, " %" PRIu64 "B", r->bytes_out);
    add_time(out, "", r->duration_us);
    if (r->bytes_in != 0)
        sl_buf_addf(out, " in=%" PRIu64 "B", r->bytes_in);
    add_pair(out, "reason", r->reason);
    if (r->check_us != 0)
        add_time(out, "check=", r->check_us);
    add_fact(out, "cache", r->cache);
    add_fact(out, "leaf", r->leaf);
}

static void add_text_upstream(struct sl_buf *out, const struct sl_record *r)
{
    char ip[SL_ADDR_TEXT];

    if (r->upstream == NULL)
        return;
    sl_addr_ip_text(r->upstream, ip);
    add_pair(out, "upstream", sl_str_of(ip));
    if (r->upstream_reused)
        sl_buf_add_str(out, SL_STR(" reused"));
}

static void add_text_circumstances(struct sl_buf *out, const struct sl_record *r)
{
    add_fact(out, "tls-client", r->tls_client);
    add_fact(out, "tls-upstream", r->tls_upstream);
    if (r->http_major != 0) {
        sl_buf_add_str(out, SL_STR(" http="));
        add_version(out, r);
    }
    if (r->opaque)
        sl_buf_add_str(out, SL_STR(" opaque"));
    add_pair(out, "user", r->user);
    add_pair(out, "listener", r->listener);
    if (r->error != SL_OK) {
        add_fact(out, "error", sl_err_name(r->error));
        add_fact(out, "detail", r->detail);
    }
    add_fact(out, "id", r->id);
}

void sl_access_line_text(struct sl_buf *out, const struct sl_record *r)
{
    add_text_start(out, r);
    add_url(out, r);
    add_text_result(out, r);
    add_text_upstream(out, r);
    add_text_circumstances(out, r);
    sl_buf_add_char(out, '\n');
}
