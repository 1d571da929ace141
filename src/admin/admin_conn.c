/* admin_conn.c -- a connection waits for a request (stream is NULL), for a profile (profile is not
 * NULL), or for the client to take its answer; it has DEADLINE_MS for each but the profile, which
 * ends by itself.
 */
#include "admin/admin_conn.h"

#include "admin/admin_internal.h"
#include "admin/profile.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/h1_server.h"
#include "http/uri.h"
#include "io/stream.h"

#define DEADLINE_MS 10000
#define PROFILE_TYPE "application/octet-stream"

static void run(struct sl_admin_conn *c);

static void conn_free(void *p)
{
    struct sl_admin_conn *c = p;

    sl_arena_fini(&c->arena);
    sl_buf_fini(&c->answer.body);
    sl_free(c);
}

void sl_admin_conn_close(struct sl_admin_conn *c)
{
    sl_link_remove(&c->in_admin);
    sl_timer_stop(&c->deadline);
    sl_profile_cancel(&c->profile);
    sl_http_stream_close(&c->stream);
    sl_h1_server_free(&c->server);
    sl_loop_defer_free(c->admin->loop, c, conn_free);
    c->ended(c->admin);
}

static void on_deadline(void *arg)
{
    sl_admin_conn_close(arg);
}

/* Whoever does something is the last to be closed for want of room. */
static void restart_deadline(struct sl_admin_conn *c)
{
    sl_link_remove(&c->in_admin);
    sl_list_add(&c->admin->conns, &c->in_admin);
    sl_timer_start(c->admin->loop, &c->deadline, DEADLINE_MS, on_deadline, c);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    run(arg);
}

void sl_admin_conn_open(struct sl_admin *admin, struct sl_stream *stream,
                        void (*ended)(void *admin))
{
    struct sl_admin_conn *c = sl_zalloc(sizeof(*c));
    struct sl_h1_server_conf conf = {
        .loop = admin->loop,
        .limits = { .uri_bytes = 4096, .header_bytes = 16384, .header_count = 64 },
        .origin = { .scheme = SL_STR("http") },
        .body_bytes = 4096,
    };

    c->admin = admin;
    c->ended = ended;
    c->server = sl_h1_server_new(&conf, stream, SL_STR(""));
    restart_deadline(c);
    sl_h1_server_on_ready(c->server, on_ready, c);
}

/* -- sending -- */

static void add(struct sl_head *head, const char *name, struct sl_str value)
{
    sl_fields_add(&head->fields, head->arena, sl_str_of(name), value);
}

static struct sl_str date_now(struct sl_arena *a)
{
    char date[30];

    sl_clock_http_date((time_t)(sl_clock_us() / 1000000), date);
    return sl_arena_str(a, sl_str_of(date));
}

/* Queues the head of c->answer; its body goes out with run(). */
static void begin_answer_framed(struct sl_admin_conn *c, enum sl_framing framing)
{
    const struct sl_admin_answer *answer = &c->answer;
    struct sl_head head = { .arena = &c->arena,
                            .status = answer->status,
                            .reason = sl_str_of(sl_status_reason(answer->status)),
                            .major = 1,
                            .minor = 1,
                            .keep_alive = true,
                            .framing = framing,
                            .content_length = answer->body.len };

    add(&head, "Content-Type", sl_str_of(answer->type));
    add(&head, "Cache-Control", SL_STR("no-store"));
    add(&head, "X-Content-Type-Options", SL_STR("nosniff"));
    add(&head, "Content-Security-Policy",
        SL_STR("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"));
    add(&head, "Date", date_now(&c->arena));
    if (answer->status == 405)
        add(&head, "Allow", SL_STR("GET, HEAD"));
    /* What goes wrong here goes wrong again in send(). */
    (void)c->stream->ops->send_head(c->stream, &head);
}

static void begin_answer(struct sl_admin_conn *c)
{
    begin_answer_framed(c, SL_FRAMING_LENGTH);
}

static enum sl_err send_body(struct sl_admin_conn *c)
{
    while (!c->has_no_body && c->n_sent < c->answer.body.len) {
        struct sl_str rest = sl_str_skip(sl_buf_str(&c->answer.body), c->n_sent);
        size_t n = 0;
        enum sl_err err = c->stream->ops->send_body(c->stream, rest.p, rest.n, &n);

        if (err != SL_OK)
            return err;
        c->n_sent += n;
        restart_deadline(c);
    }
    return c->stream->ops->send_end(c->stream, NULL);
}

static void end_answer(struct sl_admin_conn *c)
{
    sl_http_stream_close(&c->stream);
    sl_arena_fini(&c->arena);
    sl_buf_fini(&c->answer.body);
    c->n_sent = 0;
    restart_deadline(c);
}

/* SL_OK: the next request may come. */
static enum sl_err send_answer(struct sl_admin_conn *c)
{
    enum sl_err err = send_body(c);

    if (err == SL_AGAIN)
        c->stream->ops->want(c->stream, SL_WRITABLE);
    if (err == SL_OK)
        end_answer(c);
    return err;
}

/* -- profiles -- */

static void on_profile(void *arg, struct sl_str profile, const struct sl_fault *fault)
{
    struct sl_admin_conn *c = arg;

    c->profile = NULL;
    restart_deadline(c);
    if (fault == NULL) {
        c->answer.status = 200;
        c->answer.type = PROFILE_TYPE;
        sl_buf_add_str(&c->answer.body, profile);
    } else {
        sl_admin_say(&c->answer, 500, fault->text);
    }
    begin_answer(c);
    run(c);
}

static void profile_failed(struct sl_admin_conn *c, const struct sl_fault *fault)
{
    if (fault->err == SL_TOO_MANY)
        sl_admin_say(&c->answer, 409, "another profile is being taken");
    else
        sl_admin_say(&c->answer, (uint16_t)sl_err_http(fault->err), fault->text);
    begin_answer(c);
}

static void start_profile(struct sl_admin_conn *c, uint64_t seconds)
{
    struct sl_profile_conf conf = { .loop = c->admin->loop, .seconds = seconds };
    struct sl_fault fault;

    if (sl_profile_start(&conf, on_profile, c, &c->profile, &fault) == SL_OK)
        sl_timer_stop(&c->deadline);
    else
        profile_failed(c, &fault);
}

/* HEAD takes no profile, so nobody knows how long one would be. */
static void announce_profile(struct sl_admin_conn *c)
{
    c->answer.status = 200;
    c->answer.type = PROFILE_TYPE;
    begin_answer_framed(c, SL_FRAMING_NONE);
}

static void answer_profile(struct sl_admin_conn *c, struct sl_str query)
{
    uint64_t seconds;

    if (!sl_profile_parse_seconds(query, &seconds)) {
        sl_admin_say(&c->answer, 400, "seconds=N with N from 1 to 300");
        begin_answer(c);
    } else if (SL_HAVE_PROFILER && c->has_no_body) {
        announce_profile(c);
    } else {
        start_profile(c, seconds);
    }
}

/* While a profile is taken a client that leaves is the only thing to look out for. */
static enum sl_err watch_client(struct sl_admin_conn *c)
{
    char spare[512];
    enum sl_err err;
    size_t n;

    do
        err = c->stream->ops->recv_body(c->stream, spare, sizeof(spare), &n);
    while (err == SL_OK);
    c->stream->ops->want(c->stream, SL_READABLE);
    return err == SL_EOF ? SL_AGAIN : err;
}

/* -- requests -- */

/* A page of another site can make its name mean this address, but cannot make the browser name
 * another host (DNS rebinding). */
static bool is_host_ours(const struct sl_admin *admin, struct sl_str host)
{
    return admin->is_unix || sl_host_is_ip(host) || sl_str_eq(host, SL_STR("localhost"));
}

static void answer_request(struct sl_admin_conn *c, const struct sl_head *request)
{
    bool is_get = sl_str_eq(request->method, SL_STR("GET"));
    struct sl_str path, query;

    sl_target_split(request->target, &path, &query);
    c->has_no_body = sl_str_eq(request->method, SL_STR("HEAD"));
    if (!is_host_ours(c->admin, request->host)) {
        sl_admin_say(&c->answer, 421, "this address answers to localhost and IP addresses only");
    } else if (!is_get && !c->has_no_body) {
        sl_admin_say(&c->answer, 405, "only GET and HEAD");
    } else if (sl_str_eq(path, SL_STR("/debug/pprof/profile"))) {
        answer_profile(c, query);
        return;
    } else {
        sl_admin_page(c->admin, path, &c->answer);
    }
    begin_answer(c);
}

/* A malformed request has a stream too, for one answer. */
static void on_request(struct sl_admin_conn *c, enum sl_err err)
{
    const struct sl_head *head = NULL;

    c->stream->on_ready = on_ready;
    c->stream->arg = c;
    restart_deadline(c);
    if (c->stream->ops->recv_head(c->stream, &head) == SL_OK && err == SL_OK) {
        answer_request(c, head);
        return;
    }
    c->has_no_body = false;
    sl_admin_say(&c->answer, (uint16_t)sl_err_http(err), sl_err_text(err));
    begin_answer(c);
}

static enum sl_err next_request(struct sl_admin_conn *c)
{
    struct sl_fault fault;
    enum sl_err err = sl_h1_server_next(c->server, &c->stream, &fault);

    if (c->stream == NULL)
        return err;
    on_request(c, err);
    return SL_OK;
}

static enum sl_err step(struct sl_admin_conn *c)
{
    if (c->stream == NULL)
        return next_request(c);
    return c->profile != NULL ? watch_client(c) : send_answer(c);
}

static void run(struct sl_admin_conn *c)
{
    enum sl_err err;

    do
        err = step(c);
    while (err == SL_OK);
    if (err != SL_AGAIN)
        sl_admin_conn_close(c);
}
