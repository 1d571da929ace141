/* test_access_log.c -- lines in both forms, and the writer: order, rotation, disks that are full,
 * readers that are slow.  Closing the log writes out what waits, so nothing here waits for time to
 * pass.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "proxy/access_line.h"
#include "proxy/access_log.h"

#define START_US 1769903999123456u /* 2026-01-31T23:59:59.123456Z */

static char dir[] = "/tmp/sluice-access-XXXXXX";
static struct sl_addr client, origin;

static struct sl_record whole_record(void)
{
    return (struct sl_record){ .start_us = START_US,
                               .id = "01JJZ0000000000000000000AA",
                               .client = &client,
                               .user = SL_STR("ann"),
                               .listener = SL_STR("127.0.0.1:8080"),
                               .method = SL_STR("GET"),
                               .scheme = SL_STR("https"),
                               .host = SL_STR("example.com"),
                               .target = SL_STR("/a?secret=1"),
                               .port = 443,
                               .http_major = 1,
                               .http_minor = 1,
                               .status = 200,
                               .bytes_in = 7,
                               .bytes_out = 1234,
                               .duration_us = 12345,
                               .check_us = 250,
                               .verdict = "allow",
                               .cache = "miss",
                               .leaf = "forged",
                               .tls_client = "TLSv1.3",
                               .tls_upstream = "TLSv1.2",
                               .decided_by = SL_STR("rule-1"),
                               .reason = SL_STR("known \"good\" site"),
                               .upstream = &origin,
                               .upstream_reused = true };
}

static struct sl_record empty_record(void)
{
    return (struct sl_record){
        .start_us = START_US, .id = "X", .verdict = "error", .cache = "none", .leaf = "none"
    };
}

/* -- lines -- */

static void expect_line(void (*write_line)(struct sl_buf *, const struct sl_record *),
                        const struct sl_record *r, const char *expected)
{
    struct sl_buf b = { 0 };

    write_line(&b, r);
    sl_buf_add_char(&b, '\0');
    assert_string_equal(b.p, expected);
    sl_buf_fini(&b);
}

static void json_has_every_field_in_order(void **state)
{
    struct sl_record r = whole_record();

    (void)state;
    expect_line(sl_access_line_json, &r,
                "{\"ts\":\"2026-01-31T23:59:59.123456Z\",\"id\":\"01JJZ0000000000000000000AA\","
                "\"client\":\"127.0.0.1\",\"user\":\"ann\",\"listener\":\"127.0.0.1:8080\","
                "\"method\":\"GET\",\"scheme\":\"https\",\"host\":\"example.com\",\"port\":443,"
                "\"target\":\"/a?secret=1\",\"http\":\"1.1\",\"status\":200,\"bytes_in\":7,"
                "\"bytes_out\":1234,\"duration_us\":12345,\"verdict\":\"allow\","
                "\"decided_by\":\"rule-1\",\"reason\":\"known \\\"good\\\" site\",\"check_us\":250,"
                "\"cache\":\"miss\",\"leaf\":\"forged\",\"upstream_ip\":\"192.0.2.7\","
                "\"upstream_reused\":true,\"tls_client\":\"TLSv1.3\",\"tls_upstream\":\"TLSv1.2\","
                "\"opaque\":false,\"error\":null}\n");
}

static void json_says_null_for_what_is_not_there(void **state)
{
    struct sl_record r = empty_record();

    (void)state;
    expect_line(
        sl_access_line_json, &r,
        "{\"ts\":\"2026-01-31T23:59:59.123456Z\",\"id\":\"X\",\"client\":null,\"user\":null,"
        "\"listener\":null,\"method\":null,\"scheme\":null,\"host\":null,\"port\":null,"
        "\"target\":null,\"http\":null,\"status\":null,\"bytes_in\":0,\"bytes_out\":0,"
        "\"duration_us\":0,\"verdict\":\"error\",\"decided_by\":null,\"reason\":null,\"check_us\":"
        "0,"
        "\"cache\":\"none\",\"leaf\":\"none\",\"upstream_ip\":null,\"upstream_reused\":null,"
        "\"tls_client\":null,\"tls_upstream\":null,\"opaque\":false,\"error\":null}\n");
}

static void other_names_are_said_when_there_are(void **state)
{
    struct sl_record r = empty_record();
    struct sl_buf text = { 0 }, json = { 0 };

    (void)state;
    r.host = SL_STR("a.example");
    r.connect = SL_STR("192.0.2.7");
    r.sni = SL_STR("b.example");
    sl_access_line_json(&json, &r);
    sl_buf_add_char(&json, '\0');
    assert_non_null(strstr(json.p, ",\"connect\":\"192.0.2.7\",\"sni\":\"b.example\",\"error\""));
    sl_access_line_text(&text, &r);
    sl_buf_add_char(&text, '\0');
    assert_non_null(strstr(text.p, " connect=192.0.2.7 sni=b.example "));
    sl_buf_fini(&text);
    sl_buf_fini(&json);
}

static json_t *parse_line(const struct sl_record *r)
{
    struct sl_buf b = { 0 };
    json_error_t error;

    sl_access_line_json(&b, r);
    assert_int_equal(b.p[b.len - 1], '\n');
    json_t *doc = json_loadb(b.p, b.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

    assert_non_null(doc);
    sl_buf_fini(&b);
    return doc;
}

static void json_survives_any_bytes(void **state)
{
    struct sl_record r = whole_record();
    char bytes[257] = "/";

    (void)state;
    for (size_t i = 0; i < 256; i++)
        bytes[i + 1] = (char)i;
    r.target = r.host = r.user = r.method = r.reason = sl_str_make(bytes, sizeof(bytes));
    json_t *doc = parse_line(&r);

    assert_true(json_is_string(json_object_get(doc, "target")));
    assert_true(json_is_string(json_object_get(doc, "reason")));
    json_decref(doc);
}

static void json_detail_comes_with_an_error_only(void **state)
{
    struct sl_record r = whole_record();

    (void)state;
    r.detail = "ends on Tuesday";
    json_t *doc = parse_line(&r);

    assert_null(json_object_get(doc, "detail"));
    json_decref(doc);
    r.error = SL_CERT_EXPIRED;
    doc = parse_line(&r);
    assert_string_equal(json_string_value(json_object_get(doc, "error")), "cert_expired");
    assert_string_equal(json_string_value(json_object_get(doc, "detail")), "ends on Tuesday");
    json_decref(doc);
    r.detail = "";
    doc = parse_line(&r);
    assert_null(json_object_get(doc, "detail"));
    json_decref(doc);
}

static void query_of_a_denied_request_is_cut(void **state)
{
    struct sl_record r = whole_record();
    struct sl_buf b = { 0 };

    (void)state;
    r.hide_query = true;
    sl_access_line_json(&b, &r);
    sl_access_line_text(&b, &r);
    sl_buf_add_char(&b, '\0');
    assert_null(strstr(b.p, "secret"));
    assert_null(strstr(b.p, "?"));
    assert_non_null(strstr(b.p, "\"target\":\"/a\""));
    assert_non_null(strstr(b.p, "https://example.com/a "));
    sl_buf_fini(&b);
}

/* As it stands where a request was refused before its target was understood. */
static void target_that_is_no_path_is_not_shown(void **state)
{
    static const char *const targets[] = { "http://ann:secret@example.com/", "ann:secret@a:443" };
    struct sl_record r = whole_record();

    (void)state;
    for (size_t i = 0; i < SL_LEN(targets); i++) {
        struct sl_buf b = { 0 };

        r.target = sl_str_of(targets[i]);
        sl_access_line_json(&b, &r);
        sl_access_line_text(&b, &r);
        sl_buf_add_char(&b, '\0');
        assert_null(strstr(b.p, "secret"));
        assert_non_null(strstr(b.p, "\"target\":null"));
        assert_non_null(strstr(b.p, " https://example.com "));
        sl_buf_fini(&b);
    }
}

static void text_is_for_eyes(void **state)
{
    struct sl_record r = whole_record();
    struct sl_record e = empty_record();

    (void)state;
    expect_line(sl_access_line_text, &r,
                "2026-01-31T23:59:59.123Z 127.0.0.1 GET https://example.com/a?secret=1 200 allow "
                "rule-1 1234B 12.3ms in=7B reason=\"known \\x22good\\x22 site\" check=250us "
                "cache=miss leaf=forged upstream=192.0.2.7 reused tls-client=TLSv1.3 "
                "tls-upstream=TLSv1.2 http=1.1 user=ann listener=127.0.0.1:8080 "
                "id=01JJZ0000000000000000000AA\n");
    e.error = SL_BAD_REQUEST;
    e.detail = "bare \r";
    expect_line(sl_access_line_text, &e,
                "2026-01-31T23:59:59.123Z - - - - error - 0B 0us error=bad_request "
                "detail=\"bare \\x0d\" id=X\n");
}

static void text_urls(void **state)
{
    static const struct {
        struct sl_str scheme, host, target;
        uint16_t port;
        const char *url;
    } cases[] = {
        { { "http", 4 }, { "a.test", 6 }, { "/", 1 }, 80, " http://a.test/ " },
        { { "http", 4 }, { "a.test", 6 }, { "/", 1 }, 8080, " http://a.test:8080/ " },
        { { "https", 5 }, { "::1", 3 }, { "/", 1 }, 443, " https://[::1]/ " },
        { { NULL, 0 }, { "a.test", 6 }, { NULL, 0 }, 443, " a.test:443 " },
        { { NULL, 0 }, { NULL, 0 }, { "/x y", 4 }, 0, " \"/x y\" " },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_record r = empty_record();
        struct sl_buf b = { 0 };

        r.scheme = cases[i].scheme;
        r.host = cases[i].host;
        r.target = cases[i].target;
        r.port = cases[i].port;
        sl_access_line_text(&b, &r);
        sl_buf_add_char(&b, '\0');
        assert_non_null(strstr(b.p, cases[i].url));
        sl_buf_fini(&b);
    }
}

static void durations_have_fitting_units(void **state)
{
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {
        { 0, " 0us " },          { 999, " 999us " },     { 1000, " 1.0ms " },
        { 999999, " 999.9ms " }, { 1000000, " 1.00s " }, { 61234567, " 61.23s " },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(cases); i++) {
        struct sl_record r = empty_record();
        struct sl_buf b = { 0 };

        r.duration_us = cases[i].us;
        sl_access_line_text(&b, &r);
        sl_buf_add_char(&b, '\0');
        assert_non_null(strstr(b.p, cases[i].text));
        sl_buf_fini(&b);
    }
}

/* -- the writer -- */

static void path_of(const char *name, char ret_path[128])
{
    assert_true(snprintf(ret_path, 128, "%s/%s", dir, name) < 128);
}

static struct sl_access_log *open_log(const char *path, bool json)
{
    struct sl_access_log *log = NULL;
    struct sl_fault fault = { 0 };

    assert_int_equal(
        sl_access_log_new(&(struct sl_access_log_conf){ .path = path, .json = json }, &log, &fault),
        SL_OK);
    return log;
}

static struct sl_buf read_file(const char *path)
{
    struct sl_buf b = { 0 };
    int fd = open(path, O_RDONLY);
    ssize_t n;

    assert_true(fd >= 0);
    while ((n = read(fd, sl_buf_reserve(&b, 65536), 65536)) > 0)
        sl_buf_commit(&b, (size_t)n);
    close(fd);
    sl_buf_add_char(&b, '\0');
    return b;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void write_id(struct sl_access_log *log, const char *id)
{
    struct sl_record r = empty_record();

    r.id = id;
    sl_access_log_write(log, &r);
}

static int64_t n_dropped(void)
{
    return sl_metric_value(sl_log_dropped("access"));
}

static void lines_are_there_in_order_when_closed(void **state)
{
    char path[128], id[16];
    struct stat st;

    (void)state;
    path_of("order", path);
    struct sl_access_log *log = open_log(path, true);

    for (int i = 0; i < 5000; i++) {
        (void)snprintf(id, sizeof(id), "id-%05d", i);
        write_id(log, id);
    }
    sl_access_log_free(&log);
    assert_null(log);
    struct sl_buf b = read_file(path);
    const char *at = b.p;

    assert_int_equal(count_lines(b.p), 5000);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(id, sizeof(id), "id-%05d", i);
        assert_non_null(at = strstr(at, id));
    }
    sl_buf_fini(&b);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777 & ~0640u, 0);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 2000; i++)
        write_id(arg, "many");
    return NULL;
}

static void threads_share_it(void **state)
{
    pthread_t threads[4];
    char path[128];

    (void)state;
    path_of("threads", path);
    struct sl_access_log *log = open_log(path, true);

    for (size_t i = 0; i < SL_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, log), 0);
    for (size_t i = 0; i < SL_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    sl_access_log_free(&log);
    struct sl_buf b = read_file(path);

    assert_int_equal(count_lines(b.p), 8000);
    sl_buf_fini(&b);
}

static void a_lonely_line_comes_by_itself(void **state)
{
    char path[128], byte;

    (void)state;
    path_of("pipe", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct sl_access_log *log = open_log(path, false);

    assert_int_equal(fcntl(reader, F_SETFL, 0), 0);
    write_id(log, "lonely");
    assert_int_equal(read(reader, &byte, 1), 1); /* blocks until the writer has written */
    sl_access_log_free(&log);
    close(reader);
}

static void reopen_goes_on_in_a_new_file(void **state)
{
    char path[128], old[128];

    (void)state;
    path_of("rotate", path);
    path_of("rotate.1", old);
    struct sl_access_log *log = open_log(path, true);

    write_id(log, "first");
    assert_int_equal(rename(path, old), 0);
    sl_access_log_reopen(log);
    write_id(log, "second");
    sl_access_log_reopen(log);
    write_id(log, "third");
    sl_access_log_free(&log);
    struct sl_buf before = read_file(old), after = read_file(path);

    assert_int_equal(count_lines(before.p), 1);
    assert_non_null(strstr(before.p, "\"first\""));
    assert_int_equal(count_lines(after.p), 2);
    assert_non_null(strstr(after.p, "\"third\""));
    sl_buf_fini(&before);
    sl_buf_fini(&after);
}

static void failed_reopen_keeps_the_old_file(void **state)
{
    char path[128], sub[128], moved[128];

    (void)state;
    path_of("sub", sub);
    path_of("sub/log", path);
    path_of("moved", moved);
    assert_int_equal(mkdir(sub, 0700), 0);
    struct sl_access_log *log = open_log(path, true);

    assert_int_equal(rename(sub, moved), 0);
    sl_access_log_reopen(log);
    write_id(log, "kept");
    sl_access_log_free(&log);
    path_of("moved/log", path);
    struct sl_buf b = read_file(path);

    assert_int_equal(count_lines(b.p), 1);
    sl_buf_fini(&b);
}

static void configure_changes_file_and_form(void **state)
{
    struct sl_access_log_conf conf = { .json = false };
    struct sl_fault fault = { 0 };
    char one[128], two[128];

    (void)state;
    path_of("one", one);
    path_of("two", two);
    struct sl_access_log *log = open_log(one, true);

    write_id(log, "a");
    conf.path = "/nonexistent/dir/log";
    assert_int_equal(sl_access_log_configure(log, &conf, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "/nonexistent/dir/log"));
    write_id(log, "b");
    conf.path = two;
    assert_int_equal(sl_access_log_configure(log, &conf, &fault), SL_OK);
    write_id(log, "c");
    sl_access_log_free(&log);
    struct sl_buf first = read_file(one), second = read_file(two);

    assert_int_equal(count_lines(first.p), 2);
    assert_int_equal(count_lines(second.p), 1);
    assert_non_null(strstr(second.p, "id=c\n"));
    sl_buf_fini(&first);
    sl_buf_fini(&second);
}

static void off_takes_nothing(void **state)
{
    struct sl_fault fault = { 0 };
    char path[128];

    (void)state;
    path_of("off-and-on", path);
    struct sl_access_log *log = open_log("off", true);

    assert_false(sl_access_log_is_on(log));
    write_id(log, "a");
    sl_access_log_reopen(log);
    assert_int_equal(sl_access_log_configure(
                         log, &(struct sl_access_log_conf){ .path = path, .json = true }, &fault),
                     SL_OK);
    assert_true(sl_access_log_is_on(log));
    write_id(log, "b");
    sl_access_log_free(&log);
    struct sl_buf b = read_file(path);

    assert_int_equal(count_lines(b.p), 1);
    sl_buf_fini(&b);
}

static void unopenable_file_is_a_fault(void **state)
{
    struct sl_access_log_conf conf = { .path = dir };
    struct sl_access_log *log = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(sl_access_log_new(&conf, &log, &fault), SL_CONFIG);
    assert_int_equal(fault.err, SL_CONFIG);
    assert_null(log);
}

/* With nobody to read it an ordinary open waits for ever. */
static void a_fifo_without_a_reader_is_a_fault(void **state)
{
    struct sl_access_log_conf conf = { 0 };
    struct sl_access_log *log = NULL;
    struct sl_fault fault = { 0 };
    char path[128];

    (void)state;
    path_of("unread", path);
    conf.path = path;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sl_access_log_new(&conf, &log, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "nobody reads from it"));
    assert_null(log);
}

static void full_disk_loses_lines_and_recovers(void **state)
{
    struct sl_fault fault = { 0 };
    int64_t before = n_dropped();
    char path[128];

    (void)state;
    path_of("room", path);
    struct sl_access_log *log = open_log("/dev/full", true);

    write_id(log, "lost");
    write_id(log, "lost");
    assert_int_equal(sl_access_log_configure(
                         log, &(struct sl_access_log_conf){ .path = path, .json = true }, &fault),
                     SL_OK);
    write_id(log, "saved");
    sl_access_log_free(&log);
    assert_int_equal(n_dropped() - before, 2);
    struct sl_buf b = read_file(path);

    assert_int_equal(count_lines(b.p), 1);
    sl_buf_fini(&b);
}

struct drain {
    int fd;
    size_t n_lines, n_wanted;
};

static void *drain_lines(void *arg)
{
    struct drain *d = arg;
    char chunk[4096];

    while (d->n_lines < d->n_wanted) {
        ssize_t n = read(d->fd, chunk, sizeof(chunk));

        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            d->n_lines += chunk[i] == '\n';
    }
    return NULL;
}

static void slow_reader_never_holds_up_traffic(void **state)
{
    int64_t before = n_dropped();
    struct sl_record r = empty_record();
    char path[128], *reason = sl_alloc(4000);
    size_t n = 0;
    pthread_t thread;

    (void)state;
    memset(reason, 'r', 4000);
    r.reason = sl_str_make(reason, 4000);
    path_of("slow", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct drain d = { .fd = open(path, O_RDWR) };
    struct sl_access_log *log = open_log(path, true);

    for (; n_dropped() == before; n++)
        sl_access_log_write(log, &r);
    assert_true(n > SL_ACCESS_LOG_QUEUE / 5000);
    assert_true(n < SL_ACCESS_LOG_QUEUE / 3900);
    d.n_wanted = n - 1;
    assert_int_equal(pthread_create(&thread, NULL, drain_lines, &d), 0);
    sl_access_log_free(&log);
    pthread_join(thread, NULL);
    assert_int_equal(d.n_lines, n - 1);
    close(d.fd);
    sl_free(reason);
}

static int set_up(void **state)
{
    (void)state;
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_ERROR });
    if (!sl_addr_parse(SL_STR("127.0.0.1:40000"), &client))
        return -1;
    if (!sl_addr_parse(SL_STR("192.0.2.7:443"), &origin))
        return -1;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "order",    "threads",   "pipe",       "rotate",
                                         "rotate.1", "one",       "two",        "room",
                                         "slow",     "moved/log", "off-and-on", "unread" };
    char path[128];

    (void)state;
    for (size_t i = 0; i < SL_LEN(names); i++) {
        path_of(names[i], path);
        unlink(path);
    }
    path_of("moved", path);
    rmdir(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_field_in_order),
        cmocka_unit_test(json_says_null_for_what_is_not_there),
        cmocka_unit_test(other_names_are_said_when_there_are),
        cmocka_unit_test(json_survives_any_bytes),
        cmocka_unit_test(json_detail_comes_with_an_error_only),
        cmocka_unit_test(query_of_a_denied_request_is_cut),
        cmocka_unit_test(target_that_is_no_path_is_not_shown),
        cmocka_unit_test(text_is_for_eyes),
        cmocka_unit_test(text_urls),
        cmocka_unit_test(durations_have_fitting_units),
        cmocka_unit_test(lines_are_there_in_order_when_closed),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(a_lonely_line_comes_by_itself),
        cmocka_unit_test(reopen_goes_on_in_a_new_file),
        cmocka_unit_test(failed_reopen_keeps_the_old_file),
        cmocka_unit_test(configure_changes_file_and_form),
        cmocka_unit_test(off_takes_nothing),
        cmocka_unit_test(unopenable_file_is_a_fault),
        cmocka_unit_test(a_fifo_without_a_reader_is_a_fault),
        cmocka_unit_test(full_disk_loses_lines_and_recovers),
        cmocka_unit_test(slow_reader_never_holds_up_traffic),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
