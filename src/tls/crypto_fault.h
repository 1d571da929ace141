/* crypto_fault.h -- a failed OpenSSL call as a fault.
 *
 * Thread: any; takes the calling thread's error queue and leaves it empty.
 */
#ifndef SL_TLS_CRYPTO_FAULT_H
#define SL_TLS_CRYPTO_FAULT_H

#include "base/err.h"

/** Sets @a f to "<what>: <the library's reason>" and answers @a err. */
enum sl_err sl_crypto_fault_set(struct sl_fault *f, enum sl_err err, const char *what);

#endif
