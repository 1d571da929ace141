/* h1_chunked.c -- the line before each chunk is read by a table of states and kinds of bytes
 * (RFC 9112 section 7.1); content is not looked at.
 *
 * Invariant: left is not 0 in DATA alone, or between a size's first digit and its LF.
 */
#include "base/mem.h"
#include "http/chars.h"
#include "http/h1_codec.h"

/* More digits could overflow; no sender needs as many. */
#define DIGITS_MAX 15
/* Of one chunk: signatures make those of a long body add up. */
#define EXT_BYTES_MAX 4096u

enum state {
    SIZE, /* zero: where a body begins */
    EXT,  /* behind a ';' */
    EXT_NAME,
    EXT_VALUE, /* behind a '=' */
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPE, /* behind a '\\' */
    EXT_CLOSED, /* behind the second '"' */
    SIZE_LF,
    N_LINE_STATES,
    DATA = N_LINE_STATES,
    DATA_CR,
    DATA_LF,
    ENDED,
};

enum kind { DIGIT, TOKEN, SEMICOLON, EQUALS, QUOTE, BACKSLASH, TEXT, CR, LF, OTHER, N_KINDS };

/* A table of zeroes refuses everything, therefore states count from one in it. */
#define GO(state) ((state) + 1)

static const uint8_t next[N_LINE_STATES][N_KINDS] = {
    [SIZE] = { [DIGIT] = GO(SIZE), [SEMICOLON] = GO(EXT), [CR] = GO(SIZE_LF) },
    [EXT] = { [DIGIT] = GO(EXT_NAME), [TOKEN] = GO(EXT_NAME) },
    [EXT_NAME] = { [DIGIT] = GO(EXT_NAME),
                   [TOKEN] = GO(EXT_NAME),
                   [EQUALS] = GO(EXT_VALUE),
                   [SEMICOLON] = GO(EXT),
                   [CR] = GO(SIZE_LF) },
    [EXT_VALUE] = { [DIGIT] = GO(EXT_TOKEN), [TOKEN] = GO(EXT_TOKEN), [QUOTE] = GO(EXT_QUOTED) },
    [EXT_TOKEN] = { [DIGIT] = GO(EXT_TOKEN),
                    [TOKEN] = GO(EXT_TOKEN),
                    [SEMICOLON] = GO(EXT),
                    [CR] = GO(SIZE_LF) },
    [EXT_QUOTED] = { [DIGIT] = GO(EXT_QUOTED),
                     [TOKEN] = GO(EXT_QUOTED),
                     [SEMICOLON] = GO(EXT_QUOTED),
                     [EQUALS] = GO(EXT_QUOTED),
                     [TEXT] = GO(EXT_QUOTED),
                     [BACKSLASH] = GO(EXT_ESCAPE),
                     [QUOTE] = GO(EXT_CLOSED) },
    [EXT_ESCAPE] = { [DIGIT] = GO(EXT_QUOTED),
                     [TOKEN] = GO(EXT_QUOTED),
                     [SEMICOLON] = GO(EXT_QUOTED),
                     [EQUALS] = GO(EXT_QUOTED),
                     [TEXT] = GO(EXT_QUOTED),
                     [BACKSLASH] = GO(EXT_QUOTED),
                     [QUOTE] = GO(EXT_QUOTED) },
    [EXT_CLOSED] = { [SEMICOLON] = GO(EXT), [CR] = GO(SIZE_LF) },
    [SIZE_LF] = { [LF] = GO(DATA) },
};

static enum kind kind_of(char c)
{
    if (sl_char_is(c, SL_CHAR_HEX))
        return DIGIT;
    if (sl_char_is(c, SL_CHAR_TOKEN))
        return TOKEN;
    switch (c) {
    case ';':
        return SEMICOLON;
    case '=':
        return EQUALS;
    case '"':
        return QUOTE;
    case '\\':
        return BACKSLASH;
    case '\r':
        return CR;
    case '\n':
        return LF;
    default:
        return sl_char_is(c, SL_CHAR_VALUE) ? TEXT : OTHER;
    }
}

static uint64_t digit_value(char c)
{
    return sl_is_digit(c) ? (uint64_t)(c - '0') : (uint64_t)(sl_lower(c) - 'a' + 10);
}

/* One byte of a size's line. */
static bool step(struct sl_h1_chunked *c, char byte)
{
    enum kind kind = kind_of(byte);
    uint8_t go = next[c->state][kind];

    if (go == 0)
        return false;
    if (c->state == SIZE && kind != DIGIT && c->n_digits == 0)
        return false;
    if (c->state == SIZE && kind == DIGIT) {
        if (c->n_digits++ == DIGITS_MAX)
            return false;
        c->left = c->left << 4 | digit_value(byte);
    }
    c->state = (uint8_t)(go - 1);
    if (c->state > SIZE && c->state < SIZE_LF && ++c->ext_bytes > EXT_BYTES_MAX)
        return false;
    if (c->state == DATA && c->left == 0)
        c->state = ENDED;
    return true;
}

/* The CR LF behind a chunk. */
static bool step_over_end(struct sl_h1_chunked *c, char byte)
{
    if (byte != (c->state == DATA_CR ? '\r' : '\n'))
        return false;
    c->n_digits = 0;
    c->ext_bytes = 0;
    c->state = c->state == DATA_CR ? DATA_LF : SIZE;
    return true;
}

enum sl_err sl_h1_chunked_next(struct sl_h1_chunked *c, struct sl_str in,
                               struct sl_h1_piece *ret_piece)
{
    size_t n = 0;

    while (n < in.n && c->state != DATA && c->state != ENDED) {
        if (!(c->state < N_LINE_STATES ? step(c, in.p[n]) : step_over_end(c, in.p[n])))
            return SL_BAD_FRAMING;
        n++;
    }
    *ret_piece = (struct sl_h1_piece){ .skip = n, .end = c->state == ENDED };
    if (c->state != DATA)
        return SL_OK;
    ret_piece->data = in.n - n < c->left ? in.n - n : (size_t)c->left;
    c->left -= ret_piece->data;
    if (c->left == 0)
        c->state = DATA_CR;
    return SL_OK;
}
