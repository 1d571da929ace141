/* suggest.c -- the distance is Levenshtein's, over one row, in words of up to MAX bytes. */
#include "base/suggest.h"

#define MAX 40

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

static size_t distance(struct sl_str a, struct sl_str b)
{
    size_t row[MAX + 1];

    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t above = row[j];
            size_t differs = sl_lower(a.p[i - 1]) != sl_lower(b.p[j - 1]);

            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + differs);
            diagonal = above;
        }
    }
    return row[b.n];
}

void sl_suggest_init(struct sl_suggest *s, struct sl_str wanted)
{
    *s = (struct sl_suggest){ .wanted = wanted, .distance = wanted.n / 4 + 2 };
}

void sl_suggest_offer(struct sl_suggest *s, struct sl_str candidate)
{
    size_t d;

    if (s->wanted.n == 0 || s->wanted.n > MAX || candidate.n > MAX)
        return;
    d = distance(s->wanted, candidate);
    if (d >= s->distance)
        return;
    s->best = candidate;
    s->distance = d;
}
