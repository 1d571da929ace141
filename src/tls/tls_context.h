/* tls_context.h -- the TLS settings of one worker: one SSL_CTX for clients, one for origins.
 *
 * Thread: the worker's.
 */
#ifndef SL_TLS_TLS_CONTEXT_H
#define SL_TLS_TLS_CONTEXT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct sl_ticket_keys;
struct sl_tls_server_context;
struct sl_tls_client_context;

enum sl_tls_version { SL_TLS_1_2, SL_TLS_1_3 };

struct sl_tls_server_conf {
    enum sl_tls_version min_version;
    struct sl_ticket_keys *tickets; /**< NULL: no resumption */
};

struct sl_tls_server_context *sl_tls_server_context_new(const struct sl_tls_server_conf *conf);
/** Streams made from it keep what they need. */
void sl_tls_server_context_free(struct sl_tls_server_context **ctx);

struct sl_tls_client_conf {
    const char
        *ca_file; /**< PEM; NULL: the system's store (SSL_CERT_FILE and SSL_CERT_DIR honoured) */
    uint32_t max_sessions; /**< origins whose session is remembered for resumption; 0: none */
};

/** SL_CONFIG when the file cannot be loaded. */
enum sl_err sl_tls_client_context_new(const struct sl_tls_client_conf *conf,
                                      struct sl_tls_client_context **ret_ctx,
                                      struct sl_fault *fault) SL_MUST_USE;
void sl_tls_client_context_free(struct sl_tls_client_context **ctx);

/** "OpenSSL 3.0.x ..." of the library in use. */
const char *sl_tls_library(void);

#endif
