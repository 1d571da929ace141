/* ca_create.c -- a new authority: draft in memory -> temporary files -> old ones moved -> renamed.
 *
 * Invariant: a final name is only ever given to a whole, synced file, the key's first; what stood
 * there was moved, never replaced.  A crash in between leaves a key without its certificate, which
 * load refuses.  From the look at what is there to the last rename the directory is locked, so that
 * of several who begin at once one makes the CA and the others find it whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tls/ca.h"
#include "tls/crypto_fault.h"

#define DAY_S 86400
#define DEFAULT_DAYS 3650u
#define MAX_DAYS 7300u
#define MAX_NAME ((size_t)64)

/* One of the two files on its way to its place. */
struct draft_file {
    const char *path;
    char temp[PATH_MAX]; /* "" until written, and again once renamed */
    mode_t mode;
};

struct draft {
    EVP_PKEY *key;
    X509 *cert;
    struct draft_file key_file;
    struct draft_file cert_file;
};

bool sl_ca_key_parse(struct sl_str s, enum sl_ca_key *ret_key)
{
    static const struct {
        const char *name;
        enum sl_ca_key key;
    } rows[] = {
        { "ecdsa-p256", SL_CA_ECDSA_P256 },
        { "ecdsa-p384", SL_CA_ECDSA_P384 },
        { "rsa-3072", SL_CA_RSA_3072 },
        { "rsa-4096", SL_CA_RSA_4096 },
    };

    for (size_t i = 0; i < SL_LEN(rows); i++) {
        if (sl_str_eq(s, sl_str_of(rows[i].name))) {
            *ret_key = rows[i].key;
            return true;
        }
    }
    return false;
}

/* -- what was asked -----------------------------------------------------------------------------
 */

static enum sl_err check_conf(const struct sl_ca_new_conf *conf, struct sl_fault *fault)
{
    struct sl_str name = sl_str_of(conf->name);

    if (conf->name != NULL && (name.n == 0 || name.n > MAX_NAME || !sl_is_utf8(name)))
        return sl_fault_set(fault, SL_CONFIG, "the CA's name must be 1 to %zu bytes of UTF-8",
                            MAX_NAME);
    if (conf->days > MAX_DAYS)
        return sl_fault_set(fault, SL_CONFIG, "a CA may live 1 to %u days, not %u", MAX_DAYS,
                            (unsigned)conf->days);
    return SL_OK;
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static enum sl_err check_free(const char *cert_path, const char *key_path, struct sl_fault *fault)
{
    bool has_cert = exists(cert_path), has_key = exists(key_path);
    enum sl_err err = SL_OK;

    if (has_cert && has_key)
        err = sl_fault_set(fault, SL_CONFIG, "%s exists; --force moves it aside for a new CA",
                           cert_path);
    else if (has_cert)
        err = sl_fault_set(fault, SL_CONFIG,
                           "%s exists without its key %s; restore the key, or use --force",
                           cert_path, key_path);
    else if (has_key)
        err = sl_fault_set(fault, SL_CONFIG,
                           "%s exists without its certificate %s; restore it, or use --force",
                           key_path, cert_path);
    if (err != SL_OK)
        fault->os_errno = EEXIST;
    return err;
}

/* -- key and certificate ------------------------------------------------------------------------
 */

static EVP_PKEY *make_key(enum sl_ca_key kind)
{
    switch (kind) {
    case SL_CA_ECDSA_P256:
        return EVP_EC_gen("P-256");
    case SL_CA_ECDSA_P384:
        return EVP_EC_gen("P-384");
    case SL_CA_RSA_3072:
        return EVP_RSA_gen(3072);
    case SL_CA_RSA_4096:
        return EVP_RSA_gen(4096);
    }
    return NULL;
}

static bool set_serial(X509 *cert)
{
    uint8_t bytes[16];
    BIGNUM *n;
    bool ok;

    sl_random(bytes, sizeof(bytes));
    n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_names(X509 *cert, const char *name)
{
    char made[32];
    uint32_t tag;
    X509_NAME *subject = X509_get_subject_name(cert);

    if (name == NULL) {
        sl_random(&tag, sizeof(tag));
        (void)snprintf(made, sizeof(made), "sluice CA %08x", (unsigned)tag);
        name = made;
    }
    return X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
                                      (const unsigned char *)name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1;
}

static bool set_validity(X509 *cert, uint32_t days)
{
    time_t now = time(NULL);
    time_t life = (time_t)(days != 0 ? days : DEFAULT_DAYS) * DAY_S;

    return ASN1_TIME_set(X509_getm_notBefore(cert), now - DAY_S) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), now + life) != NULL;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

/* pathlen:0, since leaves are all that this authority is for. */
static bool add_extensions(X509 *cert)
{
    return add_extension(cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(cert, NID_subject_key_identifier, "hash") &&
           add_extension(cert, NID_authority_key_identifier, "keyid:always");
}

static enum sl_err make_authority(struct draft *d, const struct sl_ca_new_conf *conf,
                                  struct sl_fault *fault)
{
    const EVP_MD *digest = conf->key == SL_CA_ECDSA_P384 ? EVP_sha384() : EVP_sha256();

    d->key = make_key(conf->key);
    d->cert = X509_new();
    if (d->key == NULL || d->cert == NULL || X509_set_version(d->cert, X509_VERSION_3) != 1 ||
        !set_serial(d->cert) || !set_names(d->cert, conf->name) ||
        !set_validity(d->cert, conf->days) || X509_set_pubkey(d->cert, d->key) != 1 ||
        !add_extensions(d->cert) || X509_sign(d->cert, d->key, digest) <= 0)
        return sl_crypto_fault_set(fault, SL_INTERNAL, "making the CA");
    return SL_OK;
}

/* -- files --------------------------------------------------------------------------------------
 */

static enum sl_err file_fault(struct sl_fault *fault, const char *path)
{
    int os_errno = errno;

    (void)sl_fault_set(fault, SL_CONFIG, "%s: %s", path, strerror(os_errno));
    fault->os_errno = os_errno;
    return SL_CONFIG;
}

/* The last directory has @a mode, those above it are their owner's alone.  An error counts only
 * when no directory below it is there; the first of them is what is to be mended. */
static enum sl_err make_dirs(const char *path, mode_t mode, struct sl_fault *fault)
{
    char dir[PATH_MAX];
    size_t failed_at = 0;
    int failed = 0;

    for (size_t i = 1; path[i] != 0 && i < sizeof(dir); i++) {
        if (path[i] != '/')
            continue;
        (void)snprintf(dir, sizeof(dir), "%.*s", (int)i, path);
        if (mkdir(dir, strchr(path + i + 1, '/') == NULL ? mode : 0700) == 0 || errno == EEXIST) {
            failed = 0;
        } else if (failed == 0) {
            failed = errno;
            failed_at = i;
        }
    }
    if (failed == 0)
        return SL_OK;
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)failed_at, path);
    errno = failed;
    return file_fault(fault, dir);
}

static enum sl_err open_dir(const char *path, int *ret_fd, struct sl_fault *fault)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    int fd;

    if (slash != NULL)
        (void)snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_fault(fault, dir);
    *ret_fd = fd;
    return SL_OK;
}

static enum sl_err sync_dir(const char *path, struct sl_fault *fault)
{
    int fd;
    bool ok;

    if (open_dir(path, &fd, fault) != SL_OK)
        return fault->err;
    ok = fsync(fd) == 0;
    (void)close(fd);
    return ok ? SL_OK : file_fault(fault, path);
}

/* Until it is closed.  Where locks are not to be had, move_new() still replaces nothing. */
static enum sl_err lock_dir(const char *path, int *ret_fd, struct sl_fault *fault)
{
    if (open_dir(path, ret_fd, fault) != SL_OK)
        return fault->err;
    while (flock(*ret_fd, LOCK_EX) != 0 && errno == EINTR)
        ;
    return SL_OK;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(fd, p, n);

        if (wrote < 0 && errno != EINTR)
            return false;
        if (wrote > 0) {
            p += wrote;
            n -= (size_t)wrote;
        }
    }
    return true;
}

static enum sl_err write_temp(struct draft_file *f, BIO *pem, struct sl_fault *fault)
{
    uint32_t tag;
    char *p;
    long n = BIO_get_mem_data(pem, &p);
    int fd;
    bool ok;

    sl_random(&tag, sizeof(tag));
    if ((size_t)snprintf(f->temp, sizeof(f->temp), "%s.tmp-%08x", f->path, (unsigned)tag) >=
        sizeof(f->temp))
        return sl_fault_set(fault, SL_CONFIG, "%s: path too long", f->path);
    fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, f->mode);
    if (fd < 0) {
        (void)file_fault(fault, f->temp);
        f->temp[0] = 0;
        return SL_CONFIG;
    }
    /* fchmod, since the umask may have taken bits from a certificate that others must read. */
    ok = fchmod(fd, f->mode) == 0 && write_all(fd, p, (size_t)n) && fsync(fd) == 0;
    if (!ok)
        (void)file_fault(fault, f->temp);
    (void)close(fd);
    return ok ? SL_OK : fault->err;
}

static enum sl_err write_draft(struct draft *d, struct sl_fault *fault)
{
    BIO *key = BIO_new(BIO_s_mem()); /* BIO_free wipes it */
    BIO *cert = BIO_new(BIO_s_mem());
    enum sl_err err = SL_OK;

    if (key == NULL || cert == NULL ||
        PEM_write_bio_PKCS8PrivateKey(key, d->key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert, d->cert) != 1)
        err = sl_crypto_fault_set(fault, SL_INTERNAL, "encoding the CA");
    if (err == SL_OK)
        err = write_temp(&d->key_file, key, fault);
    if (err == SL_OK)
        err = write_temp(&d->cert_file, cert, fault);
    BIO_free(key);
    BIO_free(cert);
    return err;
}

/* Renames unless @a to exists.  Some file systems know no RENAME_NOREPLACE; a hard link has the
 * same promise there. */
static bool move_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    return link(from, to) == 0 && unlink(from) == 0;
}

static enum sl_err move_aside(const char *path, struct sl_fault *fault)
{
    char stamp[28], backup[PATH_MAX];

    if (!exists(path))
        return SL_OK;
    sl_clock_iso8601(sl_clock_us(), stamp);
    if ((size_t)snprintf(backup, sizeof(backup), "%s.%s.bak", path, stamp) >= sizeof(backup))
        return sl_fault_set(fault, SL_CONFIG, "%s: path too long", path);
    return move_new(path, backup) ? SL_OK : file_fault(fault, backup);
}

static enum sl_err place(struct draft_file *f, struct sl_fault *fault)
{
    if (!move_new(f->temp, f->path))
        return file_fault(fault, f->path);
    f->temp[0] = 0;
    return sync_dir(f->path, fault);
}

static enum sl_err place_both(struct draft *d, struct sl_fault *fault)
{
    enum sl_err err = place(&d->key_file, fault);

    if (err != SL_OK)
        return err;
    err = place(&d->cert_file, fault);
    if (err != SL_OK && d->cert_file.temp[0] != 0)
        (void)unlink(d->key_file.path);
    return err;
}

static void draft_fini(struct draft *d)
{
    if (d->key_file.temp[0] != 0)
        (void)unlink(d->key_file.temp);
    if (d->cert_file.temp[0] != 0)
        (void)unlink(d->cert_file.temp);
    EVP_PKEY_free(d->key);
    X509_free(d->cert);
}

static enum sl_err fill_and_place(struct draft *d, const struct sl_ca_new_conf *conf,
                                  struct sl_fault *fault)
{
    enum sl_err err = SL_OK;

    if (!conf->force)
        err = check_free(d->cert_file.path, d->key_file.path, fault);
    if (err == SL_OK)
        err = make_authority(d, conf, fault);
    if (err == SL_OK)
        err = write_draft(d, fault);
    if (err == SL_OK && conf->force)
        err = move_aside(d->cert_file.path, fault);
    if (err == SL_OK && conf->force)
        err = move_aside(d->key_file.path, fault);
    return err == SL_OK ? place_both(d, fault) : err;
}

enum sl_err sl_ca_create(const char *cert_path, const char *key_path,
                         const struct sl_ca_new_conf *conf, struct sl_fault *fault)
{
    struct draft d = { .key_file = { .path = key_path, .mode = 0600 },
                       .cert_file = { .path = cert_path, .mode = 0644 } };
    enum sl_err err = check_conf(conf, fault);
    int lock = -1;

    if (err == SL_OK && strcmp(cert_path, key_path) == 0)
        err = sl_fault_set(fault, SL_CONFIG, "%s: certificate and key need a file each", key_path);
    if (err == SL_OK)
        err = make_dirs(cert_path, 0755, fault);
    if (err == SL_OK)
        err = make_dirs(key_path, 0700, fault);
    if (err == SL_OK)
        err = lock_dir(key_path, &lock, fault);
    if (err == SL_OK)
        err = fill_and_place(&d, conf, fault);
    if (lock >= 0)
        (void)close(lock);
    draft_fini(&d);
    return err;
}
