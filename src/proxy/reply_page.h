/* reply_page.h -- the page a browser shows in place of what was asked for.
 *
 * One file: no script, no image, no style sheet of another place, so that the strictest policy fits
 * it. Thread: any.
 */
#ifndef SL_PROXY_REPLY_PAGE_H
#define SL_PROXY_REPLY_PAGE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct sl_reply_page {
    enum sl_err err;
    uint16_t status;
    struct sl_str host;   /**< with the port where it is not the scheme's; empty: not shown */
    struct sl_str reason; /**< not empty */
    struct sl_str detail; /**< empty: not shown */
    struct sl_str id;
};

/** Appends the page; everything in it is escaped. */
void sl_reply_page_write(struct sl_buf *out, const struct sl_reply_page *page);

#endif
