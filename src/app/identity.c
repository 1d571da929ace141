/* identity.c -- capabilities(7), set without a library: two are kept, whoever has them. */
#include "app/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (1u << (capability))

/* Of the first 32, where all of ours are. */
static enum sl_err keep_only(uint32_t kept, struct sl_fault *fault)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

    if (syscall(SYS_capget, &header, data) != 0)
        return sl_fault_errno(fault, errno, "capget");
    data[0].permitted &= kept;
    data[0].effective = data[0].permitted;
    data[0].inheritable = 0;
    data[1] = (struct __user_cap_data_struct){ 0 };
    if (syscall(SYS_capset, &header, data) != 0)
        return sl_fault_errno(fault, errno, "capset");
    return SL_OK;
}

static enum sl_err set_ids(const struct passwd *user, struct sl_fault *fault)
{
    if (setgroups(0, NULL) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0)
        return sl_fault_errno(fault, errno, "setgroups");
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
        return sl_fault_errno(fault, errno, "setresuid");
    return keep_only(BIT(CAP_NET_BIND_SERVICE), fault);
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
    return keep_only(BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_DAC_OVERRIDE), fault);
}
