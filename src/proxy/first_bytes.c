/* first_bytes.c -- what stays in doubt is called TLS or HTTP, which is parsed and refused. */
#include "proxy/first_bytes.h"

#include <stdint.h>
#include <strings.h>

#include "http/chars.h"

#define TYPE_CHANGE_CIPHER_SPEC 20
#define TYPE_HEARTBEAT 24
#define TYPE_CLIENT_HELLO 1
/* Of a hello in the form of SSL 2.0: where its type stands, and its shortest length. */
#define OLD_TYPE ((size_t)2)
#define OLD_TYPE_PADDED ((size_t)3)
#define OLD_HELLO_MIN 12u
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

/* RFC 8446 section 5.1: any type of record, alerts before the ClientHello included.  Its version is
 * for nobody to look at, and some do not. */
static bool begins_record(char type)
{
    return type >= TYPE_CHANGE_CIPHER_SPEC && type <= TYPE_HEARTBEAT;
}

/* Peers settle for their own version, however high the one they are told. */
static bool names_version(struct sl_str in, size_t at)
{
    unsigned version = (unsigned)(uint8_t)in.p[at] << 8 | (uint8_t)in.p[at + 1];

    return version >= 0x0300 || version == 0x0002;
}

/* Whether a ClientHello in the form of SSL 2.0 (RFC 5246 appendix E.2) has its type at @a at:
 * behind two bytes of length, or three with padding, where the first has neither of its top bits.
 * wolfSSL does not insist on the bit that tells the two apart. */
static enum sl_first_bytes old_hello_at(struct sl_str in, size_t at)
{
    if (at == OLD_TYPE_PADDED && (in.p[0] & 0xc0) != 0)
        return SL_FIRST_OPAQUE;
    if (in.n <= at)
        return SL_FIRST_UNKNOWN;
    if (in.p[at] != TYPE_CLIENT_HELLO)
        return SL_FIRST_OPAQUE;
    if (in.n < at + 3)
        return SL_FIRST_UNKNOWN;
    return names_version(in, at + 1) ? SL_FIRST_TLS : SL_FIRST_OPAQUE;
}

/* Origins may still answer such a hello: called TLS, it fails to parse and is refused. */
static enum sl_first_bytes old_hello(struct sl_str in)
{
    enum sl_first_bytes is;

    if (in.n < 2)
        return SL_FIRST_UNKNOWN;
    if (((unsigned)(uint8_t)in.p[0] << 8 & 0x7f00) + (uint8_t)in.p[1] < OLD_HELLO_MIN)
        return SL_FIRST_OPAQUE;
    is = old_hello_at(in, OLD_TYPE);
    return is == SL_FIRST_OPAQUE ? old_hello_at(in, OLD_TYPE_PADDED) : is;
}

enum sl_first_bytes sl_first_bytes(struct sl_str in)
{
    enum sl_first_bytes is;

    if (in.n == 0)
        return SL_FIRST_UNKNOWN;
    if (begins_record(in.p[0]))
        return SL_FIRST_TLS;
    is = old_hello(in);
    return is == SL_FIRST_OPAQUE ? method_or_opaque(in) : is;
}
