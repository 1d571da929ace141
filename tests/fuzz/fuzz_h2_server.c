/* fuzz_h2_server.c -- the client's side of an HTTP/2 connection from any bytes.
 *
 * The first byte decides whether the preface and SETTINGS come before the rest, which then is
 * frames.  Each request is answered with what its body holds.
 */
#include "h2_fuzz.h"

#include "http/h2_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_REQUESTS 64

struct answer {
    struct sl_http_stream *stream;
    char body[512];
    size_t len, sent;
    bool is_answered;
};

struct world {
    struct sl_loop *loop;
    struct sl_stream *peer;
    struct sl_h2_server *server;
    struct answer answers[MAX_REQUESTS];
    size_t n;
};

static void on_ready(void *arg, unsigned events);

static void reply(struct answer *a)
{
    struct sl_arena arena = { 0 };
    struct sl_head head = { .arena = &arena, .status = 200, .framing = SL_FRAMING_CHUNKED };

    a->is_answered = true;
    if (a->stream->ops->send_head(a->stream, &head) != SL_OK)
        sl_http_stream_close(&a->stream);
    sl_arena_fini(&arena);
}

static void send(struct answer *a)
{
    size_t n;
    enum sl_err err = SL_OK;

    while (err == SL_OK && a->sent < a->len) {
        err = a->stream->ops->send_body(a->stream, a->body + a->sent, a->len - a->sent, &n);
        if (err == SL_OK)
            a->sent += n;
    }
    if (err == SL_OK)
        err = a->stream->ops->send_end(a->stream, a->stream->ops->trailers(a->stream));
    if (err == SL_AGAIN)
        a->stream->ops->want(a->stream, SL_WRITABLE);
    else
        sl_http_stream_close(&a->stream);
}

static void on_ready(void *arg, unsigned events)
{
    struct answer *a = arg;
    enum sl_err err;
    size_t n;

    (void)events;
    if (a->is_answered) {
        send(a);
        return;
    }
    do {
        err = a->stream->ops->recv_body(a->stream, a->body, sizeof(a->body), &n);
        if (err == SL_OK)
            a->len = n;
    } while (err == SL_OK);
    if (err == SL_AGAIN) {
        a->stream->ops->want(a->stream, SL_READABLE);
        return;
    }
    reply(a);
    if (a->stream != NULL)
        send(a);
}

static void take(struct world *w, struct sl_http_stream *stream, enum sl_err err)
{
    struct answer *a = &w->answers[w->n];
    const struct sl_head *head;

    if (w->n == MAX_REQUESTS) {
        sl_http_stream_close(&stream);
        return;
    }
    w->n++;
    sl_assert(stream->ops->recv_head(stream, &head) == SL_OK);
    if (err == SL_OK)
        check_request(head);
    *a = (struct answer){ .stream = stream };
    stream->on_ready = on_ready;
    stream->arg = a;
    on_ready(a, SL_READABLE);
}

static void on_change(void *arg)
{
    struct world *w = arg;
    struct sl_http_stream *stream;
    struct sl_fault fault;
    enum sl_err err;

    for (;;) {
        err = sl_h2_server_next(w->server, &stream, &fault);
        if (stream == NULL)
            return;
        take(w, stream, err);
    }
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hello[] = SL_H2_PREFACE "\0\0\0\4\0\0\0\0\0";
    struct sl_str in = sl_str_make(data, size);
    struct sl_stream *ours;
    struct world w = { .loop = sl_loop_new_sim() };

    sl_memory_pair(w.loop, &(struct sl_memory_conf){ 0 }, &w.peer, &ours);
    w.server = sl_h2_server_new(&(struct sl_h2_server_conf){ .loop = w.loop,
                                                             .limits = h2_limits,
                                                             .max_streams = 8,
                                                             .body_bytes = 2048,
                                                             .on_change = on_change,
                                                             .arg = &w },
                                ours, SL_STR(""));
    if (in.n != 0 && (in.p[0] & 1) == 0)
        say(w.loop, w.peer, sl_str_make(hello, sizeof(hello) - 1));
    in = sl_str_skip(in, 1);
    say(w.loop, w.peer, sl_str_head(in, in.n / 2));
    say(w.loop, w.peer, sl_str_skip(in, in.n / 2));
    sl_stream_close(&w.peer);
    turn(w.loop);
    for (size_t i = 0; i < w.n; i++)
        sl_http_stream_close(&w.answers[i].stream);
    sl_h2_server_free(&w.server);
    sl_loop_free(&w.loop);
    return 0;
}
