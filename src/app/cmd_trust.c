/* cmd_trust.c -- `sluice ca install|uninstall`: the machine's store of authorities, as Debian keeps
 * it.
 *
 * The file there is named after the certificate's fingerprint, so that another authority's stays.
 * update-ca-certificates(8) wants one certificate a file: that in which trust ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/authority.h"
#include "app/cmd.h"
#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"

#define STORE "/usr/local/share/ca-certificates"
#define UPDATE "/usr/sbin/update-ca-certificates"

extern char **environ;

/* The first eight hex digits of what sl_ca_describe says. */
static void read_fingerprint(const struct sl_ca *ca, char ret_digits[9])
{
    struct sl_buf text = { 0 };
    struct sl_str rest, line;
    size_t n = 0;

    sl_ca_describe(ca, &text);
    rest = sl_buf_str(&text);
    while (sl_str_next(&rest, '\n', &line)) {
        size_t colon = sl_str_find(line, ':');

        if (!sl_str_eq(sl_str_head(line, colon), SL_STR("sha256 fingerprint")))
            continue;
        for (size_t i = colon + 1; i < line.n && n < 8; i++)
            if (line.p[i] != ':' && line.p[i] != ' ')
                ret_digits[n++] = sl_lower(line.p[i]);
    }
    ret_digits[n] = '\0';
    sl_buf_fini(&text);
}

static int update_store(void)
{
    char name[] = "update-ca-certificates";
    char *argv[] = { name, NULL };
    pid_t pid;
    int wait_status = -1;
    int failed = posix_spawn(&pid, UPDATE, NULL, NULL, argv, environ);

    if (failed != 0) {
        sl_log(SL_LOG_ERROR, UPDATE ": %s; install the package ca-certificates", strerror(failed));
        return SL_EXIT_FAILED;
    }
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return SL_EXIT_OK;
    sl_log(SL_LOG_ERROR, UPDATE " failed");
    return SL_EXIT_FAILED;
}

static int store_failed(const char *path)
{
    sl_log(SL_LOG_ERROR, "%s: %s%s", path, strerror(errno),
           errno == EACCES || errno == EPERM ? "; run this as root" : "");
    return SL_EXIT_FAILED;
}

static int write_certificate(const struct sl_ca *ca, const char *path)
{
    struct sl_buf pem = { 0 };
    struct sl_fault fault = { 0 };
    enum sl_err err = sl_ca_export(ca, SL_CA_ANCHOR_PEM, &pem, &fault);
    int fd = err == SL_OK ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    int status = SL_EXIT_OK;

    if (err != SL_OK)
        status = sl_cmd_failed(err, fault.text);
    else if (fd < 0 || write(fd, pem.p + pem.off, pem.len) != (ssize_t)pem.len)
        status = store_failed(path);
    if (fd >= 0)
        close(fd);
    sl_buf_fini(&pem);
    return status;
}

static int change_store(const struct sl_options *o, const struct sl_ca *ca)
{
    char digits[9], path[128];
    int status = SL_EXIT_OK;

    read_fingerprint(ca, digits);
    (void)snprintf(path, sizeof(path), STORE "/sluice-%s.crt", digits);
    if (o->command == SL_COMMAND_CA_INSTALL)
        status = write_certificate(ca, path);
    else if (unlink(path) != 0)
        status = store_failed(path);
    return status != SL_EXIT_OK ? status : update_store();
}

static int load_and_change(const struct sl_options *o, struct sl_config *config)
{
    struct sl_authority files;
    struct sl_ca *ca = NULL;
    struct sl_fault fault = { 0 };
    int status;

    if (sl_authority_find(config, o->state_dir, &files, &fault) != SL_OK ||
        sl_authority_load(&files, &ca, &fault) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, fault.text);
    status = change_store(o, ca);
    sl_ca_unref(&ca);
    return status;
}

int sl_cmd_trust(const struct sl_options *o)
{
    struct sl_yaml_error error;
    struct sl_config *config = NULL;
    int status;

    if (geteuid() != 0)
        return sl_cmd_failed(SL_IO, "the machine's store is root's: run this as root, with the "
                                    "--state-dir of the proxy");
    if (sl_config_load(&o->config, &config, &error) != SL_OK)
        return sl_cmd_failed(SL_CONFIG, error.text);
    status = load_and_change(o, config);
    sl_config_free(&config);
    return status;
}
