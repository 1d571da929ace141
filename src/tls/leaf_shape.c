/* leaf_shape.c -- the text is taken apart into its fields, and two of these are read.
 *
 * d2i_X509 would do, and be safe, but decodes the public key as well, which takes OpenSSL 3.0 some
 * 170 us; all else takes 5.
 */
#include "tls/leaf_shape.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/mem.h"

/* RFC 5280 section 4.1, as a leaf has it. */
enum { VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS, N_FIELDS };

static const struct {
    int class, tag;
} fields[N_FIELDS] = {
    [VERSION] = { V_ASN1_CONTEXT_SPECIFIC, 0 },
    [SERIAL] = { V_ASN1_UNIVERSAL, V_ASN1_INTEGER },
    [ALGORITHM] = { V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE },
    [ISSUER] = { V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE },
    [VALIDITY] = { V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE },
    [SUBJECT] = { V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE },
    [KEY] = { V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE },
    [EXTENSIONS] = { V_ASN1_CONTEXT_SPECIFIC, 3 },
};

#define VERSION_3 "\x02\x01\x02"
#define SLACK_S 3600

#define VALUE(literal)                                                                             \
    {                                                                                              \
        .p = (literal), .n = sizeof(literal) - 1                                                   \
    }
static bool is_one_name(struct sl_str der);

/* Those without values have some of their own in each leaf. */
static const struct shape {
    int nid;
    bool is_needed;
    struct sl_str values[2];
    bool (*is_good)(struct sl_str der); /* in place of values */
} shapes[] = {
    { .nid = NID_basic_constraints, .is_needed = true, .values = { VALUE(SL_LEAF_NO_AUTHORITY) } },
    { .nid = NID_key_usage,
      .is_needed = true,
      .values = { VALUE(SL_LEAF_USAGE_ECDSA), VALUE(SL_LEAF_USAGE_RSA) } },
    { .nid = NID_ext_key_usage, .is_needed = true, .values = { VALUE(SL_LEAF_PURPOSE) } },
    { .nid = NID_subject_alt_name, .is_needed = true, .is_good = is_one_name },
    { .nid = NID_subject_key_identifier },
    { .nid = NID_authority_key_identifier },
};

/* -- fields -- */

/* Takes the next off *rest; false unless it is this one, whole and of definite length. */
static bool take(struct sl_str *rest, int class, int tag, struct sl_str *ret_content)
{
    const unsigned char *p = (const unsigned char *)rest->p, *end = p + rest->n;
    int found_tag, found_class, form;
    long n;

    form = ASN1_get_object(&p, &n, &found_tag, &found_class, (long)rest->n);
    if ((form & 0x81) != 0 || found_class != class || found_tag != tag)
        return false;
    *ret_content = sl_str_make(p, (size_t)n);
    *rest = sl_str_make(p + n, (size_t)(end - p) - (size_t)n);
    return true;
}

static bool take_apart(struct sl_str text, struct sl_str ret[N_FIELDS])
{
    struct sl_str rest;

    if (!take(&text, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &rest) || text.n != 0)
        return false;
    for (int i = 0; i < N_FIELDS; i++)
        if (!take(&rest, fields[i].class, fields[i].tag, &ret[i]))
            return false;
    return rest.n == 0;
}

/* -- extensions -- */

/* A subjectAltName of one dNSName, which is no wildcard, or one iPAddress (RFC 5280 4.2.1.6). */
static bool is_one_name(struct sl_str der)
{
    struct sl_str names, name, more;

    if (!take(&der, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &names) || der.n != 0)
        return false;
    more = names;
    if (take(&more, V_ASN1_CONTEXT_SPECIFIC, GEN_DNS, &name))
        return more.n == 0 && name.n != 0 && sl_str_find(name, '*') == name.n;
    more = names;
    return take(&more, V_ASN1_CONTEXT_SPECIFIC, GEN_IPADD, &name) && more.n == 0;
}

static bool is_value_of(const struct shape *shape, X509_EXTENSION *ext)
{
    const ASN1_OCTET_STRING *octets = X509_EXTENSION_get_data(ext);
    struct sl_str value =
        sl_str_make(ASN1_STRING_get0_data(octets), (size_t)ASN1_STRING_length(octets));

    if (shape->is_good != NULL)
        return shape->is_good(value);
    if (shape->values[0].n == 0)
        return true;
    for (size_t i = 0; i < SL_LEN(shape->values) && shape->values[i].n != 0; i++)
        if (sl_str_eq(value, shape->values[i]))
            return true;
    return false;
}

/* How many of the extensions are of this shape; a second one is left over in the sum. */
static int count(const X509_EXTENSIONS *exts, const struct shape *shape)
{
    int at = X509v3_get_ext_by_NID(exts, shape->nid, -1);

    if (at < 0)
        return 0;
    return is_value_of(shape, X509v3_get_ext(exts, at)) ? 1 : -1;
}

static bool have_shape(const X509_EXTENSIONS *exts)
{
    int n_known = 0;

    for (size_t i = 0; i < SL_LEN(shapes); i++) {
        int n = count(exts, &shapes[i]);

        if (n < (shapes[i].is_needed ? 1 : 0))
            return false;
        n_known += n;
    }
    return n_known == X509v3_get_ext_count(exts);
}

/* DER is the one way to write them: readers that forgive may see something else. */
static bool is_der_of(const X509_EXTENSIONS *exts, struct sl_str der)
{
    unsigned char *own = NULL;
    int n = i2d_X509_EXTENSIONS((X509_EXTENSIONS *)(uintptr_t)exts, &own);
    bool is_same = n > 0 && sl_str_eq(sl_str_make(own, (size_t)n), der);

    OPENSSL_free(own);
    return is_same;
}

static bool are_extensions(struct sl_str der)
{
    const unsigned char *p = (const unsigned char *)der.p;
    X509_EXTENSIONS *exts = d2i_X509_EXTENSIONS(NULL, &p, (long)der.n);
    bool ok = exts != NULL && is_der_of(exts, der) && have_shape(exts);

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    return ok;
}

/* -- life -- */

/* Takes a Time off *der. */
static bool take_time(struct sl_str *der, int64_t *ret_seconds)
{
    const unsigned char *p = (const unsigned char *)der->p, *start = p;
    ASN1_TIME *t = d2i_ASN1_TIME(NULL, &p, (long)der->n);
    struct tm tm;
    bool ok = t != NULL && ASN1_TIME_to_tm(t, &tm) == 1;

    ASN1_TIME_free(t);
    *der = sl_str_skip(*der, (size_t)(p - start));
    if (ok)
        *ret_seconds = (int64_t)timegm(&tm);
    return ok;
}

static bool is_life(struct sl_str validity, int64_t now)
{
    int64_t begin, end;

    return take_time(&validity, &begin) && take_time(&validity, &end) && validity.n == 0 &&
           begin >= now - SL_LEAF_BACKDATE - SLACK_S && begin <= now + SLACK_S && begin < end &&
           end <= now + SL_LEAF_LIFETIME_MAX + SLACK_S;
}

enum sl_err sl_leaf_check_shape(struct sl_str text, int64_t now, struct sl_fault *fault)
{
    struct sl_str field[N_FIELDS];
    bool is_leaf = take_apart(text, field) && sl_str_eq(field[VERSION], SL_STR(VERSION_3)) &&
                   are_extensions(field[EXTENSIONS]) && is_life(field[VALIDITY], now);

    ERR_clear_error();
    return is_leaf ? SL_OK : sl_fault_set(fault, SL_INTERNAL, "not the text of a leaf");
}
