/* config_value.c -- no state; units stand in two tables, smallest first. */
#include "app/config_value.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};
static const struct unit sizes[] = {
    { "", 1 }, { "B", 1 }, { "KiB", 1024 }, { "MiB", 1048576 }, { "GiB", 1073741824 },
};

bool sl_value_bool(struct sl_str s, bool *ret_value)
{
    static const struct {
        const char *word;
        bool value;
    } truths[] = { { "true", true }, { "false", false }, { "yes", true },
                   { "no", false },  { "on", true },     { "off", false } };

    for (size_t i = 0; i < SL_LEN(truths); i++) {
        if (!sl_str_ieq(s, sl_str_of(truths[i].word)))
            continue;
        *ret_value = truths[i].value;
        return true;
    }
    return false;
}

static bool parse_with_unit(struct sl_str s, const struct unit *units, size_t n_units,
                            uint64_t *ret_value)
{
    size_t n_digits = 0;
    uint64_t number;

    while (n_digits < s.n && sl_is_digit(s.p[n_digits]))
        n_digits++;
    if (!sl_str_to_u64(sl_str_head(s, n_digits), &number))
        return false;
    for (size_t i = 0; i < n_units; i++) {
        if (!sl_str_eq(sl_str_skip(s, n_digits), sl_str_of(units[i].name)))
            continue;
        if (number > UINT64_MAX / units[i].factor)
            return false;
        *ret_value = number * units[i].factor;
        return true;
    }
    return false;
}

bool sl_value_duration(struct sl_str s, uint64_t *ret_ms)
{
    if (sl_str_eq(s, SL_STR("0"))) {
        *ret_ms = 0;
        return true;
    }
    return parse_with_unit(s, durations, SL_LEN(durations), ret_ms);
}

bool sl_value_size(struct sl_str s, uint64_t *ret_bytes)
{
    return parse_with_unit(s, sizes, SL_LEN(sizes), ret_bytes);
}

bool sl_value_word(struct sl_str s, const char *words, uint32_t *ret_index)
{
    struct sl_str rest = sl_str_of(words), word;

    for (uint32_t i = 0; sl_str_next(&rest, '|', &word); i++) {
        if (!sl_str_eq(s, word))
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

bool sl_value_has_control(struct sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

bool sl_value_address(struct sl_str s, struct sl_addr *ret_addr)
{
    struct sl_str name = SL_STR("localhost:");
    char text[32];

    if (!sl_str_has_prefix(s, name))
        return sl_addr_parse(s, ret_addr);
    int n = snprintf(text, sizeof(text), "127.0.0.1:%.*s", SL_FMT(sl_str_skip(s, name.n)));

    if (n < 0 || (size_t)n >= sizeof(text))
        return false;
    return sl_addr_parse(sl_str_of(text), ret_addr);
}

static void write_with_unit(uint64_t value, const struct unit *units, size_t n_units,
                            char ret_text[32])
{
    size_t at = 0;

    for (size_t i = 0; i < n_units; i++)
        if (value != 0 && value % units[i].factor == 0 && units[i].factor > units[at].factor)
            at = i;
    (void)snprintf(ret_text, 32, "%" PRIu64 "%s", value / units[at].factor, units[at].name);
}

void sl_value_duration_text(uint64_t ms, char ret_text[32])
{
    if (ms == 0)
        (void)snprintf(ret_text, 32, "0");
    else
        write_with_unit(ms, durations, SL_LEN(durations), ret_text);
}

void sl_value_size_text(uint64_t bytes, char ret_text[32])
{
    write_with_unit(bytes, sizes, SL_LEN(sizes), ret_text);
}
