/* cmd_check_config.c -- `sluice check-config`: everything that a start would load, and nothing that
 * it would make. */
#include <unistd.h>

#include "app/authority.h"
#include "app/cmd.h"
#include "app/generation.h"
#include "app/identity.h"
#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/snapshot.h"
#include "tls/ca.h"

/* One that is ours and not there yet is made by the first `run`. */
static bool is_to_be_made(const struct sl_authority *a)
{
    return a->is_ours && access(a->certificate, F_OK) != 0 && access(a->key, F_OK) != 0;
}

static enum sl_err check_authority(const struct sl_options *o, struct sl_config *config,
                                   struct sl_fault *fault)
{
    struct sl_authority files;
    struct sl_ca *ca = NULL;
    char *state_dir = sl_authority_state_dir(o->state_dir);
    enum sl_err err = sl_authority_find(config, state_dir, &files, fault);

    sl_free(state_dir);
    if (err != SL_OK || is_to_be_made(&files))
        return err;
    err = sl_authority_load(&files, &ca, fault);
    sl_ca_unref(&ca);
    return err;
}

static enum sl_err check_upstream_ca(const struct sl_config *config, struct sl_fault *fault)
{
    struct sl_tls_client_context *tls = NULL;
    enum sl_err err = sl_tls_client_context_new(
        &(struct sl_tls_client_conf){ .ca_file = config->upstream.ca_file }, &tls, fault);

    sl_tls_client_context_free(&tls);
    return err;
}

static enum sl_err check_files(const struct sl_options *o, struct sl_config *config,
                               struct sl_yaml_error *error)
{
    struct sl_access_log_conf log = sl_generation_access_log(config);
    struct sl_fault fault = { 0 };

    if (check_authority(o, config, &fault) != SL_OK) {
        (void)snprintf(error->text, sizeof(error->text), "%s", fault.text);
        return SL_CONFIG;
    }
    if (config->security.user != NULL && sl_identity_check(config->security.user, &fault) != SL_OK)
        return sl_yaml_fail(error, sl_config_at(config, "security", "user"), "%s", fault.text);
    if (check_upstream_ca(config, &fault) != SL_OK)
        return sl_yaml_fail(error, sl_config_at(config, "upstream", "ca_file"), "%s", fault.text);
    if (sl_access_log_check(&log, &fault) != SL_OK)
        return sl_yaml_fail(error, sl_config_at(config, "log", "access"), "%s", fault.text);
    return SL_OK;
}

int sl_cmd_check_config(const struct sl_options *o)
{
    struct sl_yaml_error error;
    struct sl_config *config = NULL;
    int status = SL_EXIT_OK;

    if (sl_config_load(&o->config, &config, &error) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, error.text);
    if (check_files(o, config, &error) != SL_OK)
        status = sl_cmd_failed(SL_CONFIG, error.text);
    else
        sl_log(SL_LOG_INFO, "%s is right",
               config->path != NULL ? config->path : "the built-in configuration");
    sl_config_free(&config);
    return status;
}
