/* access_line.h -- a record as one line of text, newline included.
 *
 * Thread: any.
 */
#ifndef SL_PROXY_ACCESS_LINE_H
#define SL_PROXY_ACCESS_LINE_H

#include "base/buf.h"

struct sl_record;

/** An object with all fields in a fixed order, null where there is nothing to say; `detail` comes
 * last and only with an error that has one. */
void sl_access_line_json(struct sl_buf *out, const struct sl_record *r);
/** "TIME CLIENT METHOD URL STATUS VERDICT DECIDER BYTES TIME", then name=value for what there is.
 */
void sl_access_line_text(struct sl_buf *out, const struct sl_record *r);

#endif
