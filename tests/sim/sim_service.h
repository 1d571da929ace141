/* sim_service.h -- the scripted check service: one connection to it. */
#ifndef SL_SIM_SERVICE_H
#define SL_SIM_SERVICE_H

#include "sim_peer.h"
#include "sim_witness.h"

struct sim_service {
    struct sim_peer peer;
    const char *answer; /**< to the question at hand; NULL: none */
    char subject[64];   /**< of it */
    unsigned due_turn;
};

/** Reads questions and answers them as the case says; @a now counts turns. */
void sim_service_poll(struct sim_service *q, struct sim_witness *w, unsigned now);

#endif
