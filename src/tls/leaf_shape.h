/* leaf_shape.h -- what makes a certificate a leaf of ours: what leaf.c writes and a signer insists
 * on, so that whoever may ask for signatures gets no authority of his own.
 *
 * Thread: any.
 */
#ifndef SL_TLS_LEAF_SHAPE_H
#define SL_TLS_LEAF_SHAPE_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/** Seconds; of intercept.leaf_lifetime at most, and how far back a leaf begins, for clocks that are
 * behind. */
#define SL_LEAF_LIFETIME_MAX (INT64_C(397) * 86400)
#define SL_LEAF_BACKDATE 86400

/** DER of extensions (RFC 5280 section 4.2.1) that are the same in every leaf; as literals. */
#define SL_LEAF_NO_AUTHORITY "\x30\x00"        /* basicConstraints: cA FALSE */
#define SL_LEAF_USAGE_ECDSA "\x03\x02\x07\x80" /* keyUsage: digitalSignature */
#define SL_LEAF_USAGE_RSA "\x03\x02\x05\xa0"   /* and keyEncipherment */
#define SL_LEAF_PURPOSE                                                                            \
    "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01" /* extKeyUsage: serverAuth */

/** SL_INTERNAL unless @a text is the TBSCertificate (RFC 5280 section 4.1) of a leaf: version 3,
 * those extensions, one name or address, key identifiers and nothing else, and a life that begins
 * and ends where that of a leaf made @a now may.
 *
 * @param now  seconds since the epoch; the text may be an hour older or newer
 */
enum sl_err sl_leaf_check_shape(struct sl_str text, int64_t now,
                                struct sl_fault *fault) SL_MUST_USE;

#endif
