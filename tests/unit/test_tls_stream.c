/* test_tls_stream.c -- both sides of TLS over memory streams: bytes in every split, resumption,
 * certificates that do not hold, ends of all kinds.
 *
 * Leaf and authority are doubles, so that certificates can be wrong in ways that the real ones
 * never are.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/memory.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "tls/ca.h"
#include "tls/leaf.h"
#include "tls/ticket_keys.h"
#include "tls/tls_context.h"
#include "tls/tls_internal.h"
#include "tls/tls_stream.h"

#define TURNS_MAX 200000

/* -- doubles -- */

struct sl_ca {
    X509 *chain[1];
    size_t n;
};

struct sl_leaf {
    X509 *cert;
    EVP_PKEY *key;
    struct sl_ca ca;
};

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
    return (struct sl_ca *)(uintptr_t)&leaf->ca;
}

size_t sl_ca_chain_len(const struct sl_ca *ca)
{
    return ca->n;
}

X509 *sl_ca_chain_at(const struct sl_ca *ca, size_t i)
{
    return ca->chain[i];
}

/* -- certificates -- */

struct issuer {
    X509 *cert;
    EVP_PKEY *key;
};

struct cert_spec {
    const char *name;
    const char *san; /* NULL: an authority */
    long from_s, until_s;
};

static void add_ext(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(ext);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static X509 *make_cert(const struct cert_spec *spec, EVP_PKEY *key, const struct issuer *issuer)
{
    X509 *cert = X509_new();
    static long serial = 1;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)spec->name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer != NULL ? issuer->cert : cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), spec->from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), spec->until_s);
    X509_set_pubkey(cert, key);
    if (spec->san != NULL)
        add_ext(cert, NID_subject_alt_name, spec->san);
    else
        add_ext(cert, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(cert, issuer != NULL ? issuer->key : key, EVP_sha256()) > 0);
    return cert;
}

/* -- the world: a loop, two workers' server contexts, one client context -- */

static struct {
    struct issuer root, middle, stranger;
    EVP_PKEY *leaf_key;
    struct sl_leaf leaf_a, leaf_b;
    char dir[32], ca_file[64];
    struct sl_loop *loop;
    struct sl_ticket_keys *tickets;
    struct sl_tls_server_context *servers[2];
    struct sl_tls_client_context *client;
} w;

static struct issuer make_issuer(const char *name, const struct issuer *by)
{
    struct cert_spec spec = { name, NULL, -60, 3600 };
    EVP_PKEY *key = EVP_EC_gen("P-256");

    return (struct issuer){ .key = key, .cert = make_cert(&spec, key, by) };
}

static void free_issuer(struct issuer *i)
{
    X509_free(i->cert);
    EVP_PKEY_free(i->key);
}

static struct sl_leaf make_leaf(const struct cert_spec *spec, const struct issuer *issuer)
{
    return (struct sl_leaf){ .key = w.leaf_key, .cert = make_cert(spec, w.leaf_key, issuer) };
}

static void write_ca_file(void)
{
    FILE *f;

    memcpy(w.dir, "/tmp/test_tls_XXXXXX", 21);
    assert_non_null(mkdtemp(w.dir));
    (void)snprintf(w.ca_file, sizeof(w.ca_file), "%s/ca.pem", w.dir);
    f = fopen(w.ca_file, "w");
    assert_non_null(f);
    PEM_write_X509(f, w.root.cert);
    fclose(f);
}

static int setup_group(void **state)
{
    struct cert_spec a = { "a.example", "DNS:a.example,IP:127.0.0.1,IP:::1", -60, 3600 };
    struct cert_spec b = { "b.example", "DNS:b.example", -60, 3600 };

    (void)state;
    w.root = make_issuer("root", NULL);
    w.middle = make_issuer("middle", &w.root);
    w.stranger = make_issuer("stranger", NULL);
    w.leaf_key = EVP_EC_gen("P-256");
    w.leaf_a = make_leaf(&a, &w.root);
    w.leaf_b = make_leaf(&b, &w.root);
    write_ca_file();
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    X509_free(w.leaf_a.cert);
    X509_free(w.leaf_b.cert);
    EVP_PKEY_free(w.leaf_key);
    free_issuer(&w.root);
    free_issuer(&w.middle);
    free_issuer(&w.stranger);
    unlink(w.ca_file);
    rmdir(w.dir);
    sl_chunk_drain();
    return 0;
}

static int setup(void **state)
{
    struct sl_tls_client_conf conf = { .ca_file = w.ca_file, .max_sessions = 2 };
    struct sl_tls_server_conf server = { .min_version = SL_TLS_1_2 };
    struct sl_fault fault;

    (void)state;
    w.loop = sl_loop_new_sim();
    server.tickets = w.tickets = sl_ticket_keys_new(3600);
    w.servers[0] = sl_tls_server_context_new(&server);
    w.servers[1] = sl_tls_server_context_new(&server);
    return sl_tls_client_context_new(&conf, &w.client, &fault) == SL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sl_loop_turn(w.loop, false);
    sl_tls_client_context_free(&w.client);
    sl_tls_server_context_free(&w.servers[0]);
    sl_tls_server_context_free(&w.servers[1]);
    sl_ticket_keys_free(&w.tickets);
    sl_loop_free(&w.loop);
    return 0;
}

static void client_speaks(int version)
{
    SSL_CTX_set_max_proto_version(sl_tls_client_context_ssl(w.client), version);
}

/* -- one side of a connection: sends `out`, collects into `in` -- */

struct peer {
    struct sl_tls_handshake *hs;
    struct sl_stream *stream;
    struct sl_stream *lower; /* owned by stream or hs */
    struct sl_fault fault;
    struct sl_str out;
    struct sl_buf in;
    size_t read_cap;
    enum sl_err end; /* of reading */
    bool closes_on_data;
    bool listens; /* from the end of its handshake: small pipes fill with tickets */
};

/* In three uneven pieces, so that writev has something to join. */
static void send_some(struct peer *p)
{
    size_t third = p->out.n / 3, n;
    struct iovec iov[] = {
        { (void *)(uintptr_t)p->out.p, third },
        { (void *)(uintptr_t)(p->out.p + third), 1 },
        { (void *)(uintptr_t)(p->out.p + third + 1), p->out.n - third - 1 },
    };
    enum sl_err err = sl_stream_writev(p->stream, iov, SL_LEN(iov), &n);

    if (err == SL_AGAIN)
        return;
    assert_int_equal(err, SL_OK);
    p->out = sl_str_skip(p->out, n);
}

static void want(struct peer *p)
{
    sl_stream_want(p->stream,
                   (p->end == SL_OK ? SL_READABLE : 0u) | (p->out.n > 0 ? SL_WRITABLE : 0u));
}

static void on_ready(void *arg, unsigned events)
{
    struct peer *p = arg;
    char bytes[20000];
    enum sl_err err;
    size_t n;

    if ((events & SL_READABLE) != 0) {
        if (p->closes_on_data) {
            sl_stream_close(&p->stream);
            return;
        }
        err = sl_stream_read(p->stream, bytes, p->read_cap, &n);
        if (err == SL_OK)
            sl_buf_add(&p->in, bytes, n);
        else if (err != SL_AGAIN)
            p->end = err;
    }
    if ((events & SL_WRITABLE) != 0 && p->out.n > 0)
        send_some(p);
    want(p);
}

static void listen_to(struct peer *p)
{
    if (p->read_cap == 0)
        p->read_cap = 20000;
    sl_stream_on_ready(p->stream, on_ready, p);
    want(p);
}

static void on_done(void *arg, struct sl_stream *stream, const struct sl_fault *fault)
{
    struct peer *p = arg;

    p->hs = NULL;
    p->stream = stream;
    if (fault != NULL)
        p->fault = *fault;
    assert_true((stream == NULL) == (fault != NULL));
    if (stream != NULL && p->listens)
        listen_to(p);
}

struct link {
    struct peer client, server;
    const struct sl_leaf *leaf; /* NULL: leaf_a */
    const char *host;           /* NULL: a.example */
    const char *name;           /* NULL: the host's */
    int worker;
    bool careless; /* does not verify */
    bool sockets;  /* in place of memory */
    struct sl_memory_conf memory;
};

static void make_pair(struct link *l)
{
    int fds[2];

    if (!l->sockets) {
        sl_memory_pair(w.loop, &l->memory, &l->client.lower, &l->server.lower);
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    l->client.lower = sl_tcp_stream_new(w.loop, fds[0]);
    l->server.lower = sl_tcp_stream_new(w.loop, fds[1]);
}

static void start_client(struct link *l)
{
    struct sl_tls_connect_conf conf = {
        .loop = w.loop,
        .context = w.client,
        .host = sl_str_of(l->host != NULL ? l->host : "a.example"),
        .port = 443,
        .name = sl_str_of(l->name != NULL ? l->name : ""),
        .verify = !l->careless,
    };

    make_pair(l);
    conf.lower = l->client.lower;
    l->client.hs = sl_tls_connect_start(&conf, on_done, &l->client);
}

static void start_server(struct link *l, struct sl_str preface)
{
    const struct sl_leaf *leaf = l->leaf != NULL ? l->leaf : &w.leaf_a;
    struct sl_tls_accept_conf conf = {
        .loop = w.loop,
        .context = w.servers[l->worker],
        .lower = l->server.lower,
        .preface = preface,
        .leaf = (struct sl_leaf *)(uintptr_t)leaf,
    };

    l->server.hs = sl_tls_accept_start(&conf, on_done, &l->server);
}

static void shake(struct link *l)
{
    start_client(l);
    start_server(l, SL_STR(""));
    for (int i = 0; i < TURNS_MAX && (l->client.hs != NULL || l->server.hs != NULL); i++)
        sl_loop_turn(w.loop, false);
    assert_null(l->client.hs);
    assert_null(l->server.hs);
}

static void connected(struct link *l)
{
    shake(l);
    assert_non_null(l->client.stream);
    assert_non_null(l->server.stream);
}

static void turn_until_read(struct peer *p, size_t n)
{
    for (int i = 0; i < TURNS_MAX && p->in.len < n && p->end == SL_OK; i++)
        sl_loop_turn(w.loop, false);
    assert_int_equal(p->in.len, n);
}

static void turn_until_end(struct peer *p)
{
    for (int i = 0; i < TURNS_MAX && p->end == SL_OK; i++)
        sl_loop_turn(w.loop, false);
}

static void hang_up(struct link *l)
{
    sl_stream_close(&l->client.stream);
    sl_stream_close(&l->server.stream);
    sl_buf_fini(&l->client.in);
    sl_buf_fini(&l->server.in);
    sl_loop_turn(w.loop, false);
}

/* Connects, lets the ticket through, hangs up. */
static bool is_resumed(struct link l)
{
    struct sl_tls_info info;

    connected(&l);
    l.server.out = SL_STR("bytes");
    listen_to(&l.client);
    listen_to(&l.server);
    turn_until_read(&l.client, 5);
    sl_tls_stream_info(l.client.stream, &info);
    hang_up(&l);
    return info.resumed;
}

/* -- tests -- */

static void check_echo(struct link *l, struct sl_str text)
{
    enum sl_err err = SL_AGAIN;

    l->client.out = l->server.out = text;
    listen_to(&l->client);
    listen_to(&l->server);
    turn_until_read(&l->server, text.n);
    turn_until_read(&l->client, text.n);
    assert_true(sl_str_eq(sl_buf_str(&l->server.in), text));
    assert_true(sl_str_eq(sl_buf_str(&l->client.in), text));
    for (int i = 0; i < TURNS_MAX && (err = sl_stream_shutdown(l->client.stream)) == SL_AGAIN; i++)
        sl_loop_turn(w.loop, false);
    assert_int_equal(err, SL_OK);
    assert_int_equal(sl_stream_shutdown(l->client.stream), SL_OK);
    turn_until_end(&l->server);
    assert_int_equal(l->server.end, SL_EOF);
    assert_int_equal(l->server.stream->fault.err, SL_OK);
}

static void test_bytes_in_every_split(void **state)
{
    static const struct {
        struct sl_memory_conf memory;
        size_t read_cap;
    } rows[] = {
        { { 0, 0, 0 }, 0 },       { { 1, 0, 0 }, 0 },     { { 0, 1, 0 }, 0 },
        { { 7, 5, 100 }, 3 },     { { 0, 0, 1 }, 0 },     { { 0, 0, 16400 }, 10 },
        { { 0, 0, 100 }, 16384 }, { { 3, 0, 50 }, 1000 },
    };
    static char text[50000];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < SL_LEN(rows) * 2; i++) {
        struct link l = { .memory = rows[i / 2].memory };

        client_speaks(i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
        l.client.read_cap = l.server.read_cap = rows[i / 2].read_cap;
        l.client.listens = l.server.listens = true;
        connected(&l);
        if (l.memory.capacity == 0 || l.memory.capacity > 100)
            check_echo(&l, sl_str_make(text, sizeof(text)));
        else
            check_echo(&l, sl_str_make(text, 20000));
        hang_up(&l);
    }
}

static void test_bytes_over_sockets(void **state)
{
    static char text[3000000];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 13 + i / 251);
    for (int i = 0; i < 2; i++) {
        struct link l = { .sockets = true };

        client_speaks(i == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
        connected(&l);
        check_echo(&l, sl_str_make(text, sizeof(text)));
        hang_up(&l);
    }
}

static void test_preface(void **state)
{
    static const size_t lens[] = { 1, 5, 6, 100, 65536 };

    (void)state;
    for (size_t i = 0; i < SL_LEN(lens); i++) {
        struct link l = { 0 };
        char hello[65536];
        size_t n;

        start_client(&l);
        sl_loop_turn(w.loop, false);
        assert_int_equal(sl_stream_read(l.server.lower, hello, lens[i], &n), SL_OK);
        start_server(&l, sl_str_make(hello, n));
        memset(hello, 0, sizeof(hello));
        for (int k = 0; k < 20; k++)
            sl_loop_turn(w.loop, false);
        assert_non_null(l.client.stream);
        assert_non_null(l.server.stream);
        check_echo(&l, SL_STR("hello again"));
        hang_up(&l);
    }
}

static void test_info(void **state)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    static const char *const names[] = { "TLSv1.2", "TLSv1.3" };
    static const char *const ciphers[] = { "ECDHE-ECDSA-AES128-GCM-SHA256",
                                           "TLS_AES_128_GCM_SHA256" };

    (void)state;
    for (size_t i = 0; i < SL_LEN(versions); i++) {
        struct link l = { 0 };
        struct sl_tls_info info;

        client_speaks(versions[i]);
        connected(&l);
        sl_tls_stream_info(l.server.stream, &info);
        assert_string_equal(info.version, names[i]);
        assert_string_equal(info.cipher, ciphers[i]);
        assert_false(info.resumed);
        hang_up(&l);
    }
}

static void test_resumes_across_workers(void **state)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

    (void)state;
    for (size_t i = 0; i < SL_LEN(versions); i++) {
        client_speaks(versions[i]);
        sl_tls_sessions_drop(sl_tls_client_context_sessions(w.client), SL_STR("a.example:443"));
        assert_false(is_resumed((struct link){ .worker = 0 }));
        assert_true(is_resumed((struct link){ .worker = 1 }));
        assert_true(is_resumed((struct link){ .worker = 0 }));
        sl_ticket_keys_rotate(w.tickets);
        assert_true(is_resumed((struct link){ .worker = 1 }));
        for (int k = 0; k < 3; k++)
            sl_ticket_keys_rotate(w.tickets);
        assert_false(is_resumed((struct link){ .worker = 1 }));
        assert_true(is_resumed((struct link){ .worker = 1 }));
    }
}

/* A ticket for one name must not open a connection to another: the client would take the second
 * for verified. */
/* threat: domain-fronting */
static void test_ticket_is_bound_to_names(void **state)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct sl_tls_sessions *sessions = sl_tls_client_context_sessions(w.client);

    (void)state;
    for (size_t i = 0; i < SL_LEN(versions); i++) {
        SSL_SESSION *of_a;

        client_speaks(versions[i]);
        assert_false(is_resumed((struct link){ .host = "a.example" }));
        of_a = sl_tls_sessions_get(sessions, SL_STR("a.example:443"));
        assert_non_null(of_a);
        SSL_SESSION_up_ref(of_a);
        sl_tls_sessions_put(sessions, SL_STR("b.example:443"), of_a);
        assert_false(is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b }));
        assert_true(is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b }));
        sl_tls_sessions_drop(sessions, SL_STR("a.example:443"));
        sl_tls_sessions_drop(sessions, SL_STR("b.example:443"));
    }
}

/* threat: one-name */
static void test_a_name_other_than_the_host_is_what_is_proved(void **state)
{
    struct link wrong = { .host = "b.example", .name = "a.example", .leaf = &w.leaf_b };

    (void)state;
    assert_false(is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b }));
    assert_false(is_resumed((struct link){ .host = "b.example", .name = "a.example" }));
    assert_true(is_resumed((struct link){ .host = "b.example", .name = "a.example" }));
    assert_true(is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b }));
    shake(&wrong);
    assert_int_equal(wrong.client.fault.err, SL_CERT_WRONG_HOST);
    hang_up(&wrong);
}

static void test_sessions_are_bounded(void **state)
{
    struct sl_tls_sessions *sessions = sl_tls_client_context_sessions(w.client);

    (void)state;
    assert_false(is_resumed((struct link){ .host = "a.example" }));
    assert_false(is_resumed((struct link){ .host = "127.0.0.1" }));
    assert_true(is_resumed((struct link){ .host = "a.example" }));
    assert_false(is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b }));
    assert_int_equal(sessions->by_key.n, 2);
    assert_null(sl_tls_sessions_get(sessions, SL_STR("127.0.0.1:443")));
    assert_non_null(sl_tls_sessions_get(sessions, SL_STR("a.example:443")));
}

static void test_unverified_sessions_are_not_remembered(void **state)
{
    (void)state;
    assert_false(is_resumed((struct link){ .careless = true }));
    assert_false(is_resumed((struct link){ 0 }));
    assert_false(is_resumed((struct link){ .careless = true }));
}

static void test_no_tickets(void **state)
{
    struct sl_tls_server_conf conf = { .min_version = SL_TLS_1_3 };

    (void)state;
    sl_tls_server_context_free(&w.servers[0]);
    w.servers[0] = sl_tls_server_context_new(&conf);
    assert_false(is_resumed((struct link){ 0 }));
    assert_false(is_resumed((struct link){ 0 }));
    client_speaks(TLS1_2_VERSION);
    {
        struct link l = { 0 };

        shake(&l);
        assert_int_equal(l.server.fault.err, SL_TLS_VERSION);
        assert_int_equal(l.client.fault.err, SL_TLS_VERSION);
        assert_string_equal(l.client.fault.text, "protocol version");
    }
}

struct certificate_row {
    struct cert_spec spec;
    const struct issuer *issuer; /* NULL: signs itself */
    const struct issuer *chain;  /* sent along */
    const char *host;
    enum sl_err err;
    const char *alert;
};

#define X_EXAMPLE                                                                                  \
    {                                                                                              \
        "x", "DNS:x.example", -60, 60                                                              \
    }

/* clang-format off */
static const struct certificate_row certificate_rows[] = {
    { X_EXAMPLE, &w.root, NULL, "x.example", SL_OK, NULL },
    { X_EXAMPLE, &w.middle, &w.middle, "x.example", SL_OK, NULL },
    { { "x", "DNS:*.x.example", -60, 60 }, &w.root, NULL, "a.x.example", SL_OK, NULL },
    { { "x", "IP:127.0.0.1", -60, 60 }, &w.root, NULL, "127.0.0.1", SL_OK, NULL },
    { { "x", "IP:::1", -60, 60 }, &w.root, NULL, "::1", SL_OK, NULL },
    { X_EXAMPLE, &w.root, NULL, "y.example", SL_CERT_WRONG_HOST, "bad certificate" },
    { { "x", "DNS:w*.x.example", -60, 60 }, &w.root, NULL, "ww.x.example", SL_CERT_WRONG_HOST, "bad certificate" },
    { { "y.example", "IP:127.0.0.1", -60, 60 }, &w.root, NULL, "y.example", SL_CERT_WRONG_HOST, "bad certificate" },
    { { "x", "DNS:127.0.0.1", -60, 60 }, &w.root, NULL, "127.0.0.1", SL_CERT_WRONG_HOST, "bad certificate" },
    { { "x", "DNS:x.example", -60, -30 }, &w.root, NULL, "x.example", SL_CERT_EXPIRED, "certificate expired" },
    { { "x", "DNS:x.example", 600, 900 }, &w.root, NULL, "x.example", SL_CERT_NOT_YET, "bad certificate" },
    { X_EXAMPLE, NULL, NULL, "x.example", SL_CERT_SELF_SIGNED, "unknown ca" },
    { X_EXAMPLE, &w.stranger, NULL, "x.example", SL_CERT_UNKNOWN_CA, "unknown ca" },
    { X_EXAMPLE, &w.stranger, &w.stranger, "x.example", SL_CERT_UNKNOWN_CA, "unknown ca" },
    { X_EXAMPLE, &w.middle, NULL, "x.example", SL_CERT_UNKNOWN_CA, "unknown ca" },
};
/* clang-format on */

static void check_certificate(const struct certificate_row *row)
{
    struct sl_leaf leaf = make_leaf(&row->spec, row->issuer);
    struct link l = { .leaf = &leaf, .host = row->host };

    if (row->chain != NULL)
        leaf.ca = (struct sl_ca){ .chain = { row->chain->cert }, .n = 1 };
    sl_tls_sessions_fini(sl_tls_client_context_sessions(w.client));
    sl_tls_sessions_init(sl_tls_client_context_sessions(w.client), 2);
    shake(&l);
    assert_int_equal(l.client.fault.err, row->err);
    assert_int_equal(l.server.fault.err, row->alert != NULL ? SL_TLS_ALERT : SL_OK);
    if (row->alert != NULL)
        assert_string_equal(l.server.fault.text, row->alert);
    hang_up(&l);
    l = (struct link){ .leaf = &leaf, .host = row->host, .careless = true };
    connected(&l);
    hang_up(&l);
    X509_free(leaf.cert);
}

/* threat: certificate-names */
static void test_certificates(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(certificate_rows); i++) {
        client_speaks(TLS1_3_VERSION);
        check_certificate(&certificate_rows[i]);
        client_speaks(TLS1_2_VERSION);
        check_certificate(&certificate_rows[i]);
    }
}

static void test_client_certificate_wanted(void **state)
{
    (void)state;
    SSL_CTX_set_verify(sl_tls_server_context_ssl(w.servers[0]),
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    {
        struct link l = { 0 };

        client_speaks(TLS1_2_VERSION);
        shake(&l);
        assert_int_equal(l.client.fault.err, SL_CERT_WANTED);
    }
    {
        struct link l = { 0 };

        client_speaks(TLS1_3_VERSION);
        shake(&l);
        assert_non_null(l.client.stream);
        listen_to(&l.client);
        turn_until_end(&l.client);
        assert_int_equal(l.client.end, SL_CERT_WANTED);
        assert_int_equal(l.client.stream->fault.err, SL_CERT_WANTED);
        hang_up(&l);
    }
}

static void test_alpn(void **state)
{
    static const struct {
        const char *offer;
        enum sl_err err;
        const char *chosen;
    } rows[] = {
        { "\x08http/1.1", SL_OK, "http/1.1" },
        { "\x02h2\x08http/1.1", SL_OK, "h2" },
        { "\x08http/1.1\x02h2", SL_OK, "h2" },
        { "\x08http/1.0\x08http/1.1", SL_OK, "http/1.1" },
        { "\x08http/1.0", SL_OK, "http/1.0" }, /* curl --http1.0 */
        { "\x02h2", SL_OK, "h2" },
        { "\x02h3", SL_TLS_ALERT, "" },
        { "\x09http/1.1x", SL_TLS_ALERT, "" },
    };

    (void)state;
    for (size_t i = 0; i < SL_LEN(rows); i++) {
        struct link l = { 0 };
        const unsigned char *chosen;
        unsigned n;

        SSL_CTX_set_alpn_protos(sl_tls_client_context_ssl(w.client),
                                (const unsigned char *)rows[i].offer,
                                (unsigned)strlen(rows[i].offer));
        shake(&l);
        assert_int_equal(l.client.fault.err, rows[i].err);
        if (rows[i].err == SL_OK) {
            SSL_get0_alpn_selected(sl_tls_stream_ssl(l.client.stream), &chosen, &n);
            assert_true(sl_str_eq(sl_str_make(chosen, n), sl_str_of(rows[i].chosen)));
        } else {
            assert_string_equal(l.client.fault.text, "no application protocol");
        }
        hang_up(&l);
    }
}

static void test_garbage(void **state)
{
    struct link l = { 0 };
    size_t n;

    (void)state;
    sl_memory_pair(w.loop, &l.memory, &l.client.lower, &l.server.lower);
    assert_int_equal(sl_stream_write(l.client.lower, "GET / HTTP/1.1\r\n\r\n", 18, &n), SL_OK);
    start_server(&l, SL_STR(""));
    sl_loop_turn(w.loop, false);
    assert_null(l.server.hs);
    assert_int_equal(l.server.fault.err, SL_TLS_PROTOCOL);
    assert_true(l.server.fault.tls != 0);
    sl_stream_close(&l.client.lower);
}

static void test_peer_goes_during_handshake(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct link l = { 0 };

        start_client(&l);
        sl_loop_turn(w.loop, false);
        if (i == 0)
            assert_int_equal(sl_stream_shutdown(l.server.lower), SL_OK);
        else
            sl_memory_reset(l.server.lower);
        for (int k = 0; k < 5; k++)
            sl_loop_turn(w.loop, false);
        assert_null(l.client.hs);
        assert_int_equal(l.client.fault.err, SL_RESET);
        sl_stream_close(&l.server.lower);
    }
}

static void test_cancel_at_each_step(void **state)
{
    (void)state;
    for (int steps = 0; steps < 12; steps++) {
        struct link l = { .memory = { .capacity = 300 } };

        start_client(&l);
        start_server(&l, SL_STR(""));
        for (int i = 0; i < steps; i++)
            sl_loop_turn(w.loop, false);
        sl_tls_handshake_cancel(&l.client.hs);
        sl_tls_handshake_cancel(&l.client.hs);
        for (int i = 0; i < 5; i++)
            sl_loop_turn(w.loop, false);
        sl_tls_handshake_cancel(&l.server.hs);
        hang_up(&l);
    }
}

static void test_close_while_told(void **state)
{
    struct link l = { 0 };
    size_t n;

    (void)state;
    connected(&l);
    l.client.closes_on_data = true;
    assert_int_equal(sl_stream_write(l.server.stream, "data", 4, &n), SL_OK);
    listen_to(&l.client);
    listen_to(&l.server);
    turn_until_end(&l.server);
    assert_null(l.client.stream);
    assert_int_equal(l.server.end, SL_EOF);
    assert_int_equal(l.server.stream->fault.err, SL_OK);
    hang_up(&l);
}

static void test_end_without_goodbye(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct link l = { 0 };

        connected(&l);
        listen_to(&l.client);
        if (i == 0)
            assert_int_equal(sl_stream_shutdown(l.server.lower), SL_OK);
        else
            sl_memory_reset(l.server.lower);
        turn_until_end(&l.client);
        assert_int_equal(l.client.end, i == 0 ? SL_EOF : SL_RESET);
        assert_int_equal(l.client.stream->fault.err, SL_RESET);
        hang_up(&l);
    }
    /* Hanging up says nothing against the session. */
    assert_true(is_resumed((struct link){ 0 }) || is_resumed((struct link){ 0 }));
}

static void test_writev_makes_one_record(void **state)
{
    struct link l = { 0 };
    struct iovec iov[] = { { "one", 3 }, { "", 0 }, { "two", 3 }, { "three", 5 } };
    unsigned char raw[100];
    size_t n;

    (void)state;
    connected(&l);
    assert_int_equal(sl_stream_writev(l.client.stream, iov, 4, &n), SL_OK);
    assert_int_equal(n, 11);
    assert_int_equal(sl_stream_read(l.server.lower, raw, sizeof(raw), &n), SL_OK);
    /* Header, content, its type, tag (RFC 8446 section 5.2). */
    assert_int_equal(n, 5 + 11 + 1 + 16);
    assert_int_equal(raw[0], 0x17);
    hang_up(&l);
}

static void test_records_are_read_together(void **state)
{
    struct link l = { 0 };
    char bytes[100];
    size_t n;

    (void)state;
    connected(&l);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sl_stream_write(l.server.stream, "12345", 5, &n), SL_OK);
    assert_int_equal(sl_stream_read(l.client.stream, bytes, 2, &n), SL_OK);
    assert_int_equal(n, 2);
    assert_int_equal(sl_stream_pending(l.client.stream), 3);
    assert_int_equal(sl_stream_read(l.client.stream, bytes, sizeof(bytes), &n), SL_OK);
    assert_int_equal(n, 13);
    assert_int_equal(sl_stream_read(l.client.stream, bytes, sizeof(bytes), &n), SL_AGAIN);
    hang_up(&l);
}

static void test_write_again(void **state)
{
    struct link l = { .memory = { .capacity = 400 } };
    static char a[300], b[300];
    struct iovec first[] = { { a, sizeof(a) }, { b, 200 } };
    struct iovec more[] = { { a, 100 }, { a + 100, 200 }, { b, sizeof(b) } };
    size_t n = 0;

    (void)state;
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    connected(&l);
    listen_to(&l.server);
    assert_int_equal(sl_stream_writev(l.client.stream, first, 2, &n), SL_AGAIN);
    assert_int_equal(sl_stream_shutdown(l.client.stream), SL_IO);
    for (int i = 0; i < 5; i++)
        sl_loop_turn(w.loop, false);
    assert_int_equal(sl_stream_writev(l.client.stream, more, 3, &n), SL_OK);
    assert_int_equal(n, 500);
    turn_until_read(&l.server, 500);
    assert_memory_equal(sl_buf_str(&l.server.in).p, a, 300);
    assert_memory_equal(sl_buf_str(&l.server.in).p + 300, b, 200);
    hang_up(&l);
}

static void test_key_update(void **state)
{
    struct link l = { 0 };

    (void)state;
    connected(&l);
    assert_int_equal(SSL_key_update((SSL *)(uintptr_t)sl_tls_stream_ssl(l.client.stream),
                                    SSL_KEY_UPDATE_REQUESTED),
                     1);
    check_echo(&l, SL_STR("under new keys"));
    hang_up(&l);
}

static void test_streams_outlive_contexts(void **state)
{
    struct link l = { 0 };

    (void)state;
    connected(&l);
    sl_tls_client_context_free(&w.client);
    sl_tls_server_context_free(&w.servers[0]);
    check_echo(&l, SL_STR("still here"));
    hang_up(&l);
}

static void test_bad_ca_file(void **state)
{
    struct sl_tls_client_conf conf = { .ca_file = "/nonexistent/ca.pem" };
    struct sl_tls_client_context *ctx = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(sl_tls_client_context_new(&conf, &ctx, &fault), SL_CONFIG);
    assert_null(ctx);
    assert_non_null(strstr(fault.text, "/nonexistent/ca.pem"));
}

static int64_t count_of(const char *family, const char *const *values)
{
    const char *labels = values[2] != NULL ? "side,version,resumed" : "side,reason";
    struct sl_metric_family *f = sl_metric_family(SL_METRIC_COUNTER, family, "", labels);

    return sl_metric_value(sl_metric_child(f, values));
}

static void test_metrics(void **state)
{
    static const char *const full[] = { "client", "TLSv1.3", "false" };
    static const char *const again[] = { "upstream", "TLSv1.3", "true" };
    static const char *const failed[] = { "upstream", "cert_wrong_host", NULL };
    struct link l = { .host = "c.example" };
    int64_t n_full, n_again, n_failed;

    (void)state;
    (void)is_resumed((struct link){ 0 });
    n_full = count_of("sluice_handshakes_total", full);
    n_again = count_of("sluice_handshakes_total", again);
    n_failed = count_of("sluice_handshake_failures_total", failed);
    (void)is_resumed((struct link){ 0 });
    (void)is_resumed((struct link){ .host = "b.example", .leaf = &w.leaf_b });
    shake(&l);
    assert_int_equal(count_of("sluice_handshakes_total", full), n_full + 1);
    assert_int_equal(count_of("sluice_handshakes_total", again), n_again + 1);
    assert_int_equal(count_of("sluice_handshake_failures_total", failed), n_failed + 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_in_every_split),
        TEST(test_bytes_over_sockets),
        TEST(test_preface),
        TEST(test_info),
        TEST(test_resumes_across_workers),
        TEST(test_ticket_is_bound_to_names),
        TEST(test_a_name_other_than_the_host_is_what_is_proved),
        TEST(test_sessions_are_bounded),
        TEST(test_unverified_sessions_are_not_remembered),
        TEST(test_no_tickets),
        TEST(test_certificates),
        TEST(test_client_certificate_wanted),
        TEST(test_alpn),
        TEST(test_garbage),
        TEST(test_peer_goes_during_handshake),
        TEST(test_cancel_at_each_step),
        TEST(test_close_while_told),
        TEST(test_end_without_goodbye),
        TEST(test_writev_makes_one_record),
        TEST(test_records_are_read_together),
        TEST(test_write_again),
        TEST(test_key_update),
        TEST(test_streams_outlive_contexts),
        TEST(test_bad_ca_file),
        TEST(test_metrics),
    };

    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
