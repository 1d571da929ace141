/* authority.h -- where the authority's files are, and getting it from there.
 *
 * Thread: main's.
 */
#ifndef SL_APP_AUTHORITY_H
#define SL_APP_AUTHORITY_H

#include <stdbool.h>

#include "base/err.h"

struct sl_ca;
struct sl_config;
struct sl_signer;

struct sl_authority {
    const char *certificate, *key; /**< live as the configuration */
    bool is_ours;                  /**< in the state directory: made when missing */
    struct sl_signer *signer;      /**< set by whoever has one: it makes, and holds, the key */
};

/** Where the authority is when the configuration does not say; the caller's.
 *
 * @param named  NULL: /var/lib/sluice for root, else $XDG_STATE_HOME/sluice, else
 *               ~/.local/state/sluice, else NULL
 */
char *sl_authority_state_dir(const char *named);

/** SL_CONFIG when the configuration names no files and there is no state directory. */
enum sl_err sl_authority_find(struct sl_config *config, const char *state_dir,
                              struct sl_authority *ret_authority,
                              struct sl_fault *fault) SL_MUST_USE;

/** Has the signer make it if it is ours and neither file is there; once, when several processes
 * start at once. */
enum sl_err sl_authority_ensure(const struct sl_authority *authority, bool *ret_is_new,
                                struct sl_fault *fault) SL_MUST_USE;

enum sl_err sl_authority_load(const struct sl_authority *authority, struct sl_ca **ret_ca,
                              struct sl_fault *fault) SL_MUST_USE;

#endif
