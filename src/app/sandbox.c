/* sandbox.c -- what is needed, from the configuration: identity, files, calls, in this order. */
#include "app/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/authority.h"
#include "app/config.h"
#include "app/identity.h"
#include "app/landlock.h"
#include "app/syscalls.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_log.h"

/* Libraries read them: names, services, trust, what machine this is. */
static const char *const read_by_libraries[] = {
    "/etc",
    "/lib",
    "/lib64",
    "/proc/self",
    "/proc/sys/net",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/usr",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/sys/devices/system/cpu",
};

struct sandbox {
    const struct sl_config *config;
    struct sl_landlock *files; /* while it is made; NULL: all of them */
    char key[PATH_MAX];        /* the authority's, resolved; empty: it is out of reach anyway */
    const char *protected[3];  /* files whose directories are not for writing */
    bool is_torn, is_wide;     /* a directory is allowed by its entries, too much is; was said */
    struct sl_fault *fault;    /* of the first file that cannot be read */
};

/* Names depend on them.  They stand in /etc, or are links out of it. */
static const char *const read_for_names[] = { "/etc/resolv.conf", "/etc/hosts",
                                              "/etc/nsswitch.conf" };

/* Whoever may write there may do what he likes. */
static const char *const too_much_to_write[] = { "/", "/etc", "/usr", "/run", "/var", "/home" };

static void say_lacking(const struct sl_fault *fault)
{
    sl_log(SL_LOG_WARN, "sandbox: goes on without a part of it: %s", fault->text);
}

/* -- files -- */

/* What replaces a file is another one: it is the directory that counts. */
static void allow_read(struct sandbox *s, const char *dir)
{
    bool is_torn = sl_landlock_allow_but(s->files, dir, SL_LANDLOCK_READ, s->key);

    if (is_torn && !s->is_torn)
        sl_log(SL_LOG_WARN,
               "sandbox: the authority's key lies below %s: no reload can read what is put there "
               "from now on; give the key a directory of its own, or name a security.user",
               dir);
    s->is_torn |= is_torn;
}

static bool is_too_much(const struct sandbox *s, const char *dir)
{
    char file[PATH_MAX];

    for (size_t i = 0; i < SL_LEN(too_much_to_write); i++)
        if (strcmp(dir, too_much_to_write[i]) == 0)
            return true;
    for (size_t i = 0; i < SL_LEN(s->protected); i++)
        if (s->protected[i] != NULL && realpath(s->protected[i], file) != NULL &&
            sl_path_is_below(file, dir))
            return true;
    return false;
}

static void allow_changes_beside(struct sandbox *s, const char *path, unsigned rights)
{
    char copy[PATH_MAX], dir[PATH_MAX];

    if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy) ||
        realpath(dirname(copy), dir) == NULL)
        return;
    sl_landlock_allow(s->files, dir, rights);
    if (s->is_wide || !is_too_much(s, dir))
        return;
    s->is_wide = true;
    sl_log(SL_LOG_WARN,
           "sandbox: for %s all of %s may be changed, with what else is in it: give the access log "
           "and sockets directories of their own",
           path, dir);
}

/* Where its name stands, and where it stands itself. */
static void allow_read_file(void *arg, const char *path)
{
    char name[PATH_MAX], file[PATH_MAX];

    if (realpath(path, file) == NULL || strlen(path) >= sizeof(name))
        return;
    (void)snprintf(name, sizeof(name), "%s", path);
    allow_read(arg, dirname(name));
    allow_read(arg, dirname(file));
}

/* A pipe or a terminal is not replaced, and stands where files of others do. */
static void allow_written(struct sandbox *s, const char *path)
{
    struct stat st;
    bool is_special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);

    /* Read, for what its end may lack. */
    sl_landlock_allow(s->files, path, SL_LANDLOCK_READ | SL_LANDLOCK_WRITE);
    if (!is_special)
        allow_changes_beside(s, path, SL_LANDLOCK_WRITE);
}

static void allow_socket(struct sandbox *s, const struct sl_addr *addr)
{
    if (addr->len != 0 && addr->sa.sa_family == AF_UNIX)
        allow_changes_beside(s, addr->un.sun_path, SL_LANDLOCK_SOCKETS);
}

/* Besides what libraries read: as OpenSSL lets its user choose, and as the configuration does. */
static void allow_trust(struct sandbox *s)
{
    const char *file = secure_getenv("SSL_CERT_FILE"), *dir = secure_getenv("SSL_CERT_DIR");

    if (file != NULL)
        allow_read_file(s, file);
    if (dir != NULL)
        allow_read(s, dir);
    if (s->config->upstream.ca_file != NULL)
        allow_read_file(s, s->config->upstream.ca_file);
}

static void allow_what_is_named(struct sandbox *s)
{
    const struct sl_config *c = s->config;
    const char *keylog = secure_getenv("SSLKEYLOGFILE");

    if (c->path != NULL)
        allow_read_file(s, c->path);
    sl_ruleset_each_file(c->ruleset, allow_read_file, s);
    allow_trust(s);
    if (sl_access_log_is_file(c->log_access))
        allow_written(s, c->log_access);
    if (keylog != NULL && *keylog != '\0')
        allow_written(s, keylog);
    for (uint32_t i = 0; i < c->n_listeners; i++)
        allow_socket(s, &c->listeners[i].address);
    allow_socket(s, &c->admin);
}

static void restrict_files(struct sandbox *s)
{
    struct sl_fault fault = { 0 };

    if (sl_landlock_new(&s->files, &fault) != SL_OK) {
        say_lacking(&fault);
        return;
    }
    for (size_t i = 0; i < SL_LEN(read_by_libraries); i++)
        allow_read(s, read_by_libraries[i]);
    for (size_t i = 0; i < SL_LEN(read_for_names); i++)
        allow_read_file(s, read_for_names[i]);
    sl_landlock_allow(s->files, "/dev/null", SL_LANDLOCK_READ | SL_LANDLOCK_WRITE);
    allow_what_is_named(s);
    if (sl_landlock_enforce(s->files, &fault) != SL_OK)
        say_lacking(&fault);
    sl_landlock_free(&s->files);
}

/* -- what a reload will need -- */

static void try_to_read(void *arg, const char *path)
{
    struct sandbox *s = arg;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno != ENOENT && s->fault->err == SL_OK)
        (void)sl_fault_set(s->fault, SL_CONFIG, "%s: %s for %s, who has to be able to read it",
                           path, strerror(errno),
                           s->config->security.user != NULL ? s->config->security.user
                                                            : "this user");
    if (fd >= 0)
        (void)close(fd);
}

enum sl_err sl_sandbox_try(const struct sl_config *config, struct sl_fault *fault)
{
    struct sandbox s = { .config = config, .fault = fault };

    if (config->path != NULL)
        try_to_read(&s, config->path);
    sl_ruleset_each_file(config->ruleset, try_to_read, &s);
    for (size_t i = 0; i < SL_LEN(read_for_names); i++)
        try_to_read(&s, read_for_names[i]);
    return fault->err;
}

/* -- all of it -- */

static enum sl_err enter(struct sandbox *s)
{
    struct sl_fault fault = { 0 };

    if (sl_identity_shed(s->fault) != SL_OK)
        return s->fault->err;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return sl_fault_errno(s->fault, errno, "no_new_privs");
    restrict_files(s);
    if (sl_syscalls_restrict(&fault) != SL_OK)
        say_lacking(&fault);
    return SL_OK;
}

static enum sl_err become(const struct sl_config_security *conf, struct sl_fault *fault)
{
    if (conf->user != NULL)
        return sl_identity_become(conf->user, fault);
    if (geteuid() == 0)
        sl_log(SL_LOG_WARN, "runs as root: security.user names whom to become instead");
    return SL_OK;
}

static void find_key(struct sandbox *s, const char *path)
{
    struct stat st;

    if (realpath(path, s->key) == NULL || faccessat(AT_FDCWD, s->key, R_OK, AT_EACCESS) != 0) {
        s->key[0] = '\0';
        return;
    }
    if (stat(s->key, &st) == 0 && st.st_nlink > 1)
        sl_log(SL_LOG_WARN, "sandbox: %s has another name, by which it may be in reach", path);
}

enum sl_err sl_sandbox_enter(const struct sl_config *config, const struct sl_authority *authority,
                             struct sl_fault *fault)
{
    struct sandbox s = { .config = config,
                         .protected = { config->path, authority->certificate, authority->key },
                         .fault = fault };
    enum sl_err err = become(&config->security, fault);

    find_key(&s, authority->key);
    if (err == SL_OK && config->security.sandbox == SL_SANDBOX_ON)
        err = enter(&s);
    return err == SL_OK ? sl_sandbox_try(config, fault) : err;
}
