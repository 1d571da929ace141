/* origin.c -- state: DIAL (or OPEN) -> TLS -> (reported and freed)
 *
 * Invariant: dial is non-NULL, open is posted, or handshake is non-NULL; it names the state.
 */
#include "upstream/origin.h"

#include "base/mem.h"
#include "io/loop.h"
#include "io/stream.h"
#include "tls/tls_stream.h"
#include "upstream/dial.h"

struct sl_connect {
    const struct sl_route *route;
    struct sl_origin origin;
    char *host, *name; /* own what origin.host and origin.name point to */
    struct sl_timer deadline;
    struct sl_dial *dial;
    struct sl_task open; /* in place of dial when the route has an opener */
    struct sl_tls_handshake *handshake;
    struct sl_peer peer;
    sl_connect_fn *done;
    void *arg;
};

static sl_dial_fn on_dialled;
static sl_tls_handshake_fn on_handshake;
static sl_timer_fn on_deadline;
static void on_open(void *arg);

void sl_origin_key(const struct sl_origin *o, struct sl_buf *out)
{
    struct {
        uint64_t owner;
        uint16_t port;
        uint8_t is_unix, tls, verify, http;
        uint16_t name_len;
    } head = { .owner = o->owner,
               .port = o->port,
               .is_unix = o->is_unix,
               .tls = o->tls,
               .verify = o->verify,
               .http = (uint8_t)o->http,
               .name_len = (uint16_t)o->name.n };

    sl_buf_add(out, &head, sizeof(head));
    sl_buf_add_str(out, o->name);
    sl_buf_add_str(out, o->host);
}

struct sl_connect *sl_connect_start(const struct sl_route *route, const struct sl_origin *origin,
                                    sl_connect_fn *done, void *arg)
{
    struct sl_connect *c = sl_zalloc(sizeof(*c));

    *c = (struct sl_connect){ .route = route, .origin = *origin, .done = done, .arg = arg };
    c->host = sl_str_dup(origin->host);
    c->origin.host.p = c->host;
    c->name = sl_str_dup(origin->name);
    c->origin.name.p = c->name;
    c->open = (struct sl_task){ .fn = on_open, .arg = c };
    sl_timer_start(route->loop, &c->deadline, route->connect_timeout_ms, on_deadline, c);
    if (route->open != NULL) {
        sl_task_post(route->loop, &c->open);
        return c;
    }
    c->dial = sl_dial_start(&(struct sl_dial_conf){ .loop = route->loop,
                                                    .resolver = route->resolver,
                                                    .guard = route->guard,
                                                    .host = c->origin.host,
                                                    .port = origin->port,
                                                    .is_unix = origin->is_unix },
                            on_dialled, c);
    return c;
}

void sl_connect_cancel(struct sl_connect **connect)
{
    struct sl_connect *c = *connect;

    if (c == NULL)
        return;
    *connect = NULL;
    sl_timer_stop(&c->deadline);
    sl_task_cancel(c->route->loop, &c->open);
    sl_dial_cancel(&c->dial);
    sl_tls_handshake_cancel(&c->handshake);
    sl_free(c->host);
    sl_free(c->name);
    sl_free(c);
}

static void finish(struct sl_connect *c, struct sl_stream *stream, const struct sl_fault *fault)
{
    sl_connect_fn *done = c->done;
    void *arg = c->arg;
    struct sl_peer peer = c->peer;

    sl_connect_cancel(&c);
    done(arg, stream, &peer, fault);
}

static void on_dialled(void *arg, struct sl_stream *stream, const struct sl_addr *peer,
                       const struct sl_fault *fault)
{
    struct sl_connect *c = arg;

    c->dial = NULL;
    c->peer.addr = *peer;
    c->peer.http2 = c->origin.http == SL_HTTP_2;
    if (stream == NULL || !c->origin.tls) {
        finish(c, stream, fault);
        return;
    }
    c->handshake =
        sl_tls_connect_start(&(struct sl_tls_connect_conf){ .loop = c->route->loop,
                                                            .context = c->route->tls,
                                                            .lower = stream,
                                                            .host = c->origin.host,
                                                            .port = c->origin.port,
                                                            .name = c->origin.name,
                                                            .verify = c->origin.verify,
                                                            .http2 = c->origin.http != SL_HTTP_1 },
                             on_handshake, c);
}

static void on_open(void *arg)
{
    struct sl_connect *c = arg;
    struct sl_stream *stream = c->route->open(c->route->open_arg, &c->origin);
    struct sl_fault refused = { .err = SL_REFUSED };

    on_dialled(c, stream, &c->peer.addr, &refused);
}

static void on_handshake(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct sl_connect *c = arg;
    struct sl_tls_info info;

    c->handshake = NULL;
    if (stream != NULL) {
        sl_tls_stream_info(stream, &info);
        c->peer.tls_version = info.version;
        c->peer.http2 = info.http2;
    }
    finish(c, stream, fault);
}

static void on_deadline(void *arg)
{
    struct sl_connect *c = arg;
    struct sl_fault fault = { 0 };

    sl_fault_set(&fault, SL_CONNECT_TIMEOUT, "%s",
                 c->handshake == NULL ? "while resolving or connecting"
                                      : "during the TLS handshake");
    finish(c, NULL, &fault);
}
