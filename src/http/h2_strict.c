/* h2_strict.c -- see the sections named at each rule. */
#include "http/h2_strict.h"

#include "http/h2_stream.h"

/* Section 5.1.1: opening a stream closes all below it that were not opened. */
static bool may_open(struct sl_h2_strict *strict, int32_t id)
{
    if (id <= strict->last)
        return id < strict->gap_from || id > strict->gap_to;
    if (id > strict->last + 2) {
        strict->gap_from = strict->last + 1;
        strict->gap_to = id - 1;
    }
    strict->last = id;
    return true;
}

static void measure(struct sl_h2_conn *c)
{
    c->strict.initial =
        nghttp2_session_get_remote_settings(c->ng, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    c->strict.widest = 0;
    SL_LIST_FOREACH (it, &c->streams) {
        int32_t id = SL_CONTAINER(it, struct sl_h2_stream, in_conn)->id;
        int32_t window = id < 0 ? 0 : nghttp2_session_get_stream_remote_window_size(c->ng, id);

        if (window > c->strict.widest)
            c->strict.widest = window;
    }
}

bool sl_h2_strict_begin(struct sl_h2_conn *c, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_HEADERS && c->conf.role->is_server)
        return may_open(&c->strict, hd->stream_id);
    if (hd->type == NGHTTP2_SETTINGS)
        measure(c);
    return true;
}

/* Section 6.9.2: no window may come to more than 2^31-1 octets. */
bool sl_h2_strict_settings(struct sl_h2_conn *c, const nghttp2_settings *settings)
{
    for (size_t i = 0; i < settings->niv; i++) {
        if (settings->iv[i].settings_id != NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
            continue;
        c->strict.widest += (int64_t)settings->iv[i].value - c->strict.initial;
        c->strict.initial = settings->iv[i].value;
        if (c->strict.widest > INT32_MAX)
            return false;
    }
    return true;
}
