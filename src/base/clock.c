/* clock.c -- no state. */
#include "base/clock.h"

#include "base/hash.h"
#include "base/mem.h"

static uint64_t read_us(clockid_t clock)
{
    struct timespec ts;

    sl_assert(clock_gettime(clock, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t sl_clock_us(void)
{
    return read_us(CLOCK_REALTIME);
}

uint64_t sl_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

/* The low 5 * n bits of value as n base32 digits. */
static void put_base32(char *to, size_t n, uint64_t value)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    for (; n != 0; n--, value >>= 5)
        to[n - 1] = digits[value & 31];
}

void sl_id_make(char ret_id[SL_ID_LEN + 1])
{
    uint64_t random[2];

    sl_random(random, sizeof(random));
    put_base32(ret_id, 10, sl_clock_us() / 1000);
    put_base32(ret_id + 10, 8, random[0]);
    put_base32(ret_id + 18, 8, random[1]);
    ret_id[SL_ID_LEN] = '\0';
}

void sl_clock_iso8601(uint64_t us, char ret_text[28])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm = { 0 };

    gmtime_r(&seconds, &tm);
    (void)snprintf(ret_text, 28, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (unsigned)(us % 1000000));
}

/* Not strftime: its names follow the locale. */
void sl_clock_http_date(time_t t, char ret_text[30])
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tm tm = { 0 };

    gmtime_r(&t, &tm);
    (void)snprintf(ret_text, 30, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                   tm.tm_sec);
}
