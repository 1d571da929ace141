/* h1_wire.c -- readiness is level-triggered for the owner, whether bytes wait in the transport or
 * were read ahead: arm() is called wherever one of wanted, the state of recv and what it holds may
 * have changed.
 */
#include "http/h1_wire.h"

#include "base/mem.h"

static bool has_read_ahead(const struct sl_h1_wire *w)
{
    return (w->wanted & SL_READABLE) != 0 && sl_h1_recv_is_ready(&w->recv);
}

static void arm(struct sl_h1_wire *w)
{
    unsigned events = w->wanted;

    if (w->stream == NULL)
        return;
    if (!sl_h1_recv_is_listening(&w->recv))
        events &= ~SL_READABLE;
    sl_stream_want(w->stream, events);
    if (has_read_ahead(w))
        sl_task_post_next(w->loop, &w->wake);
}

static void report(struct sl_h1_wire *w, unsigned events)
{
    if (events != 0 && w->on_ready != NULL)
        w->on_ready(w->arg, events);
    arm(w);
}

static void on_wake(void *arg)
{
    struct sl_h1_wire *w = arg;

    if (has_read_ahead(w))
        report(w, SL_READABLE);
}

static void on_stream_ready(void *arg, unsigned events)
{
    struct sl_h1_wire *w = arg;

    events &= w->wanted;
    if ((events & SL_READABLE) != 0 && w->recv.state == SL_H1_RECV_TOLD &&
        !sl_h1_recv_look(&w->recv))
        events &= ~SL_READABLE;
    report(w, events);
}

void sl_h1_wire_init(struct sl_h1_wire *w, struct sl_loop *loop, struct sl_stream *stream,
                     const struct sl_head_limits *limits)
{
    w->loop = loop;
    w->stream = w->recv.stream = w->send.stream = stream;
    w->recv.limits = limits;
    w->wake = (struct sl_task){ .fn = on_wake, .arg = w };
    sl_stream_on_ready(stream, on_stream_ready, w);
}

struct sl_stream *sl_h1_wire_release(struct sl_h1_wire *w)
{
    struct sl_stream *stream = w->stream;

    w->stream = NULL;
    w->wanted = 0;
    sl_task_cancel(w->loop, &w->wake);
    sl_h1_recv_fini(&w->recv);
    sl_h1_send_fini(&w->send);
    if (stream != NULL) {
        sl_stream_want(stream, 0);
        sl_stream_on_ready(stream, NULL, NULL);
    }
    return stream;
}

void sl_h1_wire_close(struct sl_h1_wire *w)
{
    struct sl_stream *stream = sl_h1_wire_release(w);

    sl_stream_close(&stream);
}

void sl_h1_wire_abandon(struct sl_h1_wire *w)
{
    bool is_cut = w->send.framing == SL_FRAMING_CLOSE &&
                  (w->send.state == SL_H1_SEND_BODY || w->send.state == SL_H1_SEND_LAST);
    struct sl_stream *stream = sl_h1_wire_release(w);

    if (is_cut)
        sl_stream_cut(&stream);
    else
        sl_stream_close(&stream);
}

void sl_h1_wire_want(struct sl_h1_wire *w, unsigned events)
{
    w->wanted = events;
    arm(w);
}

enum sl_err sl_h1_wire_recv_body(struct sl_h1_wire *w, struct sl_http_stream *s, struct iovec buf,
                                 size_t *ret_n)
{
    enum sl_err err = sl_h1_recv_body(&w->recv, buf, ret_n, &s->fault);

    if (err == SL_OK)
        s->n_received += *ret_n;
    if (err != SL_AGAIN)
        arm(w);
    return err;
}

enum sl_err sl_h1_wire_send_body(struct sl_h1_wire *w, struct sl_http_stream *s,
                                 struct sl_str content, size_t *ret_n)
{
    enum sl_err err = sl_h1_send_body(&w->send, content, ret_n, &s->fault);

    if (err == SL_OK)
        s->n_sent += *ret_n;
    return err;
}
