/* config_keys.h -- the table of keys: what each is called, holds, defaults to and means.
 *
 * Reading, `--set`, `sluice help keys` and the manual page go by this one table.
 * Thread: constant.
 */
#ifndef SL_APP_CONFIG_KEYS_H
#define SL_APP_CONFIG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum sl_key_kind {
    SL_KEY_BOOL,      /**< bool */
    SL_KEY_OVERRIDE,  /**< uint32_t, enum sl_override */
    SL_KEY_NUMBER,    /**< uint64_t, min..max; a word of `words` stands for 0 */
    SL_KEY_SIZE,      /**< uint64_t bytes, min..max */
    SL_KEY_DURATION,  /**< uint64_t milliseconds, min..max */
    SL_KEY_WORD,      /**< uint32_t, place in `words` */
    SL_KEY_WORDS,     /**< uint32_t, bit set of places in `words` */
    SL_KEY_STRING,    /**< const char *; a word of `words` stands for NULL */
    SL_KEY_ADDRESS,   /**< struct sl_addr; a word of `words` stands for none */
    SL_KEY_ADDRESSES, /**< const char *, comma-separated; a word of `words` stands for NULL */
    SL_KEY_CIDRS,     /**< struct sl_config_cidrs */
    SL_KEY_NODE,      /**< const struct sl_yaml_node *, read by app/config_policy */
};

struct sl_key {
    const char *path; /**< "upstream.pool.max_idle", "checks[].cache.ttl" */
    enum sl_key_kind kind;
    size_t offset;        /**< into sl_config, or into the item of the list */
    const char *fallback; /**< as YAML; "": nothing; NULL: required */
    uint64_t min, max;
    const char *words; /**< "a|b" */
    const char *later; /**< words of later versions: refused with a message that says so */
    const char *doc;
};

/** A list of items, each with keys of its own. */
struct sl_key_list {
    const char *path; /**< "checks" */
    size_t item_size;
    size_t v_offset, n_offset; /**< into sl_config */
    uint32_t max;
};

enum sl_key_class {
    SL_KEY_SETTING, /**< ret_key is set */
    SL_KEY_SECTION, /**< keys stand below it */
    SL_KEY_LIST,    /**< ret_list is set */
    SL_KEY_LATER,   /**< a key of the format that this version does not support */
    SL_KEY_UNKNOWN,
};

struct sl_key_match {
    enum sl_key_class class;
    const struct sl_key *key;
    const struct sl_key_list *list;
};

struct sl_key_match sl_key_find(struct sl_str path);

/** All keys, in order; NULL ends. */
const struct sl_key *sl_key_at(size_t index);

/** The name below @a prefix ("" at the top, "upstream.") that is most like @a name; empty for none.
 */
struct sl_str sl_key_suggest(struct sl_str prefix, struct sl_str name);

/** The table for eyes: a line of `key: default` and an indented explanation each. */
void sl_key_describe(struct sl_buf *out);

#endif
