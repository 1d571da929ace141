/* h2_frames.c -- payload is skipped, whatever it is. */
#include "http/h2_frames.h"

#include <string.h>

static uint32_t less(size_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

static uint32_t number(const uint8_t *p, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void skip_payload(struct sl_h2_frames *f, struct sl_str *in)
{
    uint32_t n = less(in->n, f->skip);

    *in = sl_str_skip(*in, n);
    f->skip -= n;
}

static void take_head(struct sl_h2_frames *f, struct sl_str *in)
{
    uint32_t n = less(in->n, SL_H2_FRAME_HEAD - f->n_head);

    if (n != 0)
        memcpy(f->head + f->n_head, in->p, n);
    *in = sl_str_skip(*in, n);
    f->n_head += n;
}

bool sl_h2_frames_next(struct sl_h2_frames *frames, struct sl_str *in,
                       struct sl_h2_frame *ret_frame)
{
    skip_payload(frames, in);
    if (frames->skip != 0)
        return false;
    take_head(frames, in);
    if (frames->n_head < SL_H2_FRAME_HEAD)
        return false;
    *ret_frame = (struct sl_h2_frame){
        .length = number(frames->head, 3),
        .type = frames->head[3],
        .stream = (int32_t)(number(frames->head + 5, 4) & INT32_MAX),
    };
    frames->skip = ret_frame->length;
    frames->n_head = 0;
    return true;
}
