/* sim_witness.h -- what was asked, allowed, opened and logged in one play, and
 * what must hold of it at every moment.
 *
 * It stands in for the access log: proxy/access_log.h is implemented here for
 * what exchanges call.
 */
#ifndef SL_SIM_WITNESS_H
#define SL_SIM_WITNESS_H

#include "base/buf.h"
#include "base/str.h"
#include "sim.h"

struct sl_origin;

struct sim_witness {
    const struct sim_case *c;
    struct sl_buf asked, opened, log; /* as the case expects them */
    struct sl_buf ids, logged_ids;    /* of questions about requests; of records: "ID " each */
    struct sl_buf allowed;            /* subjects: "/path " or "host:port " each */
    unsigned n_questions, n_out, n_allowed, n_records;
};

/** Is what snapshots take for their access log. */
struct sl_access_log {
    struct sim_witness *witness;
};

void sim_witness_fini(struct sim_witness *w);
/** A whole question came in; answers what is to be said to it. */
const char *sim_witness_asked(struct sim_witness *w, struct sl_str document,
                              struct sl_str *ret_subject);
void sim_witness_answered(struct sim_witness *w, const char *answer, struct sl_str subject);
void sim_witness_opened(struct sim_witness *w, const struct sl_origin *origin);
/** @a got: everything that an origin has read from one connection, @a before
 * bytes of it earlier.
 */
void sim_witness_arrived(struct sim_witness *w, struct sl_str got, size_t before);
/** Every question about a request has its record, and only one. */
void sim_witness_end(struct sim_witness *w);

/** Whether @a text is @a pattern, in which `*` stands for any run of bytes. */
bool sim_matches(struct sl_str text, const char *pattern);

#endif
