/* buf.h -- a growing byte queue, and the 16 KiB chunks that carry bodies.
 *
 * A buf is filled at its end and consumed at its front.  Zeroed memory is an empty buf.
 * Thread: a buf is its owner's; the chunk free list is per thread.
 */
#ifndef SL_BASE_BUF_H
#define SL_BASE_BUF_H

#include <stddef.h>

#include "base/str.h"

struct sl_buf {
    char *p;    /**< heap block, NULL when cap is 0 */
    size_t off; /**< first byte not yet consumed */
    size_t len; /**< bytes from off on */
    size_t cap; /**< size of the block */
};

void sl_buf_fini(struct sl_buf *b);  /**< frees; the buf is empty and usable again */
void sl_buf_reset(struct sl_buf *b); /**< empties, keeps the block */
void sl_buf_add(struct sl_buf *b, const void *p, size_t n);
void sl_buf_add_str(struct sl_buf *b, struct sl_str s);
void sl_buf_add_char(struct sl_buf *b, char c);
void sl_buf_add_u64(struct sl_buf *b, uint64_t n); /**< in decimal */
void sl_buf_addf(struct sl_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *sl_buf_reserve(struct sl_buf *b,
                     size_t n); /**< room for n more bytes at the end; then sl_buf_commit */
void sl_buf_commit(struct sl_buf *b, size_t n);  /**< counts n bytes written into the room */
void sl_buf_consume(struct sl_buf *b, size_t n); /**< drops n bytes at the front, n <= len */

/** What is in it; valid until the next call that adds or frees. */
static inline struct sl_str sl_buf_str(const struct sl_buf *b)
{
    return (struct sl_str){ .p = b->p == NULL ? "" : b->p + b->off, .n = b->len };
}

/** One TLS record of plain text (RFC 8446 section 5.1). */
#define SL_CHUNK_SIZE ((size_t)16384)

char *sl_chunk_get(void);       /**< SL_CHUNK_SIZE bytes, contents undefined */
void sl_chunk_put(char *chunk); /**< gives one back; NULL is a no-op */
void sl_chunk_drain(void);      /**< frees this thread's spare chunks; call before a thread ends */

#endif
