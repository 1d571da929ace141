/* test_ca.c -- making, loading, refusing and exporting authorities, in a directory of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tls/ca.h"

static char dir[64];
static char cert_path[128], key_path[128];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/sluice-test-ca-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/a/state/ca.pem", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/a/state/ca.key", dir);
    return 0;
}

static size_t count(const char *pattern)
{
    char path[160];
    glob_t found;
    size_t n = 0;

    (void)snprintf(path, sizeof(path), "%s/a/state/%s", dir, pattern);
    if (glob(path, 0, NULL, &found) == 0) {
        n = found.gl_pathc;
        globfree(&found);
    }
    return n;
}

static int tear_down(void **state)
{
    char path[160];
    glob_t found;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/a/state/*", dir);
    if (glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            (void)unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    (void)snprintf(path, sizeof(path), "%s/a/state", dir);
    (void)rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/a", dir);
    (void)rmdir(path);
    return rmdir(dir);
}

static void create(enum sl_ca_key key)
{
    struct sl_fault fault = { 0 };
    const struct sl_ca_new_conf conf = { .key = key, .force = true };

    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
}

static struct sl_ca *load(void)
{
    struct sl_fault fault = { 0 };
    struct sl_ca *ca = NULL;

    assert_int_equal(sl_ca_load(&(struct sl_ca_source){ .certificate = cert_path, .key = key_path },
                                &ca, &fault),
                     SL_OK);
    return ca;
}

/* The load fails with a line that names @a path and holds @a hint. */
static void assert_refused(const char *path, const char *hint)
{
    struct sl_fault fault = { 0 };
    struct sl_ca *ca = NULL;

    assert_int_equal(sl_ca_load(&(struct sl_ca_source){ .certificate = cert_path, .key = key_path },
                                &ca, &fault),
                     SL_CONFIG);
    assert_null(ca);
    assert_non_null(strstr(fault.text, path));
    assert_non_null(strstr(fault.text, hint));
    assert_int_equal(ERR_peek_error(), 0);
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_key_names(void **state)
{
    enum sl_ca_key key;

    (void)state;
    assert_true(sl_ca_key_parse(SL_STR("ecdsa-p384"), &key));
    assert_int_equal(key, SL_CA_ECDSA_P384);
    assert_true(sl_ca_key_parse(SL_STR("rsa-3072"), &key));
    assert_int_equal(key, SL_CA_RSA_3072);
    assert_false(sl_ca_key_parse(SL_STR("rsa-2048"), &key));
    assert_false(sl_ca_key_parse(SL_STR(""), &key));
}

static void assert_is_authority(X509 *cert)
{
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(cert);
    const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(cert);
    int days = 0, seconds = 0;

    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_int_equal(X509_check_ca(cert), 1);
    assert_int_equal(X509_get_pathlen(cert), 0);
    assert_int_equal(X509_get_key_usage(cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        X509_EXTENSION *ext = X509_get_ext(cert, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));
        bool must = nid == NID_basic_constraints || nid == NID_key_usage;

        assert_int_equal(X509_EXTENSION_get_critical(ext), must);
    }
    assert_non_null(ski);
    assert_non_null(aki);
    assert_int_equal(ASN1_OCTET_STRING_cmp(ski, aki), 0);
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), NULL), 1);
    assert_int_equal(days, 1);
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)), 1);
    assert_in_range(days, 3649, 3650);
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
}

static void test_created_loads(void **state)
{
    static const enum sl_ca_key keys[] = { SL_CA_ECDSA_P256, SL_CA_ECDSA_P384, SL_CA_RSA_3072 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(keys); i++) {
        mode_t old = umask(077);
        struct sl_ca *ca;

        create(keys[i]);
        (void)umask(old);
        assert_int_equal(mode_of(key_path), 0600);
        assert_int_equal(mode_of(cert_path), 0644);
        assert_int_equal(count("*.tmp-*"), 0);
        ca = load();
        assert_is_authority(sl_ca_cert(ca));
        assert_int_equal(sl_ca_chain_len(ca), 0);
        sl_ca_unref(&ca);
        assert_null(ca);
    }
}

/* The certificate's mode says that others may read it, so they can get there. */
static void test_modes_of_directories(void **state)
{
    mode_t old = umask(022);
    char path[128];

    (void)state;
    create(SL_CA_ECDSA_P256);
    (void)umask(old);
    (void)snprintf(path, sizeof(path), "%s/a", dir);
    assert_int_equal(mode_of(path), 0700);
    (void)snprintf(path, sizeof(path), "%s/a/state", dir);
    assert_int_equal(mode_of(path), 0755);
}

/* threat: key-kept */
static void test_existing_is_never_overwritten(void **state)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, cert_path));
    assert_non_null(strstr(fault.text, "--force"));
    create(SL_CA_ECDSA_P256);
    create(SL_CA_ECDSA_P256);
    assert_int_equal(count("ca.pem.*.bak"), 2);
    assert_int_equal(count("ca.key.*.bak"), 2);
}

static void test_half_a_ca(void **state)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_fault fault = { 0 };

    (void)state;
    create(SL_CA_ECDSA_P256);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "without its key"));
    assert_int_equal(access(key_path, F_OK), -1);
    assert_refused(key_path, "no such file");
    create(SL_CA_ECDSA_P256);
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "without its certificate"));
    assert_refused(cert_path, "sluice ca init");
}

static void test_refused_conf(void **state)
{
    static const struct sl_ca_new_conf rows[] = {
        { .name = "" },
        { .name = "\xff" },
        { .name = "0123456789012345678901234567890123456789012345678901234567890123x" },
        { .days = 7301 },
    };
    struct sl_fault fault = { 0 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++)
        assert_int_equal(sl_ca_create(cert_path, key_path, &rows[i], &fault), SL_CONFIG);
    assert_int_equal(sl_ca_create(key_path, key_path, &(struct sl_ca_new_conf){ 0 }, &fault),
                     SL_CONFIG);
    assert_int_equal(access(cert_path, F_OK), -1);
}

static void test_unwritable_place(void **state)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256 };
    struct sl_fault fault = { 0 };
    char file[128], below[160];

    (void)state;
    (void)snprintf(file, sizeof(file), "%s/file", dir);
    (void)snprintf(below, sizeof(below), "%s/ca.pem", file);
    write_text(file, "x", 0600);
    assert_int_equal(sl_ca_create(below, key_path, &conf, &fault), SL_CONFIG);
    assert_int_equal(fault.os_errno, ENOTDIR);
    (void)snprintf(below, sizeof(below), "%s/x/y/ca.pem", file);
    assert_int_equal(sl_ca_create(below, key_path, &conf, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, "/file/x: "));
    assert_int_equal(unlink(file), 0);
}

/* threat: key-kept */
static void test_refused_key_files(void **state)
{
    static const mode_t modes[] = { 0640, 0604, 0610, 0660, 0620 };
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *out;

    (void)state;
    create(SL_CA_ECDSA_P256);
    for (size_t i = 0; i < SL_LEN(modes); i++) {
        assert_int_equal(chmod(key_path, modes[i]), 0);
        assert_refused(key_path, "chmod 600");
    }
    assert_int_equal(chmod(key_path, 0600), 0);
    out = fopen(key_path, "w");
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(out), 0);
    assert_refused(key_path, "is not the key of");
    out = fopen(key_path, "w");
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(out, key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    assert_int_equal(fclose(out), 0);
    assert_refused(key_path, "encrypted");
    write_text(key_path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0600);
    assert_refused(key_path, "no private key");
    write_text(key_path, "not PEM\n", 0600);
    assert_refused(key_path, "no private key");
    EVP_PKEY_free(key);
}

/* -- certificates that are not ours ---------------------------------------------------------------
 */

struct made {
    const char *basic_constraints, *key_usage;
    long from_days, to_days;
    const char *group; /* NULL: RSA-1024 */
};

static void add_ext(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = value != NULL ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;

    if (ext != NULL)
        assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static X509 *make_cert(const struct made *m, EVP_PKEY *key, const char *subject)
{
    X509 *cert = X509_new();

    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                                (const unsigned char *)subject, -1, -1, 0),
                     1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), m->from_days * 86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), m->to_days * 86400));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    add_ext(cert, NID_basic_constraints, m->basic_constraints);
    add_ext(cert, NID_key_usage, m->key_usage);
    return cert;
}

static void write_pair(EVP_PKEY *key, X509 *const certs[], size_t n)
{
    FILE *out = fopen(cert_path, "w");

    for (size_t i = 0; i < n; i++)
        assert_int_equal(PEM_write_X509(out, certs[i]), 1);
    assert_int_equal(fclose(out), 0);
    out = fopen(key_path, "w");
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(out), 0);
}

static void test_refused_certificates(void **state)
{
    static const struct {
        struct made made;
        const char *hint;
    } rows[] = {
        { { "critical,CA:TRUE", "keyCertSign", -2, -1, "P-256" }, "expired on" },
        { { "critical,CA:TRUE", "keyCertSign", 1, 2, "P-256" }, "not valid before" },
        { { "critical,CA:FALSE", "keyCertSign", -1, 2, "P-256" }, "not a CA" },
        { { NULL, NULL, -1, 2, "P-256" }, "not a CA" },
        { { "critical,CA:TRUE", "digitalSignature", -1, 2, "P-256" }, "keyCertSign" },
        { { "critical,CA:TRUE", NULL, -1, 2, "secp256k1" }, "must be RSA" },
        { { "critical,CA:TRUE", NULL, -1, 2, NULL }, "must be RSA" },
    };

    (void)state;
    create(SL_CA_ECDSA_P256);
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        const struct made *m = &rows[i].made;
        EVP_PKEY *key = m->group != NULL ? EVP_EC_gen(m->group) : EVP_RSA_gen(1024);
        X509 *cert = make_cert(m, key, "x");

        assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
        assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
        write_pair(key, &cert, 1);
        assert_refused(dir, rows[i].hint);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    write_text(cert_path, "", 0644);
    assert_refused(cert_path, "holds no certificate");
    write_text(cert_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0644);
    assert_refused(cert_path, "");
}

static void assert_exports(const struct sl_ca *ca, size_t n_pem, const X509 *anchor)
{
    struct sl_buf pem = { 0 }, der = { 0 };
    struct sl_fault fault = { 0 };
    const unsigned char *p;
    const char *at;
    X509 *cert;
    size_t n = 0;

    assert_int_equal(sl_ca_export(ca, SL_CA_PEM, &pem, &fault), SL_OK);
    sl_buf_add_char(&pem, 0);
    for (at = pem.p; (at = strstr(at, "BEGIN CERTIFICATE")) != NULL; at++)
        n++;
    assert_int_equal(n, n_pem);
    assert_int_equal(sl_ca_export(ca, SL_CA_DER, &der, &fault), SL_OK);
    p = (const unsigned char *)sl_buf_str(&der).p;
    cert = d2i_X509(NULL, &p, (long)der.len);
    assert_int_equal(X509_cmp(cert, anchor), 0);
    X509_free(cert);
    sl_buf_fini(&pem);
    sl_buf_fini(&der);
}

/* An intermediate is sent, its root is not but is what to trust; a stranger in its place is
 * refused. */
static void test_chain(void **state)
{
    static const struct made ca_made = { "critical,CA:TRUE", "keyCertSign", -1, 9, "P-521" };
    EVP_PKEY *root_key = EVP_EC_gen("P-521"), *key = EVP_EC_gen("P-521");
    X509 *certs[2] = { make_cert(&ca_made, key, "sub"), make_cert(&ca_made, root_key, "root") };
    X509_NAME *root_name = X509_get_subject_name(certs[1]);
    struct sl_ca *ca;

    (void)state;
    create(SL_CA_ECDSA_P256);
    assert_int_equal(X509_set_issuer_name(certs[0], root_name), 1);
    assert_int_equal(X509_set_issuer_name(certs[1], root_name), 1);
    assert_true(X509_sign(certs[0], root_key, EVP_sha512()) > 0);
    assert_true(X509_sign(certs[1], root_key, EVP_sha512()) > 0);
    write_pair(key, certs, 2);
    ca = load();
    assert_int_equal(sl_ca_chain_len(ca), 1);
    assert_int_equal(X509_cmp(sl_ca_chain_at(ca, 0), certs[0]), 0);
    assert_exports(ca, 2, certs[1]);
    sl_ca_unref(&ca);
    write_pair(key, certs, 1);
    ca = load();
    assert_exports(ca, 1, certs[0]);
    sl_ca_unref(&ca);
    write_pair(root_key, (X509 *const[]){ certs[1], certs[0] }, 2);
    assert_refused(cert_path, "did not issue");
    X509_free(certs[0]);
    X509_free(certs[1]);
    EVP_PKEY_free(key);
    EVP_PKEY_free(root_key);
}

/* Each parent is one that clients would refuse. */
static void test_refused_parents(void **state)
{
    static const struct made sub_made = { "critical,CA:TRUE", "keyCertSign", -1, 9, "P-256" };
    static const struct {
        struct made made;
        const char *hint;
    } rows[] = {
        { { "critical,CA:TRUE", "keyCertSign", -2, -1, "P-256" }, "certificate 2: expired on" },
        { { "critical,CA:TRUE", "keyCertSign", 1, 2, "P-256" }, "certificate 2: not valid before" },
        { { "critical,CA:FALSE", NULL, -1, 2, "P-256" }, "certificate 2: not a CA" },
        { { "critical,CA:TRUE,pathlen:0", "keyCertSign", -1, 2, "P-256" }, "pathlen" },
    };
    EVP_PKEY *key = EVP_EC_gen("P-256"), *root_key = EVP_EC_gen("P-256");

    (void)state;
    create(SL_CA_ECDSA_P256);
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        X509 *certs[2] = { make_cert(&sub_made, key, "sub"),
                           make_cert(&rows[i].made, root_key, "root") };

        for (size_t j = 0; j < 2; j++) {
            X509_NAME *root_name = X509_get_subject_name(certs[1]);

            assert_int_equal(X509_set_issuer_name(certs[j], root_name), 1);
            assert_true(X509_sign(certs[j], root_key, EVP_sha256()) > 0);
        }
        write_pair(key, certs, 2);
        assert_refused(cert_path, rows[i].hint);
        X509_free(certs[0]);
        X509_free(certs[1]);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(root_key);
}

static void test_export(void **state)
{
    struct sl_buf pem = { 0 }, der = { 0 }, p12 = { 0 };
    struct sl_fault fault = { 0 };
    const unsigned char *p;
    struct sl_ca *ca;
    X509 *cert;
    PKCS12 *store;

    (void)state;
    create(SL_CA_ECDSA_P256);
    ca = load();
    assert_int_equal(sl_ca_export(ca, SL_CA_PEM, &pem, &fault), SL_OK);
    assert_true(sl_str_has_prefix(sl_buf_str(&pem), SL_STR("-----BEGIN CERTIFICATE-----")));
    assert_int_equal(sl_ca_export(ca, SL_CA_DER, &der, &fault), SL_OK);
    p = (const unsigned char *)sl_buf_str(&der).p;
    cert = d2i_X509(NULL, &p, (long)der.len);
    assert_int_equal(X509_cmp(cert, sl_ca_cert(ca)), 0);
    X509_free(cert);
    assert_int_equal(sl_ca_export(ca, SL_CA_P12, &p12, &fault), SL_OK);
    p = (const unsigned char *)sl_buf_str(&p12).p;
    store = d2i_PKCS12(NULL, &p, (long)p12.len);
    assert_int_equal(PKCS12_verify_mac(store, "", 0), 1);
    PKCS12_free(store);
    sl_ca_unref(&ca);
    sl_buf_fini(&pem);
    sl_buf_fini(&der);
    sl_buf_fini(&p12);
}

static void test_describe(void **state)
{
    const struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P384, .name = "Müller\n" };
    struct sl_fault fault = { 0 };
    struct sl_buf out = { 0 };
    struct sl_ca *ca;

    (void)state;
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    ca = load();
    sl_ca_describe(ca, &out);
    sl_buf_add_char(&out, 0);
    assert_non_null(strstr(out.p, "subject: CN=Müller\\0A\nkey: ecdsa-p384\nnot before: 20"));
    assert_non_null(strstr(out.p, "\nsha256 fingerprint: "));
    sl_buf_fini(&out);
    sl_ca_unref(&ca);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_names),
        CASE(test_created_loads),
        CASE(test_modes_of_directories),
        CASE(test_existing_is_never_overwritten),
        CASE(test_half_a_ca),
        CASE(test_refused_conf),
        CASE(test_unwritable_place),
        CASE(test_refused_key_files),
        CASE(test_refused_certificates),
        CASE(test_chain),
        CASE(test_refused_parents),
        CASE(test_export),
        CASE(test_describe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
