/* signer_process.c -- holds keys and signs, until the proxy has gone. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tls/ca.h"
#include "tls/cert_chain.h"
#include "tls/crypto_fault.h"
#include "tls/leaf_shape.h"
#include "tls/signer_internal.h"
#include "tls/signing_key.h"

/* Two are in use during a reload, and more only while old connections last. */
#define KEYS_MAX 64
/* A worker has one, and there are at most so many. */
#define LINES_MAX 1024
#define SECOND_US 1000000u

struct slot {
    struct sl_signing_key *key; /* NULL: free */
    unsigned n_holders;
    uint8_t id[SL_SIGNER_KEY_ID];
};

struct keyring {
    struct slot slots[KEYS_MAX];
    uint32_t rate;    /* of signatures a second */
    uint64_t paid_us; /* signatures are paid for up to here */
};

struct desk {
    struct keyring ring;
    struct sl_signer_bounds *bounds; /* shared with the keeper */
    uint64_t life;                   /* tells this process from the one before */
    nfds_t n_askers;
    struct pollfd askers[1 + LINES_MAX]; /* first those who wait, then lines */
    struct sl_signer_message message;    /* the question, and in its place the answer */
    int joining;                         /* the socket that came with it, or -1 */
};

/* -- what is asked -- */

static struct slot *find(struct keyring *ring, const uint8_t id[SL_SIGNER_KEY_ID])
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (ring->slots[i].key != NULL && memcmp(ring->slots[i].id, id, SL_SIGNER_KEY_ID) == 0)
            return &ring->slots[i];
    return NULL;
}

static struct slot *find_free(struct keyring *ring)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (ring->slots[i].key == NULL)
            return &ring->slots[i];
    return NULL;
}

static enum sl_err identify(const struct sl_signing_key *key, uint8_t id[SL_SIGNER_KEY_ID],
                            struct sl_fault *fault)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(sl_signing_key_pkey(key), &der);
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, id, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    return ok ? SL_OK : sl_crypto_fault_set(fault, SL_INTERNAL, "the key's name");
}

static bool may_read(const struct sl_signer_bounds *bounds, const char *path,
                     struct sl_fault *fault)
{
    bool may = !bounds->is_sealed;

    for (size_t i = 0; i < SL_LEN(bounds->paths) && !may; i++)
        may = strcmp(path, bounds->paths[i]) == 0;
    if (!may)
        (void)sl_fault_set(fault, SL_CONFIG,
                           "%s: the authority is read from the files of the start; restart to "
                           "read it from others",
                           path);
    return may;
}

/* As find, or NULL with a fault; what is there already stays. */
static struct slot *read_in(struct desk *d, const char *path, struct sl_fault *fault)
{
    struct keyring *ring = &d->ring;
    struct slot new = { 0 }, *slot;
    enum sl_err err;

    if (!may_read(d->bounds, path, fault))
        return NULL;
    err = sl_signing_key_read(path, &new.key, fault);
    if (err == SL_OK)
        err = identify(new.key, new.id, fault);
    if (err != SL_OK) {
        sl_signing_key_free(&new.key);
        return NULL;
    }
    slot = find(ring, new.id);
    if (slot == NULL && (slot = find_free(ring)) != NULL) {
        *slot = new;
        return slot;
    }
    sl_signing_key_free(&new.key);
    if (slot == NULL)
        (void)sl_fault_set(fault, SL_LIMIT, "the signer holds %d keys", KEYS_MAX);
    return slot;
}

static const char *certificate_path(const struct sl_signer_message *m)
{
    return (const char *)m->body;
}

static const char *key_path(const struct sl_signer_message *m)
{
    return certificate_path(m) + strlen(certificate_path(m)) + 1;
}

/* The paths have made room for it. */
static bool put_answer(EVP_PKEY *key, const struct sl_cert_chain *chain,
                       struct sl_signer_message *m)
{
    int n_key = i2d_PUBKEY(key, NULL);
    unsigned char *p = m->body;
    size_t room = sizeof(m->body) - 1, n_certs;

    if (n_key <= 0 || (size_t)n_key > room || i2d_PUBKEY(key, &p) != n_key ||
        !sl_cert_chain_write(chain, p, room - (size_t)n_key, &n_certs))
        return false;
    m->n = (uint32_t)((size_t)n_key + n_certs);
    return true;
}

static enum sl_err open_key(struct desk *d, const struct sl_cert_chain *chain,
                            struct sl_fault *fault)
{
    struct sl_signer_message *m = &d->message;
    struct slot *slot = read_in(d, key_path(m), fault);

    if (slot == NULL)
        return fault->err;
    if (!put_answer(sl_signing_key_pkey(slot->key), chain, m))
        return sl_fault_set(fault, SL_CONFIG, "key and certificates are too long");
    slot->n_holders++;
    m->life = d->life;
    memcpy(m->key_id, slot->id, sizeof(slot->id));
    return SL_OK;
}

static enum sl_err open_both(struct desk *d, struct sl_fault *fault)
{
    const char *path = certificate_path(&d->message);
    struct sl_cert_chain chain = { 0 };
    enum sl_err err;

    if (!may_read(d->bounds, path, fault))
        return fault->err;
    err = sl_cert_chain_read(path, &chain, fault);
    if (err == SL_OK)
        err = open_key(d, &chain, fault);
    sl_cert_chain_fini(&chain);
    return err;
}

/* A second's worth may be asked for at once. */
static bool is_paid(struct keyring *ring)
{
    uint64_t now = sl_mono_us();

    if (ring->paid_us + SECOND_US < now)
        ring->paid_us = now - SECOND_US;
    if (ring->paid_us > now)
        return false;
    ring->paid_us += SECOND_US / ring->rate;
    return true;
}

/* A signer that took another's place reads what that one held; the file may have changed since, the
 * certificate has not. */
static const struct slot *find_or_read(struct desk *d, struct sl_fault *fault)
{
    const struct sl_signer_message *m = &d->message;
    const char *path = (const char *)m->body;
    const struct slot *slot = find(&d->ring, m->key_id);

    if (slot != NULL)
        return slot;
    slot = read_in(d, path, fault);
    if (slot == NULL || memcmp(slot->id, m->key_id, sizeof(slot->id)) == 0)
        return slot;
    (void)sl_fault_set(fault, SL_CONFIG, "%s: is another key by now; reload", path);
    return NULL;
}

static enum sl_err sign(struct desk *d, struct sl_fault *fault)
{
    struct sl_signer_message *m = &d->message;
    size_t named = strlen((const char *)m->body) + 1;
    struct sl_str text = { (const char *)m->body + named, m->n - named };
    const struct slot *slot;
    struct sl_signature signature;
    enum sl_err err;

    if (named > m->n)
        return sl_fault_set(fault, SL_INTERNAL, "a question without a text");
    if (!is_paid(&d->ring))
        return sl_fault_set(fault, SL_LIMIT, "over %u signatures a second", d->ring.rate);
    err = sl_leaf_check_shape(text, (int64_t)time(NULL), fault);
    if (err != SL_OK)
        return err;
    slot = find_or_read(d, fault);
    if (slot == NULL)
        return fault->err;
    err = sl_signing_key_sign(slot->key, text, &signature, fault);
    if (err != SL_OK)
        return err;
    m->n = (uint32_t)signature.n;
    memcpy(m->body, signature.bytes, signature.n);
    return SL_OK;
}

/* What another signer opened was read here because it was asked for, and may be again. */
static void close_key(struct desk *d)
{
    struct slot *slot = find(&d->ring, d->message.key_id);

    if (slot != NULL && d->message.life == d->life && --slot->n_holders == 0)
        sl_signing_key_free(&slot->key);
}

static enum sl_err make(struct desk *d, struct sl_fault *fault)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_signer_message *m = &d->message;

    if (d->bounds->is_sealed)
        return sl_fault_set(fault, SL_CONFIG, "an authority is made at the start alone");
    m->n = 0;
    return sl_ca_create(certificate_path(m), key_path(m), &conf, fault);
}

static enum sl_err seal(struct desk *d, struct sl_fault *fault)
{
    struct sl_signer_message *m = &d->message;
    struct sl_signer_bounds *b = d->bounds;
    const char *const paths[] = { certificate_path(m), key_path(m) };

    if (b->is_sealed)
        return sl_fault_set(fault, SL_INTERNAL, "the signer is sealed already");
    for (size_t i = 0; i < SL_LEN(paths); i++)
        if ((size_t)snprintf(b->paths[i], sizeof(b->paths[i]), "%s", paths[i]) >=
            sizeof(b->paths[i]))
            return sl_fault_set(fault, SL_CONFIG, "%s: path too long", paths[i]);
    b->is_sealed = true;
    m->n = 0;
    return SL_OK;
}

/* -- questions and answers -- */

/* The descriptor that came with a message, or -1. */
static int received_fd(struct msghdr *m)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;

    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

static ssize_t receive(struct desk *d, int fd)
{
    struct iovec text = { &d->message, sizeof(d->message) };
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } rights;
    struct msghdr m = {
        .msg_iov = &text, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights)
    };
    ssize_t n;

    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    d->joining = n > 0 ? received_fd(&m) : -1;
    return n;
}

static void answer(struct desk *d)
{
    static enum sl_err (*const acts[SL_SIGNER_OPS])(struct desk *, struct sl_fault *) = {
        [SL_SIGNER_OPEN] = open_both,
        [SL_SIGNER_SIGN] = sign,
        [SL_SIGNER_MAKE] = make,
        [SL_SIGNER_SEAL] = seal,
    };
    struct sl_signer_message *m = &d->message;
    struct sl_fault fault = { 0 };

    /* Paths end, whatever is asked. */
    memset(m->body + m->n, 0, m->n + 1 < sizeof(m->body) ? 2 : 1);
    m->err = acts[m->op](d, &fault);
    m->os_errno = fault.os_errno;
    if (m->err == SL_OK)
        return;
    m->n = (uint32_t)strlen(fault.text);
    memcpy(m->body, fault.text, m->n);
}

/* A line that finds no place is closed, as is one for which there was no descriptor left: it will
 * be asked for again. */
static void take_in(struct desk *d)
{
    if (d->joining < 0)
        return;
    if (d->n_askers == SL_LEN(d->askers))
        (void)close(d->joining);
    else
        d->askers[d->n_askers++] = (struct pollfd){ .fd = d->joining, .events = POLLIN };
    d->joining = -1;
}

/* False when the answer could not be sent. */
static bool act(struct desk *d, int fd)
{
    switch (d->message.op) {
    case SL_SIGNER_JOIN:
        take_in(d);
        return true;
    case SL_SIGNER_CLOSE:
        close_key(d);
        return true;
    default:
        answer(d);
        return send(fd, &d->message, sl_signer_size(&d->message), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    }
}

/* False when the asker has gone, or asks what it may not. */
static bool serve_one(struct desk *d, nfds_t asker)
{
    int fd = d->askers[asker].fd;
    ssize_t n = receive(d, fd);
    bool is_whole = n > 0 && sl_signer_is_whole(&d->message, n) && d->message.op < SL_SIGNER_OPS;
    bool is_served = is_whole && (asker == 0 || d->message.op == SL_SIGNER_SIGN) && act(d, fd);

    if (d->joining >= 0)
        (void)close(d->joining);
    return is_served;
}

/* From the last, since one that leaves has the last in its place. */
static bool serve_ready(struct desk *d)
{
    for (nfds_t i = d->n_askers; i-- > 0;) {
        if (d->askers[i].revents == 0 || serve_one(d, i))
            continue;
        if (i == 0)
            return false;
        (void)close(d->askers[i].fd);
        d->askers[i] = d->askers[--d->n_askers];
    }
    return true;
}

void sl_signer_serve(int fd, uint32_t rate, struct sl_signer_bounds *bounds)
{
    struct desk *d = sl_zalloc(sizeof(*d));
    int n;

    sl_random(&d->life, sizeof(d->life));
    d->ring.rate = rate;
    d->bounds = bounds;
    d->askers[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
    d->n_askers = 1;
    do
        n = poll(d->askers, d->n_askers, -1);
    while (n < 0 ? errno == EINTR : serve_ready(d));
    for (size_t i = 0; i < KEYS_MAX; i++)
        sl_signing_key_free(&d->ring.slots[i].key);
    sl_free(d);
}
