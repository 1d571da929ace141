/* capability.c -- no state but the kernel's. */
#include "base/capability.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum sl_err sl_capability_keep(uint32_t kept, struct sl_fault *fault)
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
