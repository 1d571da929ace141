/* buf.c -- invariants: off + len <= cap; p is NULL exactly when cap is 0; off is 0 when len is 0.
 *
 * Spare chunks form a list through their own first bytes; what is behind these belongs to nobody.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/poison.h"

#define MIN_CAP 256
#define MAX_SPARE 64

static _Thread_local struct {
    char *head;
    size_t n;
} spare;

void sl_buf_fini(struct sl_buf *b)
{
    sl_free(b->p);
    *b = (struct sl_buf){ 0 };
}

void sl_buf_reset(struct sl_buf *b)
{
    b->off = b->len = 0;
}

/* Doubles, so that n bytes added one by one are copied O(n) times in all. */
static size_t grown_cap(const struct sl_buf *b, size_t n)
{
    size_t cap = b->cap < MIN_CAP ? MIN_CAP : b->cap;

    sl_assert(n < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);
    while (cap < b->len + n)
        cap *= 2;
    return cap;
}

static void grow(struct sl_buf *b, size_t n)
{
    size_t cap = grown_cap(b, n);
    char *p;

    if (b->p == NULL || b->off == 0) {
        p = sl_realloc(b->p, cap);
    } else {
        p = sl_alloc(cap);
        memcpy(p, b->p + b->off, b->len);
        sl_free(b->p);
    }
    *b = (struct sl_buf){ .p = p, .len = b->len, .cap = cap };
}

char *sl_buf_reserve(struct sl_buf *b, size_t n)
{
    bool has_room = b->p != NULL && n <= b->cap - b->off - b->len;

    /* Moving pays only when the dead front is at least as long as what is moved. */
    if (!has_room && b->p != NULL && b->off >= b->len && n <= b->cap - b->len) {
        memmove(b->p, b->p + b->off, b->len);
        b->off = 0;
    } else if (!has_room) {
        grow(b, n);
    }
    return b->p + b->off + b->len;
}

void sl_buf_commit(struct sl_buf *b, size_t n)
{
    sl_assert(n <= b->cap - b->off - b->len);
    b->len += n;
}

void sl_buf_consume(struct sl_buf *b, size_t n)
{
    sl_assert(n <= b->len);
    b->len -= n;
    b->off = b->len == 0 ? 0 : b->off + n;
}

void sl_buf_add(struct sl_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(sl_buf_reserve(b, n), p, n);
    b->len += n;
}

void sl_buf_add_str(struct sl_buf *b, struct sl_str s)
{
    sl_buf_add(b, s.p, s.n);
}

void sl_buf_add_char(struct sl_buf *b, char c)
{
    *sl_buf_reserve(b, 1) = c;
    b->len++;
}

void sl_buf_add_u64(struct sl_buf *b, uint64_t n)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    sl_buf_add(b, digits + i, sizeof(digits) - i);
}

void sl_buf_addf(struct sl_buf *b, const char *fmt, ...)
{
    size_t room = 128;
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(sl_buf_reserve(b, room), room, fmt, ap);
    va_end(ap);
    sl_assert(n >= 0);
    if ((size_t)n >= room) {
        room = (size_t)n + 1;
        va_start(ap, fmt);
        (void)vsnprintf(sl_buf_reserve(b, room), room, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)n;
}

char *sl_chunk_get(void)
{
    char *chunk = spare.head;

    if (chunk == NULL)
        return sl_alloc(SL_CHUNK_SIZE);
    memcpy(&spare.head, chunk, sizeof(spare.head));
    sl_unpoison(chunk + sizeof(spare.head), SL_CHUNK_SIZE - sizeof(spare.head));
    spare.n--;
    return chunk;
}

void sl_chunk_put(char *chunk)
{
    if (chunk == NULL)
        return;
    if (spare.n == MAX_SPARE) {
        sl_free(chunk);
        return;
    }
    memcpy(chunk, &spare.head, sizeof(spare.head));
    sl_poison(chunk + sizeof(spare.head), SL_CHUNK_SIZE - sizeof(spare.head));
    spare.head = chunk;
    spare.n++;
}

void sl_chunk_drain(void)
{
    while (spare.head != NULL)
        sl_free(sl_chunk_get());
}
