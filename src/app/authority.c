/* authority.c -- no state but the files. */
#include "app/authority.h"

#include <errno.h>
#include <unistd.h>

#include "app/config.h"
#include "base/mem.h"
#include "tls/ca.h"
#include "tls/signer.h"

static const char *in_dir(struct sl_arena *a, const char *dir, const char *name)
{
    return sl_arena_printf(a, "%s/%s", dir, name).p;
}

/* XDG: a path that is not absolute counts as none. */
static const char *absolute_env(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] == '/' ? value : NULL;
}

char *sl_authority_state_dir(const char *named)
{
    const char *state_home = absolute_env("XDG_STATE_HOME");
    const char *home = absolute_env("HOME");
    struct sl_buf dir = { 0 };
    char *copy;

    if (named != NULL)
        return sl_str_dup(sl_str_of(named));
    if (geteuid() == 0)
        return sl_str_dup(SL_STR("/var/lib/sluice"));
    if (state_home != NULL)
        sl_buf_addf(&dir, "%s/sluice", state_home);
    else if (home != NULL)
        sl_buf_addf(&dir, "%s/.local/state/sluice", home);
    copy = dir.len != 0 ? sl_str_dup(sl_buf_str(&dir)) : NULL;
    sl_buf_fini(&dir);
    return copy;
}

enum sl_err sl_authority_find(struct sl_config *config, const char *state_dir,
                              struct sl_authority *ret_authority, struct sl_fault *fault)
{
    if (config->ca_certificate != NULL) {
        *ret_authority =
            (struct sl_authority){ .certificate = config->ca_certificate, .key = config->ca_key };
        return SL_OK;
    }
    if (state_dir == NULL)
        return sl_fault_set(fault, SL_CONFIG,
                            "no state directory: HOME is not set; name one with --state-dir");
    *ret_authority =
        (struct sl_authority){ .certificate = in_dir(&config->arena, state_dir, "ca.pem"),
                               .key = in_dir(&config->arena, state_dir, "ca.key"),
                               .is_ours = true };
    return SL_OK;
}

enum sl_err sl_authority_ensure(const struct sl_authority *authority, bool *ret_is_new,
                                struct sl_fault *fault)
{
    const struct sl_signer_paths paths = { .certificate = authority->certificate,
                                           .key = authority->key };
    enum sl_err err;

    *ret_is_new = false;
    if (!authority->is_ours)
        return SL_OK;
    err = sl_signer_make_ca(authority->signer, &paths, fault);
    *ret_is_new = err == SL_OK;
    /* It is there, or half of it, of which loading says what to do. */
    if (err == SL_OK || fault->os_errno != EEXIST)
        return err;
    *fault = (struct sl_fault){ 0 };
    return SL_OK;
}

enum sl_err sl_authority_load(const struct sl_authority *authority, struct sl_ca **ret_ca,
                              struct sl_fault *fault)
{
    const struct sl_ca_source source = { .certificate = authority->certificate,
                                         .key = authority->key,
                                         .signer = authority->signer };

    return sl_ca_load(&source, ret_ca, fault);
}
