/* tls_fault.c -- the library's errors in the project's terms.
 *
 * The first error in the queue is the cause, those behind it are its echoes on the way up.
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "tls/tls_internal.h"

#define ALERT_HANDSHAKE_FAILURE 40
#define ALERT_BAD_CERTIFICATE 42
#define ALERT_PROTOCOL_VERSION 70
#define ALERT_CERTIFICATE_REQUIRED 116
#define ALERT_MAX 255

static const struct {
    long verify;
    enum sl_err err;
} verify_errs[] = {
    { X509_V_ERR_CERT_HAS_EXPIRED, SL_CERT_EXPIRED },
    { X509_V_ERR_CERT_NOT_YET_VALID, SL_CERT_NOT_YET },
    { X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SL_CERT_SELF_SIGNED },
    { X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, SL_CERT_UNKNOWN_CA },
    { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, SL_CERT_UNKNOWN_CA },
    { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SL_CERT_UNKNOWN_CA },
    { X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, SL_CERT_UNKNOWN_CA },
    { X509_V_ERR_CERT_UNTRUSTED, SL_CERT_UNKNOWN_CA },
    { X509_V_ERR_HOSTNAME_MISMATCH, SL_CERT_WRONG_HOST },
    { X509_V_ERR_IP_ADDRESS_MISMATCH, SL_CERT_WRONG_HOST },
    { X509_V_ERR_PERMITTED_VIOLATION, SL_CERT_CONSTRAINED },
    { X509_V_ERR_EXCLUDED_VIOLATION, SL_CERT_CONSTRAINED },
    { SL_X509_V_ERR_INCOMPLETE, SL_CERT_INCOMPLETE },
    { X509_V_ERR_EE_KEY_TOO_SMALL, SL_CERT_WEAK_KEY },
    { X509_V_ERR_CA_KEY_TOO_SMALL, SL_CERT_WEAK_KEY },
    { X509_V_ERR_CA_MD_TOO_WEAK, SL_CERT_WEAK_DIGEST },
};

static enum sl_err verify_fault(struct sl_fault *f, long verify)
{
    enum sl_err err = SL_CERT_INVALID;

    for (size_t i = 0; i < SL_LEN(verify_errs); i++) {
        if (verify_errs[i].verify == verify)
            err = verify_errs[i].err;
    }
    return sl_fault_set(f, err, "%s",
                        verify == SL_X509_V_ERR_INCOMPLETE ? "issuer neither sent nor known"
                                                           : X509_verify_cert_error_string(verify));
}

/* TLS 1.3 has an alert of its own for it; before, servers that asked for a certificate and got none
 * gave up with a general one (RFC 5246 section 7.4.6). */
static bool is_certificate_wanted(SSL *ssl, int alert)
{
    if (alert == ALERT_CERTIFICATE_REQUIRED)
        return true;
    return (alert == ALERT_HANDSHAKE_FAILURE || alert == ALERT_BAD_CERTIFICATE) &&
           !SSL_is_server(ssl) && SSL_get0_certificate_types(ssl, NULL) > 0;
}

static enum sl_err alert_fault(struct sl_fault *f, SSL *ssl, int alert)
{
    enum sl_err err = is_certificate_wanted(ssl, alert) ? SL_CERT_WANTED : SL_TLS_ALERT;

    if (alert == ALERT_PROTOCOL_VERSION)
        err = SL_TLS_VERSION;
    sl_fault_set(f, err, "%s", SSL_alert_desc_string_long(alert));
    for (char *p = f->text; *p != '\0'; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    return err;
}

/* The peer's one version is not among ours: said by the client's side, then by the server's. */
static bool is_version(int reason)
{
    return reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW;
}

enum sl_err sl_tls_fault_set(struct sl_fault *f, SSL *ssl)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    int alert = reason - SSL_AD_REASON_OFFSET;
    const char *text = ERR_reason_error_string(code);
    enum sl_err err;

    if (alert >= 0 && alert <= ALERT_MAX)
        err = alert_fault(f, ssl, alert);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        err = verify_fault(f, SSL_get_verify_result(ssl));
    else
        err = sl_fault_set(f, is_version(reason) ? SL_TLS_VERSION : SL_TLS_PROTOCOL, "%s",
                           text != NULL ? text : "no detail");
    f->tls = code;
    ERR_clear_error();
    return err;
}
