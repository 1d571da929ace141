/* fuzz_ca.c -- an authority's files from any bytes: both are the input.  Whatever they hold, they
 * are loaded, or refused with one line that names one of them.
 */
#include <stddef.h>
#include <stdint.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tls/ca.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *path)
{
    struct sl_ca *ca = NULL;
    struct sl_fault fault = { 0 };
    enum sl_err err =
        sl_ca_load(&(struct sl_ca_source){ .certificate = path, .key = path }, &ca, &fault);

    sl_assert((err == SL_OK) == (ca != NULL));
    if (err == SL_OK) {
        struct sl_buf out = { 0 };

        sl_ca_describe(ca, &out);
        sl_assert(sl_ca_cert(ca) != NULL && out.len != 0);
        sl_assert(sl_ca_export(ca, SL_CA_PEM, &out, &fault) == SL_OK);
        sl_buf_fini(&out);
        sl_ca_unref(&ca);
        return;
    }
    sl_assert(err == SL_CONFIG && fault.err == SL_CONFIG);
    sl_assert(strstr(fault.text, path) != NULL && strchr(fault.text, '\n') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];

    if (fd < 0)
        fd = memfd_create("ca", MFD_CLOEXEC);
    sl_assert(fd >= 0 && fchmod(fd, 0600) == 0 && ftruncate(fd, 0) == 0);
    sl_assert(pwrite(fd, data, size, 0) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    load(path);
    return 0;
}
