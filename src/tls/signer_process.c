/* signer_process.c -- holds keys and signs.  A keeper waits for the process that does, and starts
 * another should it die. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tls/ca.h"
#include "tls/crypto_fault.h"
#include "tls/signer_internal.h"
#include "tls/signing_key.h"

/* Two are in use during a reload, and more only while old connections last. */
#define KEYS_MAX 64
/* A worker has one, and there are at most so many. */
#define LINES_MAX 1024
#define SECOND_US 1000000u
/* After one that lived for less than a second, before the next. */
#define PAUSE_MS 100
#define KEY_MEMORY ((size_t)256 * 1024)
#define KEY_MEMORY_UNIT 32

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
    uint64_t life; /* tells this process from the one before */
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

/* As find, or NULL with a fault; what is there already stays. */
static struct slot *read_in(struct keyring *ring, const char *path, struct sl_fault *fault)
{
    struct slot new = { 0 }, *slot;
    enum sl_err err = sl_signing_key_read(path, &new.key, fault);

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

static bool put_public(EVP_PKEY *key, struct sl_signer_message *m)
{
    int n = i2d_PUBKEY(key, NULL);
    unsigned char *p = m->body;

    if (n <= 0 || (size_t)n >= sizeof(m->body) || i2d_PUBKEY(key, &p) != n)
        return false;
    m->n = (uint32_t)n;
    return true;
}

static enum sl_err open_key(struct desk *d, struct sl_fault *fault)
{
    struct sl_signer_message *m = &d->message;
    struct slot *slot = read_in(&d->ring, (const char *)m->body, fault);

    if (slot == NULL)
        return fault->err;
    if (!put_public(sl_signing_key_pkey(slot->key), m))
        return sl_fault_set(fault, SL_CONFIG, "the key is too long");
    slot->n_holders++;
    m->life = d->life;
    memcpy(m->key_id, slot->id, sizeof(slot->id));
    return SL_OK;
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
static const struct slot *find_or_read(struct keyring *ring, const struct sl_signer_message *m,
                                       struct sl_fault *fault)
{
    const char *path = (const char *)m->body;
    const struct slot *slot = find(ring, m->key_id);

    if (slot != NULL)
        return slot;
    slot = read_in(ring, path, fault);
    if (slot == NULL || memcmp(slot->id, m->key_id, sizeof(slot->id)) == 0)
        return slot;
    (void)sl_fault_set(fault, SL_CONFIG, "%s: is another key by now; reload", path);
    return NULL;
}

static enum sl_err sign(struct desk *d, struct sl_fault *fault)
{
    struct sl_signer_message *m = &d->message;
    size_t named = strlen((const char *)m->body) + 1;
    const struct slot *slot;
    struct sl_signature signature;
    enum sl_err err;

    if (named > m->n)
        return sl_fault_set(fault, SL_INTERNAL, "a question without a text");
    if (!is_paid(&d->ring))
        return sl_fault_set(fault, SL_LIMIT, "over %u signatures a second", d->ring.rate);
    slot = find_or_read(&d->ring, m, fault);
    if (slot == NULL)
        return fault->err;
    err = sl_signing_key_sign(slot->key,
                              (struct sl_str){ (const char *)m->body + named, m->n - named },
                              &signature, fault);
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
    struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    const char *certificate = (const char *)d->message.body;
    const char *key = certificate + strlen(certificate) + 1;

    d->message.n = 0;
    return sl_ca_create(certificate, key, &conf, fault);
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
        [SL_SIGNER_OPEN] = open_key,
        [SL_SIGNER_SIGN] = sign,
        [SL_SIGNER_MAKE] = make,
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

/* Until the proxy, which has the other end of the first socket, has gone. */
static void serve(int fd, uint32_t rate)
{
    struct desk *d = sl_zalloc(sizeof(*d));
    int n;

    sl_random(&d->life, sizeof(d->life));
    d->ring.rate = rate;
    d->askers[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
    d->n_askers = 1;
    do
        n = poll(d->askers, d->n_askers, -1);
    while (n < 0 ? errno == EINTR : serve_ready(d));
    for (size_t i = 0; i < KEYS_MAX; i++)
        sl_signing_key_free(&d->ring.slots[i].key);
    sl_free(d);
}

/* -- life -- */

/* Whoever stops the proxy signals the whole group, or every process of the service, and the proxy
 * goes on to forge until it has drained: the end is that of its socket. */
static void ignore_signals(void)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE };

    for (size_t i = 0; i < SL_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
}

/* Under a limit it is allocations that would fail, later. */
static bool may_lock_all(void)
{
    struct rlimit locked = { 0 };
    bool is_able = geteuid() == 0 && prctl(PR_CAPBSET_READ, CAP_IPC_LOCK, 0, 0, 0) == 1;

    return is_able || (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY);
}

/* Where not all of the memory may be locked, private keys have a part that is. */
static void lock_memory(void)
{
    if (may_lock_all())
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    else
        (void)CRYPTO_secure_malloc_init(KEY_MEMORY, KEY_MEMORY_UNIT);
}

/* What the kernel or the limits of the system do not allow is done without.  The keeper as well as
 * the signer: who traces the one has the other. */
static void harden(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)prctl(PR_SET_NAME, "sluice-signer");
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Standard error stays, for those who look for the cause of a death. */
static int keep_only(int fd)
{
    int kept = STDERR_FILENO + 1, null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int standard = STDIN_FILENO; null >= 0 && standard < STDERR_FILENO; standard++)
        (void)dup2(null, standard);
    if (fd != kept && dup2(fd, kept) < 0)
        return fd;
    (void)close_range((unsigned)kept + 1, ~0u, 0);
    return kept;
}

/* One that finds no room is one of many, and they say the same. */
static void say_lost(int fd)
{
    const struct sl_signer_message m = { 0 };

    (void)send(fd, &m, sl_signer_size(&m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool is_deserted(int fd)
{
    struct pollfd proxy = { .fd = fd };

    return poll(&proxy, 1, 0) > 0 && (proxy.revents & POLLHUP) != 0;
}

/* Back when it has died.  Without room for a process there may be some later. */
static void live_once(int fd, uint32_t rate)
{
    pid_t pid = fork();

    if (pid == 0) {
        harden();
        lock_memory();
        serve(fd, rate);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

_Noreturn void sl_signer_process(int fd, uint32_t rate, pid_t parent)
{
    static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };

    ignore_signals();
    harden();
    fd = keep_only(fd);
    while (getppid() == parent && !is_deserted(fd)) {
        uint64_t start_us = sl_mono_us();

        live_once(fd, rate);
        say_lost(fd);
        if (sl_mono_us() - start_us < SECOND_US)
            (void)nanosleep(&pause, NULL);
    }
    _exit(0);
}
