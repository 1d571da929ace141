/* signer.c -- those who ask and wait: one at a time, over one socket.
 *
 * Invariants: lock is held from a question to its answer; is_silent while the last question has
 * none, which may still come.
 */
#include "tls/signer.h"

#include <errno.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tls/crypto_fault.h"
#include "tls/signer_internal.h"

/* Files are read, on a machine that may be busy. */
#define ANSWER_US 3000000u
/* Disks are slow to sync, and another process may be at it. */
#define MAKE_US 30000000u
#define LIVES 2 /* of signers, that one question may cost */
#define END_MS 2000

struct sl_signer {
    atomic_uint refs;
    pthread_mutex_t lock;
    int fd;
    pid_t keeper;
    int keeper_fd; /* its pidfd, or -1 */
    bool is_silent;
    struct sl_signer_message question, answer; /* the last */
};

struct sl_signer_key {
    struct sl_signer *signer;
    EVP_PKEY *public;
    uint8_t id[SL_SIGNER_KEY_ID];
    uint64_t life; /* of the signer that opened it */
    char path[];
};

/* -- life -- */

enum sl_err sl_signer_start(uint32_t rate, struct sl_signer **ret_signer, struct sl_fault *fault)
{
    struct sl_signer *s;
    int fds[2];
    pid_t keeper, parent = getpid();

    /* Ignored, as a parent may have left it, it would have children end unseen. */
    (void)signal(SIGCHLD, SIG_DFL);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return sl_fault_set(fault, SL_LIMIT, "no socket for the signer: %s", strerror(errno));
    keeper = fork();
    if (keeper == 0) {
        (void)close(fds[0]);
        sl_signer_keep(fds[1], rate, parent);
    }
    (void)close(fds[1]);
    if (keeper < 0) {
        (void)close(fds[0]);
        return sl_fault_set(fault, SL_LIMIT, "no process for the signer: %s", strerror(errno));
    }
    s = sl_zalloc(sizeof(*s));
    atomic_init(&s->refs, 1);
    (void)pthread_mutex_init(&s->lock, NULL);
    s->fd = fds[0];
    s->keeper = keeper;
    s->keeper_fd = pidfd_open(keeper, 0);
    *ret_signer = s;
    return SL_OK;
}

struct sl_signer *sl_signer_ref(struct sl_signer *signer)
{
    atomic_fetch_add_explicit(&signer->refs, 1, memory_order_relaxed);
    return signer;
}

/* It ends by itself when the socket is closed, and its signer with it, even one that hangs.  If it
 * hangs itself and is not ours to kill, it dies with this process. */
static void end_keeper(struct sl_signer *s)
{
    struct pollfd gone = { .fd = s->keeper_fd, .events = POLLIN };

    (void)kill(s->keeper, SIGKILL);
    while (s->keeper_fd >= 0 && poll(&gone, 1, END_MS) < 0 && errno == EINTR)
        continue;
    while (waitpid(s->keeper, NULL, s->keeper_fd >= 0 ? WNOHANG : 0) < 0 && errno == EINTR)
        continue;
    if (s->keeper_fd >= 0)
        (void)close(s->keeper_fd);
}

void sl_signer_unref(struct sl_signer **signer)
{
    struct sl_signer *s = *signer;

    *signer = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    (void)close(s->fd);
    end_keeper(s);
    (void)pthread_mutex_destroy(&s->lock);
    sl_free(s);
}

/* -- question and answer -- */

/* FULL: it has not read what it was told before, and was not asked. */
enum heard { ANSWERED, LOST, SILENT, FULL, GONE };

static int ms_until(uint64_t end_us)
{
    uint64_t now = sl_mono_us();

    return now < end_us ? (int)((end_us - now + 999) / 1000) : 0;
}

/* Answers that nobody waits for any more are passed over. */
static enum heard hear(struct sl_signer *s, uint64_t end_us)
{
    struct sl_signer_message *m = &s->answer;

    for (;;) {
        struct pollfd wanted = { .fd = s->fd, .events = POLLIN };
        int ready = poll(&wanted, 1, ms_until(end_us));
        ssize_t n;

        if (ready == 0)
            return SILENT;
        n = recv(s->fd, m, sizeof(*m), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (!sl_signer_is_whole(m, n))
            return GONE;
        if (m->number == 0)
            return LOST;
        if (m->number == s->question.number)
            return ANSWERED;
    }
}

static enum heard ask_once(struct sl_signer *s)
{
    if (send(s->fd, &s->question, sl_signer_size(&s->question), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return errno == EAGAIN ? FULL : GONE;
    return hear(s, sl_mono_us() + (s->question.op == SL_SIGNER_MAKE ? MAKE_US : ANSWER_US));
}

/* Deaths in the meantime were others' loss. */
static void forget_deaths(struct sl_signer *s)
{
    while (hear(s, 0) == LOST)
        continue;
}

static enum sl_err exchange(struct sl_signer *s, struct sl_fault *fault)
{
    enum heard heard = LOST;

    if (s->is_silent && hear(s, 0) == SILENT)
        return sl_fault_set(fault, SL_INTERNAL, "the signer does not answer");
    s->question.number++;
    forget_deaths(s);
    for (int lives = 0; heard == LOST && lives < LIVES; lives++)
        heard = ask_once(s);
    s->is_silent = heard == SILENT;
    if (heard == ANSWERED)
        return SL_OK;
    return sl_fault_set(fault, SL_INTERNAL,
                        heard == SILENT || heard == FULL ? "the signer does not answer"
                                                         : "the signer has died");
}

enum sl_err sl_signer_refusal(const struct sl_signer_message *answer, struct sl_fault *fault)
{
    enum sl_err err =
        answer->err != SL_OK && answer->err < SL_ERR_N ? (enum sl_err)answer->err : SL_INTERNAL;

    (void)sl_fault_set(fault, err, "%.*s", (int)answer->n, (const char *)answer->body);
    fault->os_errno = answer->os_errno;
    return err;
}

/* With the lock held.  What it answers is in s->answer. */
static enum sl_err ask(struct sl_signer *s, enum sl_signer_op op, struct sl_str body,
                       struct sl_fault *fault)
{
    struct sl_signer_message *q = &s->question;
    enum sl_err err;

    if (body.n >= sizeof(q->body))
        return sl_fault_set(fault, SL_LIMIT, "more than the signer takes: %zu bytes", body.n);
    q->op = op;
    q->n = (uint32_t)body.n;
    memcpy(q->body, body.p, body.n);
    err = exchange(s, fault);
    if (err != SL_OK || s->answer.err == SL_OK)
        return err;
    return sl_signer_refusal(&s->answer, fault);
}

/* -- what can be asked -- */

/* With the lock held. */
static enum sl_err ask_about(struct sl_signer *s, enum sl_signer_op op,
                             const struct sl_signer_paths *paths, struct sl_fault *fault)
{
    struct sl_buf body = { 0 };
    enum sl_err err;

    sl_buf_add(&body, paths->certificate, strlen(paths->certificate) + 1);
    sl_buf_add(&body, paths->key, strlen(paths->key) + 1);
    err = ask(s, op, sl_buf_str(&body), fault);
    sl_buf_fini(&body);
    return err;
}

/* Where the answer is no more than whether it was done. */
static enum sl_err order(struct sl_signer *s, enum sl_signer_op op,
                         const struct sl_signer_paths *paths, struct sl_fault *fault)
{
    enum sl_err err;

    (void)pthread_mutex_lock(&s->lock);
    err = ask_about(s, op, paths, fault);
    (void)pthread_mutex_unlock(&s->lock);
    return err;
}

enum sl_err sl_signer_make_ca(struct sl_signer *signer, const struct sl_signer_paths *paths,
                              struct sl_fault *fault)
{
    return order(signer, SL_SIGNER_MAKE, paths, fault);
}

enum sl_err sl_signer_seal(struct sl_signer *signer, const struct sl_signer_paths *paths,
                           struct sl_fault *fault)
{
    return order(signer, SL_SIGNER_SEAL, paths, fault);
}

static enum sl_err read_answer(struct sl_signer_key *key, const struct sl_signer_message *m,
                               struct sl_cert_chain *out, struct sl_fault *fault)
{
    const unsigned char *p = m->body, *end = p + m->n;

    key->public = d2i_PUBKEY(NULL, &p, end - p);
    memcpy(key->id, m->key_id, sizeof(key->id));
    key->life = m->life;
    if (key->public != NULL && sl_cert_chain_parse(sl_str_make(p, (size_t)(end - p)), out))
        return SL_OK;
    return sl_crypto_fault_set(fault, SL_INTERNAL, key->path);
}

enum sl_err sl_signer_open(struct sl_signer *signer, const struct sl_signer_paths *paths,
                           struct sl_cert_chain *out, struct sl_signer_key **ret_key,
                           struct sl_fault *fault)
{
    size_t n = strlen(paths->key) + 1;
    struct sl_signer_key *key = sl_zalloc(sizeof(*key) + n);
    enum sl_err err;

    memcpy(key->path, paths->key, n);
    key->signer = sl_signer_ref(signer);
    (void)pthread_mutex_lock(&signer->lock);
    err = ask_about(signer, SL_SIGNER_OPEN, paths, fault);
    if (err == SL_OK)
        err = read_answer(key, &signer->answer, out, fault);
    (void)pthread_mutex_unlock(&signer->lock);
    if (err != SL_OK)
        sl_signer_close(&key);
    *ret_key = key;
    return err;
}

/* Without waiting: it may be a loop that lets go of it.  A signer that cannot be told keeps it. */
static void tell_closed(const struct sl_signer_key *key)
{
    struct sl_signer_message m = { .op = SL_SIGNER_CLOSE, .life = key->life };

    memcpy(m.key_id, key->id, sizeof(key->id));
    (void)send(key->signer->fd, &m, sl_signer_size(&m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void sl_signer_close(struct sl_signer_key **key)
{
    struct sl_signer_key *k = *key;

    *key = NULL;
    if (k == NULL)
        return;
    if (k->public != NULL)
        tell_closed(k);
    EVP_PKEY_free(k->public);
    sl_signer_unref(&k->signer);
    sl_free(k);
}

EVP_PKEY *sl_signer_key_public(const struct sl_signer_key *key)
{
    return key->public;
}

struct sl_signer *sl_signer_of(const struct sl_signer_key *key)
{
    return key->signer;
}

int sl_signer_death_fd(const struct sl_signer *signer)
{
    return signer->keeper_fd;
}

/* -- for lines -- */

bool sl_signer_name_key(const struct sl_signer_key *key, struct sl_signer_message *m)
{
    size_t n = strlen(key->path) + 1;

    if (n >= sizeof(m->body))
        return false;
    memcpy(m->key_id, key->id, sizeof(key->id));
    memcpy(m->body, key->path, n);
    m->n = (uint32_t)n;
    return true;
}

enum sl_err sl_signer_join(struct sl_signer *signer, int fd)
{
    struct sl_signer_message question = { .op = SL_SIGNER_JOIN };
    struct iovec text = { &question, sl_signer_size(&question) };
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } rights = { .head = { .cmsg_level = SOL_SOCKET,
                           .cmsg_type = SCM_RIGHTS,
                           .cmsg_len = CMSG_LEN(sizeof(int)) } };
    struct msghdr m = {
        .msg_iov = &text, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights)
    };

    memcpy(CMSG_DATA(&rights.head), &fd, sizeof(fd));
    if (sendmsg(signer->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return SL_OK;
    return errno == EPIPE || errno == ECONNRESET ? SL_RESET : SL_AGAIN;
}
