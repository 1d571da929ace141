/* host_set.h -- host patterns by the million, from a list file.
 *
 * One pattern a line (policy/host_pattern.h): name, *.name, .name, address, CIDR.  `#` starts a
 * comment at the start of a line or after a blank; blank lines and CR LF are fine.
 * A look-up costs one probe a label of the host, or one a distinct prefix length for addresses.
 *
 * Thread: immutable once loaded; shared by all threads without locks.
 */
#ifndef SL_POLICY_HOST_SET_H
#define SL_POLICY_HOST_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

#define SL_HOST_SET_MAX_BYTES ((size_t)1 << 28) /**< of a list file */

struct sl_host_set;

/** Reads a list file; only regular files are read.
 *
 * @param path  NUL-terminated; relative to the working directory
 * @return SL_OK; SL_CONFIG with "file:line:column: what" for the first wrong line, or SL_LIMIT, or
 *         what opening or reading ended in, in @a fault; *ret is untouched then
 */
enum sl_err sl_host_set_load(const char *path, struct sl_host_set **ret,
                             struct sl_fault *fault) SL_MUST_USE;

/** The same from memory; @a name stands for the file in the fault. */
enum sl_err sl_host_set_parse(struct sl_str text, const char *name, struct sl_host_set **ret,
                              struct sl_fault *fault) SL_MUST_USE;

/** NULL is a no-op; *set becomes NULL. */
void sl_host_set_free(struct sl_host_set **set);

/** Whether any pattern covers @a host, which is canonical (http/uri.h). */
bool sl_host_set_match(const struct sl_host_set *set, struct sl_str host);

size_t sl_host_set_len(const struct sl_host_set *set);   /**< distinct names and networks */
size_t sl_host_set_bytes(const struct sl_host_set *set); /**< memory held */

#endif
