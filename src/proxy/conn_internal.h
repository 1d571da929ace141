/* conn_internal.h -- what a client connection consists of: shared by conn.c (life, requests) and
 * connect.c (what becomes of a CONNECT).
 *
 * Thread: the loop's.
 */
#ifndef SL_PROXY_CONN_INTERNAL_H
#define SL_PROXY_CONN_INTERNAL_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/state.h"
#include "http/h1_server.h"
#include "io/loop.h"
#include "policy/gate.h"
#include "proxy/conn.h"
#include "proxy/exchange.h"
#include "proxy/first_bytes.h"
#include "proxy/intercept.h"
#include "proxy/multiplex.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "upstream/origin.h"

enum sl_conn_state {
    ST_READ,      /* waits for a request's head */
    ST_EXCHANGE,  /* an exchange has it */
    ST_DECIDE,    /* a CONNECT: rules, and checks with phase connect */
    ST_DIAL,      /* a tunnel's upstream connection is being made */
    ST_ANSWER,    /* the CONNECT's reply is being written */
    ST_INTERCEPT, /* first bytes, ClientHello, handshake */
    ST_MULTIPLEX, /* HTTP/2: exchanges, many at once */
    ST_OPAQUE,    /* not to be opened: asking whether it may pass */
    ST_TUNNEL,    /* bytes are relayed unopened */
    ST_ENDED,
    ST_N
};

/* What a connection has left of its life when it drains: for a first request, the first bytes of a
 * tunnel, or to see its end. */
#define DRAIN_MS 1000u

/* What follows the CONNECT's reply. */
enum sl_conn_plan { PLAN_INTERCEPT, PLAN_TUNNEL, PLAN_READ };

/* What the timer is for in ST_READ, while it is armed. */
enum sl_conn_timer { TIMER_IDLE, TIMER_HEAD };

struct sl_conn {
    struct sl_env *env;
    struct sl_env *next_env; /* a reload's, taken before what is decided next; NULL: none */
    struct sl_client client;
    sl_conn_fn *ended;
    void *arg;

    uint8_t state;
    bool is_draining;
    bool has_served; /* an exchange has ended */
    struct sl_task wake;
    struct sl_timer timer; /* ST_READ: idle or head; ST_ANSWER: the client takes nothing */
    enum sl_conn_timer timer_is_for;
    struct sl_arena arena; /* of the connection: target, SNI, ALPN */

    struct sl_h1_server *server;  /* ST_READ, ST_EXCHANGE, ST_DECIDE, ST_DIAL, ST_ANSWER */
    struct sl_exchange *exchange; /* ST_EXCHANGE */

    struct sl_http_stream *connect; /* the CONNECT, until it is answered */
    char id[SL_ID_LEN + 1]; /* of the CONNECT, for its log line; empty once that is written, or its
                               exchanges have lines of their own */
    uint64_t start_us, start_mono_us;
    struct sl_facts facts;
    struct sl_question question;
    struct sl_decision decision;
    struct sl_ruling
        ruling; /* of the CONNECT or the opaque protocol; referred to by connect_ruling */
    struct sl_gate_ask *ask;    /* ST_DECIDE, ST_OPAQUE */
    struct sl_connect *dial;    /* ST_DIAL */
    struct sl_peer peer;        /* of the tunnel */
    struct sl_stream *upstream; /* ST_ANSWER before a tunnel */
    struct sl_stream *stream;   /* the client's bytes, ST_OPAQUE, ST_DIAL after it */
    enum sl_conn_plan plan;
    struct sl_reply reply; /* ST_ANSWER */
    size_t reply_sent;
    struct sl_buf preface;          /* read from the client and not yet used */
    struct sl_intercept *intercept; /* ST_INTERCEPT */
    struct sl_multiplex *multiplex; /* ST_MULTIPLEX */
    struct sl_relay *relay;         /* ST_TUNNEL */
    struct sl_request_line line;    /* of opaque bytes, watched by the relay */
    struct sl_fault fault;
};

extern const struct sl_state_table sl_conn_table;

/** Advances as far as it goes; the connection may be gone afterwards. */
void sl_conn_run(struct sl_conn *c);
void sl_conn_go(struct sl_conn *c, enum sl_conn_state to);
/** A reload's environment, if there is one, is what counts from now on. */
void sl_conn_take_env(struct sl_conn *c);
/** Ends the connection @a ms from now, unless c->timer is stopped or armed anew. */
void sl_conn_arm(struct sl_conn *c, uint32_t ms);

/** Begins with the CONNECT whose stream is in c->connect; its steps follow. */
void sl_conn_connect(struct sl_conn *c, const struct sl_head *head);
void sl_conn_st_answer(void *self);
/** The line of a CONNECT that is cut short, if it is owed one. */
void sl_conn_account_cut(struct sl_conn *c);
/** Reads requests from @a stream from now on. */
void sl_conn_serve(struct sl_conn *c, struct sl_stream *stream, bool is_proxy);

#endif
