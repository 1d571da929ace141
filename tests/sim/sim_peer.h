/* sim_peer.h -- the scripted ends of a simulation, and the tap that watches the
 * proxy's. */
#ifndef SL_SIM_PEER_H
#define SL_SIM_PEER_H

#include "base/buf.h"
#include "io/memory.h"
#include "io/stream.h"
#include "sim.h"
#include "sim_world.h"
#include "tls/tls_stream.h"

enum sim_role { SIM_CLIENT, SIM_ORIGIN };

struct sim_peer {
    struct sl_loop *loop;
    const struct sim_tls *tls;
    enum sim_role role;
    struct sl_stream *raw;       /**< our end of the memory pair; NULL once closed */
    struct sl_stream *stream;    /**< what the script speaks over: raw or TLS on it; else NULL */
    struct sl_tls_handshake *hs; /**< while there is one */
    struct sl_stream *under_tls; /**< what it works over */
    const struct sim_step *at;
    size_t n_said;    /**< bytes of a SEND under way */
    unsigned n_times; /**< it was said already */
    struct sl_buf got;
    size_t n_seen;     /**< of got, by AWAIT */
    enum sl_err end;   /**< SL_OK: open; how the other side ended it */
    bool is_silent;    /**< neither reads nor writes any more */
    uint64_t *n_wakes; /**< counts when the proxy is told of readiness */
    uint64_t *n_moves; /**< counts what happens */
};

/** Makes a pair; @a ret_other is the proxy's end, tapped so that its bytes are
 * counted. */
void sim_peer_init(struct sim_peer *p, const struct sl_memory_conf *conf,
                   struct sl_stream **ret_other);
void sim_peer_fini(struct sim_peer *p);
/** Reads what is there and steps on; stops at verbs that are the director's. */
void sim_peer_poll(struct sim_peer *p);
void sim_peer_read(struct sim_peer *p);
void sim_peer_reset(struct sim_peer *p);
void sim_peer_close(struct sim_peer *p);
/** SL_OK when all of @a text was said, SL_AGAIN while some is left; else nobody
 * hears it. */
enum sl_err sim_peer_say(struct sim_peer *p, const char *text) SL_MUST_USE;

#endif
