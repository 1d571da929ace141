/* sim.h -- whole conversations in memory: the real connection, exchange, gate,
 * pool, codecs and TLS between a scripted client, scripted origins and a
 * scripted check service, by a clock that stands still.
 *
 * A case is played once as it is, once in every trickle, and then once for
 * every blow at every turn of the loop: the connection is cancelled, a peer
 * resets, closes or falls silent, the check dies, the proxy drains.  Whatever
 * happens, these hold: no byte of a request reaches an origin before its
 * allowing verdict, nothing outlives its deadlines, every request leaves one
 * log record, nothing leaks.
 */
#ifndef SL_SIM_H
#define SL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim_world.h"

enum sim_verb {
    SIM_STOP,   /**< the end of a script; the peer goes on reading */
    SIM_SEND,   /**< text */
    SIM_AWAIT,  /**< text, behind what was awaited before */
    SIM_TLS,    /**< client: connect, text is the SNI; origin: accept as text */
    SIM_HELLO,  /**< client: the same without waiting for the CONNECT's reply */
    SIM_END,    /**< waits until the other side has ended or cut the connection */
    SIM_SHUT,   /**< ends the outgoing direction */
    SIM_CLOSE,  /**< closes */
    SIM_RESET,  /**< resets */
    SIM_QUIET,  /**< waits until nothing moves any more */
    SIM_WAIT,   /**< then moves the clock by ms */
    SIM_DRAIN,  /**< client only: the proxy drains */
    SIM_RELOAD, /**< client only: the connection gets the case's second
                   configuration */
};

struct sim_step {
    enum sim_verb verb;
    const char *text;
    uint32_t ms;
    unsigned n_times; /**< SEND: 0 is once */
};

/* clang-format off */
#define SCRIPT(...) ((const struct sim_step[]){ __VA_ARGS__, { .verb = SIM_STOP } })
#define SEND(t)  { .verb = SIM_SEND, .text = (t) }
#define SEND_TIMES(n, t) { .verb = SIM_SEND, .text = (t), .n_times = (n) }
#define AWAIT(t) { .verb = SIM_AWAIT, .text = (t) }
#define TLS(t)   { .verb = SIM_TLS, .text = (t) }
#define HELLO(t) { .verb = SIM_HELLO, .text = (t) }
#define WAIT(n)  { .verb = SIM_WAIT, .ms = (n) }
#define END      { .verb = SIM_END }
#define SHUT     { .verb = SIM_SHUT }
#define CLOSE    { .verb = SIM_CLOSE }
#define RESET    { .verb = SIM_RESET }
#define QUIET    { .verb = SIM_QUIET }
#define DRAIN    { .verb = SIM_DRAIN }
#define RELOAD   { .verb = SIM_RELOAD }
/* clang-format on */

/** What the check does with a question: says text with status 200, or one of
 * these. */
extern const char sim_stall[], sim_die[], sim_babble[], sim_error[];
#define SIM_ALLOW "{\"action\":\"allow\"}"
#define SIM_DENY "{\"action\":\"deny\",\"reason\":\"not today\"}"

#define SIM_PEERS 8

struct sim_case {
    const char *name;
    const struct sim_rule *rules;    /**< NULL: none; behind them everything is put to the check if
                                        there are answers, else allowed */
    const struct sim_rule *reloaded; /**< after RELOAD */
    const char *answers[SIM_PEERS];  /**< to the questions in order; none: there is
                                        no check */
    bool asks_connect;               /**< the check has phase connect too */
    bool preconnect;
    bool is_ruled; /**< allowed by rule: there is no verdict that bytes could be
                      ahead of */
    const struct sim_step *client;
    const struct sim_step *origins[SIM_PEERS]; /**< connections in order; others are refused */

    /* What is expected of the undisturbed play; `*` stands for any run of bytes.
     */
    const char *to_client;
    const char *to_origins[SIM_PEERS];
    const char *opened; /**< "host:port " of each connection made or refused */
    const char *asked;  /**< "phase subject " of each question */
    const char *log;    /**< "verdict status " of each record, then "error " where
                           there is one */
};

/** Plays all cases in every way; what main answers. */
int sim_main(const struct sim_case *cases, size_t n_cases);

#endif
