/* ca.c -- an immutable snapshot: certificates, key, digest.
 *
 * Invariants: the first of certs is the authority, each further one issued the one before; sent[]
 * points into certs and holds no self-signed one; the key, held here or by a signer, is the first
 * one's.  Everything is checked in load, so that signing has nothing left to refuse.
 */
#include "tls/ca.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tls/cert_chain.h"
#include "tls/crypto_fault.h"
#include "tls/signer.h"
#include "tls/signer_line.h"
#include "tls/signing_key.h"

#define TRUSTED_KEY_USAGE "2.16.840.1.113894.746875.1.1" /* Oracle's */

/* As X.509 names a signature's. */
struct algorithm {
    ASN1_OBJECT *id; /* static */
    int parameters;
};

struct sl_ca {
    atomic_uint refs;
    struct sl_signing_key *key;   /* held here, or */
    struct sl_signer_key *remote; /* by another process */
    struct algorithm algorithm;
    struct sl_cert_chain certs;
    X509 *sent[SL_CERT_CHAIN_MAX]; /* borrowed from certs */
    size_t n_sent;
    int64_t not_before, not_after;
};

/* What load passes between its steps. */
struct source {
    const char *cert_path;
    const char *key_path;
    struct sl_signer *signer;
    struct sl_fault *fault;
};

/* -- reading ------------------------------------------------------------------------------------
 */

static enum sl_err read_files(struct sl_ca *ca, const struct source *src)
{
    const struct sl_signer_paths paths = { .certificate = src->cert_path, .key = src->key_path };
    enum sl_err err;

    if (src->signer != NULL)
        return sl_signer_open(src->signer, &paths, &ca->certs, &ca->remote, src->fault);
    err = sl_cert_chain_read(src->cert_path, &ca->certs, src->fault);
    return err != SL_OK ? err : sl_signing_key_read(src->key_path, &ca->key, src->fault);
}

/* -- checking -----------------------------------------------------------------------------------
 */

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum sl_err check_validity(X509 *cert, const char *name, struct sl_fault *fault)
{
    int64_t not_before = seconds_of(X509_get0_notBefore(cert));
    int64_t not_after = seconds_of(X509_get0_notAfter(cert));
    int64_t now = (int64_t)time(NULL);
    char day[28];

    if (not_after <= now) {
        sl_clock_iso8601((uint64_t)not_after * 1000000, day);
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: expired on %.10s; replace it with `sluice ca init --force`", name,
                            day);
    }
    if (not_before > now) {
        sl_clock_iso8601((uint64_t)not_before * 1000000, day);
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: not valid before %.10s; check the clock or the certificate", name,
                            day);
    }
    return SL_OK;
}

static enum sl_err check_authority(X509 *cert, const char *name, struct sl_fault *fault)
{
    uint32_t flags = X509_get_extension_flags(cert);

    if ((flags & EXFLAG_INVALID) != 0)
        return sl_fault_set(fault, SL_CONFIG, "%s: has malformed extensions", name);
    if ((flags & EXFLAG_BCONS) == 0 || (flags & EXFLAG_CA) == 0)
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: not a CA certificate (basicConstraints lacks CA:TRUE)", name);
    if ((X509_get_key_usage(cert) & KU_KEY_CERT_SIGN) == 0)
        return sl_fault_set(fault, SL_CONFIG,
                            "%s: may not sign certificates (keyUsage lacks keyCertSign)", name);
    return SL_OK;
}

/* Clients look at the whole chain, so one parent that is not right makes every leaf invalid. */
static enum sl_err check_certs(struct sl_ca *ca, const struct source *src)
{
    struct sl_buf name = { 0 };
    enum sl_err err = SL_OK;

    for (size_t i = 0; i < ca->certs.n && err == SL_OK; i++) {
        sl_buf_reset(&name);
        sl_buf_addf(&name, i == 0 ? "%s" : "%s: certificate %zu", src->cert_path, i + 1);
        sl_buf_add_char(&name, 0);
        err = check_authority(ca->certs.v[i], sl_buf_str(&name).p, src->fault);
        if (err == SL_OK)
            err = check_validity(ca->certs.v[i], sl_buf_str(&name).p, src->fault);
    }
    sl_buf_fini(&name);
    ca->not_before = seconds_of(X509_get0_notBefore(ca->certs.v[0]));
    ca->not_after = seconds_of(X509_get0_notAfter(ca->certs.v[0]));
    return err;
}

static EVP_PKEY *public_key(const struct sl_ca *ca)
{
    return ca->remote != NULL ? sl_signer_key_public(ca->remote) : sl_signing_key_pkey(ca->key);
}

static enum sl_err check_key(struct sl_ca *ca, const struct source *src)
{
    EVP_PKEY *certified = X509_get0_pubkey(ca->certs.v[0]);

    if (certified != NULL && EVP_PKEY_eq(certified, public_key(ca)) == 1)
        return SL_OK;
    ERR_clear_error();
    return sl_fault_set(src->fault, SL_CONFIG, "%s: is not the key of %s", src->key_path,
                        src->cert_path);
}

static enum sl_err find_algorithm(struct sl_ca *ca, const struct source *src)
{
    EVP_PKEY *key = public_key(ca);
    int type = EVP_PKEY_get_base_id(key), nid;

    if (OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(sl_signing_digest(key)), type) != 1)
        return sl_crypto_fault_set(src->fault, SL_INTERNAL, src->key_path);
    ca->algorithm.id = OBJ_nid2obj(nid);
    /* NULL for RSA and nothing for ECDSA: RFC 4055 section 5, RFC 5758 section 3.2. */
    ca->algorithm.parameters = type == EVP_PKEY_RSA ? V_ASN1_NULL : V_ASN1_UNDEF;
    return SL_OK;
}

static bool is_issuer(X509 *issuer, X509 *cert)
{
    return X509_check_issued(issuer, cert) == X509_V_OK &&
           X509_verify(cert, X509_get0_pubkey(issuer)) == 1;
}

static bool is_self_issued(X509 *cert)
{
    return (X509_get_extension_flags(cert) & EXFLAG_SI) != 0;
}

/* RFC 5280 section 4.2.1.9: how many authorities may stand below certs[at], self-issued ones not
 * counted. */
static bool may_stand_above(const struct sl_ca *ca, size_t at)
{
    long allowed = X509_get_pathlen(ca->certs.v[at]);
    long n_below = 0;

    for (size_t i = 0; i < at; i++)
        if (!is_self_issued(ca->certs.v[i]))
            n_below++;
    return allowed < 0 || n_below <= allowed;
}

static enum sl_err check_link(const struct sl_ca *ca, size_t at, const struct source *src)
{
    if (!is_issuer(ca->certs.v[at], ca->certs.v[at - 1])) {
        ERR_clear_error();
        return sl_fault_set(src->fault, SL_CONFIG,
                            "%s: certificate %zu did not issue the one before it", src->cert_path,
                            at + 1);
    }
    if (!may_stand_above(ca, at))
        return sl_fault_set(src->fault, SL_CONFIG,
                            "%s: certificate %zu allows fewer authorities below it (pathlen)",
                            src->cert_path, at + 1);
    return SL_OK;
}

static enum sl_err check_chain(struct sl_ca *ca, const struct source *src)
{
    for (size_t i = 0; i < ca->certs.n; i++) {
        enum sl_err err = i > 0 ? check_link(ca, i, src) : SL_OK;

        if (err != SL_OK)
            return err;
        /* Clients have the root; sending it costs 1.5 KB a handshake. */
        if (X509_self_signed(ca->certs.v[i], 0) != 1)
            ca->sent[ca->n_sent++] = ca->certs.v[i];
    }
    return SL_OK;
}

enum sl_err sl_ca_load(const struct sl_ca_source *source, struct sl_ca **ret_ca,
                       struct sl_fault *fault)
{
    static enum sl_err (*const steps[])(struct sl_ca *, const struct source *) = {
        read_files, check_certs, check_key, check_chain, find_algorithm,
    };
    const struct source src = { .cert_path = source->certificate,
                                .key_path = source->key,
                                .signer = source->signer,
                                .fault = fault };
    struct sl_ca *ca = sl_zalloc(sizeof(*ca));

    atomic_init(&ca->refs, 1);
    for (size_t i = 0; i < SL_LEN(steps); i++) {
        enum sl_err err = steps[i](ca, &src);

        if (err != SL_OK) {
            sl_ca_unref(&ca);
            return err;
        }
    }
    *ret_ca = ca;
    return SL_OK;
}

/* -- life, facts --------------------------------------------------------------------------------
 */

struct sl_ca *sl_ca_ref(struct sl_ca *ca)
{
    atomic_fetch_add_explicit(&ca->refs, 1, memory_order_relaxed);
    return ca;
}

void sl_ca_unref(struct sl_ca **ca)
{
    struct sl_ca *c = *ca;

    *ca = NULL;
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    sl_cert_chain_fini(&c->certs);
    sl_signing_key_free(&c->key);
    sl_signer_close(&c->remote);
    sl_free(c);
}

X509 *sl_ca_cert(const struct sl_ca *ca)
{
    return ca->certs.v[0];
}

size_t sl_ca_chain_len(const struct sl_ca *ca)
{
    return ca->n_sent;
}

X509 *sl_ca_chain_at(const struct sl_ca *ca, size_t i)
{
    sl_assert(i < ca->n_sent);
    return ca->sent[i];
}

int64_t sl_ca_not_after(const struct sl_ca *ca)
{
    return ca->not_after;
}

/* OpenSSL has no call for what another process signed, and its getters give const: the certificate
 * is the caller's own, and not shared yet. */
static bool set_algorithm(const struct algorithm *a, X509 *leaf)
{
    const X509_ALGOR *outer = NULL;

    X509_get0_signature(NULL, &outer, leaf);
    return X509_ALGOR_set0((X509_ALGOR *)X509_get0_tbs_sigalg(leaf), a->id, a->parameters, NULL) ==
               1 &&
           X509_ALGOR_set0((X509_ALGOR *)outer, a->id, a->parameters, NULL) == 1;
}

static bool set_signature(const struct sl_signature *signature, X509 *leaf)
{
    const ASN1_BIT_STRING *bits = NULL;
    ASN1_BIT_STRING *own;

    X509_get0_signature(&bits, NULL, leaf);
    own = (ASN1_BIT_STRING *)bits;
    if (ASN1_STRING_set(own, signature->bytes, (int)signature->n) != 1)
        return false;
    /* No unused bits: without the flag trailing zeros would count as such. */
    own->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
    own->flags |= ASN1_STRING_FLAG_BITS_LEFT;
    return true;
}

struct sl_signer *sl_ca_signer(const struct sl_ca *ca)
{
    return ca->remote != NULL ? sl_signer_of(ca->remote) : NULL;
}

/* What is to be signed; the caller's, by OPENSSL_free. */
static enum sl_err encode(const struct sl_ca *ca, X509 *leaf, struct sl_str *ret_text,
                          struct sl_fault *fault)
{
    unsigned char *text = NULL;
    int n = set_algorithm(&ca->algorithm, leaf) ? i2d_re_X509_tbs(leaf, &text) : 0;

    if (n <= 0)
        return sl_crypto_fault_set(fault, SL_INTERNAL, "encoding a leaf");
    *ret_text = (struct sl_str){ (const char *)text, (size_t)n };
    return SL_OK;
}

static enum sl_err seal(X509 *leaf, const struct sl_signature *signature, struct sl_fault *fault)
{
    return set_signature(signature, leaf)
               ? SL_OK
               : sl_crypto_fault_set(fault, SL_INTERNAL, "signing a leaf");
}

enum sl_err sl_ca_sign(struct sl_ca *ca, X509 *leaf, struct sl_fault *fault)
{
    struct sl_signature signature;
    struct sl_str text = { 0 };
    enum sl_err err = encode(ca, leaf, &text, fault);

    if (err != SL_OK)
        return err;
    err = sl_signing_key_sign(ca->key, text, &signature, fault);
    OPENSSL_free((void *)(uintptr_t)text.p);
    return err == SL_OK ? seal(leaf, &signature, fault) : err;
}

struct signing {
    X509 *leaf;
    sl_ca_signed_fn *done;
    void *arg;
};

static void on_signature(void *arg, const struct sl_signature *signature,
                         const struct sl_fault *why)
{
    struct signing *s = arg;
    struct sl_fault fault = { 0 };
    enum sl_err err = SL_OK;

    if (signature != NULL)
        err = seal(s->leaf, signature, &fault);
    s->done(s->arg, signature == NULL ? why : err != SL_OK ? &fault : NULL);
    sl_free(s);
}

void sl_ca_sign_start(struct sl_ca *ca, struct sl_signer_line *line, X509 *leaf,
                      sl_ca_signed_fn *done, void *arg)
{
    struct sl_fault fault = { 0 };
    struct sl_str text = { 0 };
    struct signing *s;

    if (encode(ca, leaf, &text, &fault) != SL_OK) {
        done(arg, &fault);
        return;
    }
    s = sl_zalloc(sizeof(*s));
    *s = (struct signing){ .leaf = leaf, .done = done, .arg = arg };
    sl_signer_line_sign(line, ca->remote, text, on_signature, s);
    OPENSSL_free((void *)(uintptr_t)text.p);
}

/* -- export -------------------------------------------------------------------------------------
 */

/* Without the attribute Java's keytool sees no entry to trust: it asks for the purposes, and the
 * one named is any. */
static bool add_trust(PKCS12_SAFEBAG *bag)
{
    ASN1_OBJECT *any = OBJ_nid2obj(NID_anyExtendedKeyUsage);

    return PKCS12_add_friendlyname_utf8(bag, "sluice CA", -1) == 1 &&
           PKCS12_add1_attr_by_txt(bag, TRUSTED_KEY_USAGE, V_ASN1_OBJECT,
                                   (const unsigned char *)any, -1) == 1;
}

/* No passphrase: what is inside is public, and importers accept the empty one. */
static PKCS12 *make_p12(X509 *cert)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12_SAFEBAG *bag = PKCS12_add_cert(&bags, cert);
    PKCS12 *p12 = NULL;

    if (bag != NULL && add_trust(bag) && PKCS12_add_safe(&safes, bags, -1, 0, NULL) == 1)
        p12 = PKCS12_add_safes(safes, 0);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return p12;
}

static bool write_p12(BIO *bio, X509 *cert)
{
    PKCS12 *p12 = make_p12(cert);
    bool ok = p12 != NULL && PKCS12_set_mac(p12, "", -1, NULL, 0, PKCS12_DEFAULT_ITER, NULL) == 1 &&
              i2d_PKCS12_bio(bio, p12) == 1;

    PKCS12_free(p12);
    return ok;
}

/* What trust ends in.  A file without its root has but the authority to offer. */
static X509 *anchor_of(const struct sl_ca *ca)
{
    X509 *last = ca->certs.v[ca->certs.n - 1];

    return X509_self_signed(last, 0) == 1 ? last : ca->certs.v[0];
}

static bool write_chain(BIO *bio, const struct sl_ca *ca)
{
    for (size_t i = 0; i < ca->certs.n; i++)
        if (PEM_write_bio_X509(bio, ca->certs.v[i]) != 1)
            return false;
    return true;
}

static bool write_certs(BIO *bio, const struct sl_ca *ca, enum sl_ca_format format)
{
    switch (format) {
    case SL_CA_PEM:
        return write_chain(bio, ca);
    case SL_CA_DER:
        return i2d_X509_bio(bio, anchor_of(ca)) == 1;
    case SL_CA_P12:
        return write_p12(bio, anchor_of(ca));
    case SL_CA_ANCHOR_PEM:
        return PEM_write_bio_X509(bio, anchor_of(ca)) == 1;
    }
    return false;
}

static void add_bio(struct sl_buf *out, BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);

    if (n > 0)
        sl_buf_add(out, p, (size_t)n);
}

enum sl_err sl_ca_export(const struct sl_ca *ca, enum sl_ca_format format, struct sl_buf *out,
                         struct sl_fault *fault)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum sl_err err = SL_OK;

    if (bio == NULL || !write_certs(bio, ca, format))
        err = sl_crypto_fault_set(fault, SL_INTERNAL, "exporting the CA certificate");
    else
        add_bio(out, bio);
    BIO_free(bio);
    return err;
}

static void describe_subject(const struct sl_ca *ca, struct sl_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    sl_buf_add_str(out, SL_STR("subject: "));
    if (bio != NULL)
        (void)X509_NAME_print_ex(bio, X509_get_subject_name(ca->certs.v[0]), 0,
                                 XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    add_bio(out, bio);
    sl_buf_add_char(out, '\n');
    BIO_free(bio);
}

static void describe_time(const char *name, int64_t at, struct sl_buf *out)
{
    char text[28];

    sl_clock_iso8601((uint64_t)at * 1000000, text);
    sl_buf_addf(out, "%s: %.19sZ\n", name, text);
}

static void describe_fingerprint(const struct sl_ca *ca, struct sl_buf *out)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    (void)X509_digest(ca->certs.v[0], EVP_sha256(), hash, &n);
    sl_buf_add_str(out, SL_STR("sha256 fingerprint: "));
    for (unsigned i = 0; i < n; i++)
        sl_buf_addf(out, i == 0 ? "%02X" : ":%02X", (unsigned)hash[i]);
    sl_buf_add_char(out, '\n');
}

void sl_ca_describe(const struct sl_ca *ca, struct sl_buf *out)
{
    EVP_PKEY *key = public_key(ca);
    const char *family = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? "rsa-" : "ecdsa-p";

    describe_subject(ca, out);
    sl_buf_addf(out, "key: %s%d\n", family, EVP_PKEY_get_bits(key));
    describe_time("not before", ca->not_before, out);
    describe_time("not after", ca->not_after, out);
    describe_fingerprint(ca, out);
}
