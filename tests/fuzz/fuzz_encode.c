/* fuzz_encode.c -- any bytes as others are to see them: nothing of the network can end a string,
 * a tag or a line, and JSON gives back what went in.
 *
 * Up to the first newline the input is a glob, for what is behind it.
 */
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/encode.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GLOB_MAX 64u

static void check_json(struct sl_str s)
{
    json_t *plain = json_stringn(s.n != 0 ? s.p : "", s.n), *value;
    struct sl_buf out = { 0 };

    sl_assert((plain != NULL) == sl_is_utf8(s));
    sl_add_json(&out, s);
    value = json_loadb(sl_buf_str(&out).p, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    sl_assert(json_is_string(value));
    sl_assert(plain == NULL || json_equal(plain, value));
    json_decref(value);
    sl_buf_reset(&out);
    sl_add_json_bytes(&out, s);
    value = json_loadb(sl_buf_str(&out).p, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    sl_assert(plain != NULL ? json_equal(plain, value)
                            : json_is_string(json_object_get(value, "base64")));
    json_decref(value);
    json_decref(plain);
    sl_buf_fini(&out);
}

static void check_html(struct sl_str s)
{
    struct sl_buf out = { 0 };
    struct sl_str text;

    sl_add_html(&out, s);
    text = sl_buf_str(&out);
    sl_assert(sl_is_utf8(text));
    for (size_t i = 0; i < text.n; i++) {
        sl_assert(text.p[i] == '\0' || strchr("<>\"'", text.p[i]) == NULL);
        sl_assert((uint8_t)text.p[i] >= ' ' && text.p[i] != 0x7f);
    }
    sl_buf_fini(&out);
}

static void check_quoted(struct sl_str text)
{
    sl_assert(text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"');
    for (size_t i = 1; i < text.n - 1; i++) {
        sl_assert(text.p[i] >= ' ' && text.p[i] <= '~' && text.p[i] != '"');
        if (text.p[i] == '\\')
            sl_assert(++i < text.n - 1);
    }
}

static void check_text(struct sl_str s)
{
    struct sl_buf out = { 0 };
    struct sl_str text;

    sl_add_text(&out, s);
    text = sl_buf_str(&out);
    sl_assert(text.n != 0);
    if (text.p[0] == '"')
        check_quoted(text);
    for (size_t i = 0; text.p[0] != '"' && i < text.n; i++)
        sl_assert(text.p[i] > ' ' && text.p[i] <= '~' && text.p[i] != '"');
    sl_buf_reset(&out);
    sl_add_sf_string(&out, s);
    check_quoted(sl_buf_str(&out));
    sl_buf_fini(&out);
}

/* The same by a table: reach[i] says whether the glob so far can match the first i bytes. */
static bool matches(struct sl_str glob, struct sl_str s)
{
    bool reach[GLOB_MAX + 1] = { true };

    for (size_t g = 0; g < glob.n; g++) {
        if (glob.p[g] == '*') {
            for (size_t i = 0; i < s.n; i++)
                reach[i + 1] |= reach[i];
            continue;
        }
        for (size_t i = s.n; i > 0; i--)
            reach[i] = reach[i - 1] && (glob.p[g] == '?' || glob.p[g] == s.p[i - 1]);
        reach[0] = false;
    }
    return reach[s.n];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size), glob = sl_str_head(in, sl_str_find(in, '\n'));
    struct sl_str s = sl_str_head(sl_str_skip(in, glob.n + 1), GLOB_MAX);

    check_json(in);
    check_html(in);
    check_text(in);
    sl_assert(sl_glob_match(glob, s) == matches(glob, s));
    return 0;
}
