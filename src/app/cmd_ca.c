/* cmd_ca.c -- `sluice ca init|show|export`: over tls/ca, on the files that the configuration names.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/authority.h"
#include "app/cmd.h"
#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"

static int init(const struct sl_options *o, const struct sl_authority *files)
{
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_ca_create(files->certificate, files->key, &o->ca, &fault);

    if (err != SL_OK)
        return sl_cmd_failed(SL_IO, fault.text);
    sl_log(SL_LOG_INFO, "made %s and %s; make clients trust the first", files->certificate,
           files->key);
    return SL_EXIT_OK;
}

static int write_file(const char *path, struct sl_str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n = fd < 0 ? -1 : write(fd, text.p, text.n);
    bool is_done = n >= 0 && (size_t)n == text.n;

    if (fd >= 0 && close(fd) != 0)
        is_done = false;
    if (is_done)
        return SL_EXIT_OK;
    sl_log(SL_LOG_ERROR, "%s: %s", path, strerror(errno));
    return SL_EXIT_FAILED;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int write_elsewhere(const char *path, const struct sl_authority *files, struct sl_str text)
{
    if (!is_same_file(path, files->key) && !is_same_file(path, files->certificate))
        return write_file(path, text);
    sl_log(SL_LOG_ERROR, "%s: belongs to the authority itself; name another file", path);
    return SL_EXIT_FAILED;
}

static int print(const struct sl_options *o, const struct sl_authority *files,
                 const struct sl_ca *ca)
{
    struct sl_buf text = { 0 };
    struct sl_fault fault = { 0 };
    enum sl_err err = SL_OK;
    int status;

    if (o->command == SL_COMMAND_CA_SHOW)
        sl_ca_describe(ca, &text);
    else
        err = sl_ca_export(ca, o->format, &text, &fault);
    if (err != SL_OK)
        status = sl_cmd_failed(err, fault.text);
    else if (o->output != NULL)
        status = write_elsewhere(o->output, files, sl_buf_str(&text));
    else
        status = sl_cmd_print(sl_buf_str(&text));
    sl_buf_fini(&text);
    return status;
}

static int load_and_print(const struct sl_options *o, const struct sl_authority *files)
{
    struct sl_ca *ca = NULL;
    struct sl_fault fault = { 0 };
    int status;

    if (sl_authority_load(files, &ca, &fault) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, fault.text);
    status = print(o, files, ca);
    sl_ca_unref(&ca);
    return status;
}

int sl_cmd_ca(const struct sl_options *o)
{
    struct sl_yaml_error error;
    struct sl_config *config = NULL;
    struct sl_authority files;
    struct sl_fault fault = { 0 };
    int status;

    if (sl_config_load(&o->config, &config, &error) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, error.text);
    if (sl_authority_find(config, o->state_dir, &files, &fault) != SL_OK)
        status = sl_cmd_failed(SL_CONFIG, fault.text);
    else if (o->command == SL_COMMAND_CA_INIT)
        status = init(o, &files);
    else
        status = load_and_print(o, &files);
    sl_config_free(&config);
    return status;
}
