/* landlock.h -- which files may be opened from now on: those below named paths, and no others.
 *
 * A path is a file or a whole directory as it is when it is allowed: what is put into a directory
 * later counts as its own, what takes the place of a file does not.  Descriptors that are open, and
 * connecting, are not affected.  Thread: it holds for the calling one and those it makes.
 * Source: landlock(7).
 */
#ifndef SL_APP_LANDLOCK_H
#define SL_APP_LANDLOCK_H

#include <stdbool.h>

#include "base/err.h"

struct sl_landlock;

enum sl_landlock_rights {
    SL_LANDLOCK_READ = 1,
    SL_LANDLOCK_WRITE = 2,   /**< and make and truncate files */
    SL_LANDLOCK_SOCKETS = 4, /**< make them, remove files */
};

/** SL_NOT_IMPLEMENTED when the kernel has it not, or not for us. */
enum sl_err sl_landlock_new(struct sl_landlock **ret_rules, struct sl_fault *fault) SL_MUST_USE;
/** NULL is a no-op. */
void sl_landlock_free(struct sl_landlock **rules);

/** A path that is not there is passed over. */
void sl_landlock_allow(struct sl_landlock *rules, const char *path, unsigned rights);
/** The same without the file @a but, should it be below @a path: then with what is there now beside
 * it, but for other private keys and links to directories, and with nothing that comes later.
 *
 * @param but  absolute and resolved, or empty
 * @return whether it was */
bool sl_landlock_allow_but(struct sl_landlock *rules, const char *path, unsigned rights,
                           const char *but);

/** "/a/b" is below "/a", "/" and itself; both are resolved. */
bool sl_path_is_below(const char *path, const char *dir);

/** For good; nor can signals be sent to processes outside, where the kernel knows of that. */
enum sl_err sl_landlock_enforce(const struct sl_landlock *rules,
                                struct sl_fault *fault) SL_MUST_USE;

#endif
