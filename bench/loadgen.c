/* loadgen.c -- the load of the benchmarks: HTTPS requests through a proxy, one thread, epoll.
 *
 * A slot is in one phase: CONNECTING -> ASKING (CONNECT) -> TUNNEL -> HANDSHAKE -> REQUEST ->
 * RESPONSE -> REQUEST ... and starts anew when its connection's share of requests is done. Without
 * a proxy it goes from CONNECTING to HANDSHAKE. The certificate chain and the name are verified.
 * With --hold, connections stay open after their first response until standard input ends.
 *
 * The result is one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_SIZE 16384
#define NAME_SIZE 64
#define OUT_SIZE 512
#define N_EVENTS 256
#define N_REASONS 8
#define MAX_PIDS 8
#define MAX_CONNECTING                                                                             \
    256 /* more would overflow the peer's backlog, and wait for SYN's repetition */

enum phase { IDLE, CONNECTING, ASKING, TUNNEL, HANDSHAKE, REQUEST, RESPONSE, HELD };
enum body { NONE, LENGTH, CHUNKS, UNTIL_CLOSE };
enum chunk { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_SKIP };

struct slot {
    int fd;
    SSL *ssl;
    enum phase phase;
    uint32_t events;
    unsigned host;
    unsigned left; /* requests of this connection not yet answered */
    bool is_head_read;
    bool must_close;
    enum body body;
    enum chunk chunk;
    uint64_t body_left;
    double began;
    size_t out_len, out_at;
    size_t in_len;
    char out[OUT_SIZE];
    char in[IN_SIZE + 1];
};

static struct {
    struct sockaddr_in proxy;
    unsigned origin_port;
    unsigned requests, hosts, concurrency, per_connection, first_host;
    double limit;
    bool through_proxy, resume, hold;
    int pids[MAX_PIDS]; /* whose CPU is measured; 0 after the last */
    const char *path, *ca;
} conf = {
    .requests = 1000, .hosts = 1, .concurrency = 16, .per_connection = 1, .limit = 120, .path = "/"
};

static struct {
    unsigned issued, ok, failed, connections, resumed, busy;
    uint64_t bytes;
    double *latencies;
    struct {
        char text[160];
        unsigned n;
    } reasons[N_REASONS];
} tally;

static int poller;
static SSL_CTX *ctx;
static SSL_SESSION **sessions;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User and system time of a process so far, in seconds. */
static double cpu_of(int pid)
{
    unsigned long user = 0, system = 0;
    char path[64], line[1024];
    const char *fields;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
        perror(path);
        exit(1);
    }
    fclose(file);
    fields = strrchr(line, ')');
    if (fields == NULL || sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                 &user, &system) != 2)
        exit(1);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_of_all(void)
{
    double sum = 0;

    for (int i = 0; i < MAX_PIDS && conf.pids[i] != 0; i++)
        sum += cpu_of(conf.pids[i]);
    return sum;
}

static bool add_pid(int pid)
{
    for (int i = 0; i < MAX_PIDS; i++)
        if (conf.pids[i] == 0) {
            conf.pids[i] = pid;
            return true;
        }
    return false;
}

/* -- one connection's end and beginning -- */

static void hang_up(struct slot *s)
{
    if (s->ssl != NULL) {
        SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
    }
    close(s->fd);
    if (s->phase != HELD)
        tally.busy--;
    *s = (struct slot){ .fd = -1 };
}

static void name_of(const struct slot *s, char *name)
{
    snprintf(name, NAME_SIZE, "h%04u.bench.test", s->host);
}

static void launch(struct slot *s)
{
    struct sockaddr_in to = conf.proxy;
    unsigned left = conf.requests - tally.issued;
    int on = 1;

    if (left == 0)
        return;
    *s = (struct slot){ .phase = CONNECTING, .left = conf.per_connection, .began = now() };
    if (s->left > left)
        s->left = left;
    s->host = conf.first_host + tally.connections++ % conf.hosts;
    tally.issued += s->left;
    tally.busy++;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        perror("socket");
        exit(1);
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        perror("connect");
        exit(1);
    }
    epoll_ctl(poller, EPOLL_CTL_ADD, s->fd,
              &(struct epoll_event){ .events = EPOLLOUT, .data.ptr = s });
    s->events = EPOLLOUT;
}

static void note(const char *text)
{
    for (int i = 0; i < N_REASONS; i++) {
        if (tally.reasons[i].n == 0)
            snprintf(tally.reasons[i].text, sizeof(tally.reasons[i].text), "%s", text);
        if (strcmp(tally.reasons[i].text, text) == 0) {
            tally.reasons[i].n++;
            return;
        }
    }
}

/* What was asked of this connection and not answered has failed. */
static void fail(struct slot *s, const char *why)
{
    static const char *const phases[] = { "idle",      "connecting", "CONNECT",  "CONNECT",
                                          "handshake", "request",    "response", "held" };
    long verify = s->ssl != NULL ? SSL_get_verify_result(s->ssl) : X509_V_OK;
    char text[160];

    if (verify != X509_V_OK)
        why = X509_verify_cert_error_string(verify);
    snprintf(text, sizeof(text), "%s: %s", phases[s->phase], why);
    note(text);
    tally.failed += s->left;
    hang_up(s);
    launch(s);
}

/* -- bytes -- */

static void arm(struct slot *s, uint32_t events)
{
    if (events != s->events)
        epoll_ctl(poller, EPOLL_CTL_MOD, s->fd,
                  &(struct epoll_event){ .events = events, .data.ptr = s });
    s->events = events;
}

/* Arms for what SSL waits for; answers false when it is over. */
static bool ssl_waits(struct slot *s, int result)
{
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        arm(s, EPOLLIN);
        return true;
    case SSL_ERROR_WANT_WRITE:
        arm(s, EPOLLOUT);
        return true;
    default:
        return false;
    }
}

static ssize_t io_write(struct slot *s)
{
    const char *from = s->out + s->out_at;
    size_t len = s->out_len - s->out_at;

    return s->ssl != NULL ? SSL_write(s->ssl, from, (int)len)
                          : send(s->fd, from, len, MSG_NOSIGNAL);
}

static ssize_t io_read(struct slot *s)
{
    char *to = s->in + s->in_len;
    size_t room = IN_SIZE - s->in_len;

    return s->ssl != NULL ? SSL_read(s->ssl, to, (int)room) : recv(s->fd, to, room, 0);
}

/* Answers whether the connection waits for its socket, and arms it; if not, it has ended. */
static bool waits(struct slot *s, ssize_t n, uint32_t events)
{
    if (s->ssl != NULL)
        return ssl_waits(s, (int)n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        arm(s, events);
        return true;
    }
    return false;
}

/* Writes what is in out; answers whether all of it went. */
static bool flush(struct slot *s)
{
    while (s->out_at < s->out_len) {
        ssize_t n = io_write(s);

        if (n > 0) {
            s->out_at += (size_t)n;
            continue;
        }
        if (!waits(s, n, EPOLLOUT))
            fail(s, "closed while writing");
        return false;
    }
    return true;
}

/* -- the response -- */

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One byte outside chunk data; answers whether the body ended with it. */
static bool chunk_byte(struct slot *s, char byte)
{
    switch (s->chunk) {
    case CHUNK_SIZE:
        if (hex_digit(byte) >= 0)
            s->body_left = s->body_left * 16 + (uint64_t)hex_digit(byte);
        else if (byte == '\n')
            s->chunk = s->body_left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        else if (byte != '\r')
            s->chunk = CHUNK_EXTENSION;
        return false;
    case CHUNK_EXTENSION:
        if (byte == '\n')
            s->chunk = s->body_left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        return false;
    case CHUNK_DATA:
    case CHUNK_DATA_END:
        if (byte == '\n')
            s->chunk = CHUNK_SIZE;
        return false;
    case CHUNK_TRAILER:
        if (byte != '\r' && byte != '\n')
            s->chunk = CHUNK_SKIP;
        return byte == '\n';
    case CHUNK_SKIP:
        if (byte == '\n')
            s->chunk = CHUNK_TRAILER;
        return false;
    }
    return false;
}

static size_t take_data(struct slot *s, size_t available)
{
    size_t n = available < s->body_left ? available : (size_t)s->body_left;

    s->body_left -= n;
    tally.bytes += n;
    return n;
}

static bool body_done(struct slot *s)
{
    size_t at = 0;
    bool done = false;

    switch (s->body) {
    case NONE:
        return true;
    case LENGTH:
        take_data(s, s->in_len);
        s->in_len = 0;
        return s->body_left == 0;
    case UNTIL_CLOSE:
        tally.bytes += s->in_len;
        s->in_len = 0;
        return false;
    case CHUNKS:
        break;
    }
    while (at < s->in_len && !done) {
        if (s->chunk == CHUNK_DATA) {
            at += take_data(s, s->in_len - at);
            s->chunk = s->body_left == 0 ? CHUNK_DATA_END : CHUNK_DATA;
        } else {
            done = chunk_byte(s, s->in[at++]);
        }
    }
    s->in_len = 0;
    return done;
}

/* Looks for the end of a head; NULL when more must be read. */
static char *head_end(struct slot *s)
{
    char *end;

    s->in[s->in_len] = '\0';
    end = strstr(s->in, "\r\n\r\n");
    if (end != NULL)
        end[2] = '\0';
    return end;
}

static void read_head(struct slot *s, const char *end)
{
    const char *length = strcasestr(s->in, "\r\ncontent-length:");
    size_t len = (size_t)(end - s->in) + 4;

    s->is_head_read = true;
    s->must_close = strcasestr(s->in, "\r\nconnection: close") != NULL;
    s->chunk = CHUNK_SIZE;
    s->body_left = 0;
    if (strcasestr(s->in, "\r\ntransfer-encoding: chunked") != NULL) {
        s->body = CHUNKS;
    } else if (length != NULL) {
        s->body = LENGTH;
        s->body_left = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
    } else {
        s->body = UNTIL_CLOSE;
    }
    memmove(s->in, end + 4, s->in_len - len);
    s->in_len -= len;
}

/* -- phases: each answers whether the next can follow at once -- */

static bool on_connected(struct slot *s)
{
    socklen_t len = sizeof(int);
    int error = 0;
    char name[NAME_SIZE];

    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        fail(s, strerror(error));
        return false;
    }
    name_of(s, name);
    s->phase = conf.through_proxy ? ASKING : TUNNEL;
    s->out_at = 0;
    s->out_len = (size_t)snprintf(s->out, OUT_SIZE, "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n\r\n",
                                  name, conf.origin_port, name, conf.origin_port);
    return true;
}

static void start_handshake(struct slot *s)
{
    char name[NAME_SIZE];

    name_of(s, name);
    s->in_len = 0;
    s->phase = HANDSHAKE;
    s->ssl = SSL_new(ctx);
    SSL_set_fd(s->ssl, s->fd);
    SSL_set_tlsext_host_name(s->ssl, name);
    SSL_set1_host(s->ssl, name);
    SSL_set_app_data(s->ssl, s);
    if (conf.resume && sessions[s->host - conf.first_host] != NULL)
        SSL_set_session(s->ssl, sessions[s->host - conf.first_host]);
    SSL_set_connect_state(s->ssl);
}

static bool on_tunnel(struct slot *s)
{
    ssize_t n;

    if (!conf.through_proxy) {
        start_handshake(s);
        return true;
    }
    n = io_read(s);
    if (n <= 0) {
        if (!waits(s, n, EPOLLIN))
            fail(s, "closed");
        return false;
    }
    s->in_len += (size_t)n;
    if (head_end(s) == NULL)
        return s->in_len < IN_SIZE;
    if (strncmp(s->in, "HTTP/1.1 200", 12) != 0) {
        s->in[15] = '\0';
        fail(s, s->in);
        return false;
    }
    start_handshake(s);
    return true;
}

static void write_request(struct slot *s)
{
    char name[NAME_SIZE];

    name_of(s, name);
    s->phase = REQUEST;
    s->is_head_read = false;
    s->in_len = 0;
    s->out_at = 0;
    s->out_len = (size_t)snprintf(s->out, OUT_SIZE,
                                  "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: loadgen\r\n"
                                  "Accept: */*\r\n\r\n",
                                  conf.path, name, conf.origin_port);
}

static bool on_handshake(struct slot *s)
{
    int result = SSL_do_handshake(s->ssl);

    if (result != 1) {
        if (!ssl_waits(s, result))
            fail(s, "failed");
        return false;
    }
    tally.resumed += SSL_session_reused(s->ssl) == 1;
    write_request(s);
    return true;
}

static bool on_answered(struct slot *s)
{
    tally.latencies[tally.ok++] = now() - s->began;
    s->left--;
    if (conf.hold) {
        s->phase = HELD;
        tally.busy--;
        arm(s, EPOLLRDHUP);
        return false;
    }
    if (s->left == 0 || s->must_close) {
        tally.issued -= s->left;
        hang_up(s);
        launch(s);
        return false;
    }
    s->began = now();
    write_request(s);
    return true;
}

static bool on_response_bytes(struct slot *s)
{
    char *end;

    if (!s->is_head_read) {
        end = head_end(s);
        if (end == NULL && s->in_len == IN_SIZE)
            fail(s, "head too large");
        if (end == NULL)
            return s->phase == RESPONSE;
        if (strncmp(s->in, "HTTP/1.1 200", 12) != 0) {
            s->in[12] = '\0';
            fail(s, s->in);
            return false;
        }
        read_head(s, end);
    }
    return body_done(s) ? on_answered(s) : true;
}

static bool on_response(struct slot *s)
{
    ssize_t n = io_read(s);

    if (n > 0) {
        s->in_len += (size_t)n;
        return on_response_bytes(s);
    }
    if (waits(s, n, EPOLLIN))
        return false;
    if (!s->is_head_read || s->body != UNTIL_CLOSE) {
        fail(s, "closed");
        return false;
    }
    s->must_close = true;
    return on_answered(s);
}

static bool step(struct slot *s)
{
    switch (s->phase) {
    case IDLE:
        return false;
    case CONNECTING:
        return on_connected(s);
    case ASKING:
        if (!flush(s))
            return false;
        s->phase = TUNNEL;
        return true;
    case TUNNEL:
        return on_tunnel(s);
    case HANDSHAKE:
        return on_handshake(s);
    case REQUEST:
        if (!flush(s))
            return false;
        s->phase = RESPONSE;
        return true;
    case RESPONSE:
        return on_response(s);
    case HELD:
        note("held connection closed by the peer");
        hang_up(s);
        return false;
    }
    return false;
}

static void advance(struct slot *s)
{
    while (step(s))
        continue;
}

/* -- the run -- */

/* Tickets arrive with the response; the newest one of each host is kept. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct slot *s = SSL_get_app_data(ssl);
    SSL_SESSION **kept = &sessions[s->host - conf.first_host];

    SSL_SESSION_free(*kept);
    *kept = session;
    return 1;
}

static void make_context(void)
{
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (conf.resume)
        SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (conf.ca != NULL && SSL_CTX_load_verify_locations(ctx, conf.ca, NULL) != 1) {
        fprintf(stderr, "loadgen: %s: no CA certificate\n", conf.ca);
        exit(1);
    }
}

static void wait_turn(int timeout_ms)
{
    struct epoll_event events[N_EVENTS];
    int n = epoll_wait(poller, events, N_EVENTS, timeout_ms);

    for (int i = 0; i < n; i++)
        advance(events[i].data.ptr);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double percentile_ms(double part)
{
    if (tally.ok == 0)
        return 0;
    return tally.latencies[(unsigned)((tally.ok - 1) * part)] * 1e3;
}

static void report(double seconds, double cpu)
{
    qsort(tally.latencies, tally.ok, sizeof(double), by_value);
    printf("{\"ok\": %u, \"failed\": %u, \"seconds\": %.3f, \"connections\": %u, \"resumed\": %u, "
           "\"bytes\": %llu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"cpu_s\": %.2f, "
           "\"cpu_ms_per_request\": %.4f, \"reasons\": {",
           tally.ok, tally.failed, seconds, tally.connections, tally.resumed,
           (unsigned long long)tally.bytes, percentile_ms(0.5), percentile_ms(0.99), cpu,
           tally.ok > 0 ? cpu * 1e3 / tally.ok : 0);
    for (int i = 0; i < N_REASONS && tally.reasons[i].n > 0; i++)
        printf("%s\"%s\": %u", i > 0 ? ", " : "", tally.reasons[i].text, tally.reasons[i].n);
    printf("}}\n");
    fflush(stdout);
}

/* Held connections are watched, so that one that the proxy drops is seen, until stdin ends. */
static void hold(struct slot *slots)
{
    struct epoll_event stop = { .events = EPOLLIN, .data.ptr = NULL };
    struct epoll_event event;

    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &stop);
    for (;;) {
        if (epoll_wait(poller, &event, 1, -1) != 1)
            continue;
        if (event.data.ptr == NULL)
            break;
        advance(event.data.ptr);
    }
    for (unsigned i = 0; i < conf.concurrency; i++)
        if (slots[i].phase == HELD)
            hang_up(&slots[i]);
    printf("{\"dropped\": %u}\n", tally.reasons[0].n);
}

static bool set_address(const char *text)
{
    char host[64] = "";
    unsigned port = 0;

    conf.proxy.sin_family = AF_INET;
    if (sscanf(text, "%63[^:]:%u", host, &port) != 2 || port > 65535)
        return false;
    conf.proxy.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &conf.proxy.sin_addr) == 1;
}

static void usage(void)
{
    fputs("loadgen --proxy IP:PORT | --direct IP:PORT, --origin-port N, --ca FILE, --requests N,\n"
          "  --hosts N, --first-host N, --concurrency N, --per-connection N, --resume, --hold,\n"
          "  --path /P, --pid PID..., --limit SECONDS\n",
          stderr);
    exit(2);
}

static void set_number(int option, const char *text)
{
    unsigned n = (unsigned)strtoul(text, NULL, 10);

    if (option == 'o')
        conf.origin_port = n;
    else if (option == 'n')
        conf.requests = n;
    else if (option == 'm' && n > 0)
        conf.hosts = n;
    else if (option == 'f')
        conf.first_host = n;
    else if (option == 'c' && n > 0)
        conf.concurrency = n;
    else if (option == 'k' && n > 0)
        conf.per_connection = n;
    else if (option == 'l')
        conf.limit = n;
    else if (option != 'P' || !add_pid((int)n))
        usage();
}

static void set_option(int option)
{
    if (option == 'x' || option == 'd') {
        conf.through_proxy = option == 'x';
        if (!set_address(optarg))
            usage();
    } else if (option == 'a') {
        conf.ca = optarg;
    } else if (option == 'p') {
        conf.path = optarg;
    } else if (option == 'r') {
        conf.resume = true;
    } else if (option == 'h') {
        conf.hold = true;
    } else {
        set_number(option, optarg);
    }
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        { "proxy", required_argument, NULL, 'x' },
        { "direct", required_argument, NULL, 'd' },
        { "origin-port", required_argument, NULL, 'o' },
        { "ca", required_argument, NULL, 'a' },
        { "requests", required_argument, NULL, 'n' },
        { "hosts", required_argument, NULL, 'm' },
        { "first-host", required_argument, NULL, 'f' },
        { "concurrency", required_argument, NULL, 'c' },
        { "per-connection", required_argument, NULL, 'k' },
        { "path", required_argument, NULL, 'p' },
        { "pid", required_argument, NULL, 'P' },
        { "limit", required_argument, NULL, 'l' },
        { "resume", no_argument, NULL, 'r' },
        { "hold", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            usage();
        set_option(option);
    }
    if (conf.proxy.sin_family == 0)
        usage();
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct slot *slots;
    unsigned launched = 0;
    double start, cpu;

    parse_options(argc, argv);
    if (conf.hold)
        conf.requests = conf.concurrency;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    make_context();
    poller = epoll_create1(EPOLL_CLOEXEC);
    slots = calloc(conf.concurrency, sizeof(*slots));
    sessions = calloc(conf.hosts, sizeof(SSL_SESSION *));
    tally.latencies = calloc(conf.requests + 1, sizeof(double));
    if (slots == NULL || sessions == NULL || tally.latencies == NULL)
        return 1;
    cpu = cpu_of_all();
    start = now();
    while ((launched < conf.concurrency || tally.busy > 0) && now() - start < conf.limit) {
        while (launched < conf.concurrency && tally.busy < MAX_CONNECTING)
            launch(&slots[launched++]);
        wait_turn(1000);
    }
    for (unsigned i = 0; i < conf.concurrency; i++)
        if (slots[i].phase != IDLE && slots[i].phase != HELD)
            tally.failed += slots[i].left;
    report(now() - start, cpu_of_all() - cpu);
    if (conf.hold)
        hold(slots);
    return tally.failed > 0 ? 1 : 0;
}
