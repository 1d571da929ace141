/* config_read.h -- a tree of nodes read into a configuration, by the table of keys.
 *
 * Thread: the owner's.
 */
#ifndef SL_APP_CONFIG_READ_H
#define SL_APP_CONFIG_READ_H

#include "app/config_yaml.h"

struct sl_config;

/** Fills @a config with defaults, then with what @a root says.
 *
 * @return SL_OK, or SL_CONFIG with @a error filled
 */
enum sl_err sl_config_read(struct sl_config *config, const struct sl_yaml_node *root,
                           struct sl_yaml_error *error) SL_MUST_USE;

#endif
