/* admin_pages.h -- what is answered at once, by path.  Private to src/admin.
 *
 * Thread: the loop's.
 */
#ifndef SL_ADMIN_ADMIN_PAGES_H
#define SL_ADMIN_ADMIN_PAGES_H

#include <stdint.h>

#include "base/buf.h"

struct sl_admin;

struct sl_admin_answer {
    uint16_t status;
    const char *type; /**< static */
    struct sl_buf body;
};

/** The page at @a path, or 404.  The answer's body is empty before. */
void sl_admin_page(const struct sl_admin *admin, struct sl_str path,
                   struct sl_admin_answer *answer);

/** One line of plain text. */
void sl_admin_say(struct sl_admin_answer *answer, uint16_t status, const char *text);

#endif
