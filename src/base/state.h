/* state.h -- a life as a table of steps.
 *
 * A state machine's states, their names, step functions and allowed successors stand in one
 * constant table; sl_state_go asserts each transition against it and moves the gauge of each state,
 * so that metrics and the admin page show where everything is.  docs/STATES.md is generated from
 * the tables. Thread: a life is its owner's; gauges are shared.
 */
#ifndef SL_BASE_STATE_H
#define SL_BASE_STATE_H

#include <stdint.h>

struct sl_metric;

struct sl_state_row {
    const char *name;         /**< as shown in logs and metrics */
    uint32_t next;            /**< bit set of states that may follow, SL_TO(x) | SL_TO(y) */
    void (*step)(void *self); /**< looks at facts and decides; NULL for a final state */
};

struct sl_state_table {
    const char *machine; /**< "exchange" */
    const struct sl_state_row *rows;
    uint32_t n_rows;
    struct sl_metric **gauges; /**< n_rows entries or NULL; filled by sl_state_register */
};

#define SL_TO(state) (1u << (unsigned)(state))

/** Creates the gauges sluice_<machine>s{state}.  Once, before any life starts. */
void sl_state_register(const struct sl_state_table *t);

/** A life begins in state 0. */
void sl_state_begin(const struct sl_state_table *t, uint8_t *state);
/** Moves; a transition that the table does not allow is a bug and aborts. */
void sl_state_go(const struct sl_state_table *t, uint8_t *state, uint8_t to);
/** Runs steps until one leaves the state as it is, or a final state is reached. */
void sl_state_run(const struct sl_state_table *t, uint8_t *state, void *self);
/** A life ends, in whatever state. */
void sl_state_end(const struct sl_state_table *t, const uint8_t *state);

#endif
