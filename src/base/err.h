/* err.h -- every way an operation ends, in one table.
 *
 * The table drives the enum, the text in logs, the `error` of Proxy-Status (RFC 9209 section 2.3),
 * the status of the reply, metric labels and docs/ERRORS.md. Codes travel up; the detail stays on
 * the object that failed, in a struct sl_fault, and its owner logs it once. Thread: any.
 */
#ifndef SL_BASE_ERR_H
#define SL_BASE_ERR_H

#include <stdbool.h>

/* clang-format off */
#define SL_ERR_MAP(X) \
    /* name  http  retry  Proxy-Status error  meaning */ \
    X(OK,                 0, false, "",                                   "success") \
    X(AGAIN,              0, true,  "",                                   "no progress possible yet") \
    X(EOF,                0, false, "",                                   "peer finished sending") \
    X(NO_NAME,          502, true,  "dns_error",                          "name does not resolve") \
    X(NO_ADDRESS,       502, false, "dns_error",                          "name has no address") \
    X(DNS_TIMEOUT,      504, true,  "dns_timeout",                        "name resolution timed out") \
    X(REFUSED,          502, true,  "connection_refused",                 "connection refused") \
    X(UNREACHABLE,      502, true,  "destination_ip_unroutable",          "destination unreachable") \
    X(RESET,            502, true,  "connection_terminated",              "connection reset by peer") \
    X(CONNECT_TIMEOUT,  504, true,  "connection_timeout",                 "connecting timed out") \
    X(READ_TIMEOUT,     504, true,  "connection_read_timeout",            "peer sent nothing in time") \
    X(WRITE_TIMEOUT,    504, true,  "connection_write_timeout",           "peer took nothing in time") \
    X(RESPONSE_TIMEOUT, 504, true,  "http_response_timeout",              "no response in time") \
    X(REQUEST_TIMEOUT,  408, true,  "http_request_error",                 "request not complete in time") \
    X(BLOCKED_ADDRESS,  403, false, "destination_ip_prohibited",          "address is not allowed") \
    X(TLS_PROTOCOL,     502, false, "tls_protocol_error",                 "TLS handshake failed") \
    X(TLS_ALERT,        502, false, "tls_alert_received",                 "peer sent a TLS alert") \
    X(TLS_VERSION,      502, false, "tls_protocol_error",                 "no TLS version in common") \
    X(CERT_EXPIRED,     502, false, "tls_certificate_error",              "certificate has expired") \
    X(CERT_NOT_YET,     502, false, "tls_certificate_error",              "certificate is not yet valid") \
    X(CERT_SELF_SIGNED, 502, false, "tls_certificate_error",              "certificate is self-signed") \
    X(CERT_UNKNOWN_CA,  502, false, "tls_certificate_error",              "certificate issuer is unknown") \
    X(CERT_WRONG_HOST,  502, false, "tls_certificate_error",              "certificate is for another host") \
    X(CERT_CONSTRAINED, 502, false, "tls_certificate_error",              "certificate issuer may not vouch for this host") \
    X(CERT_INCOMPLETE,  502, false, "tls_certificate_error",              "origin did not send its certificate's issuer") \
    X(CERT_WEAK_KEY,    502, false, "tls_certificate_error",              "certificate key is too weak") \
    X(CERT_WEAK_DIGEST, 502, false, "tls_certificate_error",              "certificate is signed over a weak digest") \
    X(CERT_WANTED,      502, false, "tls_certificate_error",              "origin demands a client certificate") \
    X(CERT_INVALID,     502, false, "tls_certificate_error",              "certificate is not valid") \
    X(BAD_REQUEST,      400, false, "http_request_error",                 "malformed request") \
    X(BAD_TARGET,       400, false, "http_request_error",                 "malformed request target") \
    X(BAD_HOST,         400, false, "http_request_error",                 "missing or malformed host") \
    X(BAD_FRAMING,      400, false, "http_request_error",                 "ambiguous or malformed framing") \
    X(BAD_VERSION,      505, false, "http_request_error",                 "HTTP version not supported") \
    X(NOT_IMPLEMENTED,  501, false, "http_request_error",                 "not implemented") \
    X(HEADER_TOO_LARGE, 431, false, "http_request_error",                 "header section too large") \
    X(URI_TOO_LONG,     414, false, "http_request_error",                 "request target too long") \
    X(BODY_TOO_LARGE,   413, false, "http_request_error",                 "body too large") \
    X(TOO_MANY,         429, true,  "http_request_denied",                "too many connections or requests") \
    X(BAD_RESPONSE,     502, true,  "http_protocol_error",                "malformed response") \
    X(RESPONSE_HEADER,  502, false, "http_response_header_section_size",  "response header section too large") \
    X(RESPONSE_CUT,     502, true,  "http_response_incomplete",           "response ended early") \
    X(UPGRADE_FAILED,   502, false, "http_upgrade_failed",                "upgrade not asked for") \
    X(MISDIRECTED,      421, false, "http_request_error",                 "name differs from the connection's") \
    X(LOOP,             508, false, "proxy_loop_detected",                "request came back to this proxy") \
    X(DENIED,           403, false, "http_request_denied",                "policy said no") \
    X(CHECK_FAILED,     503, true,  "http_request_denied",                "check unavailable") \
    X(PROTOCOL,         400, false, "http_protocol_error",                "peer broke the protocol") \
    X(LIMIT,            503, true,  "proxy_internal_response",            "configured limit exceeded") \
    X(CANCELLED,        499, false, "connection_terminated",              "client went away") \
    X(CONFIG,             0, false, "proxy_configuration_error",          "configuration is wrong") \
    X(IO,               502, false, "proxy_internal_error",               "input or output failed") \
    X(INTERNAL,         500, false, "proxy_internal_error",               "internal error")
/* clang-format on */

enum sl_err {
#define X(name, http, retry, status, text) SL_##name,
    SL_ERR_MAP(X)
#undef X
        SL_ERR_N
};

#define SL_MUST_USE __attribute__((warn_unused_result))

/** What went wrong, kept on the object that failed; logged once, by its owner. */
struct sl_fault {
    enum sl_err err;
    int os_errno;      /**< 0 if the kernel was not involved */
    unsigned long tls; /**< OpenSSL error code, or 0 */
    char text[160];    /**< human detail; never secrets, never payload; may be empty */
};

/** Sets @a f and answers @a err, so that a failing function can end in one line. */
enum sl_err sl_fault_set(struct sl_fault *f, enum sl_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** The same for a failed system call: maps @a os_errno to a code and keeps it. */
enum sl_err sl_fault_errno(struct sl_fault *f, int os_errno, const char *what);

const char *sl_err_name(enum sl_err err); /**< "CERT_EXPIRED" in lower case: `cert_expired` */
const char *sl_err_text(enum sl_err err); /**< a phrase for eyes */
const char *sl_err_proxy_status(enum sl_err err); /**< RFC 9209 error token, "" for none */
int sl_err_http(enum sl_err err);                 /**< status of the reply, 0 for none */
bool sl_err_is_retryable(enum sl_err err);        /**< another attempt may end differently */

#endif
