/* fuzz_config.c -- sl_config_parse on any bytes: it is taken, or refused with a place.
 *
 * The first line, when it starts with '!', is a --set, so that grafting is walked too.
 */
#include <stddef.h>
#include <stdint.h>

#include "app/config.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct sl_str text, const char *set)
{
    struct sl_config_source source = { .path = "f", .sets = &set, .n_sets = set != NULL };
    struct sl_yaml_error error = { "" };
    struct sl_config *config = NULL;
    enum sl_err err = sl_config_parse(text, &source, &config, &error);

    sl_assert((err == SL_OK) == (config != NULL));
    sl_assert(err == SL_OK || err == SL_CONFIG);
    sl_assert((err == SL_OK) == (error.text[0] == '\0'));
    if (config != NULL) {
        sl_assert(config->n_listeners > 0 && config->n_listeners <= SL_CONFIG_MAX_LISTENERS);
        sl_assert(sl_ruleset_len(config->ruleset) == config->n_rules);
    }
    sl_config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str text = sl_str_make(data, size);
    size_t eol = sl_str_find(text, '\n');

    if (size == 0 || text.p[0] != '!') {
        parse(text, NULL);
        return 0;
    }
    char *set = sl_str_dup(sl_str_skip(sl_str_head(text, eol), 1));

    parse(sl_str_skip(text, eol + 1), set);
    sl_free(set);
    return 0;
}
