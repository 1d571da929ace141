/* first_bytes.c -- what stays in doubt is called TLS or HTTP, which is parsed and refused. */
#include "proxy/first_bytes.h"

#include <strings.h>

#include "http/chars.h"

#define TYPE_HANDSHAKE 22
#define TYPE_CLIENT_HELLO 1
#define METHOD_MAX 32u
/* A first line longer than this is taken for a request, which has a limit and an error for it. */
#define UNDECIDED_MAX ((size_t)8192)

static bool names_http(const char *line, size_t n)
{
    static const char mark[] = " http/";

    for (size_t i = 0; i + sizeof(mark) - 1 <= n; i++) {
        if (strncasecmp(line + i, mark, sizeof(mark) - 1) == 0)
            return true;
    }
    return false;
}

/* A method with digits or dots, or a very long one, may be another protocol's greeting ("SSH-2.0-x
 * comment"): the rest of the line tells.  What stays in doubt is HTTP, which is parsed and refused.
 */
static enum sl_first_bytes odd_line(struct sl_str in)
{
    const char *end = memchr(in.p, '\n', in.n);

    if (names_http(in.p, end != NULL ? (size_t)(end - in.p) : in.n))
        return SL_FIRST_HTTP;
    if (end != NULL)
        return SL_FIRST_OPAQUE;
    return in.n < UNDECIDED_MAX ? SL_FIRST_UNKNOWN : SL_FIRST_HTTP;
}

/* Origins are lenient: empty lines before a request, any token for a method, even no version behind
 * the target.  Whatever one of them may take for a request is HTTP here, and checked as that. */
static enum sl_first_bytes method_or_opaque(struct sl_str in)
{
    bool odd = false;
    size_t n = 0;

    while (in.n > 0 && (in.p[0] == '\r' || in.p[0] == '\n'))
        in = sl_str_skip(in, 1);
    for (; n < in.n && sl_char_is(in.p[n], SL_CHAR_TOKEN); n++)
        odd |= in.p[n] == '.' || sl_is_digit(in.p[n]) || n >= METHOD_MAX;
    if (n == in.n)
        return n < UNDECIDED_MAX ? SL_FIRST_UNKNOWN : SL_FIRST_HTTP;
    if (n == 0 || (in.p[n] != ' ' && in.p[n] != '\t'))
        return SL_FIRST_OPAQUE;
    return odd ? odd_line(in) : SL_FIRST_HTTP;
}

/* A ClientHello in the form of SSL 2.0 (RFC 5246 appendix E.2), which origins may still answer:
 * called TLS, so that it fails to parse and is refused. */
static enum sl_first_bytes old_hello_or_opaque(struct sl_str in)
{
    if (in.n < 4)
        return SL_FIRST_UNKNOWN;
    return in.p[2] == TYPE_CLIENT_HELLO && in.p[3] == 3 ? SL_FIRST_TLS : SL_FIRST_OPAQUE;
}

enum sl_first_bytes sl_first_bytes(struct sl_str in)
{
    if (in.n == 0)
        return SL_FIRST_UNKNOWN;
    if ((in.p[0] & 0x80) != 0)
        return old_hello_or_opaque(in);
    if (in.p[0] != TYPE_HANDSHAKE)
        return method_or_opaque(in);
    if (in.n < 2)
        return SL_FIRST_UNKNOWN;
    return in.p[1] == 3 ? SL_FIRST_TLS : SL_FIRST_OPAQUE;
}
