/* ticket_keys.h -- session ticket keys shared by all workers, rotated (RFC 5077, RFC 8446
 * section 4.6.1).
 *
 * The newest key seals; it and the two before open.  A ticket under an older key is renewed.
 * Thread: any.
 */
#ifndef SL_TLS_TICKET_KEYS_H
#define SL_TLS_TICKET_KEYS_H

#include <stdint.h>

struct sl_ticket_keys;
typedef struct ssl_ctx_st SSL_CTX;

/** @a rotate_s: seconds between new keys, e.g. 43200. */
struct sl_ticket_keys *sl_ticket_keys_new(uint32_t rotate_s);
void sl_ticket_keys_free(struct sl_ticket_keys **keys);
/** Makes @a ctx use them; @a keys outlives @a ctx. */
void sl_ticket_keys_attach(struct sl_ticket_keys *keys, SSL_CTX *ctx);

#endif
