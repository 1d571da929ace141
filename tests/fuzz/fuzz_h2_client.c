/* fuzz_h2_client.c -- the origin's side of an HTTP/2 connection from any bytes: three requests are
 * out when they come, one of them with a body.
 */
#include "h2_fuzz.h"

#include "http/h2_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS 3

static const struct sl_head requests[CALLS] = {
    { .method = { "GET", 3 }, .framing = SL_FRAMING_NONE },
    { .method = { "HEAD", 4 }, .framing = SL_FRAMING_NONE },
    { .method = { "POST", 4 }, .framing = SL_FRAMING_CHUNKED },
};

struct call {
    struct sl_http_stream *stream;
    bool is_final;
};

static void on_change(void *arg)
{
    (void)arg;
}

static enum sl_err take_heads(struct call *c)
{
    const struct sl_head *head = NULL;
    enum sl_err err = SL_OK;

    while (err == SL_OK && !c->is_final) {
        err = c->stream->ops->recv_head(c->stream, &head);
        sl_assert(err != SL_OK || (head->status >= 100 && head->status <= 599));
        sl_assert(err != SL_OK || head->status != 101);
        c->is_final = err == SL_OK && head->status >= 200;
    }
    return err;
}

static void on_ready(void *arg, unsigned events)
{
    struct call *c = arg;
    char body[512];
    enum sl_err err = take_heads(c);
    size_t n;

    (void)events;
    while (err == SL_OK)
        err = c->stream->ops->recv_body(c->stream, body, sizeof(body), &n);
    if (err == SL_AGAIN)
        c->stream->ops->want(c->stream, SL_READABLE);
    else
        sl_http_stream_close(&c->stream);
}

static void open_call(struct sl_h2_client *client, struct call *c, const struct sl_head *request,
                      struct sl_arena *arena)
{
    struct sl_head head = *request;
    size_t n;

    head.arena = arena;
    head.scheme = SL_STR("https");
    head.host = SL_STR("a.example");
    head.port = 443;
    head.target = SL_STR("/");
    *c = (struct call){ .stream = sl_h2_client_open(client) };
    c->stream->on_ready = on_ready;
    c->stream->arg = c;
    sl_assert(c->stream->ops->send_head(c->stream, &head) == SL_OK);
    if (head.framing != SL_FRAMING_NONE)
        sl_assert(c->stream->ops->send_body(c->stream, "body", 4, &n) == SL_OK);
    (void)c->stream->ops->send_end(c->stream, NULL);
    c->stream->ops->want(c->stream, SL_READABLE);
}

/* threat: parser-panics */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_loop *loop = sl_loop_new_sim();
    struct sl_str in = sl_str_make(data, size);
    struct sl_stream *peer, *ours;
    struct sl_h2_client *client;
    struct sl_arena arena = { 0 };
    struct call calls[CALLS];

    sl_memory_pair(loop, &(struct sl_memory_conf){ 0 }, &peer, &ours);
    client = sl_h2_client_new(
        &(struct sl_h2_client_conf){ .loop = loop, .limits = h2_limits, .on_change = on_change },
        ours);
    for (size_t i = 0; i < CALLS; i++)
        open_call(client, &calls[i], &requests[i], &arena);
    turn(loop);
    say(loop, peer, sl_str_head(in, in.n / 2));
    say(loop, peer, sl_str_skip(in, in.n / 2));
    sl_stream_close(&peer);
    turn(loop);
    for (size_t i = 0; i < CALLS; i++)
        sl_http_stream_close(&calls[i].stream);
    sl_h2_client_free(&client);
    sl_loop_free(&loop);
    sl_arena_fini(&arena);
    return 0;
}
