/* message.h -- heads of HTTP messages in parsed form (RFC 9110 section 6).
 *
 * A head is what was received, parsed once: rules, checks and the peer on the other side all see
 * these very slices.  All slices live in the head's arena, so a head outlives the bytes it came
 * from. Thread: the owner's.
 */
#ifndef SL_HTTP_MESSAGE_H
#define SL_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Field names the proxy itself looks at; others are SL_FIELD_OTHER.  Lower case. */
#define SL_FIELD_MAP(X)                                                                            \
    X(ACCEPT, "accept")                                                                            \
    X(ALT_SVC, "alt-svc")                                                                          \
    X(AUTHORIZATION, "authorization")                                                              \
    X(CONNECTION, "connection")                                                                    \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(COOKIE, "cookie")                                                                            \
    X(DATE, "date")                                                                                \
    X(EXPECT, "expect")                                                                            \
    X(HOST, "host")                                                                                \
    X(HTTP2_SETTINGS, "http2-settings")                                                            \
    X(KEEP_ALIVE, "keep-alive")                                                                    \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                    \
    X(PROXY_AUTHORIZATION, "proxy-authorization")                                                  \
    X(PROXY_CONNECTION, "proxy-connection")                                                        \
    X(PROXY_STATUS, "proxy-status")                                                                \
    X(RETRY_AFTER, "retry-after")                                                                  \
    X(TE, "te")                                                                                    \
    X(TRAILER, "trailer")                                                                          \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(UPGRADE, "upgrade")                                                                          \
    X(VIA, "via")                                                                                  \
    X(WWW_AUTHENTICATE, "www-authenticate")

enum sl_field_id {
    SL_FIELD_OTHER,
#define X(id, name) SL_FIELD_##id,
    SL_FIELD_MAP(X)
#undef X
        SL_FIELD_N
};

struct sl_field {
    enum sl_field_id id;
    struct sl_str name;  /**< as received, case kept; a token (RFC 9110 section 5.6.2) */
    struct sl_str value; /**< without surrounding blanks; no CR, LF, NUL */
};

/** A list in order of receipt, duplicates included. */
struct sl_fields {
    struct sl_field *v;
    uint32_t n, cap;
};

/** How a body ends (RFC 9112 section 6.3). */
enum sl_framing {
    SL_FRAMING_NONE,    /**< no body */
    SL_FRAMING_LENGTH,  /**< content_length bytes */
    SL_FRAMING_CHUNKED, /**< chunked coding */
    SL_FRAMING_CLOSE,   /**< until the peer closes; responses only */
    SL_FRAMING_RAW,     /**< no longer HTTP: after 101, or 2xx to CONNECT */
};

/** What a head may measure, whatever the version of HTTP. */
struct sl_head_limits {
    uint32_t uri_bytes;    /**< request target; over it SL_URI_TOO_LONG */
    uint32_t header_bytes; /**< whole header section; over it SL_HEADER_TOO_LARGE */
    uint32_t header_count; /**< fields; over it SL_HEADER_TOO_LARGE */
};

/** A request's head when method is not empty, else a response's. */
struct sl_head {
    struct sl_arena *arena; /**< where everything below lives; borrowed */
    struct sl_str method;   /**< request: a token, case kept */
    struct sl_str
        scheme;         /**< request: "http" or "https"; from the absolute form or the connection */
    struct sl_str host; /**< request: canonical (http/uri.h), no port; from the target or Host */
    uint16_t port;      /**< request: as named, or the scheme's default */
    bool names_port;    /**< request: it was named */
    struct sl_str target;  /**< request: origin-form path and query, "*", or empty for CONNECT */
    uint16_t status;       /**< response: 100..599 */
    struct sl_str reason;  /**< response: reason phrase, may be empty */
    uint8_t major, minor;  /**< version on the wire: 1.0, 1.1, 2.0 */
    bool is_absolute;      /**< request: came in absolute form */
    bool is_connect;       /**< request: CONNECT, host and port name the target */
    bool keep_alive;       /**< the connection may carry another message after this one */
    bool expects_continue; /**< request: Expect: 100-continue, and content follows */
    bool wants_upgrade;    /**< Connection names upgrade and Upgrade is present */
    bool is_extended; /**< request: came as an extended CONNECT (RFC 8441), and reads as the GET
                         that HTTP/1 would have */
    enum sl_framing framing;
    uint64_t content_length; /**< SL_FRAMING_LENGTH, and heads of replies to HEAD */
    struct sl_fields fields; /**< as received, hop-by-hop ones too; but no Expect in 1.0 */
};

/** Lower-cased look-up of a field name. */
enum sl_field_id sl_field_id(struct sl_str name);

/** Appends; @a name and @a value are borrowed, copy them into the arena first when need be. */
void sl_fields_add(struct sl_fields *f, struct sl_arena *a, struct sl_str name,
                   struct sl_str value);

/** Whether a field may come as a trailer: none may change what was decided on the head (RFC 9110
 * section 6.5.1). */
bool sl_field_may_trail(const struct sl_field *f);

/** The first field with this id or name, or NULL. */
const struct sl_field *sl_fields_find(const struct sl_fields *f, enum sl_field_id id);
const struct sl_field *sl_fields_find_name(const struct sl_fields *f, struct sl_str name);
/** How many have this id. */
uint32_t sl_fields_count(const struct sl_fields *f, enum sl_field_id id);
/** Takes out all with this name (ASCII case folded), keeping the order of the others. */
void sl_fields_remove_name(struct sl_fields *f, struct sl_str name);
/** Replaces the first with this name and takes out the others; appends when there is none. */
void sl_fields_set(struct sl_fields *f, struct sl_arena *a, struct sl_str name,
                   struct sl_str value);

/** Whether a comma-separated field has the member @a token (ASCII case folded), over all its lines.
 */
bool sl_fields_has_token(const struct sl_fields *f, enum sl_field_id id, struct sl_str token);

/** Copies the fields that may travel on (RFC 9110 section 7.6.1): without Connection and what it
 * names, Keep-Alive, Proxy-*, TE (but `trailers`), Transfer-Encoding, Upgrade, Content-Length (the
 * codec writes framing), and HTTP2-Settings.  Host is left out too: the codec writes it first, from
 * head->host. */
void sl_fields_copy_end_to_end(struct sl_fields *to, struct sl_arena *a,
                               const struct sl_fields *from);

/** Whether a field of this name can be among those; TE and Upgrade can, as far as they go on. */
bool sl_field_may_travel(struct sl_str name);

/** A field name is a token, a value has no CTL but HTAB: for what configuration and checks supply.
 */
bool sl_is_token(struct sl_str s);
bool sl_is_field_value(struct sl_str s);

/** Methods that may be sent twice without harm (RFC 9110 section 9.2.2). */
bool sl_method_is_idempotent(struct sl_str method);

/** The registered reason phrase of a status, "" when there is none. */
const char *sl_status_reason(uint16_t status);

#endif
