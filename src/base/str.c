/* str.c -- no state.  memcmp and memchr are never handed the NULL of an empty slice. */
#include "base/str.h"

#include "base/mem.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool sl_str_eq(struct sl_str a, struct sl_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool sl_str_ieq(struct sl_str a, struct sl_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (sl_lower(a.p[i]) != sl_lower(b.p[i]))
            return false;
    return true;
}

bool sl_str_has_prefix(struct sl_str s, struct sl_str prefix)
{
    return s.n >= prefix.n && sl_str_eq(sl_str_head(s, prefix.n), prefix);
}

bool sl_str_has_suffix(struct sl_str s, struct sl_str suffix)
{
    return s.n >= suffix.n && sl_str_eq(sl_str_skip(s, s.n - suffix.n), suffix);
}

int sl_str_cmp(struct sl_str a, struct sl_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

size_t sl_str_find(struct sl_str s, char c)
{
    const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

    return at == NULL ? s.n : (size_t)(at - s.p);
}

struct sl_str sl_str_skip(struct sl_str s, size_t n)
{
    if (n == 0)
        return s;
    if (n > s.n)
        n = s.n;
    return s.n == 0 ? s : (struct sl_str){ .p = s.p + n, .n = s.n - n };
}

struct sl_str sl_str_head(struct sl_str s, size_t n)
{
    return (struct sl_str){ .p = s.p, .n = n < s.n ? n : s.n };
}

struct sl_str sl_str_trim(struct sl_str s)
{
    while (s.n != 0 && is_blank(s.p[0]))
        s = sl_str_skip(s, 1);
    while (s.n != 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool sl_str_next(struct sl_str *rest, char sep, struct sl_str *ret_part)
{
    size_t at = sl_str_find(*rest, sep);

    if (rest->n == 0)
        return false;
    *ret_part = sl_str_trim(sl_str_head(*rest, at));
    *rest = sl_str_skip(*rest, at == rest->n ? at : at + 1);
    return true;
}

bool sl_str_to_u64(struct sl_str s, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(unsigned char)s.p[i] - '0';

        if (!sl_is_digit(s.p[i]) || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

char *sl_str_dup(struct sl_str s)
{
    return sl_memdup(s.p, s.n);
}
