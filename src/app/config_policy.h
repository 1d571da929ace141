/* config_policy.h -- the items of `checks` and `rules` made into what the policy floor takes.
 *
 * Thread: the owner's.
 */
#ifndef SL_APP_CONFIG_POLICY_H
#define SL_APP_CONFIG_POLICY_H

#include "app/config_yaml.h"

struct sl_config;

/** Fills config->checks and config->ruleset from the items.  List files of rules are read.
 *
 * @return SL_OK, or SL_CONFIG with @a error filled
 */
enum sl_err sl_config_policy(struct sl_config *config, struct sl_yaml_error *error) SL_MUST_USE;

#endif
