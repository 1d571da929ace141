/* check_json.h -- the json wire form: a reply's bytes to a verdict.
 *
 *     {"action":"allow","cache":{"ttl":60,"vary":["host"]},
 *      "request":{"set":{},"remove":[]},"response":{"set":{}}}
 *     {"action":"deny","status":403,"reason":"...","headers":{},"body":"..."}
 *
 * Strict where it decides, lenient where it does not: unknown members are ignored, a member of the
 * wrong type or a value that cannot be sent on (a field name that is no token, a status out of
 * range) makes the reply bad; null is as good as absent.  Reasons over 512 bytes are cut.  Fuzzed.
 * Thread: any.
 */
#ifndef SL_POLICY_CHECK_JSON_H
#define SL_POLICY_CHECK_JSON_H

#include "base/err.h"
#include "base/str.h"
#include "policy/verdict.h"

#define SL_CHECK_JSON_MAX ((size_t)1024 * 1024)

/** SL_OK with a new verdict, or SL_PROTOCOL with the reason in @a fault. */
enum sl_err sl_check_json_parse(struct sl_str body, struct sl_verdict **ret_verdict,
                                struct sl_fault *fault) SL_MUST_USE;

#endif
