/* hash.c -- SipHash-2-4 (Aumasson and Bernstein, 2012).  The only state is the process key. */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/mem.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint8_t process_key[16];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t load_le(const void *from, size_t n)
{
    const uint8_t *p = from;
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

uint64_t sl_hash_keyed(const uint8_t key[16], struct sl_str str)
{
    uint64_t k0 = load_le(key, 8), k1 = load_le(key + 8, 8);
    struct sip s = { .v0 = k0 ^ 0x736f6d6570736575,
                     .v1 = k1 ^ 0x646f72616e646f6d,
                     .v2 = k0 ^ 0x6c7967656e657261,
                     .v3 = k1 ^ 0x7465646279746573 };
    size_t whole = str.n - str.n % 8;

    for (size_t i = 0; i < whole; i += 8)
        sip_word(&s, load_le(str.p + i, 8));
    uint64_t tail = str.n % 8 == 0 ? 0 : load_le(str.p + whole, str.n % 8);

    sip_word(&s, tail | (uint64_t)str.n << 56);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static void draw_key(void)
{
    sl_random(process_key, sizeof(process_key));
}

uint64_t sl_hash(struct sl_str s)
{
    pthread_once(&key_once, draw_key);
    return sl_hash_keyed(process_key, s);
}

void sl_random(void *p, size_t n)
{
    char *at = p;

    while (n != 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fputs("sluice: error: the kernel gives no randomness\n", stderr);
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}
