/* tls_stream.c -- one SSL between two streams; handshake steps first, then records.
 *
 * Each direction waits for an event of the stream below (read_waits, write_waits: 0 while its last
 * call got on) and ends once (read_end, write_end: SL_OK while open).  held is not 0 while a writev
 * that answered SL_AGAIN has a sealed record in the library: the next one must offer its bytes
 * again.  Nothing is touched after the owner was told of readiness: it may have closed the stream.
 */
#include "tls/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/stream.h"
#include "tls/tls_internal.h"

struct sl_tls_stream {
    struct sl_stream s;
    struct sl_loop *loop;
    struct sl_stream *lower;
    SSL *ssl;
    struct sl_buf preface; /* bytes read before there was an SSL */
    char *session_key;
    struct sl_task wake; /* reports what the library has without the kernel */
    size_t held;
    unsigned wanted, wanted_below;
    unsigned read_waits, write_waits;
    enum sl_err lower_end; /* how the last call below ended, if it ended anything */
    enum sl_err read_end, write_end;
};

static struct sl_tls_stream *of(struct sl_stream *s)
{
    return SL_CONTAINER(s, struct sl_tls_stream, s);
}

/* -- the library's view of the stream below -- */

static int lower_result(struct sl_tls_stream *t, enum sl_err err, size_t n)
{
    if (err == SL_OK)
        return (int)n;
    if (err != SL_AGAIN)
        t->lower_end = err;
    return err == SL_EOF ? 0 : -1;
}

static int bio_read(BIO *bio, char *p, int cap)
{
    struct sl_tls_stream *t = BIO_get_data(bio);
    size_t n = 0;
    enum sl_err err;

    BIO_clear_retry_flags(bio);
    if (cap <= 0)
        return 0;
    if (t->preface.len > 0) {
        n = t->preface.len < (size_t)cap ? t->preface.len : (size_t)cap;
        memcpy(p, sl_buf_str(&t->preface).p, n);
        sl_buf_consume(&t->preface, n);
        if (t->preface.len == 0)
            sl_buf_fini(&t->preface);
        return (int)n;
    }
    err = sl_stream_read(t->lower, p, (size_t)cap, &n);
    if (err == SL_AGAIN)
        BIO_set_retry_read(bio);
    return lower_result(t, err, n);
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct sl_tls_stream *t = BIO_get_data(bio);
    size_t taken = 0;
    enum sl_err err;

    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    err = sl_stream_write(t->lower, p, (size_t)n, &taken);
    if (err == SL_AGAIN)
        BIO_set_retry_write(bio);
    return lower_result(t, err, taken);
}

static long bio_ctrl(BIO *bio, int cmd, long n, void *p)
{
    (void)bio;
    (void)n;
    (void)p;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sl_stream");
    sl_mem_need(method != NULL);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static void attach_bio(struct sl_tls_stream *t)
{
    BIO *bio;

    pthread_once(&method_once, make_method);
    bio = BIO_new(method);
    sl_mem_need(bio != NULL);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
}

/* -- readiness -- */

/* Bytes that were read ahead and perhaps make a record are tried once; when they do not, read_waits
 * says so. */
static bool is_readable_now(const struct sl_tls_stream *t)
{
    if (t->read_end != SL_OK || SSL_pending(t->ssl) > 0)
        return true;
    return t->read_waits == 0 && (t->preface.len > 0 || SSL_has_pending(t->ssl) == 1);
}

static void update(struct sl_tls_stream *t)
{
    unsigned below = 0;

    if ((t->wanted & SL_READABLE) != 0)
        below |= t->read_waits != 0 ? t->read_waits : SL_READABLE;
    if ((t->wanted & SL_WRITABLE) != 0)
        below |= t->write_waits != 0 ? t->write_waits : SL_WRITABLE;
    if (below != t->wanted_below) {
        t->wanted_below = below;
        sl_stream_want(t->lower, below);
    }
    if ((t->wanted & SL_READABLE) != 0 && is_readable_now(t))
        sl_task_post(t->loop, &t->wake);
}

static void on_lower_ready(void *arg, unsigned events)
{
    struct sl_tls_stream *t = arg;
    unsigned for_read = t->read_waits != 0 ? t->read_waits : SL_READABLE;
    unsigned for_write = t->write_waits != 0 ? t->write_waits : SL_WRITABLE;
    unsigned ready = 0;

    if ((events & for_read) != 0)
        ready |= SL_READABLE;
    if ((events & for_write) != 0)
        ready |= SL_WRITABLE;
    ready &= t->wanted;
    if (ready != 0)
        t->s.on_ready(t->s.arg, ready);
}

static void on_wake(void *arg)
{
    struct sl_tls_stream *t = arg;

    if ((t->wanted & SL_READABLE) == 0 || !is_readable_now(t))
        return;
    sl_task_post_next(t->loop, &t->wake);
    t->s.on_ready(t->s.arg, SL_READABLE);
}

/* -- outcomes -- */

static enum sl_err cut_short(struct sl_tls_stream *t)
{
    if (t->lower_end != SL_EOF) {
        t->s.fault = t->lower->fault;
        return t->lower_end;
    }
    /* Not an error for HTTP that said how long it is, but never the same as an end. */
    (void)sl_fault_set(&t->s.fault, SL_RESET, "closed without close_notify");
    return SL_EOF;
}

/* What a call into the library that did not succeed means. */
static enum sl_err outcome(struct sl_tls_stream *t, int ret, unsigned *ret_waits)
{
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        *ret_waits = SL_READABLE;
        return SL_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        *ret_waits = SL_WRITABLE;
        return SL_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return SL_EOF;
    case SSL_ERROR_SYSCALL:
        if (t->lower_end != SL_OK)
            return cut_short(t);
        break;
    default:
        break;
    }
    return sl_tls_fault_set(&t->s.fault, t->ssl);
}

enum sl_err sl_tls_stream_handshake(struct sl_stream *s)
{
    struct sl_tls_stream *t = of(s);
    enum sl_err err = t->s.fault.err;
    int ret;

    if (err != SL_OK)
        return err;
    ERR_clear_error();
    ret = SSL_do_handshake(t->ssl);
    t->read_waits = 0;
    if (ret != 1)
        err = outcome(t, ret, &t->read_waits);
    t->wanted = err == SL_AGAIN ? SL_READABLE : 0;
    if (err == SL_EOF)
        err = sl_fault_set(&t->s.fault, SL_RESET, "closed during the TLS handshake");
    if (err == SL_OK || err == SL_AGAIN)
        update(t);
    return err;
}

/* -- the stream's operations -- */

static void end_read(struct sl_tls_stream *t, enum sl_err err)
{
    t->read_end = err;
    if (err != SL_EOF)
        t->write_end = err;
}

static enum sl_err read_record(struct sl_tls_stream *t, char *p, size_t cap, size_t *ret_n)
{
    enum sl_err err;
    int ret;

    ERR_clear_error();
    ret = SSL_read_ex(t->ssl, p, cap, ret_n);
    t->read_waits = 0;
    if (ret == 1)
        return SL_OK;
    err = outcome(t, ret, &t->read_waits);
    if (err != SL_AGAIN)
        end_read(t, err);
    return err;
}

/* Small records that arrived together leave together: it saves their reader a write for each. */
static enum sl_err tls_read(struct sl_stream *s, void *buf, size_t cap, size_t *ret_n)
{
    struct sl_tls_stream *t = of(s);
    enum sl_err err = t->read_end;
    size_t total = 0, n = 0;

    while (err == SL_OK && total < cap && (total == 0 || is_readable_now(t))) {
        err = read_record(t, (char *)buf + total, cap - total, &n);
        if (err == SL_OK)
            total += n;
    }
    update(t);
    if (total == 0)
        return err;
    *ret_n = total;
    return SL_OK;
}

static size_t total_len(const struct iovec *iov, int n_iov)
{
    size_t total = 0;

    for (int i = 0; i < n_iov; i++)
        total += iov[i].iov_len;
    return total;
}

static void gather(char *to, size_t len, const struct iovec *iov)
{
    for (size_t n; len > 0; len -= n, to += n, iov++) {
        n = iov->iov_len < len ? iov->iov_len : len;
        memcpy(to, iov->iov_base, n);
    }
}

static enum sl_err write_record(struct sl_tls_stream *t, const void *p, size_t len, size_t *ret_n)
{
    enum sl_err err = SL_OK;
    int ret;

    ERR_clear_error();
    ret = SSL_write_ex(t->ssl, p, len, ret_n);
    t->write_waits = 0;
    if (ret != 1)
        err = outcome(t, ret, &t->write_waits);
    t->held = err == SL_AGAIN ? len : 0;
    if (err != SL_OK && err != SL_AGAIN)
        t->write_end = err;
    update(t);
    return err;
}

static enum sl_err tls_writev(struct sl_stream *s, const struct iovec *iov, int n_iov,
                              size_t *ret_n)
{
    struct sl_tls_stream *t = of(s);
    size_t len = total_len(iov, n_iov);
    enum sl_err err;
    char *scratch;

    if (t->write_end != SL_OK)
        return t->write_end;
    sl_assert(len > 0 && len >= t->held);
    if (t->held != 0)
        len = t->held;
    else if (len > SL_CHUNK_SIZE)
        len = SL_CHUNK_SIZE;
    if (iov[0].iov_len >= len)
        return write_record(t, iov[0].iov_base, len, ret_n);
    scratch = sl_chunk_get();
    gather(scratch, len, iov);
    err = write_record(t, scratch, len, ret_n);
    sl_chunk_put(scratch);
    return err;
}

static enum sl_err tls_shutdown(struct sl_stream *s)
{
    struct sl_tls_stream *t = of(s);
    enum sl_err err;
    int ret;

    if (t->write_end != SL_OK)
        return t->write_end == SL_EOF ? SL_OK : t->write_end;
    if (t->held != 0)
        return sl_fault_set(&s->fault, SL_IO, "half a TLS record cannot be ended");
    ERR_clear_error();
    ret = SSL_shutdown(t->ssl);
    t->write_waits = 0;
    err = ret >= 0 ? SL_OK : outcome(t, ret, &t->write_waits);
    if (err != SL_AGAIN)
        t->write_end = err == SL_OK ? SL_EOF : err;
    update(t);
    return err;
}

static size_t tls_pending(const struct sl_stream *s)
{
    return (size_t)SSL_pending(SL_CONTAINER(s, struct sl_tls_stream, s)->ssl);
}

static void tls_want(struct sl_stream *s, unsigned events)
{
    struct sl_tls_stream *t = of(s);

    t->wanted = events;
    update(t);
}

static void say_goodbye(struct sl_tls_stream *t)
{
    bool can_write = t->write_end == SL_OK && t->lower_end == SL_OK && t->held == 0;

    if (!can_write || SSL_is_init_finished(t->ssl) != 1 || t->s.fault.err != SL_OK)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static void tls_close(struct sl_stream *s)
{
    struct sl_tls_stream *t = of(s);

    say_goodbye(t);
    /* Freed without a closing alert on both sides, the library spoils the session for resumption;
     * most peers just hang up, and that says nothing against the session. */
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    sl_task_cancel(t->loop, &t->wake);
    sl_stream_close(&t->lower);
    sl_buf_fini(&t->preface);
    sl_free(t->session_key);
    sl_loop_defer_free(t->loop, t, sl_free);
}

static const struct sl_stream_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .shutdown = tls_shutdown,
    .pending = tls_pending,
    .want = tls_want,
    .close = tls_close,
};

struct sl_stream *sl_tls_stream_new(struct sl_loop *loop, SSL *ssl, struct sl_stream *lower,
                                    struct sl_str preface)
{
    struct sl_tls_stream *t = sl_zalloc(sizeof(*t));

    t->s.ops = &tls_ops;
    t->loop = loop;
    t->lower = lower;
    t->ssl = ssl;
    t->wake.fn = on_wake;
    t->wake.arg = t;
    if (preface.n > 0)
        sl_buf_add_str(&t->preface, preface);
    attach_bio(t);
    sl_stream_on_ready(lower, on_lower_ready, t);
    sl_stream_want(lower, 0);
    return &t->s;
}

void sl_tls_stream_remember(struct sl_stream *s, char *session_key)
{
    struct sl_tls_stream *t = of(s);

    t->session_key = session_key;
    SSL_set_app_data(t->ssl, session_key);
}

const SSL *sl_tls_stream_ssl(const struct sl_stream *s)
{
    return SL_CONTAINER(s, struct sl_tls_stream, s)->ssl;
}

void sl_tls_stream_info(const struct sl_stream *s, struct sl_tls_info *ret_info)
{
    const SSL *ssl = sl_tls_stream_ssl(s);
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;

    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    *ret_info = (struct sl_tls_info){
        .version = SSL_get_version(ssl),
        .cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)),
        .resumed = SSL_session_reused(ssl) == 1,
        .http2 = sl_str_eq(sl_str_make(alpn, alpn_len), SL_STR("h2")),
    };
}
