/* access_line.c -- no state but each thread's memory of how the present second is written. */
#include "proxy/access_line.h"

#include "base/encode.h"
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/access_log.h"

#define SECOND_LEN 20 /* "2026-01-31T23:59:59." */

/* With leading zeros. */
static void add_fraction(struct sl_buf *out, uint64_t n, size_t n_digits)
{
    char *to = sl_buf_reserve(out, n_digits);

    for (size_t i = n_digits; i != 0; i--, n /= 10)
        to[i - 1] = (char)('0' + n % 10);
    sl_buf_commit(out, n_digits);
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

/* What could not be read as a URL stands here as it was sent, perhaps with a password in it. */
static bool is_understood(struct sl_str target)
{
    return sl_str_has_prefix(target, SL_STR("/")) || sl_str_eq(target, SL_STR("*"));
}

static struct sl_str shown_target(const struct sl_record *r)
{
    struct sl_str path, query;

    if (!is_understood(r->target))
        return SL_STR("");
    if (!r->hide_query)
        return r->target;
    sl_target_split(r->target, &path, &query);
    return path;
}

static void add_version(struct sl_buf *out, const struct sl_record *r)
{
    sl_buf_add_u64(out, r->http_major);
    if (r->http_major > 1)
        return;
    sl_buf_add_char(out, '.');
    sl_buf_add_u64(out, r->http_minor);
}

/* -- json -- */

/* The name of a member with all that stands around it. */
#define MEMBER(name) SL_STR(",\"" name "\":")

static bool is_plain(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static void add_str(struct sl_buf *out, struct sl_str name, struct sl_str value)
{
    sl_buf_add_str(out, name);
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

static void add_number(struct sl_buf *out, struct sl_str name, uint64_t value)
{
    sl_buf_add_str(out, name);
    sl_buf_add_u64(out, value);
}

static void add_number_or_null(struct sl_buf *out, struct sl_str name, uint64_t value)
{
    if (value == 0)
        add_str(out, name, SL_STR(""));
    else
        add_number(out, name, value);
}

static void add_bool(struct sl_buf *out, struct sl_str name, bool value)
{
    sl_buf_add_str(out, name);
    sl_buf_add_str(out, value ? SL_STR("true") : SL_STR("false"));
}

static void add_ip(struct sl_buf *out, struct sl_str name, const struct sl_addr *addr)
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
    add_fraction(out, us % 1000000, 6);
    sl_buf_add_str(out, SL_STR("Z\""));
}

static void add_json_request(struct sl_buf *out, const struct sl_record *r)
{
    add_str(out, MEMBER("id"), sl_str_of(r->id));
    add_ip(out, MEMBER("client"), r->client);
    add_str(out, MEMBER("user"), r->user);
    add_str(out, MEMBER("listener"), r->listener);
    add_str(out, MEMBER("method"), r->method);
    add_str(out, MEMBER("scheme"), r->scheme);
    add_str(out, MEMBER("host"), r->host);
    add_number_or_null(out, MEMBER("port"), r->port);
    add_str(out, MEMBER("target"), shown_target(r));
    sl_buf_add_str(out, MEMBER("http"));
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
    add_number_or_null(out, MEMBER("status"), r->status);
    add_number(out, MEMBER("bytes_in"), r->bytes_in);
    add_number(out, MEMBER("bytes_out"), r->bytes_out);
    add_number(out, MEMBER("duration_us"), r->duration_us);
    add_str(out, MEMBER("verdict"), sl_str_of(r->verdict));
    add_str(out, MEMBER("decided_by"), r->decided_by);
    add_str(out, MEMBER("reason"), r->reason);
    add_number(out, MEMBER("check_us"), r->check_us);
    add_str(out, MEMBER("cache"), sl_str_of(r->cache));
    add_str(out, MEMBER("leaf"), sl_str_of(r->leaf));
}

static void add_json_upstream(struct sl_buf *out, const struct sl_record *r)
{
    add_ip(out, MEMBER("upstream_ip"), r->upstream);
    if (r->upstream == NULL)
        add_str(out, MEMBER("upstream_reused"), SL_STR(""));
    else
        add_bool(out, MEMBER("upstream_reused"), r->upstream_reused);
    add_str(out, MEMBER("tls_client"), sl_str_of(r->tls_client));
    add_str(out, MEMBER("tls_upstream"), sl_str_of(r->tls_upstream));
    add_bool(out, MEMBER("opaque"), r->opaque);
    if (r->close_code != 0)
        add_number(out, MEMBER("close_code"), r->close_code);
    if (r->connect.n != 0)
        add_str(out, MEMBER("connect"), r->connect);
    if (r->sni.n != 0)
        add_str(out, MEMBER("sni"), r->sni);
}

static void add_json_error(struct sl_buf *out, const struct sl_record *r)
{
    if (r->error == SL_OK) {
        add_str(out, MEMBER("error"), SL_STR(""));
        return;
    }
    add_str(out, MEMBER("error"), sl_str_of(sl_err_name(r->error)));
    if (r->detail != NULL && r->detail[0] != '\0')
        add_str(out, MEMBER("detail"), sl_str_of(r->detail));
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

/* -- text -- */

static void add_field(struct sl_buf *out, struct sl_str s)
{
    if (s.n != 0 && is_plain(s) && sl_str_find(s, ' ') == s.n)
        sl_buf_add_str(out, s);
    else
        sl_add_text(out, s);
}

/* The name of a pair with all that stands around it. */
#define PAIR(name) SL_STR(" " name "=")

static void add_word(struct sl_buf *out, struct sl_str s)
{
    sl_buf_add_char(out, ' ');
    add_field(out, s);
}

static void add_pair(struct sl_buf *out, struct sl_str name, struct sl_str value)
{
    if (value.n == 0)
        return;
    sl_buf_add_str(out, name);
    add_field(out, value);
}

/* What is "none" or not there needs no room on a line for eyes. */
static void add_fact(struct sl_buf *out, struct sl_str name, const char *value)
{
    if (value != NULL && strcmp(value, "none") != 0)
        add_pair(out, name, sl_str_of(value));
}

static void add_time(struct sl_buf *out, uint64_t us)
{
    bool is_long = us >= 1000000;

    sl_buf_add_u64(out, us < 1000 ? us : us / (is_long ? 1000000 : 1000));
    if (us < 1000) {
        sl_buf_add_str(out, SL_STR("us"));
        return;
    }
    sl_buf_add_char(out, '.');
    if (is_long)
        add_fraction(out, us % 1000000 / 10000, 2);
    else
        add_fraction(out, us % 1000 / 100, 1);
    sl_buf_add_str(out, is_long ? SL_STR("s") : SL_STR("ms"));
}

static void add_bytes(struct sl_buf *out, uint64_t n)
{
    sl_buf_add_u64(out, n);
    sl_buf_add_char(out, 'B');
}

static void add_text_start(struct sl_buf *out, const struct sl_record *r)
{
    char client[SL_ADDR_TEXT] = "";

    add_second(out, r->start_us);
    add_fraction(out, r->start_us / 1000 % 1000, 3);
    sl_buf_add_char(out, 'Z');
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
        add_field(out, r->scheme);
        sl_buf_add_str(out, SL_STR("://"));
    }
    sl_buf_add_str(out, is_v6 ? SL_STR("[") : SL_STR(""));
    add_field(out, r->host);
    sl_buf_add_str(out, is_v6 ? SL_STR("]") : SL_STR(""));
    if (r->port != 0 && r->port != sl_scheme_port(r->scheme))
        sl_buf_addf(out, ":%u", (unsigned)r->port);
    if (target.n != 0)
        add_field(out, target);
}

static void add_status(struct sl_buf *out, uint16_t status)
{
    sl_buf_add_char(out, ' ');
    if (status == 0)
        sl_buf_add_char(out, '-');
    else
        sl_buf_add_u64(out, status);
}

static void add_text_result(struct sl_buf *out, const struct sl_record *r)
{
    add_status(out, r->status);
    add_word(out, sl_str_of(r->verdict));
    add_word(out, r->decided_by);
    sl_buf_add_char(out, ' ');
    add_bytes(out, r->bytes_out);
    sl_buf_add_char(out, ' ');
    add_time(out, r->duration_us);
    if (r->bytes_in != 0) {
        sl_buf_add_str(out, PAIR("in"));
        add_bytes(out, r->bytes_in);
    }
    add_pair(out, PAIR("reason"), r->reason);
    if (r->check_us != 0) {
        sl_buf_add_str(out, PAIR("check"));
        add_time(out, r->check_us);
    }
    add_fact(out, PAIR("cache"), r->cache);
    add_fact(out, PAIR("leaf"), r->leaf);
}

static void add_text_upstream(struct sl_buf *out, const struct sl_record *r)
{
    char ip[SL_ADDR_TEXT];

    if (r->upstream == NULL)
        return;
    sl_addr_ip_text(r->upstream, ip);
    add_pair(out, PAIR("upstream"), sl_str_of(ip));
    if (r->upstream_reused)
        sl_buf_add_str(out, SL_STR(" reused"));
}

static void add_text_circumstances(struct sl_buf *out, const struct sl_record *r)
{
    add_fact(out, PAIR("tls-client"), r->tls_client);
    add_fact(out, PAIR("tls-upstream"), r->tls_upstream);
    if (r->http_major != 0) {
        sl_buf_add_str(out, PAIR("http"));
        add_version(out, r);
    }
    if (r->opaque)
        sl_buf_add_str(out, SL_STR(" opaque"));
    if (r->close_code != 0) {
        sl_buf_add_str(out, PAIR("close"));
        sl_buf_add_u64(out, r->close_code);
    }
    add_pair(out, PAIR("connect"), r->connect);
    add_pair(out, PAIR("sni"), r->sni);
    add_pair(out, PAIR("user"), r->user);
    add_pair(out, PAIR("listener"), r->listener);
    if (r->error != SL_OK) {
        add_fact(out, PAIR("error"), sl_err_name(r->error));
        add_fact(out, PAIR("detail"), r->detail);
    }
    add_fact(out, PAIR("id"), r->id);
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
