/* origin.c -- the origin of the benchmarks: HTTP/1.1 over TLS and plain, one thread, epoll.
 *
 * A connection is in one phase: HANDSHAKE -> HEAD -> BODY -> REPLY -> HEAD ... and ends from any of
 * them. Every server name gets a certificate of its own, from a CA made at start-up and written to
 * the file named on the command line.
 *
 *   GET /            1 KiB
 *   GET /bytes/N     N bytes
 *   GET /chunked/N   N bytes in chunks
 *   POST, PUT        the body is discarded; the answer is its length in decimal
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_SIZE 16384
#define HEAD_SIZE 8192
#define CHUNK_BYTES 8000u
#define TURN_BYTES (1u << 20) /* one connection's share of a loop turn */
#define N_BUCKETS 4096
#define N_EVENTS 256

enum phase { HANDSHAKE, HEAD, BODY, REPLY, CLOSED };
enum chunk { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_SKIP };

struct conn {
    int fd;
    SSL *ssl; /* NULL: plain */
    enum phase phase;
    uint32_t events; /* armed in epoll */
    bool keep_alive;
    bool is_chunked; /* the request's body */
    bool reply_is_chunked;
    enum chunk chunk;
    uint64_t left;  /* bytes of the request's body, or of its chunk, to come */
    uint64_t taken; /* bytes of the request's body so far */
    uint64_t reply_left;
    size_t in_len;
    size_t head_len, head_at;
    char head[HEAD_SIZE];
    char in[IN_SIZE + 1];
};

struct host {
    struct host *next;
    X509 *certificate;
    char name[256];
};

struct listener {
    int fd;
    bool is_tls;
};

static int poller;
static SSL_CTX *ctx;
static EVP_PKEY *ca_key, *leaf_key;
static X509 *ca;
static struct host *buckets[N_BUCKETS];
static char filler[65536];

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* -- certificates -- */

static void add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX v3;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&v3, ca, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
    if (extension == NULL || X509_add_ext(x, extension, -1) != 1)
        die("extension");
    X509_EXTENSION_free(extension);
}

static X509 *new_certificate(const char *common_name, EVP_PKEY *key)
{
    X509 *x = X509_new();
    unsigned char serial[16];
    BIGNUM *number;

    RAND_bytes(serial, sizeof(serial));
    serial[0] &= 0x7f;
    number = BN_bin2bn(serial, sizeof(serial), NULL);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
    BN_free(number);
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 30L * 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509_set_pubkey(x, key);
    return x;
}

static void make_ca(const char *path)
{
    FILE *file = fopen(path, "w");

    ca_key = EVP_EC_gen("P-256");
    leaf_key = EVP_EC_gen("P-256");
    ca = new_certificate("bench origin CA", ca_key);
    X509_set_issuer_name(ca, X509_get_subject_name(ca));
    add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(ca, NID_subject_key_identifier, "hash");
    if (X509_sign(ca, ca_key, EVP_sha256()) == 0 || file == NULL || !PEM_write_X509(file, ca))
        die(path);
    fclose(file);
}

static X509 *make_leaf(const char *name)
{
    struct in_addr ignored;
    char san[300];
    X509 *x = new_certificate(strlen(name) <= 64 ? name : "bench origin", leaf_key);

    snprintf(san, sizeof(san), "%s:%s", inet_pton(AF_INET, name, &ignored) ? "IP" : "DNS", name);
    X509_set_issuer_name(x, X509_get_subject_name(ca));
    add_extension(x, NID_subject_alt_name, san);
    add_extension(x, NID_ext_key_usage, "serverAuth");
    add_extension(x, NID_authority_key_identifier, "keyid");
    if (X509_sign(x, ca_key, EVP_sha256()) == 0)
        die("sign");
    return x;
}

static X509 *certificate_of(const char *name)
{
    uint32_t hash = 2166136261u;
    struct host **at;

    for (const char *p = name; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    for (at = &buckets[hash % N_BUCKETS]; *at != NULL; at = &(*at)->next)
        if (strcmp((*at)->name, name) == 0)
            return (*at)->certificate;
    *at = calloc(1, sizeof(**at));
    if (*at == NULL)
        die("host");
    snprintf((*at)->name, sizeof((*at)->name), "%s", name);
    (*at)->certificate = make_leaf(name);
    return (*at)->certificate;
}

static int on_hello(SSL *ssl, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)arg;
    if (SSL_use_certificate(ssl, certificate_of(name != NULL ? name : "127.0.0.1")) != 1 ||
        SSL_use_PrivateKey(ssl, leaf_key) != 1)
        return 0;
    return 1;
}

static void make_context(void)
{
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        die("SSL_CTX_new");
    SSL_CTX_set_cert_cb(ctx, on_hello, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

/* -- bytes in and out -- */

static void arm(struct conn *c, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = c };

    if (events == c->events)
        return;
    epoll_ctl(poller, c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event);
    c->events = events;
}

/* What an SSL call that made no progress waits for; anything else ends the connection. */
static void ssl_stopped(struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        arm(c, EPOLLIN);
        break;
    case SSL_ERROR_WANT_WRITE:
        arm(c, EPOLLOUT);
        break;
    default:
        c->phase = CLOSED;
        ERR_clear_error();
    }
}

static void socket_stopped(struct conn *c, ssize_t n, uint32_t events)
{
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        arm(c, events);
    else
        c->phase = CLOSED;
}

/* Both answer 0 when nothing moved: then the connection is armed, or closed. */
static size_t take(struct conn *c)
{
    size_t room = IN_SIZE - c->in_len;
    ssize_t n;

    if (c->ssl != NULL)
        n = SSL_read(c->ssl, c->in + c->in_len, (int)room);
    else
        n = recv(c->fd, c->in + c->in_len, room, 0);
    if (n > 0) {
        c->in_len += (size_t)n;
        return (size_t)n;
    }
    if (c->ssl != NULL)
        ssl_stopped(c, (int)n);
    else
        socket_stopped(c, n, EPOLLIN);
    return 0;
}

static size_t give(struct conn *c, const char *data, size_t len)
{
    ssize_t n;

    if (c->ssl != NULL)
        n = SSL_write(c->ssl, data, (int)len);
    else
        n = send(c->fd, data, len, MSG_NOSIGNAL);
    if (n > 0)
        return (size_t)n;
    if (c->ssl != NULL)
        ssl_stopped(c, (int)n);
    else
        socket_stopped(c, n, EPOLLOUT);
    return 0;
}

static void drop_input(struct conn *c, size_t n)
{
    memmove(c->in, c->in + n, c->in_len - n);
    c->in_len -= n;
}

/* -- phases: each answers whether another step can follow at once -- */

static void start_reply(struct conn *c)
{
    c->phase = REPLY;
    c->head_at = 0;
    c->reply_is_chunked = false;
}

static void reply_with_length(struct conn *c, uint64_t n, const char *body)
{
    start_reply(c);
    c->reply_left = n;
    c->head_len =
        (size_t)snprintf(c->head, HEAD_SIZE, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n%s\r\n%s",
                         (unsigned long long)n, c->keep_alive ? "" : "Connection: close\r\n", body);
    if (*body != '\0')
        c->reply_left = 0;
}

static void reply_in_chunks(struct conn *c, uint64_t n)
{
    start_reply(c);
    c->reply_left = n;
    c->reply_is_chunked = true;
    c->head_len = (size_t)snprintf(c->head, HEAD_SIZE,
                                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n",
                                   c->keep_alive ? "" : "Connection: close\r\n");
}

static void reply_body_length(struct conn *c)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)c->taken);

    reply_with_length(c, (uint64_t)n, text);
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);

    return at != NULL ? at + strlen(name) : NULL;
}

static void route(struct conn *c, const char *head)
{
    const char *path = strchr(head, ' ');
    unsigned long long n = 1024;

    path = path != NULL ? path + 1 : "";
    if (sscanf(path, "/bytes/%llu", &n) != 1 && sscanf(path, "/chunked/%llu", &n) == 1)
        reply_in_chunks(c, n);
    else
        reply_with_length(c, n, "");
    if (strncmp(head, "HEAD ", 5) == 0)
        c->reply_left = 0;
}

static bool step_head(struct conn *c)
{
    const char *length;
    char *end;

    c->in[c->in_len] = '\0';
    end = strstr(c->in, "\r\n\r\n");
    if (end == NULL && c->in_len == IN_SIZE)
        c->phase = CLOSED;
    if (end == NULL)
        return c->phase != CLOSED && take(c) > 0;
    end[2] = '\0';
    c->keep_alive = header(c->in, "\r\nconnection: close") == NULL;
    c->is_chunked = header(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    length = header(c->in, "\r\ncontent-length:");
    c->left = length != NULL ? strtoull(length, NULL, 10) : 0;
    c->taken = 0;
    c->chunk = CHUNK_SIZE;
    if (header(c->in, "\r\nexpect: 100-continue") != NULL)
        give(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (c->phase == CLOSED)
        return false;
    if (c->is_chunked || c->left > 0 || strncmp(c->in, "P", 1) == 0)
        c->phase = BODY;
    else
        route(c, c->in);
    drop_input(c, (size_t)(end - c->in) + 4);
    return true;
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One byte outside chunk data; answers whether the body ended with it. */
static bool chunk_byte(struct conn *c, char byte)
{
    switch (c->chunk) {
    case CHUNK_SIZE:
        if (hex_digit(byte) >= 0)
            c->left = c->left * 16 + (uint64_t)hex_digit(byte);
        else if (byte == '\n')
            c->chunk = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        else if (byte != '\r')
            c->chunk = CHUNK_EXTENSION;
        return false;
    case CHUNK_EXTENSION:
        if (byte == '\n')
            c->chunk = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        return false;
    case CHUNK_DATA:
    case CHUNK_DATA_END:
        if (byte == '\n')
            c->chunk = CHUNK_SIZE;
        return false;
    case CHUNK_TRAILER:
        if (byte != '\r' && byte != '\n')
            c->chunk = CHUNK_SKIP;
        return byte == '\n';
    case CHUNK_SKIP:
        if (byte == '\n')
            c->chunk = CHUNK_TRAILER;
        return false;
    }
    return false;
}

static size_t take_data(struct conn *c, size_t available)
{
    size_t n = available < c->left ? available : (size_t)c->left;

    c->left -= n;
    c->taken += n;
    return n;
}

static bool step_chunks(struct conn *c)
{
    size_t at = 0;
    bool done = false;

    while (at < c->in_len && !done) {
        if (c->chunk == CHUNK_DATA) {
            at += take_data(c, c->in_len - at);
            c->chunk = c->left == 0 ? CHUNK_DATA_END : CHUNK_DATA;
        } else {
            done = chunk_byte(c, c->in[at++]);
        }
    }
    drop_input(c, at);
    return done;
}

static bool step_body(struct conn *c)
{
    bool done;

    if (c->is_chunked) {
        done = step_chunks(c);
    } else {
        drop_input(c, take_data(c, c->in_len));
        done = c->left == 0;
    }
    if (!done)
        return take(c) > 0;
    reply_body_length(c);
    return true;
}

static bool step_reply(struct conn *c)
{
    size_t n;

    if (c->head_at < c->head_len) {
        n = give(c, c->head + c->head_at, c->head_len - c->head_at);
        c->head_at += n;
        return n > 0;
    }
    if (c->reply_left > 0) {
        n = give(c, filler,
                 c->reply_left < sizeof(filler) ? (size_t)c->reply_left : sizeof(filler));
        c->reply_left -= n;
        return n > 0;
    }
    c->phase = c->keep_alive ? HEAD : CLOSED;
    return c->keep_alive;
}

/* A chunk goes through the head's buffer whole, so that a cut write has one place to resume. */
static bool step_chunked_reply(struct conn *c)
{
    size_t n = c->reply_left < CHUNK_BYTES ? (size_t)c->reply_left : CHUNK_BYTES;

    if (c->head_at < c->head_len)
        return step_reply(c);
    c->head_at = 0;
    if (n == 0) {
        c->reply_is_chunked = false;
        c->head_len = (size_t)snprintf(c->head, HEAD_SIZE, "0\r\n\r\n");
        return true;
    }
    c->head_len = (size_t)snprintf(c->head, HEAD_SIZE, "%zx\r\n%.*s\r\n", n, (int)n, filler);
    c->reply_left -= n;
    return true;
}

static bool step_handshake(struct conn *c)
{
    int result = SSL_accept(c->ssl);

    if (result == 1)
        c->phase = HEAD;
    else
        ssl_stopped(c, result);
    return result == 1;
}

static bool step(struct conn *c)
{
    switch (c->phase) {
    case HANDSHAKE:
        return step_handshake(c);
    case HEAD:
        return step_head(c);
    case BODY:
        return step_body(c);
    case REPLY:
        return c->reply_is_chunked ? step_chunked_reply(c) : step_reply(c);
    case CLOSED:
        return false;
    }
    return false;
}

static void close_conn(struct conn *c)
{
    if (c->ssl != NULL) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        ERR_clear_error();
    }
    close(c->fd);
    free(c);
}

/* Ends early only where level-triggered epoll will wake it again: nothing may wait inside OpenSSL.
 */
static void run(struct conn *c)
{
    unsigned steps = 0;

    while (step(c)) {
        bool is_waiting_inside = c->ssl != NULL && SSL_pending(c->ssl) > 0;

        if (++steps >= TURN_BYTES / IN_SIZE && !is_waiting_inside && c->in_len == 0) {
            arm(c, c->phase == REPLY ? EPOLLOUT : EPOLLIN);
            break;
        }
    }
    if (c->phase == CLOSED)
        close_conn(c);
}

/* -- life -- */

static void accept_all(const struct listener *l)
{
    int fd, on = 1;

    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof(*c));

        if (c == NULL)
            die("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c->fd = fd;
        c->phase = HEAD;
        if (l->is_tls) {
            c->ssl = SSL_new(ctx);
            SSL_set_fd(c->ssl, fd);
            c->phase = HANDSHAKE;
        }
        run(c);
    }
}

static unsigned listen_on(struct listener *l, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    socklen_t len = sizeof(address);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = l };
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(l->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(l->fd, SOMAXCONN) != 0)
        die("listen");
    getsockname(l->fd, (struct sockaddr *)&address, &len);
    epoll_ctl(poller, EPOLL_CTL_ADD, l->fd, &event);
    return ntohs(address.sin_port);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void serve(struct listener *listeners)
{
    struct epoll_event events[N_EVENTS];

    for (;;) {
        int n = epoll_wait(poller, events, N_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            void *who = events[i].data.ptr;

            if (who == &listeners[0] || who == &listeners[1])
                accept_all(who);
            else
                run(who);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "port", required_argument, NULL, 'p' },
                                             { "http-port", required_argument, NULL, 'h' },
                                             { "ca", required_argument, NULL, 'c' },
                                             { NULL, 0, NULL, 0 } };
    struct listener listeners[] = { { .is_tls = true }, { .is_tls = false } };
    unsigned ports[] = { 0, 0 };
    const char *ca_path = "origin-ca.pem";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c')
            ca_path = optarg;
        else if (option == 'p' || option == 'h')
            ports[option == 'h'] = (unsigned)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    memset(filler, 'x', sizeof(filler));
    poller = epoll_create1(EPOLL_CLOEXEC);
    make_ca(ca_path);
    make_context();
    ports[0] = listen_on(&listeners[0], ports[0]);
    ports[1] = listen_on(&listeners[1], ports[1]);
    printf("origin: ready, https %u, http %u\n", ports[0], ports[1]);
    fflush(stdout);
    serve(listeners);
}
