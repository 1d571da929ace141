/* crypto_fault.c -- stateless. */
#include "tls/crypto_fault.h"

#include <openssl/err.h>

enum sl_err sl_crypto_fault_set(struct sl_fault *f, enum sl_err err, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);

    (void)sl_fault_set(f, err, "%s: %s", what, reason != NULL ? reason : "failed");
    f->tls = code;
    ERR_clear_error();
    return err;
}
