/* conn_witness.h -- what the check was asked and said, and what reached origins: every request that
 * did must be one that the check has allowed, member by member.
 *
 * It stands in for the access log too: each question about a request leaves one record.
 */
#ifndef SL_FUZZ_CONN_WITNESS_H
#define SL_FUZZ_CONN_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "sim_world.h"
#include "strict.h"
#include "upstream/origin.h"

struct question;
struct sl_verdict;
struct nghttp2_hd_inflater;

#define WITNESS_QUESTIONS 512

/** Is what snapshots take for their access log. */
struct sl_access_log {
    struct sl_arena arena;
    struct question *questions[WITNESS_QUESTIONS];
    unsigned n_questions;
    struct sl_buf ids; /* of records */
    bool has_rules;    /* those of witness_rules */
    bool may_preconnect;
};

/** With these, FREE_HOST and TUNNEL_HOST need no verdict. */
#define FREE_HOST "free.example"
#define TUNNEL_HOST "tunnel.example"
extern const struct sim_rule witness_rules[];

/** One connection to an origin. */
struct arrival {
    struct sl_origin origin; /**< the host copied */
    enum {
        ARRIVAL_NEW,
        ARRIVAL_HTTP,
        ARRIVAL_HTTP2,
        ARRIVAL_FRAMES, /**< of a WebSocket */
        ARRIVAL_OPEN,   /**< anything goes */
    } mode;
    size_t n_done;  /**< bytes looked at */
    bool is_inside; /**< content of a request is expected */
    bool may_switch;
    struct strict_framing framing;
    struct nghttp2_hd_inflater *inflater; /**< ARRIVAL_HTTP2 */
    struct sl_buf block;                  /**< of header fields, under way */
    uint32_t block_stream, last_stream;
};

void witness_fini(struct sl_access_log *w);

/** A whole question came in, as JSON; NULL: there are too many. */
struct question *witness_asked(struct sl_access_log *w, struct sl_str document);
/** It is about to be answered, with @a v or, NULL, with a failure. */
void witness_answered(struct sl_access_log *w, struct question *q, struct sl_verdict *v);

/** A connection is being made. */
void witness_opened(struct sl_access_log *w, const struct sl_origin *origin, struct arrival *ret);
void arrival_fini(struct arrival *a);
/** @a got: all that an origin has read, @a said: all that it has said. */
void witness_arrived(struct sl_access_log *w, struct arrival *a, struct sl_str got,
                     struct sl_str said);

/** Everything is over: each question about a request has its record, and only one. */
void witness_end(struct sl_access_log *w);

#endif
