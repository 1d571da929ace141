/* pem_file.h -- reading a file of certificates or of a key.
 *
 * Thread: any.
 */
#ifndef SL_TLS_PEM_FILE_H
#define SL_TLS_PEM_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/** The whole of a regular file of at most 1 MiB.  SL_CONFIG with a message that says what to do
 * when it is missing, too large, or has a mode bit of @a forbidden. */
enum sl_err sl_pem_read(const char *path, mode_t forbidden, struct sl_buf *out,
                        struct sl_fault *fault) SL_MUST_USE;

/** Ends a buffer that held a key. */
void sl_pem_wipe(struct sl_buf *b);

/** A pem_password_cb; without one OpenSSL would ask the terminal.  Sets the bool at @a was_asked
 * unless that is NULL. */
int sl_pem_refuse_passphrase(char *buf, int size, int writing, void *was_asked);

#endif
