/* clock.h -- wall-clock time and the identity of an exchange.
 *
 * Durations and deadlines come from the loop (io/loop.h), never from here.
 * Thread: any.
 */
#ifndef SL_BASE_CLOCK_H
#define SL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define SL_ID_LEN 26

/** Microseconds since the epoch. */
uint64_t sl_clock_us(void);

/** Monotonic microseconds. */
uint64_t sl_mono_us(void);

/** A ULID: 48 bits of milliseconds, 80 of randomness, Crockford base32, NUL-terminated. */
void sl_id_make(char ret_id[SL_ID_LEN + 1]);

/** "2026-01-31T23:59:59.123456Z", NUL-terminated; ret_text holds 28 bytes. */
void sl_clock_iso8601(uint64_t us, char ret_text[28]);

/** "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), NUL-terminated; ret_text holds 30
 * bytes; empty when the year has more than four digits. */
void sl_clock_http_date(time_t t, char ret_text[30]);

#endif
