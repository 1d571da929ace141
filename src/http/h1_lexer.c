/* h1_lexer.c -- nothing here allocates or writes but to what it returns; SL_AGAIN is answered as
 * long as the bytes there could still become something allowed.
 */
#include "http/h1_lexer.h"

#include "base/mem.h"
#include "http/chars.h"

#define METHOD_MAX 32u

enum sl_err sl_h1_lexer_fail(const struct sl_h1_lexer *lex, enum sl_err err, const char *why)
{
    return sl_fault_set(lex->fault, err, "%s", why);
}

static enum sl_err malformed(const struct sl_h1_lexer *lex, const char *why)
{
    return sl_h1_lexer_fail(lex, lex->dialect->malformed, why);
}

/* Compares as much as there is; '#' stands for a digit. */
static enum sl_err match(struct sl_str s, struct sl_str pattern)
{
    for (size_t i = 0; i < pattern.n; i++) {
        if (i == s.n)
            return SL_AGAIN;
        if (pattern.p[i] == '#' ? !sl_is_digit(s.p[i]) : s.p[i] != pattern.p[i])
            return SL_PROTOCOL;
    }
    return SL_OK;
}

static size_t span(struct sl_str s, enum sl_char_class cls)
{
    return s.n == 0 ? 0 : sl_char_span(s.p, s.p + s.n, cls);
}

static enum sl_err read_method(const struct sl_h1_lexer *lex, struct sl_str in,
                               struct sl_h1_start *line)
{
    size_t n = span(sl_str_head(in, METHOD_MAX + 1), SL_CHAR_TOKEN);

    if (n > METHOD_MAX)
        return malformed(lex, "method too long");
    if (n == in.n)
        return SL_AGAIN;
    if (n == 0 || in.p[n] != ' ')
        return malformed(lex, "method is not a token");
    line->method = sl_str_head(in, n);
    line->len = n + 1;
    return SL_OK;
}

static enum sl_err read_target(const struct sl_h1_lexer *lex, struct sl_str in,
                               struct sl_h1_start *line)
{
    struct sl_str rest = sl_str_skip(in, line->len);
    size_t max = lex->limits->uri_bytes;
    size_t n = span(sl_str_head(rest, max + 1), SL_CHAR_TARGET);

    if (n > max)
        return sl_h1_lexer_fail(lex, SL_URI_TOO_LONG, "request target too long");
    if (n == rest.n)
        return SL_AGAIN;
    if (n == 0 || (unsigned char)rest.p[n] < ' ')
        return malformed(lex, "request line without three parts");
    if (rest.p[n] != ' ')
        return sl_h1_lexer_fail(lex, SL_BAD_TARGET, "character not allowed in a target");
    line->target = sl_str_head(rest, n);
    line->len += n + 1;
    return SL_OK;
}

static enum sl_err read_version(const struct sl_h1_lexer *lex, struct sl_str in,
                                struct sl_h1_start *line)
{
    line->major = (uint8_t)(in.p[5] - '0');
    line->minor = (uint8_t)(in.p[7] - '0');
    if (line->major != 1 || line->minor > 1)
        return sl_h1_lexer_fail(lex, lex->dialect->version, "neither HTTP/1.0 nor HTTP/1.1");
    return SL_OK;
}

enum sl_err sl_h1_read_request_line(const struct sl_h1_lexer *lex, struct sl_str in,
                                    struct sl_h1_start *line)
{
    static const struct sl_str pattern = { "HTTP/#.#\r\n", 10 };
    struct sl_str rest;
    enum sl_err err = read_method(lex, in, line);

    if (err == SL_OK)
        err = read_target(lex, in, line);
    if (err != SL_OK)
        return err;
    rest = sl_str_skip(in, line->len);
    err = match(rest, pattern);
    if (err == SL_PROTOCOL)
        return malformed(lex, "request line does not end in a version");
    if (err != SL_OK)
        return err;
    line->len += pattern.n;
    return read_version(lex, rest, line);
}

/* RFC 9112 section 4: servers leave out the reason, and with it the space before. */
static enum sl_err read_reason(const struct sl_h1_lexer *lex, struct sl_str in,
                               struct sl_h1_start *line)
{
    struct sl_str rest = sl_str_skip(in, line->len);
    size_t n, blank = rest.n != 0 && rest.p[0] == ' ' ? 1 : 0;
    enum sl_err err;

    rest = sl_str_skip(rest, blank);
    n = span(sl_str_head(rest, (size_t)lex->limits->header_bytes + 1), SL_CHAR_VALUE);
    if (n > lex->limits->header_bytes)
        return sl_h1_lexer_fail(lex, lex->dialect->too_large, "status line too long");
    if (blank == 0 && n != 0)
        return malformed(lex, "malformed status code");
    err = match(sl_str_skip(rest, n), SL_STR("\r\n"));
    if (err == SL_PROTOCOL)
        return malformed(lex, "malformed status line");
    line->reason = sl_str_head(rest, n);
    line->len += blank + n + 2;
    return err;
}

enum sl_err sl_h1_read_status_line(const struct sl_h1_lexer *lex, struct sl_str in,
                                   struct sl_h1_start *line)
{
    static const struct sl_str pattern = { "HTTP/#.# ###", 12 };
    enum sl_err err = match(in, pattern);

    if (err == SL_PROTOCOL)
        return malformed(lex, "malformed status line");
    if (err == SL_OK)
        err = read_version(lex, in, line);
    if (err != SL_OK)
        return err;
    line->status = (uint16_t)((in.p[9] - '0') * 100 + (in.p[10] - '0') * 10 + (in.p[11] - '0'));
    if (line->status < 100 || line->status > 599)
        return malformed(lex, "status out of range");
    line->len = pattern.n;
    return read_reason(lex, in, line);
}

enum sl_err sl_h1_find_end(const struct sl_h1_lexer *lex, struct sl_str in, size_t start,
                           size_t *ret_len)
{
    struct sl_str section = sl_str_head(sl_str_skip(in, start), lex->limits->header_bytes);
    struct sl_str rest = section;
    size_t n;

    for (;;) {
        n = sl_str_find(rest, '\n');
        if (n == rest.n)
            break;
        if (n == 0 || rest.p[n - 1] != '\r')
            return malformed(lex, "line ends without CR");
        rest = sl_str_skip(rest, n + 1);
        if (n == 1) {
            *ret_len = start + section.n - rest.n;
            return SL_OK;
        }
    }
    if (section.n == lex->limits->header_bytes)
        return sl_h1_lexer_fail(lex, lex->dialect->too_large, "header section too large");
    if (sl_str_find(section, '\0') < section.n)
        return malformed(lex, "NUL in a header section");
    return SL_AGAIN;
}

enum sl_err sl_h1_read_field(const struct sl_h1_lexer *lex, struct sl_str *section,
                             struct sl_str *ret_name, struct sl_str *ret_value)
{
    const char *name = section->p, *end = name + section->n;
    size_t n = sl_char_span(name, end, SL_CHAR_TOKEN);
    const char *value = name + n + 1;

    if (n == 0 || name[n] != ':')
        return malformed(lex, "field name is not a token");
    n = sl_char_span(value, end, SL_CHAR_VALUE);
    if (value[n] != '\r' || value[n + 1] != '\n')
        return malformed(lex, "control character in a field");
    *ret_name = sl_str_make(name, (size_t)(value - 1 - name));
    *ret_value = sl_str_trim(sl_str_make(value, n));
    *section = sl_str_skip(*section, (size_t)(value + n + 2 - name));
    return SL_OK;
}
