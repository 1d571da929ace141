/* first_bytes.c -- what stays in doubt is called TLS or HTTP, which is parsed and refused. */
#include "proxy/first_bytes.h"

#include "http/chars.h"

#define RECORD_HEADER ((size_t)5)
#define TYPE_CHANGE_CIPHER_SPEC 20
#define TYPE_ALERT 21
#define TYPE_HANDSHAKE 22
#define TYPE_HEARTBEAT 24
#define TYPE_CLIENT_HELLO 1
/* Of a hello in the form of SSL 2.0: where its type stands, and its shortest length. */
#define OLD_TYPE ((size_t)2)
#define OLD_TYPE_PADDED ((size_t)3)
#define OLD_HELLO_MIN 12u
#define METHOD_MAX 32u
/* A first line longer than this is taken for a request, which has a limit and an error for it. */
#define UNDECIDED_MAX ((size_t)8192)

/* RFC 9112 section 3 lets a recipient take VT, FF and a bare CR for a blank; servers that split at
 * blanks as their language knows them take LF, the separators of ASCII, and those of Latin-1. */
static bool is_blank(char c)
{
    return (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= ' ') || c == '\x85' || c == '\xa0';
}

static size_t count_blanks(struct sl_str in)
{
    size_t n = 0;

    while (n < in.n && is_blank(in.p[n]))
        n++;
    return n;
}

/* -- what was opaque ----------------------------------------------------------------------------
 */

/* States of a line: before its first word, ended, else how much of MARK it ends in. */
enum { LINE_BEFORE, LINE_ENDED, LINE_WORD };

#define MARK " http/"
#define MARK_LEN (sizeof(MARK) - 1)

static uint8_t line_step(uint8_t state, char c)
{
    size_t matched = state - (size_t)LINE_WORD;

    if (state == LINE_ENDED || (state == LINE_BEFORE && is_blank(c)))
        return state;
    if (c == '\n')
        return LINE_ENDED;
    if (is_blank(c))
        return LINE_WORD + 1;
    if (state > LINE_WORD && sl_lower(c) == MARK[matched])
        return (uint8_t)(state + 1);
    return LINE_WORD;
}

bool sl_request_line_pass(struct sl_request_line *line, struct sl_str bytes)
{
    for (size_t i = 0; i < bytes.n && line->state != LINE_ENDED; i++) {
        line->state = line_step(line->state, bytes.p[i]);
        if (line->state == LINE_WORD + MARK_LEN)
            return false;
    }
    return true;
}

/* -- HTTP ---------------------------------------------------------------------------------------
 */

/* A method with digits or dots, or a very long one, may be another protocol's greeting ("SSH-2.0-x
 * comment"): the rest of the line tells.  What stays in doubt is HTTP, which is parsed and refused.
 */
static enum sl_first_bytes odd_line(struct sl_str in)
{
    struct sl_request_line line = { 0 };

    if (!sl_request_line_pass(&line, in))
        return SL_FIRST_HTTP;
    if (line.state == LINE_ENDED)
        return SL_FIRST_OPAQUE;
    return in.n < UNDECIDED_MAX ? SL_FIRST_UNKNOWN : SL_FIRST_HTTP;
}

/* Origins are lenient: empty lines and blanks before a request, any token for a method, any blank
 * behind it, even no version behind the target.  Whatever one of them may take for a request is
 * HTTP here, and checked as that. */
static enum sl_first_bytes method_or_opaque(struct sl_str in)
{
    struct sl_str word = sl_str_skip(in, count_blanks(in));
    bool odd = false;
    size_t n = 0;

    for (; n < word.n && sl_char_is(word.p[n], SL_CHAR_TOKEN); n++)
        odd |= word.p[n] == '.' || sl_is_digit(word.p[n]) || n >= METHOD_MAX;
    if (n == word.n)
        return in.n < UNDECIDED_MAX ? SL_FIRST_UNKNOWN : SL_FIRST_HTTP;
    /* No other protocol begins with an empty line but PROXY's, which stands before either. */
    if (in.p[0] == '\r' || in.p[0] == '\n')
        return SL_FIRST_HTTP;
    if (n == 0 || !is_blank(word.p[n]))
        return SL_FIRST_OPAQUE;
    return odd ? odd_line(word) : SL_FIRST_HTTP;
}

/* -- TLS ----------------------------------------------------------------------------------------
 */

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

/* Of a record whose version says nothing.  Other protocols begin with these types too; their
 * lengths, or what follows, are others. */
static bool may_lead_to_hello(struct sl_str in)
{
    unsigned len = (unsigned)(uint8_t)in.p[3] << 8 | (uint8_t)in.p[4];

    if (in.p[0] == TYPE_HANDSHAKE)
        return in.p[RECORD_HEADER] == TYPE_CLIENT_HELLO;
    return (in.p[0] == TYPE_ALERT && len == 2) || (in.p[0] == TYPE_CHANGE_CIPHER_SPEC && len == 1);
}

enum sl_first_bytes sl_first_hello(struct sl_str in)
{
    if (in.n == 0)
        return SL_FIRST_UNKNOWN;
    if (!begins_record(in.p[0]))
        return SL_FIRST_OPAQUE;
    if (in.n >= 2 && in.p[1] == 3)
        return SL_FIRST_TLS;
    if (in.n <= RECORD_HEADER)
        return SL_FIRST_UNKNOWN;
    return may_lead_to_hello(in) ? SL_FIRST_TLS : SL_FIRST_OPAQUE;
}
