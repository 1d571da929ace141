/* signer_internal.h -- what the signer and those who ask it say to each other.
 *
 * One message a datagram.  Over the first socket pair one question at a time, from any thread; over
 * each line that was joined up to SL_SIGNER_WINDOW, answered in their order.
 */
#ifndef SL_TLS_SIGNER_INTERNAL_H
#define SL_TLS_SIGNER_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct sl_signer;
struct sl_signer_key;

#define SL_SIGNER_BODY_MAX ((size_t)32768) /* ten certificates of RSA-4096 */
/** Few enough for every buffer on the way: no answer ever waits for room. */
#define SL_SIGNER_WINDOW 8u
#define SL_SIGNER_KEY_ID 32

/** Two paths: of the certificate, NUL, of the key, NUL. */
enum sl_signer_op {
    SL_SIGNER_OPEN,  /* two paths -> key_id, life; SubjectPublicKeyInfo, certificates */
    SL_SIGNER_SIGN,  /* key_id; path, NUL, text -> signature; all that lines may ask */
    SL_SIGNER_CLOSE, /* key_id, life; no answer */
    SL_SIGNER_MAKE,  /* two paths */
    SL_SIGNER_SEAL,  /* two paths */
    SL_SIGNER_JOIN,  /* with a socket, a line from now on; no answer */
    SL_SIGNER_OPS
};

struct sl_signer_message {
    uint64_t number;  /* the question's; 0: a signer died, and what it was asked is lost */
    uint32_t op;      /* of a question */
    uint32_t err;     /* of an answer: enum sl_err; the body is then the fault's text */
    int32_t os_errno; /* of an answer */
    uint32_t n;
    uint64_t life;                    /* of the signer that opened the key, at random */
    uint8_t key_id[SL_SIGNER_KEY_ID]; /* SHA-256 of its SubjectPublicKeyInfo */
    uint8_t body[SL_SIGNER_BODY_MAX];
};

/** The length of a message that is well formed. */
static inline size_t sl_signer_size(const struct sl_signer_message *m)
{
    return offsetof(struct sl_signer_message, body) + m->n;
}

/** Whether the @a n bytes that came are a message. */
static inline bool sl_signer_is_whole(const struct sl_signer_message *m, ssize_t n)
{
    return n >= (ssize_t)offsetof(struct sl_signer_message, body) && m->n < sizeof(m->body) &&
           (size_t)n == sl_signer_size(m);
}

/** Sends @a fd, a socket of a pair, to the signer; never waits.  SL_AGAIN: try again soon. */
enum sl_err sl_signer_join(struct sl_signer *signer, int fd);
/** The question's key_id and the beginning of its body: path, NUL.  False: too long. */
bool sl_signer_name_key(const struct sl_signer_key *key, struct sl_signer_message *m);
/** What an answer that refuses says. */
enum sl_err sl_signer_refusal(const struct sl_signer_message *answer, struct sl_fault *fault);

/** What was sealed; in memory that each signer shares with the one after it. */
struct sl_signer_bounds {
    bool is_sealed;
    char paths[2][PATH_MAX]; /**< what may be read */
};

/** Signs until the other end of @a fd is closed. */
void sl_signer_serve(int fd, uint32_t rate, struct sl_signer_bounds *bounds);
/** The keeper's whole life; ends when the other end of @a fd is closed, or @a parent dies. */
_Noreturn void sl_signer_keep(int fd, uint32_t rate, pid_t parent);

#endif
