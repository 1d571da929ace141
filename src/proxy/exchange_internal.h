/* exchange_internal.h -- what an exchange consists of: shared by exchange.c (life, log) and steps.c
 * (steps).
 *
 * Thread: the loop's.
 */
#ifndef SL_PROXY_EXCHANGE_INTERNAL_H
#define SL_PROXY_EXCHANGE_INTERNAL_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/state.h"
#include "http/http_stream.h"
#include "io/loop.h"
#include "policy/gate.h"
#include "proxy/exchange.h"
#include "proxy/reply.h"
#include "proxy/websocket.h"
#include "upstream/pool.h"

enum sl_exchange_state {
    ST_BEGIN,   /* look at the head */
    ST_DECIDE,  /* rules */
    ST_ASK,     /* checks are out */
    ST_ACQUIRE, /* a connection to the origin is being made */
    ST_SEND,    /* head and body go up, the final response head is awaited */
    ST_RELAY,   /* the response goes down */
    ST_REPLY,   /* an answer of our own goes down */
    ST_DONE,
    ST_N
};

/* How often the request has been tried, and with what kind of connection. */
enum sl_attempt {
    SL_ATTEMPT_FIRST,
    SL_ATTEMPT_WAITED,    /* the first, with a connection that stood idle while the check was out */
    SL_ATTEMPT_AGAIN,     /* a connection that had been idle died unanswered: now a new one */
    SL_ATTEMPT_ELSEWHERE, /* the peer refused the request unseen: now whatever there is */
};

struct sl_exchange {
    struct sl_env *env;
    struct sl_client *client;
    struct sl_http_stream *stream; /* towards the client */
    sl_exchange_fn *done;
    void *arg;

    uint8_t state;
    struct sl_task wake;
    struct sl_timer stall;
    uint64_t progress_ms; /* when a byte moved last, or the state began to wait */

    struct sl_arena arena;
    char id[SL_ID_LEN + 1];
    uint64_t start_us, start_mono_us;

    struct sl_fault malformed;     /* err not OK: the head was */
    const struct sl_head *request; /* as received */
    struct sl_head forward;        /* as it will be sent: what rules and checks see */
    struct sl_facts facts;
    struct sl_question question;

    struct sl_decision decision;
    struct sl_ruling ruling;
    struct sl_gate_ask *ask; /* ST_ASK */

    struct sl_origin origin;
    struct sl_acquire *acquire; /* ST_ACQUIRE, and ST_ASK with preconnect */
    struct sl_lease lease;      /* stream NULL until there is one */
    enum sl_attempt attempt;

    struct sl_pump up, down;
    struct sl_fields edited_up,
        edited_down; /* names that the check has edited: no trailers of that name */
    enum sl_pump_state up_state;
    const struct sl_head *response; /* the origin's final head */
    struct sl_websocket *websocket; /* after a 101; NULL before */
    struct sl_reply reply;
    size_t reply_sent; /* bytes of its body */

    uint16_t status;       /* sent to the client; 0: no final head yet */
    const char *verdict;   /* for the log and metrics: allow deny refuse error */
    struct sl_fault fault; /* what went wrong, if anything did */
};

extern const struct sl_state_table sl_exchange_table;

/** Advances as far as it goes; the exchange may be gone afterwards. */
void sl_exchange_run(struct sl_exchange *x);

/* What steps share (steps.c). */
void sl_exchange_go(struct sl_exchange *x, enum sl_exchange_state to);
/** Ends the exchange for the reason in x->fault: a page if one can still be sent, else a cut. */
void sl_exchange_fail(struct sl_exchange *x);
void sl_exchange_fail_with(struct sl_exchange *x, enum sl_err err, const char *text);
/** Sets x->fault for a client that can be sent nothing more: it is gone, unless the fault is ours.
 */
void sl_exchange_blame_client(struct sl_exchange *x);
/** The policy's no: by a rule, or by the last verdict of a check. */
void sl_exchange_deny(struct sl_exchange *x);
/** A byte moved: whoever waits may wait anew. */
void sl_exchange_progress(struct sl_exchange *x);
/** With its request complete, all that can still come from the client is the news that it is gone:
 * asks to hear of it.  True when it is gone already, and the exchange has failed. */
bool sl_exchange_watch_client(struct sl_exchange *x);
/** Readiness of either stream. */
void sl_exchange_on_ready(void *arg, unsigned events);

/** Where the request goes, by its head and the rule that decided (steps_origin.c). */
void sl_exchange_settle_origin(struct sl_exchange *x);
/** upstream.preconnect: the connection is made while the check is out; nothing is written to it. */
void sl_exchange_preconnect(struct sl_exchange *x);

/* Steps in files of their own. */
void sl_exchange_st_begin(void *self); /**< steps_decide.c */
void sl_exchange_st_decide(void *self);
void sl_exchange_st_ask(void *self);
void sl_exchange_st_acquire(void *self); /**< steps_origin.c */
void sl_exchange_st_send(void *self);
void sl_exchange_st_relay(void *self);

#endif
