/* landlock.c -- rules gather in the kernel; a directory that holds what is not allowed is allowed
 * entry by entry. */
#include "app/landlock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

/* Of later kernels than the headers. */
#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)

#define FS_FIRST ((1ull << 13) - 1) /* what the first version knew */
#define OF_FILES                                                                                   \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE |                  \
     LANDLOCK_ACCESS_FS_EXECUTE)

/* Where a private key in PEM begins, and so much of a file is looked at. */
#define KEY_MARK "PRIVATE KEY-----"
#define HEAD_SIZE 8192

struct sl_landlock {
    int fd;
    uint64_t handled; /* of all there is to allow */
};

/* As kernels have had it since version 6; earlier ones take the part that they know. */
struct attributes {
    uint64_t fs, net, scoped;
};
#define SCOPE_SIGNAL (1ull << 1)
#define SCOPE_SINCE 6

/* By version: what it came with. */
static const uint64_t additions[] = { FS_FIRST, FS_REFER, FS_TRUNCATE, 0, FS_IOCTL_DEV };

static uint64_t known_to(long version)
{
    uint64_t known = 0;

    for (size_t i = 0; i < SL_LEN(additions) && (long)i < version; i++)
        known |= additions[i];
    return known;
}

enum sl_err sl_landlock_new(struct sl_landlock **ret_rules, struct sl_fault *fault)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct attributes attr = { .fs = known_to(version),
                               .scoped = version >= SCOPE_SINCE ? SCOPE_SIGNAL : 0 };
    size_t size = version >= SCOPE_SINCE ? sizeof(attr) : sizeof(attr.fs);
    struct sl_landlock *rules;
    int fd = -1;

    if (version > 0)
        fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return sl_fault_set(fault, SL_NOT_IMPLEMENTED, "no Landlock: %s", strerror(errno));
    rules = sl_zalloc(sizeof(*rules));
    rules->fd = fd;
    rules->handled = attr.fs;
    *ret_rules = rules;
    return SL_OK;
}

void sl_landlock_free(struct sl_landlock **rules)
{
    if (*rules != NULL)
        (void)close((*rules)->fd);
    sl_free(*rules);
    *rules = NULL;
}

static uint64_t accesses_of(unsigned rights)
{
    uint64_t accesses = 0;

    if ((rights & SL_LANDLOCK_READ) != 0)
        accesses |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    if ((rights & SL_LANDLOCK_WRITE) != 0)
        accesses |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE;
    if ((rights & SL_LANDLOCK_SOCKETS) != 0)
        accesses |= LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    return accesses;
}

void sl_landlock_allow(struct sl_landlock *rules, const char *path, unsigned rights)
{
    struct landlock_path_beneath_attr rule = { .allowed_access =
                                                   accesses_of(rights) & rules->handled };
    struct stat st;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= OF_FILES;
    /* Of descriptors that are no files of a file system, such as pipes, it wants no rules. */
    if (rule.allowed_access != 0)
        (void)syscall(SYS_landlock_add_rule, rules->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    (void)close(rule.parent_fd);
}

bool sl_path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    if (strcmp(dir, "/") == 0)
        return true;
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Any private key: that of an earlier authority is trusted as long as its certificate. */
static bool holds_key(const char *path)
{
    char head[HEAD_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof(head), 0) : -1;

    if (fd >= 0)
        (void)close(fd);
    return n > 0 && memmem(head, (size_t)n, KEY_MARK, sizeof(KEY_MARK) - 1) != NULL;
}

static void allow_entry(struct sl_landlock *rules, const char *path, unsigned rights,
                        const char *but)
{
    struct stat st, target;

    if (lstat(path, &st) != 0 || stat(path, &target) != 0)
        return;
    if (S_ISDIR(st.st_mode))
        (void)sl_landlock_allow_but(rules, path, rights, but);
    /* A link to a directory may lead anywhere, and round in circles. */
    else if (!S_ISDIR(target.st_mode) && !holds_key(path))
        sl_landlock_allow(rules, path, rights);
}

static void allow_entries(struct sl_landlock *rules, const char *dir, unsigned rights,
                          const char *but)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    char path[PATH_MAX];

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < sizeof(path))
            allow_entry(rules, path, rights, but);
    }
    if (entries != NULL)
        (void)closedir(entries);
}

bool sl_landlock_allow_but(struct sl_landlock *rules, const char *path, unsigned rights,
                           const char *but)
{
    char resolved[PATH_MAX];

    if (realpath(path, resolved) == NULL)
        return false;
    if (but[0] == '\0' || !sl_path_is_below(but, resolved)) {
        sl_landlock_allow(rules, resolved, rights);
        return false;
    }
    if (strcmp(but, resolved) != 0)
        allow_entries(rules, resolved, rights, but);
    return true;
}

enum sl_err sl_landlock_enforce(const struct sl_landlock *rules, struct sl_fault *fault)
{
    if (syscall(SYS_landlock_restrict_self, rules->fd, 0) == 0)
        return SL_OK;
    return sl_fault_set(fault, SL_NOT_IMPLEMENTED, "no Landlock: %s", strerror(errno));
}
