/* encode.c -- no state.  Each writer looks at one byte or one UTF-8 sequence at a time. */
#include "base/encode.h"

#include <stdint.h>

#define PAD 64 /* where base64 digits end with '=' */

static const char hex_digits[] = "0123456789abcdef";

void sl_add_base64(struct sl_buf *b, struct sl_str s)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const unsigned char *p = (const unsigned char *)s.p;
    char *out = sl_buf_reserve(b, (s.n + 2) / 3 * 4);
    size_t k = 0;

    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i;
        uint32_t v = (uint32_t)p[i] << 16;

        v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= left > 2 ? (uint32_t)p[i + 2] : 0;
        out[k++] = digits[v >> 18];
        out[k++] = digits[v >> 12 & 63];
        out[k++] = digits[left > 1 ? v >> 6 & 63 : PAD];
        out[k++] = digits[left > 2 ? v & 63 : PAD];
    }
    sl_buf_commit(b, k);
}

void sl_add_hex(struct sl_buf *b, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    char *out = sl_buf_reserve(b, n * 2);

    for (size_t i = 0; i < n; i++) {
        out[i * 2] = hex_digits[bytes[i] >> 4];
        out[i * 2 + 1] = hex_digits[bytes[i] & 15];
    }
    sl_buf_commit(b, n * 2);
}

static bool is_continued(const unsigned char *p, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* The range of a second byte, by the first (RFC 3629 section 4): what keeps out overlong forms,
 * surrogates and values that are too large.
 */
static bool is_second_ok(const unsigned char *p)
{
    switch (p[0]) {
    case 0xe0:
        return p[1] >= 0xa0;
    case 0xed:
        return p[1] <= 0x9f;
    case 0xf0:
        return p[1] >= 0x90;
    case 0xf4:
        return p[1] <= 0x8f;
    default:
        return true;
    }
}

static size_t length_by_first(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Length of the well-formed sequence that s begins with, 0 if there is none; s is not empty. */
static size_t utf8_length(struct sl_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = length_by_first(p[0]);

    if (n <= 1)
        return n;
    return n <= s.n && is_continued(p, n) && is_second_ok(p) ? n : 0;
}

/* C0, DEL and C1: a terminal may obey all three. */
static bool is_control(struct sl_str seq)
{
    unsigned char c = (unsigned char)seq.p[0];

    if (seq.n == 2)
        return c == 0xc2 && (unsigned char)seq.p[1] < 0xa0;
    return c < 0x20 || c == 0x7f;
}

bool sl_is_utf8(struct sl_str s)
{
    while (s.n != 0) {
        size_t n = utf8_length(s);

        if (n == 0)
            return false;
        s = sl_str_skip(s, n);
    }
    return true;
}

/* Cuts one sequence off the front of *rest; a byte that is not UTF-8 comes out as U+FFFD. */
static struct sl_str next_sequence(struct sl_str *rest)
{
    size_t n = utf8_length(*rest);
    struct sl_str seq = n == 0 ? SL_STR("\xef\xbf\xbd") : sl_str_head(*rest, n);

    *rest = sl_str_skip(*rest, n == 0 ? 1 : n);
    return seq;
}

static void add_json_control(struct sl_buf *b, struct sl_str seq)
{
    char c = seq.p[seq.n - 1];

    if (c == '\n')
        sl_buf_add_str(b, SL_STR("\\n"));
    else if (c == '\r')
        sl_buf_add_str(b, SL_STR("\\r"));
    else if (c == '\t')
        sl_buf_add_str(b, SL_STR("\\t"));
    else
        sl_buf_addf(b, "\\u%04x", (unsigned)(unsigned char)c);
}

void sl_add_json(struct sl_buf *b, struct sl_str s)
{
    sl_buf_add_char(b, '"');
    while (s.n != 0) {
        struct sl_str seq = next_sequence(&s);

        if (is_control(seq)) {
            add_json_control(b, seq);
            continue;
        }
        if (seq.p[0] == '"' || seq.p[0] == '\\')
            sl_buf_add_char(b, '\\');
        sl_buf_add_str(b, seq);
    }
    sl_buf_add_char(b, '"');
}

void sl_add_json_bytes(struct sl_buf *b, struct sl_str s)
{
    if (sl_is_utf8(s)) {
        sl_add_json(b, s);
        return;
    }
    sl_buf_add_str(b, SL_STR("{\"base64\":\""));
    sl_add_base64(b, s);
    sl_buf_add_str(b, SL_STR("\"}"));
}

static struct sl_str html_form(struct sl_str seq)
{
    switch (seq.p[0]) {
    case '&':
        return SL_STR("&amp;");
    case '<':
        return SL_STR("&lt;");
    case '>':
        return SL_STR("&gt;");
    case '"':
        return SL_STR("&quot;");
    case '\'':
        return SL_STR("&#39;");
    default:
        return seq;
    }
}

void sl_add_html(struct sl_buf *b, struct sl_str s)
{
    while (s.n != 0) {
        struct sl_str seq = next_sequence(&s);

        if (!is_control(seq))
            sl_buf_add_str(b, html_form(seq));
    }
}

void sl_add_text(struct sl_buf *b, struct sl_str s)
{
    bool quoted = sl_str_find(s, ' ') != s.n;

    if (s.n == 0)
        sl_buf_add_char(b, '-');
    if (quoted)
        sl_buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c >= ' ' && c < 0x7f && c != '\\' && c != '"') {
            sl_buf_add_char(b, c);
        } else {
            sl_buf_add_str(b, SL_STR("\\x"));
            sl_add_hex(b, &c, 1);
        }
    }
    if (quoted)
        sl_buf_add_char(b, '"');
}

void sl_add_sf_string(struct sl_buf *b, struct sl_str s)
{
    sl_buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c < ' ' || c >= 0x7f)
            c = '?';
        if (c == '"' || c == '\\')
            sl_buf_add_char(b, '\\');
        sl_buf_add_char(b, c);
    }
    sl_buf_add_char(b, '"');
}

/* Only the last star is ever taken up again: what an earlier one swallowed, it could as well. */
bool sl_glob_match(struct sl_str glob, struct sl_str s)
{
    size_t g = 0, i = 0, after_star = 0, resume = 0;

    while (i < s.n) {
        if (g < glob.n && glob.p[g] == '*') {
            after_star = ++g;
            resume = i;
        } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == s.p[i])) {
            g++;
            i++;
        } else if (after_star != 0) {
            g = after_star;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*')
        g++;
    return g == glob.n;
}
