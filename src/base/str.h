/* str.h -- slices of bytes: borrowed, counted, never NUL-terminated by promise.
 *
 * Thread: any.
 */
#ifndef SL_BASE_STR_H
#define SL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sl_str {
    const char *p;
    size_t n;
};

/** A slice of a literal. */
#define SL_STR(lit) ((struct sl_str){ .p = "" lit, .n = sizeof(lit) - 1 })
/** For "%.*s". */
#define SL_FMT(s) (int)(s).n, (s).n != 0 ? (s).p : ""

static inline struct sl_str sl_str_of(const char *cstr)
{
    return (struct sl_str){ .p = cstr, .n = cstr != NULL ? strlen(cstr) : 0 };
}

static inline struct sl_str sl_str_make(const void *p, size_t n)
{
    return (struct sl_str){ .p = p, .n = n };
}

bool sl_str_eq(struct sl_str a, struct sl_str b);
bool sl_str_ieq(struct sl_str a, struct sl_str b); /**< ASCII case folded */
bool sl_str_has_prefix(struct sl_str s, struct sl_str prefix);
bool sl_str_has_suffix(struct sl_str s, struct sl_str suffix);
int sl_str_cmp(struct sl_str a, struct sl_str b);     /**< order of memcmp, shorter first */
size_t sl_str_find(struct sl_str s, char c);          /**< index, or s.n when absent */
struct sl_str sl_str_skip(struct sl_str s, size_t n); /**< without its first n bytes */
struct sl_str sl_str_head(struct sl_str s, size_t n); /**< its first n bytes at most */
struct sl_str sl_str_trim(struct sl_str s);           /**< without SP and HTAB at both ends */

/** Cuts the part before the first @a sep off the front of *rest, trimmed.  False when *rest is used
 * up. */
bool sl_str_next(struct sl_str *rest, char sep, struct sl_str *ret_part);

/** Reads decimal digits only, no sign, no blank; false on anything else or on overflow. */
bool sl_str_to_u64(struct sl_str s, uint64_t *ret_value) __attribute__((warn_unused_result));

/** A heap copy with a NUL behind it. */
char *sl_str_dup(struct sl_str s);

static inline bool sl_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline char sl_lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    return c;
}

#endif
