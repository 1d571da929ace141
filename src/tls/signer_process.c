/* signer_process.c -- holds keys and signs.  A keeper waits for the process that does, and starts
 * another should it die. */
#include <errno.h>
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
#include <unistd.h>

#include "base/clock.h"
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

static enum sl_err close_key(struct desk *d, struct sl_fault *fault)
{
    struct slot *slot = find(&d->ring, d->message.key_id);

    (void)fault;
    d->message.n = 0;
    /* Another's may be among those that a signer before this one opened; it is read again. */
    if (slot != NULL && (slot->n_holders == 0 || --slot->n_holders == 0))
        sl_signing_key_free(&slot->key);
    return SL_OK;
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
        [SL_SIGNER_CLOSE] = close_key,
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

/* A line that finds no place is closed, and its questions fail. */
static void take_in(struct desk *d)
{
    if (d->n_askers == SL_LEN(d->askers))
        (void)close(d->joining);
    else
        d->askers[d->n_askers++] = (struct pollfd){ .fd = d->joining, .events = POLLIN };
}

/* False when the asker has gone, or says what nobody understands. */
static bool serve_one(struct desk *d, int fd)
{
    ssize_t n = receive(d, fd);
    bool is_whole = n > 0 && sl_signer_is_whole(&d->message, n) && d->message.op < SL_SIGNER_OPS;

    if (is_whole && (d->joining >= 0) == (d->message.op == SL_SIGNER_JOIN)) {
        if (d->message.op == SL_SIGNER_JOIN) {
            take_in(d);
            return true;
        }
        answer(d);
        return send(fd, &d->message, sl_signer_size(&d->message), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    }
    if (d->joining >= 0)
        (void)close(d->joining);
    return false;
}

/* From the last, since one that leaves has the last in its place. */
static bool serve_ready(struct desk *d)
{
    for (nfds_t i = d->n_askers; i-- > 0;) {
        if (d->askers[i].revents == 0 || serve_one(d, d->askers[i].fd))
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
static bool may_lock(void)
{
    struct rlimit locked = { 0 };

    return geteuid() == 0 ||
           (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY);
}

/* What the kernel or the limits of the system do not allow is done without. */
static void harden(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)prctl(PR_SET_NAME, "sluice-signer");
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (may_lock())
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/* Standard error stays, for those who look for the cause of a death. */
static int keep_only(int fd)
{
    int kept = STDERR_FILENO + 1;

    if (fd != kept && dup2(fd, kept) < 0)
        return fd;
    (void)close_range((unsigned)kept + 1, ~0u, 0);
    return kept;
}

static void say_lost(int fd)
{
    const struct sl_signer_message m = { 0 };

    (void)send(fd, &m, sl_signer_size(&m), MSG_NOSIGNAL);
}

_Noreturn void sl_signer_process(int fd, uint32_t rate)
{
    int status = 0;

    ignore_signals();
    fd = keep_only(fd);
    for (;;) {
        pid_t pid = fork();

        if (pid == 0) {
            harden();
            serve(fd, rate);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || WIFEXITED(status))
            _exit(pid < 0);
        say_lost(fd);
    }
}
