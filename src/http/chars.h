/* chars.h -- what a byte may be in HTTP, one table look-up a byte (RFC 9110 section 5.6,
 * RFC 3986).
 *
 * Thread: any.
 */
#ifndef SL_HTTP_CHARS_H
#define SL_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sl_char_class {
    SL_CHAR_TOKEN = 1,  /**< tchar: names of fields, methods */
    SL_CHAR_VALUE = 2,  /**< field-vchar, obs-text, SP, HTAB: values of fields, reason phrases */
    SL_CHAR_TARGET = 4, /**< visible ASCII but '#': request targets */
    SL_CHAR_HOST = 8,   /**< lower-case letters, digits, '-', '_': labels of a canonical host */
    SL_CHAR_HEX = 16,   /**< hexadecimal digits of either case */
};

extern const uint8_t sl_char_table[256];

static inline bool sl_char_is(char c, enum sl_char_class cls)
{
    return (sl_char_table[(unsigned char)c] & (unsigned)cls) != 0;
}

/** How many bytes at the front of p..end are of this class. */
static inline size_t sl_char_span(const char *p, const char *end, enum sl_char_class cls)
{
    const char *q = p;

    while (q < end && sl_char_is(*q, cls))
        q++;
    return (size_t)(q - p);
}

#endif
