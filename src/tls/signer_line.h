/* signer_line.h -- a loop's own way to the signer: asks without waiting.
 *
 * Questions go out as they come, some at once, and are answered in their order.  When nothing is
 * heard for a second they have failed, and with them whatever is asked before the signer is heard
 * of again; when the signer dies, its questions are put to the next, once.
 * Thread: the loop's.
 */
#ifndef SL_TLS_SIGNER_LINE_H
#define SL_TLS_SIGNER_LINE_H

#include "tls/signer.h"

struct sl_loop;
struct sl_signer_line;

/** Takes a reference to @a signer.  Nothing is connected before there is a question. */
struct sl_signer_line *sl_signer_line_new(struct sl_loop *loop, struct sl_signer *signer);
/** For whoever may ask after its owner has gone; ended by sl_signer_line_unref. */
struct sl_signer_line *sl_signer_line_ref(struct sl_signer_line *line);
void sl_signer_line_unref(struct sl_signer_line **line);
/** Ends it: what is asked has failed, and what will be fails at once.  A reference is given up. */
void sl_signer_line_close(struct sl_signer_line **line);

/** Exactly once; from inside sl_signer_line_sign when the question cannot be put.
 * @a signature: borrowed; NULL: see @a fault: SL_LIMIT over the rate or for too long a text,
 * SL_CONFIG when the key's file holds another by now, SL_INTERNAL when there is no answer. */
typedef void sl_signed_fn(void *arg, const struct sl_signature *signature,
                          const struct sl_fault *fault);

/** Signs a copy of @a text.  @a key outlives the answer. */
void sl_signer_line_sign(struct sl_signer_line *line, const struct sl_signer_key *key,
                         struct sl_str text, sl_signed_fn *done, void *arg);

#endif
