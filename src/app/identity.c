/* identity.c -- no state but the kernel's. */
#include "app/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/capability.h"

static enum sl_err set_ids(const struct passwd *user, struct sl_fault *fault)
{
    if (setgroups(0, NULL) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0)
        return sl_fault_errno(fault, errno, "setgroups");
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
        return sl_fault_errno(fault, errno, "setresuid");
    return sl_capability_keep(SL_CAPABILITY(CAP_NET_BIND_SERVICE), fault);
}

/* NULL with a fault. */
static const struct passwd *find(const char *name, struct sl_fault *fault)
{
    const struct passwd *user;

    errno = 0;
    user = getpwnam(name);
    if (user == NULL)
        (void)sl_fault_set(fault, SL_CONFIG, "security.user: %s: %s", name,
                           errno != 0 ? strerror(errno) : "no such user");
    return user;
}

enum sl_err sl_identity_check(const char *name, struct sl_fault *fault)
{
    return find(name, fault) != NULL ? SL_OK : fault->err;
}

enum sl_err sl_identity_become(const char *name, struct sl_fault *fault)
{
    const struct passwd *user = find(name, fault);

    if (user == NULL)
        return fault->err;
    if (geteuid() == 0)
        return set_ids(user, fault);
    if (geteuid() == user->pw_uid)
        return SL_OK;
    return sl_fault_set(fault, SL_CONFIG, "security.user: only root can become %s", name);
}

enum sl_err sl_identity_shed(struct sl_fault *fault)
{
    uint32_t kept = SL_CAPABILITY(CAP_NET_BIND_SERVICE);

    if (geteuid() == 0)
        kept |= SL_CAPABILITY(CAP_DAC_OVERRIDE);
    return sl_capability_keep(kept, fault);
}
