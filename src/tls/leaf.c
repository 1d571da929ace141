/* leaf.c -- forging: subject and times checked -> key taken -> certificate built -> signed.
 *
 * Invariants: a leaf is complete before anybody else sees it; what is copied into a SAN has been
 * checked byte by byte; a key slot's made_us is written only under its lock, after the key.
 */

/* EC_KEY and RSA are deprecated, yet on OpenSSL 3.0 X509_set_pubkey takes 5 us with them and over
 * 200 us with a provider's key, which it encodes and decodes again.  Only this file pays for it. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls/leaf.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tls/ca.h"
#include "tls/crypto_fault.h"
#include "tls/leaf_shape.h"

#define KEY_LIFE_US ((uint64_t)86400 * 1000000)
/* sl_leaf_is_slow says so this much earlier than a forge replaces the key, so that no forge finds
 * on the loop that it has to make one. */
#define KEY_MARGIN_US ((uint64_t)60 * 1000000)
#define NAME_MAX_LEN 253u
#define CN_MAX_LEN 64u
#define KEY_ID_LEN 20u
#define N_KINDS 2
#define N_FIXED 3

struct key {
    EVP_PKEY *pkey;
    uint64_t ends_us; /* monotonic; 0: with its only leaf */
    uint8_t id[KEY_ID_LEN];
};

struct slot {
    pthread_mutex_t lock;
    struct key key;
    atomic_uint_fast64_t ends_us; /* the key's; 0: no key yet */
};

struct sl_leaf_keys {
    atomic_uint refs;
    struct slot slots[N_KINDS];
    X509_EXTENSION *fixed[N_KINDS][N_FIXED];
};

struct sl_leaf {
    atomic_uint refs;
    X509 *cert;
    EVP_PKEY *key;
    uint64_t key_ends_us; /* as of struct key */
    struct sl_ca *ca;
    int64_t expires;
};

/* What a leaf is for. */
struct subject {
    struct sl_str host;
    struct sl_addr ip; /* len 0: host is a name */
};

/* -- keys ---------------------------------------------------------------------------------------
 */

static EVP_PKEY *make_ec(void)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EVP_PKEY *pkey = EVP_PKEY_new();

    if (ec != NULL && pkey != NULL && EC_KEY_generate_key(ec) == 1 &&
        EVP_PKEY_assign_EC_KEY(pkey, ec) == 1)
        return pkey;
    EC_KEY_free(ec);
    EVP_PKEY_free(pkey);
    return NULL;
}

static EVP_PKEY *make_rsa(void)
{
    RSA *rsa = RSA_new();
    BIGNUM *e = BN_new();
    EVP_PKEY *pkey = EVP_PKEY_new();
    bool ok = rsa != NULL && e != NULL && pkey != NULL && BN_set_word(e, RSA_F4) == 1 &&
              RSA_generate_key_ex(rsa, 2048, e, NULL) == 1 && EVP_PKEY_assign_RSA(pkey, rsa) == 1;

    BN_free(e);
    if (ok)
        return pkey;
    RSA_free(rsa);
    EVP_PKEY_free(pkey);
    return NULL;
}

/* The leftmost 160 bits of the key's SHA-256 (RFC 7093 section 2, method 1). */
static bool set_key_id(struct key *key)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    X509_PUBKEY *pub = NULL;
    const unsigned char *bits;
    int n;
    bool ok = X509_PUBKEY_set(&pub, key->pkey) == 1 &&
              X509_PUBKEY_get0_param(NULL, &bits, &n, NULL, pub) == 1 &&
              EVP_Digest(bits, (size_t)n, hash, NULL, EVP_sha256(), NULL) == 1;

    if (ok)
        memcpy(key->id, hash, sizeof(key->id));
    X509_PUBKEY_free(pub);
    return ok;
}

static enum sl_err make_key(enum sl_leaf_kind kind, struct key *ret_key, struct sl_fault *fault)
{
    struct key key = { .pkey = kind == SL_LEAF_RSA_2048 ? make_rsa() : make_ec() };

    if (key.pkey == NULL || !set_key_id(&key)) {
        EVP_PKEY_free(key.pkey);
        return sl_crypto_fault_set(fault, SL_INTERNAL, "making a leaf's key");
    }
    *ret_key = key;
    return SL_OK;
}

static bool ends_within(const struct slot *slot, uint64_t us)
{
    return sl_mono_us() + us >= atomic_load_explicit(&slot->ends_us, memory_order_acquire);
}

/* Called under the slot's lock: others that need a key of this kind wait for the same one.  That is
 * short for P-256, and those who wait for RSA are off the loop, see sl_leaf_is_slow. */
static enum sl_err renew(struct slot *slot, enum sl_leaf_kind kind, struct sl_fault *fault)
{
    struct key key;
    enum sl_err err = make_key(kind, &key, fault);

    if (err != SL_OK)
        return err;
    EVP_PKEY_free(slot->key.pkey);
    slot->key = key;
    slot->key.ends_us = sl_mono_us() + KEY_LIFE_US;
    atomic_store_explicit(&slot->ends_us, slot->key.ends_us, memory_order_release);
    return SL_OK;
}

static enum sl_err take_shared(struct slot *slot, enum sl_leaf_kind kind, struct key *ret_key,
                               struct sl_fault *fault)
{
    enum sl_err err = SL_OK;

    pthread_mutex_lock(&slot->lock);
    if (ends_within(slot, 0))
        err = renew(slot, kind, fault);
    if (err == SL_OK) {
        *ret_key = slot->key;
        (void)EVP_PKEY_up_ref(ret_key->pkey);
    }
    pthread_mutex_unlock(&slot->lock);
    return err;
}

static enum sl_err take_key(struct sl_leaf_keys *keys, const struct sl_leaf_conf *conf,
                            struct key *ret_key, struct sl_fault *fault)
{
    if (conf->host_scope)
        return make_key(conf->kind, ret_key, fault);
    return take_shared(&keys->slots[conf->kind], conf->kind, ret_key, fault);
}

bool sl_leaf_is_slow(const struct sl_leaf_keys *keys, const struct sl_leaf_conf *conf)
{
    if (conf->kind != SL_LEAF_RSA_2048)
        return false;
    return conf->host_scope || ends_within(&keys->slots[conf->kind], KEY_MARGIN_US);
}

static X509_EXTENSION *make_fixed(int nid, bool critical, struct sl_str der)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext = NULL;

    if (value != NULL &&
        ASN1_OCTET_STRING_set(value, (const unsigned char *)der.p, (int)der.n) == 1)
        ext = X509_EXTENSION_create_by_NID(NULL, nid, critical, value);
    ASN1_OCTET_STRING_free(value);
    sl_mem_need(ext != NULL);
    return ext;
}

/* The same in every leaf of a kind. */
static void make_all_fixed(X509_EXTENSION *fixed[N_KINDS][N_FIXED])
{
    static const char *const usages[N_KINDS] = {
        [SL_LEAF_ECDSA_P256] = SL_LEAF_USAGE_ECDSA,
        [SL_LEAF_RSA_2048] = SL_LEAF_USAGE_RSA,
    };

    for (int kind = 0; kind < N_KINDS; kind++) {
        fixed[kind][0] = make_fixed(NID_basic_constraints, true, SL_STR(SL_LEAF_NO_AUTHORITY));
        fixed[kind][1] = make_fixed(NID_key_usage, true, sl_str_of(usages[kind]));
        fixed[kind][2] = make_fixed(NID_ext_key_usage, false, SL_STR(SL_LEAF_PURPOSE));
    }
}

struct sl_leaf_keys *sl_leaf_keys_new(void)
{
    struct sl_leaf_keys *keys = sl_zalloc(sizeof(*keys));

    atomic_init(&keys->refs, 1);
    for (int i = 0; i < N_KINDS; i++)
        pthread_mutex_init(&keys->slots[i].lock, NULL);
    make_all_fixed(keys->fixed);
    return keys;
}

struct sl_leaf_keys *sl_leaf_keys_ref(struct sl_leaf_keys *keys)
{
    atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void sl_leaf_keys_free(struct sl_leaf_keys **keys)
{
    struct sl_leaf_keys *k = *keys;

    *keys = NULL;
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (int kind = 0; kind < N_KINDS; kind++) {
        pthread_mutex_destroy(&k->slots[kind].lock);
        EVP_PKEY_free(k->slots[kind].key.pkey);
        for (int i = 0; i < N_FIXED; i++)
            X509_EXTENSION_free(k->fixed[kind][i]);
    }
    sl_free(k);
}

/* -- the subject --------------------------------------------------------------------------------
 */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || sl_is_digit(c) || c == '.' || c == '-' || c == '_';
}

static bool is_name(struct sl_str s)
{
    char before = '.';

    if (s.n == 0 || s.n > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_name_char(s.p[i]) || (s.p[i] == '.' && before == '.'))
            return false;
        before = s.p[i];
    }
    return before != '.';
}

static enum sl_err read_subject(struct sl_str host, struct subject *ret, struct sl_fault *fault)
{
    struct subject s = { .host = host };

    if (!sl_addr_parse_ip(host, &s.ip)) {
        s.ip.len = 0;
        if (!is_name(host))
            return sl_fault_set(fault, SL_BAD_HOST, "not a name to certify");
    }
    *ret = s;
    return SL_OK;
}

static bool set_address(GENERAL_NAME *name, const struct sl_addr *ip)
{
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    bool is_v4 = ip->sa.sa_family == AF_INET;
    const void *p = is_v4 ? (const void *)&ip->v4.sin_addr : (const void *)&ip->v6.sin6_addr;

    if (octets == NULL || ASN1_OCTET_STRING_set(octets, p, is_v4 ? 4 : 16) != 1) {
        ASN1_OCTET_STRING_free(octets);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, octets);
    return true;
}

static bool set_dns(GENERAL_NAME *name, struct sl_str host)
{
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    if (text == NULL || ASN1_STRING_set(text, host.p, (int)host.n) != 1) {
        ASN1_IA5STRING_free(text);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    return true;
}

static GENERAL_NAMES *make_names(const struct subject *s)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    bool ok = names != NULL && name != NULL;

    if (ok)
        ok = s->ip.len != 0 ? set_address(name, &s->ip) : set_dns(name, s->host);
    if (ok && sk_GENERAL_NAME_push(names, name) > 0)
        return names;
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return NULL;
}

/* A CN holds 64 characters (RFC 5280 appendix A, ub-common-name); without one the subject is empty
 * and the SAN critical (section 4.2.1.6). */
static bool has_cn(const struct subject *s)
{
    return s->host.n <= CN_MAX_LEN;
}

static bool add_names(X509 *cert, const struct subject *s)
{
    GENERAL_NAMES *names = make_names(s);
    bool ok =
        names != NULL && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, !has_cn(s), 0) == 1;

    GENERAL_NAMES_free(names);
    if (!ok || !has_cn(s))
        return ok;
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName,
                                      V_ASN1_UTF8STRING, (const unsigned char *)s->host.p,
                                      (int)s->host.n, -1, 0) == 1;
}

/* -- the certificate ----------------------------------------------------------------------------
 */

/* The first byte is not zero, since DER allows no leading zeros. */
static bool set_serial(X509 *cert)
{
    uint8_t bytes[16];

    do
        sl_random(bytes, sizeof(bytes));
    while (bytes[0] == 0);
    return ASN1_STRING_set(X509_get_serialNumber(cert), bytes, sizeof(bytes)) == 1;
}

static bool set_validity(X509 *cert, int64_t now, int64_t expires)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now - SL_LEAF_BACKDATE)) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)expires) != NULL;
}

static bool add_subject_key_id(X509 *cert, const struct key *key)
{
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool ok = id != NULL && ASN1_OCTET_STRING_set(id, key->id, KEY_ID_LEN) == 1 &&
              X509_add1_ext_i2d(cert, NID_subject_key_identifier, id, 0, 0) == 1;

    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* The octets of the issuer's own identifier, copied: some clients refuse one computed anew. */
static bool add_authority_key_id(X509 *cert, struct sl_ca *ca)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(sl_ca_cert(ca));
    AUTHORITY_KEYID *aki;
    bool ok;

    if (id == NULL)
        return true;
    aki = AUTHORITY_KEYID_new();
    ok = aki != NULL && (aki->keyid = ASN1_OCTET_STRING_dup(id)) != NULL &&
         X509_add1_ext_i2d(cert, NID_authority_key_identifier, aki, 0, 0) == 1;
    AUTHORITY_KEYID_free(aki);
    return ok;
}

static bool add_fixed(X509 *cert, X509_EXTENSION *const fixed[N_FIXED])
{
    for (int i = 0; i < N_FIXED; i++) {
        if (X509_add_ext(cert, fixed[i], -1) != 1)
            return false;
    }
    return true;
}

static bool fill(X509 *cert, struct sl_ca *ca, const struct key *key, const struct subject *s)
{
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_set_issuer_name(cert, X509_get_subject_name(sl_ca_cert(ca))) == 1 &&
           X509_set_pubkey(cert, key->pkey) == 1 && add_names(cert, s) &&
           add_subject_key_id(cert, key) && add_authority_key_id(cert, ca);
}

static struct sl_leaf *leaf_new(struct sl_ca *ca, const struct key *key, int64_t expires)
{
    struct sl_leaf *leaf = sl_zalloc(sizeof(*leaf));

    atomic_init(&leaf->refs, 1);
    leaf->cert = X509_new();
    leaf->key = key->pkey;
    leaf->key_ends_us = key->ends_us;
    leaf->ca = sl_ca_ref(ca);
    leaf->expires = expires;
    return leaf;
}

static int64_t end_of_life(const struct sl_ca *ca, int64_t now, uint32_t lifetime_s)
{
    int64_t end = now + (int64_t)lifetime_s;

    return end < sl_ca_not_after(ca) ? end : sl_ca_not_after(ca);
}

static bool build(struct sl_leaf *leaf, const struct key *key, const struct subject *s, int64_t now)
{
    return leaf->cert != NULL && fill(leaf->cert, leaf->ca, key, s) &&
           set_validity(leaf->cert, now, leaf->expires);
}

struct sl_leaf *sl_leaf_draft(struct sl_ca *ca, struct sl_leaf_keys *keys,
                              const struct sl_leaf_conf *conf, struct sl_str host,
                              struct sl_fault *fault)
{
    int64_t now = (int64_t)time(NULL);
    struct subject subject = { 0 };
    struct sl_leaf *leaf;
    struct key key = { 0 };
    enum sl_err err = read_subject(host, &subject, fault);

    if (err == SL_OK && sl_ca_not_after(ca) <= now)
        err = sl_fault_set(fault, SL_CONFIG, "the CA has expired; run `sluice ca init --force`");
    if (err == SL_OK)
        err = take_key(keys, conf, &key, fault);
    if (err != SL_OK)
        return NULL;
    leaf = leaf_new(ca, &key, end_of_life(ca, now, conf->lifetime_s));
    if (!build(leaf, &key, &subject, now) || !add_fixed(leaf->cert, keys->fixed[conf->kind]))
        err = sl_crypto_fault_set(fault, SL_INTERNAL, "building a leaf");
    if (err != SL_OK)
        sl_leaf_unref(&leaf);
    return leaf;
}

struct sl_leaf *sl_leaf_forge(struct sl_ca *ca, struct sl_leaf_keys *keys,
                              const struct sl_leaf_conf *conf, struct sl_str host,
                              struct sl_fault *fault)
{
    struct sl_leaf *leaf = sl_leaf_draft(ca, keys, conf, host, fault);

    if (leaf != NULL && sl_ca_sign(ca, leaf->cert, fault) != SL_OK)
        sl_leaf_unref(&leaf);
    return leaf;
}

/* -- life, facts --------------------------------------------------------------------------------
 */

struct sl_leaf *sl_leaf_ref(struct sl_leaf *leaf)
{
    atomic_fetch_add_explicit(&leaf->refs, 1, memory_order_relaxed);
    return leaf;
}

void sl_leaf_unref(struct sl_leaf **leaf)
{
    struct sl_leaf *l = *leaf;

    *leaf = NULL;
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_free(l->cert);
    EVP_PKEY_free(l->key);
    sl_ca_unref(&l->ca);
    sl_free(l);
}

X509 *sl_leaf_cert(const struct sl_leaf *leaf)
{
    return leaf->cert;
}

EVP_PKEY *sl_leaf_key(const struct sl_leaf *leaf)
{
    return leaf->key;
}

struct sl_ca *sl_leaf_ca(const struct sl_leaf *leaf)
{
    return leaf->ca;
}

bool sl_leaf_has_old_key(const struct sl_leaf *leaf)
{
    return leaf->key_ends_us != 0 && sl_mono_us() >= leaf->key_ends_us;
}

int64_t sl_leaf_expires(const struct sl_leaf *leaf)
{
    return leaf->expires;
}
