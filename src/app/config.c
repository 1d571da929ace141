/* config.c -- finds the file, grafts the flags onto its tree, has the tree read. */
#include "app/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_policy.h"
#include "app/config_read.h"
#include "base/mem.h"

#define DEFAULT_LISTENER "127.0.0.1:8080"
#define MAX_PATH_PARTS 8

/* A configuration being built. */
struct loader {
    struct sl_config *config;
    struct sl_yaml_node *root;
    struct sl_yaml_error *error;
};

/* -- the file -- */

static enum sl_err file_failed(const char *path, const char *what, struct sl_yaml_error *error)
{
    (void)snprintf(error->text, sizeof(error->text), "%.300s: %s", path, what);
    return SL_CONFIG;
}

/* A growing file must not outgrow the limit. */
static enum sl_err read_all(int fd, const char *path, struct sl_buf *out,
                            struct sl_yaml_error *error)
{
    ssize_t n;

    do {
        n = read(fd, sl_buf_reserve(out, SL_CHUNK_SIZE), SL_CHUNK_SIZE);
        if (n > 0)
            sl_buf_commit(out, (size_t)n);
        if (out->len > SL_YAML_MAX_BYTES)
            return file_failed(path, "larger than 16 MiB", error);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? file_failed(path, strerror(errno), error) : SL_OK;
}

static enum sl_err read_file(const char *path, struct sl_buf *out, struct sl_yaml_error *error)
{
    struct stat st;
    enum sl_err err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return file_failed(path, strerror(errno), error);
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode))
        err = file_failed(path, "is not a file", error);
    else
        err = read_all(fd, path, out, error);
    close(fd);
    return err;
}

/* Only a name that nothing bears is passed over: a file out of reach may say `default: deny`. */
static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* NULL when there is none. */
static const char *find_file(const struct sl_config_source *source)
{
    static const char *const places[] = { "sluice.yaml", "/etc/sluice/sluice.yaml" };
    const char *from_env = getenv("SLUICE_CONFIG");

    if (source->path != NULL)
        return source->path;
    if (from_env != NULL && from_env[0] != '\0')
        return from_env;
    for (size_t i = 0; i < SL_LEN(places); i++)
        if (is_there(places[i]))
            return places[i];
    return NULL;
}

/* -- flags: nodes of their own, put into the tree -- */

static const struct sl_yaml_source *flag_source(struct loader *l, struct sl_str name,
                                                struct sl_str text)
{
    struct sl_yaml_source *source = sl_arena_alloc(&l->config->arena, sizeof(*source));

    source->name = name.p;
    source->text = text;
    return source;
}

static struct sl_yaml_node *get_list(struct loader *l, const char *key,
                                     const struct sl_yaml_source *source)
{
    struct sl_yaml_node *list = sl_yaml_find(l->root, sl_str_of(key));

    if (list != NULL && !sl_yaml_is_null(list))
        return list;
    list = sl_yaml_new(&l->config->arena, SL_YAML_LIST, source);
    sl_yaml_put(l->root, sl_str_of(key), list);
    return list;
}

static void put_scalar(struct loader *l, struct sl_yaml_node *map, const char *key,
                       const char *value)
{
    struct sl_yaml_node *scalar =
        sl_yaml_new_scalar(&l->config->arena, map->at.source, sl_str_of(value));

    sl_yaml_put(map, sl_str_of(key), scalar);
}

static struct sl_yaml_node *add_map(struct loader *l, struct sl_yaml_node *list,
                                    const struct sl_yaml_source *source)
{
    struct sl_yaml_node *map = sl_yaml_new(&l->config->arena, SL_YAML_MAP, source);

    sl_yaml_append(list, map);
    return map;
}

static void graft_listens(struct loader *l, const struct sl_config_source *flags)
{
    const struct sl_yaml_source *source = flag_source(l, SL_STR("--listen"), SL_STR(""));
    struct sl_yaml_node *list;

    if (flags->n_listens == 0)
        return;
    list = sl_yaml_new(&l->config->arena, SL_YAML_LIST, source);
    for (uint32_t i = 0; i < flags->n_listens; i++)
        put_scalar(l, add_map(l, list, source), "address", flags->listens[i]);
    sl_yaml_put(l->root, SL_STR("listeners"), list);
}

static void graft_check(struct loader *l, const struct sl_config_source *flags)
{
    const struct sl_yaml_source *source = flag_source(l, SL_STR("--check"), SL_STR(""));
    struct sl_yaml_node *check;

    if (flags->check_url == NULL)
        return;
    check = add_map(l, get_list(l, "checks", source), source);
    put_scalar(l, check, "name", "cli");
    put_scalar(l, check, "url", flags->check_url);
    put_scalar(l, add_map(l, get_list(l, "rules", source), source), "do", "check cli");
}

static void graft_default_listener(struct loader *l)
{
    const struct sl_yaml_source *source = flag_source(l, SL_STR("default"), SL_STR(""));
    struct sl_yaml_node *list = get_list(l, "listeners", source);

    if (list->at.source == source)
        put_scalar(l, add_map(l, list, source), "address", DEFAULT_LISTENER);
}

/* Cuts "name[2]" in two; false when what is in brackets is no number. */
static bool split_index(struct sl_str *part, bool *ret_has_index, uint64_t *ret_index)
{
    size_t open = sl_str_find(*part, '[');
    struct sl_str digits = sl_str_skip(*part, open + 1);

    *ret_has_index = open < part->n;
    *part = sl_str_head(*part, open);
    if (!*ret_has_index)
        return true;
    if (!sl_str_has_suffix(digits, SL_STR("]")))
        return false;
    return sl_str_to_u64(sl_str_head(digits, digits.n - 1), ret_index);
}

/* The map below @a map that one part of a path names; NULL when something else stands there. */
static struct sl_yaml_node *descend(struct loader *l, struct sl_yaml_node *map, struct sl_str part,
                                    const struct sl_yaml_source *source)
{
    bool has_index;
    uint64_t index = 0;

    if (!split_index(&part, &has_index, &index))
        return NULL;
    struct sl_yaml_node *child = sl_yaml_find(map, part);

    if (has_index) {
        child = child == NULL ? NULL : sl_yaml_at(child, index);
    } else if (child == NULL || sl_yaml_is_null(child)) {
        child = sl_yaml_new(&l->config->arena, SL_YAML_MAP, source);
        sl_yaml_put(map, sl_arena_str(&l->config->arena, part), child);
    }
    return child != NULL && child->kind == SL_YAML_MAP ? child : NULL;
}

static enum sl_err put_at_path(struct loader *l, struct sl_str path, struct sl_yaml_node *value)
{
    struct sl_yaml_node *map = l->root;
    struct sl_str rest = path, part = SL_STR("");
    size_t n_parts = 0;

    while (sl_str_next(&rest, '.', &part) && rest.n > 0) {
        map = ++n_parts > MAX_PATH_PARTS ? NULL : descend(l, map, part, value->at.source);
        if (map == NULL)
            return sl_yaml_fail(l->error, value->at, "\"%.*s\" leads nowhere: no such item",
                                SL_FMT(sl_str_head(path, 100)));
    }
    value->key_at = value->at;
    sl_yaml_put(map, sl_arena_str(&l->config->arena, part), value);
    return SL_OK;
}

static enum sl_err graft_set(struct loader *l, const char *set)
{
    struct sl_str text = sl_str_of(set);
    struct sl_str path = sl_str_trim(sl_str_head(text, sl_str_find(text, '=')));
    struct sl_str name =
        sl_arena_printf(&l->config->arena, "--set %.*s", SL_FMT(sl_str_head(path, 100)));
    const struct sl_yaml_source *source =
        flag_source(l, name, sl_str_skip(text, sl_str_find(text, '=') + 1));
    struct sl_yaml_node *value;
    enum sl_err err;

    if (path.n == 0 || sl_str_find(text, '=') == text.n)
        return sl_yaml_fail(l->error, (struct sl_yaml_mark){ source, 1, 1 },
                            "KEY=VALUE expected, such as upstream.verify=true");
    err = sl_yaml_parse(&l->config->arena, source, &value, l->error);
    return err != SL_OK ? err : put_at_path(l, path, value);
}

/* -- all together -- */

static struct sl_yaml_mark mark_in(const struct sl_config *c, const struct sl_yaml_node *section,
                                   const char *key)
{
    const struct sl_yaml_node *found = NULL;

    if (section != NULL)
        found = sl_yaml_find(section, sl_str_of(key));
    return found != NULL ? found->at : c->root->at;
}

struct sl_yaml_mark sl_config_at(const struct sl_config *c, const char *section, const char *key)
{
    return mark_in(c, sl_yaml_find(c->root, sl_str_of(section)), key);
}

/* Where a listener's address stands; what the admin address has by default stands nowhere. */
static struct sl_yaml_mark mark_of(const struct sl_config *c, uint32_t index)
{
    const struct sl_yaml_node *listeners = sl_yaml_find(c->root, SL_STR("listeners"));

    if (index == c->n_listeners)
        return sl_config_at(c, "admin", "address");
    return mark_in(c, listeners != NULL ? sl_yaml_at(listeners, index) : NULL, "address");
}

static const struct sl_addr *socket_at(const struct sl_config *c, uint32_t index)
{
    return index < c->n_listeners ? &c->listeners[index].address : &c->admin;
}

/* Listeners, then the admin address: each port is one socket's. */
static enum sl_err check_sockets(const struct loader *l)
{
    const struct sl_config *c = l->config;
    uint32_t n = c->n_listeners + (c->admin.len != 0);
    char text[SL_ADDR_TEXT];

    for (uint32_t i = 1; i < n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (!sl_addr_collides(socket_at(c, i), socket_at(c, j)))
                continue;
            sl_addr_text(socket_at(c, j), text);
            return sl_yaml_fail(l->error, mark_of(c, i), "%s: %s is taken by listeners[%u]",
                                i < c->n_listeners ? "listeners[].address" : "admin.address", text,
                                j);
        }
    }
    return SL_OK;
}

static bool is_loopback(const struct sl_addr *addr)
{
    struct sl_addr a = sl_addr_unmapped(addr);

    if (a.sa.sa_family == AF_INET)
        return ntohl(a.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

/* It asks nobody who they are. */
static enum sl_err check_admin(const struct loader *l)
{
    const struct sl_addr *admin = &l->config->admin;
    char text[SL_ADDR_TEXT];

    if (admin->len == 0 || admin->sa.sa_family == AF_UNIX || is_loopback(admin))
        return SL_OK;
    sl_addr_text(admin, text);
    return sl_yaml_fail(l->error, mark_of(l->config, l->config->n_listeners),
                        "admin.address: %s is neither on loopback nor a unix socket", text);
}

static enum sl_err check_whole(struct loader *l)
{
    const struct sl_config *c = l->config;
    enum sl_err err;
    struct sl_yaml_mark at = {
        flag_source(l, sl_str_of(c->path != NULL ? c->path : "command line"), SL_STR("")), 1, 1
    };

    if (c->n_listeners == 0)
        return sl_yaml_fail(l->error, at, "listeners: at least one is needed");
    if ((c->ca_certificate == NULL) != (c->ca_key == NULL))
        return sl_yaml_fail(l->error, at, "ca: certificate and key go together, only one is named");
    err = check_sockets(l);
    return err != SL_OK ? err : check_admin(l);
}

static enum sl_err build(struct loader *l, const struct sl_config_source *flags)
{
    enum sl_err err = SL_OK;

    if (sl_yaml_is_null(l->root))
        l->root = sl_yaml_new(&l->config->arena, SL_YAML_MAP, l->root->at.source);
    if (l->root->kind != SL_YAML_MAP)
        return sl_yaml_fail(l->error, l->root->at, "a map of settings expected, key: value");
    graft_listens(l, flags);
    for (uint32_t i = 0; i < flags->n_sets && err == SL_OK; i++)
        err = graft_set(l, flags->sets[i]);
    if (err != SL_OK)
        return err;
    graft_check(l, flags);
    graft_default_listener(l);
    l->config->root = l->root;
    err = sl_config_read(l->config, l->root, l->error);
    if (err == SL_OK)
        err = check_whole(l);
    return err != SL_OK ? err : sl_config_policy(l->config, l->error);
}

static enum sl_err load_text(struct sl_str text, const char *path,
                             const struct sl_config_source *flags, struct sl_config **ret_config,
                             struct sl_yaml_error *error)
{
    struct loader l = { .config = sl_zalloc(sizeof(*l.config)), .error = error };
    struct sl_str name = sl_str_of(path != NULL ? path : "built-in");
    enum sl_err err;

    name = sl_arena_str(&l.config->arena, name);
    l.config->path = path != NULL ? name.p : NULL;
    err =
        sl_yaml_parse(&l.config->arena, flag_source(&l, name, sl_arena_str(&l.config->arena, text)),
                      &l.root, error);
    if (err == SL_OK)
        err = build(&l, flags);
    if (err == SL_OK)
        *ret_config = l.config;
    else
        sl_config_free(&l.config);
    return err;
}

enum sl_err sl_config_parse(struct sl_str text, const struct sl_config_source *source,
                            struct sl_config **ret_config, struct sl_yaml_error *error)
{
    return load_text(text, source->path, source, ret_config, error);
}

enum sl_err sl_config_load(const struct sl_config_source *source, struct sl_config **ret_config,
                           struct sl_yaml_error *error)
{
    const char *path = find_file(source);
    struct sl_buf text = { 0 };
    enum sl_err err = SL_OK;

    if (path != NULL)
        err = read_file(path, &text, error);
    if (err == SL_OK)
        err = load_text(sl_buf_str(&text), path, source, ret_config, error);
    sl_buf_fini(&text);
    return err;
}

void sl_config_free(struct sl_config **config)
{
    struct sl_config *c = *config;

    if (c == NULL)
        return;
    *config = NULL;
    sl_ruleset_unref(&c->ruleset);
    sl_arena_fini(&c->arena);
    sl_free(c);
}
