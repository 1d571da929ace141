/* host_set.c -- state: filled by load, then constant.
 *
 * All keys lie behind each other in one block: a byte of kinds, a byte of length, the key.  A name
 * is its own key; a network is a zero byte, its prefix length and its 16 bytes, so that no name
 * equals a network.  The table holds offsets into the block, 0 for an empty slot, beside 32 bits of
 * the hash that spare most comparisons.  It is sized by the number of lines before the first key
 * goes in, hence never grows and never has fewer than a quarter of its slots empty.
 */
#include "policy/host_set.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/mem.h"
#include "policy/host_pattern.h"

#define MIN_SLOTS 16
#define NET_KEY_LEN 18
/* How many lines share scratch memory before it is given back. */
#define SCRATCH_LINES 1024

struct slot {
    uint32_t tag;
    uint32_t at;
};

struct sl_host_set {
    struct slot *slots;
    size_t n_slots; /* a power of two */
    char *keys;
    size_t keys_len, keys_cap;
    size_t n;
    uint64_t prefixes[3]; /* bit set of prefix lengths 0..128 in use */
};

struct loader {
    struct sl_host_set *set;
    const char *name;
    struct sl_fault *fault;
    struct sl_arena scratch;
    size_t line;
};

/* The slot of the key, or the empty one where it belongs. */
static struct slot *probe(const struct sl_host_set *set, struct sl_str key, uint32_t *ret_tag)
{
    uint64_t hash = sl_hash(key);
    size_t mask = set->n_slots - 1;
    size_t i = (size_t)hash & mask;

    *ret_tag = (uint32_t)(hash >> 32);
    for (;; i = (i + 1) & mask) {
        struct slot *slot = &set->slots[i];
        const char *entry = set->keys + slot->at;

        if (slot->at == 0)
            return slot;
        if (slot->tag == *ret_tag && (uint8_t)entry[1] == key.n &&
            memcmp(entry + 2, key.p, key.n) == 0)
            return slot;
    }
}

static void append_key(struct sl_host_set *set, struct sl_str key, enum sl_host_kind kind)
{
    size_t need = set->keys_len + 2 + key.n;

    if (need > set->keys_cap) {
        set->keys_cap = need + need / 2;
        set->keys = sl_realloc(set->keys, set->keys_cap);
    }
    set->keys[set->keys_len] = (char)kind;
    set->keys[set->keys_len + 1] = (char)key.n;
    memcpy(set->keys + set->keys_len + 2, key.p, key.n);
    set->keys_len = need;
}

static void add_key(struct sl_host_set *set, struct sl_str key, enum sl_host_kind kind)
{
    uint32_t tag;
    struct slot *slot = probe(set, key, &tag);

    if (slot->at != 0) {
        set->keys[slot->at] = (char)(set->keys[slot->at] | (char)kind);
        return;
    }
    *slot = (struct slot){ .tag = tag, .at = (uint32_t)set->keys_len };
    append_key(set, key, kind);
    set->n++;
}

static bool has_key(const struct sl_host_set *set, struct sl_str key, enum sl_host_kind kind)
{
    uint32_t tag;
    const struct slot *slot = probe(set, key, &tag);

    return slot->at != 0 && ((unsigned)set->keys[slot->at] & (unsigned)kind) != 0;
}

static struct sl_str net_key(const struct sl_cidr *net, char key[NET_KEY_LEN])
{
    key[0] = 0;
    key[1] = (char)net->bits;
    memcpy(key + 2, net->bytes, 16);
    return sl_str_make(key, NET_KEY_LEN);
}

static void add_pattern(struct sl_host_set *set, const struct sl_host_pattern *p)
{
    char key[NET_KEY_LEN];

    if (p->kind != SL_HOST_NET) {
        add_key(set, p->name, p->kind);
        return;
    }
    set->prefixes[p->net.bits / 64] |= (uint64_t)1 << (p->net.bits % 64);
    add_key(set, net_key(&p->net, key), SL_HOST_NET);
}

/* A '#' within a word is no comment: no host has one, so it is an error worth naming. */
static struct sl_str cut_comment(struct sl_str line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
            return sl_str_head(line, i);
    }
    return line;
}

static enum sl_err line_fault(const struct loader *l, size_t column, struct sl_str found)
{
    char shown[40];
    size_t n = 0;

    for (; n < found.n && n < sizeof(shown) - 1; n++)
        shown[n] = found.p[n] >= ' ' && found.p[n] <= '~' ? found.p[n] : '?';
    shown[n] = '\0';
    return sl_fault_set(l->fault, SL_CONFIG,
                        "%.72s:%zu:%zu: `%s` is not a name, *.name, .name, address or CIDR",
                        l->name, l->line, column, shown);
}

static enum sl_err add_line(struct loader *l, struct sl_str line)
{
    struct sl_host_pattern pattern;
    struct sl_str text;

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line = sl_str_head(line, line.n - 1);
    text = sl_str_trim(cut_comment(line));
    if (text.n == 0)
        return SL_OK;
    if (!sl_host_pattern_parse(text, &l->scratch, &pattern))
        return line_fault(l, (size_t)(text.p - line.p) + 1, text);
    add_pattern(l->set, &pattern);
    if (l->line % SCRATCH_LINES == 0)
        sl_arena_fini(&l->scratch);
    return SL_OK;
}

static enum sl_err add_lines(struct loader *l, struct sl_str rest)
{
    while (rest.n > 0) {
        size_t n = sl_str_find(rest, '\n');
        enum sl_err err;

        l->line++;
        err = add_line(l, sl_str_head(rest, n));
        if (err != SL_OK)
            return err;
        rest = sl_str_skip(rest, n < rest.n ? n + 1 : n);
    }
    return SL_OK;
}

static size_t count_lines(struct sl_str text)
{
    size_t n = 1;

    for (const char *p = text.p, *end = text.p + text.n; p < end; n++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (p == NULL)
            break;
        p++;
    }
    return n;
}

static struct sl_host_set *set_new(size_t n_lines, size_t n_bytes)
{
    struct sl_host_set *set = sl_zalloc(sizeof(*set));

    set->n_slots = MIN_SLOTS;
    while (set->n_slots / 4 * 3 < n_lines)
        set->n_slots *= 2;
    set->slots = sl_zalloc(set->n_slots * sizeof(*set->slots));
    set->keys_cap = n_bytes + n_lines + 2;
    set->keys = sl_alloc(set->keys_cap);
    set->keys_len = 1;
    return set;
}

void sl_host_set_free(struct sl_host_set **set)
{
    if (*set == NULL)
        return;
    sl_free((*set)->slots);
    sl_free((*set)->keys);
    sl_free(*set);
    *set = NULL;
}

enum sl_err sl_host_set_parse(struct sl_str text, const char *name, struct sl_host_set **ret,
                              struct sl_fault *fault)
{
    struct loader l = { .name = name, .fault = fault };
    enum sl_err err;

    if (text.n > SL_HOST_SET_MAX_BYTES)
        return sl_fault_set(fault, SL_LIMIT, "%.100s: larger than 256 MiB", name);
    l.set = set_new(count_lines(text), text.n);
    err = add_lines(&l, text);
    sl_arena_fini(&l.scratch);
    if (err != SL_OK) {
        sl_host_set_free(&l.set);
        return err;
    }
    l.set->keys_cap = l.set->keys_len;
    l.set->keys = sl_realloc(l.set->keys, l.set->keys_cap);
    *ret = l.set;
    return SL_OK;
}

/* Reads until the end or @a cap bytes; a file may shrink or grow under us. */
static bool read_all(int fd, char *p, size_t cap, size_t *ret_n)
{
    size_t n = 0;

    while (n < cap) {
        ssize_t got = read(fd, p + n, cap - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret_n = n;
    return true;
}

static enum sl_err load_fd(int fd, const char *path, struct sl_host_set **ret,
                           struct sl_fault *fault)
{
    struct stat st;
    enum sl_err err;
    size_t n;
    char *text;

    if (fstat(fd, &st) != 0)
        return sl_fault_errno(fault, errno, path);
    if (!S_ISREG(st.st_mode))
        return sl_fault_set(fault, SL_CONFIG, "%.100s: not a regular file", path);
    if ((uint64_t)st.st_size > SL_HOST_SET_MAX_BYTES)
        return sl_fault_set(fault, SL_LIMIT, "%.100s: larger than 256 MiB", path);
    text = sl_alloc((size_t)st.st_size + 1);
    if (read_all(fd, text, (size_t)st.st_size, &n))
        err = sl_host_set_parse(sl_str_make(text, n), path, ret, fault);
    else
        err = sl_fault_errno(fault, errno, path);
    sl_free(text);
    return err;
}

enum sl_err sl_host_set_load(const char *path, struct sl_host_set **ret, struct sl_fault *fault)
{
    /* O_NONBLOCK: opening a FIFO must not hang before it can be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum sl_err err;

    if (fd < 0)
        return sl_fault_errno(fault, errno, path);
    err = load_fd(fd, path, ret, fault);
    close(fd);
    return err;
}

static bool match_name(const struct sl_host_set *set, struct sl_str host)
{
    struct sl_str rest = host;

    if (has_key(set, host, SL_HOST_NAME))
        return true;
    for (;;) {
        size_t dot = sl_str_find(rest, '.');

        if (dot == rest.n)
            return false;
        rest = sl_str_skip(rest, dot + 1);
        if (has_key(set, rest, SL_HOST_BELOW))
            return true;
    }
}

/* Keeps the first @a bits bits. */
static void mask_net(struct sl_cidr *net, uint8_t bits)
{
    net->bits = bits;
    if (bits % 8 != 0)
        net->bytes[bits / 8] &= (uint8_t)(0xff00u >> (bits % 8));
    for (size_t i = (bits + 7u) / 8u; i < sizeof(net->bytes); i++)
        net->bytes[i] = 0;
}

/* From the longest prefix to the shortest, so that one copy is masked ever further.  As in
 * sl_cidr_has(), ::/0 says nothing about IPv4. */
static bool match_net(const struct sl_host_set *set, struct sl_cidr net)
{
    unsigned least = sl_host_net_is_v4(&net) ? 96 : 0;
    char key[NET_KEY_LEN];

    for (unsigned bits = 129; bits-- > least;) {
        if ((set->prefixes[bits / 64] >> (bits % 64) & 1) == 0)
            continue;
        mask_net(&net, (uint8_t)bits);
        if (has_key(set, net_key(&net, key), SL_HOST_NET))
            return true;
    }
    return false;
}

bool sl_host_set_match(const struct sl_host_set *set, struct sl_str host)
{
    bool has_nets = (set->prefixes[0] | set->prefixes[1] | set->prefixes[2]) != 0;
    struct sl_cidr net;

    if (has_nets && sl_cidr_parse(host, &net))
        return match_net(set, net);
    return match_name(set, host);
}

size_t sl_host_set_len(const struct sl_host_set *set)
{
    return set->n;
}

size_t sl_host_set_bytes(const struct sl_host_set *set)
{
    return sizeof(*set) + set->n_slots * sizeof(*set->slots) + set->keys_cap;
}
