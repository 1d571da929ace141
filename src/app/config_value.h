/* config_value.h -- single values of the configuration as text: truths, numbers, durations, sizes,
 * words.
 *
 * Thread: any.
 */
#ifndef SL_APP_CONFIG_VALUE_H
#define SL_APP_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"

/** true false yes no on off, in any case. */
bool sl_value_bool(struct sl_str s, bool *ret_value) SL_MUST_USE;
/** "500ms", "10s", "5m", "24h", "7d", or "0"; in milliseconds. */
bool sl_value_duration(struct sl_str s, uint64_t *ret_ms) SL_MUST_USE;
/** "64KiB", "10MiB", "1GiB", or plain bytes. */
bool sl_value_size(struct sl_str s, uint64_t *ret_bytes) SL_MUST_USE;
/** The place of @a s in @a words, "a|b|c". */
bool sl_value_word(struct sl_str s, const char *words, uint32_t *ret_index) SL_MUST_USE;
/** A control character of ASCII. */
bool sl_value_has_control(struct sl_str s) SL_MUST_USE;
/** host:port, [v6]:port, unix:/path; of names only localhost, which is 127.0.0.1. */
bool sl_value_address(struct sl_str s, struct sl_addr *ret_addr) SL_MUST_USE;

/** The way back, in the largest unit that fits without a rest: for messages. */
void sl_value_duration_text(uint64_t ms, char ret_text[32]);
void sl_value_size_text(uint64_t bytes, char ret_text[32]);

#endif
