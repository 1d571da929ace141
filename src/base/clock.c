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
    size_t n = strftime(ret_text, 28, "%Y-%m-%dT%H:%M:%S", &tm);

    (void)snprintf(ret_text + n, 28 - n, ".%06uZ", (unsigned)(us % 1000000));
}

/* strftime's own names follow the locale. */
void sl_clock_http_date(time_t t, char ret_text[30])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = { 0 };

    gmtime_r(&t, &tm);
    if (strftime(ret_text, 30, "day, %d mon %Y %H:%M:%S GMT", &tm) == 0) {
        ret_text[0] = '\0';
        return;
    }
    memcpy(ret_text, days + (size_t)tm.tm_wday * 3, 3);
    memcpy(ret_text + 8, months + (size_t)tm.tm_mon * 3, 3);
}
