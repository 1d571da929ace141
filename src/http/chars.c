/* chars.c -- the table is computed from the grammar at compile time: no row was typed in by hand.
 */
#include "http/chars.h"

#define IN(c, lo, hi) ((c) >= (lo) && (c) <= (hi))
#define IS_DIGIT(c) IN(c, '0', '9')
#define IS_LOWER(c) IN(c, 'a', 'z')
#define IS_DELIMITER(c)                                                                            \
    ((c) == '"' || (c) == '(' || (c) == ')' || (c) == ',' || (c) == '/' || IN(c, ':', '@') ||      \
     IN(c, '[', ']') || (c) == '{' || (c) == '}')
#define IS_VISIBLE(c) IN(c, 0x21, 0x7e)

#define IS_TOKEN(c) (IS_VISIBLE(c) && !IS_DELIMITER(c))
#define IS_VALUE(c) (IS_VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 0x80)
#define IS_TARGET(c) (IS_VISIBLE(c) && (c) != '#')
#define IS_HOST(c) (IS_LOWER(c) || IS_DIGIT(c) || (c) == '-' || (c) == '_')
#define IS_HEX(c) (IS_DIGIT(c) || IN(c, 'a', 'f') || IN(c, 'A', 'F'))

#define CLASS(c)                                                                                   \
    ((IS_TOKEN(c) ? SL_CHAR_TOKEN : 0) | (IS_VALUE(c) ? SL_CHAR_VALUE : 0) |                       \
     (IS_TARGET(c) ? SL_CHAR_TARGET : 0) | (IS_HOST(c) ? SL_CHAR_HOST : 0) |                       \
     (IS_HEX(c) ? SL_CHAR_HEX : 0))
#define ROW4(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define ROW16(c) ROW4(c), ROW4((c) + 4), ROW4((c) + 8), ROW4((c) + 12)
#define ROW64(c) ROW16(c), ROW16((c) + 16), ROW16((c) + 32), ROW16((c) + 48)

const uint8_t sl_char_table[256] = { ROW64(0), ROW64(64), ROW64(128), ROW64(192) };
