/* resolve.c -- a resolve either waits for a query (link) or has its answer and is queued (task).
 *
 * A query is one question to c-ares; whoever asks for its name meanwhile waits with it.  It goes on
 * when the last of them is cancelled, and its answer is kept.
 * c-ares calls back from inside its own calls, so nothing is reported from there: answers go out
 * through tasks.
 */
#include "io/resolve.h"

#include <ares.h>
#include <pthread.h>
#include <sys/time.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/name_cache.h"

#define NAME_MAX_LEN 254 /* RFC 1035 section 2.3.4, and a dot at the end */
#define HOSTS_TTL_S 5
#define TIMEOUT_MS 2000
#define TRIES 3
/* Queries outlive a cancelled resolve, so connections do not bound them. */
#define QUERIES_MAX 4096

struct sl_resolver {
    struct sl_loop *loop;
    ares_channel ares;
    struct sl_timer timer; /* for what c-ares does next without being answered */
    struct sl_link socks;  /* of struct sock */
    struct sl_map queries; /* under way, by name */
    struct sl_name_cache cache;
    const struct query *asking; /* set inside ares_getaddrinfo */
    uint64_t max_ttl_ms;
    size_t n_resolves;
};

struct sock {
    struct sl_link link;
    struct sl_resolver *r;
    struct sl_watch *watch;
    ares_socket_t fd;
};

struct query {
    struct sl_resolver *r;
    struct sl_link waiters; /* of struct sl_resolve */
    size_t len;
    char name[NAME_MAX_LEN + 1];
};

struct sl_resolve {
    struct sl_link link;
    struct sl_resolver *r;
    struct sl_task task;
    struct sl_addrs addrs; /* none: see fault */
    struct sl_fault fault;
    sl_resolve_fn *done;
    void *arg;
};

static void on_sock(void *arg, unsigned events);
static void on_timer(void *arg);

/* -- c-ares on our loop -- */

static void set_timer(struct sl_resolver *r)
{
    struct timeval tv, *next = ares_timeout(r->ares, NULL, &tv);

    if (next == NULL)
        sl_timer_stop(&r->timer);
    else
        sl_timer_start(r->loop, &r->timer,
                       (uint64_t)next->tv_sec * 1000 + (uint64_t)(next->tv_usec + 999) / 1000,
                       on_timer, r);
}

static void on_timer(void *arg)
{
    struct sl_resolver *r = arg;

    ares_process_fd(r->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(r);
}

/* c-ares may close the socket meanwhile, and the sock is gone then. */
static void on_sock(void *arg, unsigned events)
{
    struct sock *s = arg;
    struct sl_resolver *r = s->r;
    ares_socket_t fd = s->fd;

    ares_process_fd(r->ares, (events & SL_READABLE) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & SL_WRITABLE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer(r);
}

static struct sock *find_sock(struct sl_resolver *r, ares_socket_t fd)
{
    SL_LIST_FOREACH (it, &r->socks) {
        struct sock *s = SL_CONTAINER(it, struct sock, link);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static struct sock *add_sock(struct sl_resolver *r, ares_socket_t fd)
{
    struct sock *s = sl_zalloc(sizeof(*s));

    s->r = r;
    s->fd = fd;
    s->watch = sl_watch_new(r->loop, fd, on_sock, s);
    sl_list_add(&r->socks, &s->link);
    return s;
}

static void drop_sock(struct sock *s)
{
    sl_link_remove(&s->link);
    sl_watch_free(&s->watch);
    sl_free(s);
}

static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct sl_resolver *r = arg;
    struct sock *s = find_sock(r, fd);
    unsigned events = (readable != 0 ? SL_READABLE : 0) | (writable != 0 ? SL_WRITABLE : 0);

    if (events == 0) {
        if (s != NULL)
            drop_sock(s);
        return;
    }
    if (s == NULL)
        s = add_sock(r, fd);
    sl_watch_want(s->watch, events);
}

/* -- answers -- */

static bool has_addr(const struct sl_addrs *addrs, const struct sl_addr *a)
{
    for (size_t i = 0; i < addrs->n; i++) {
        if (sl_addr_eq(&addrs->a[i], a))
            return true;
    }
    return false;
}

static void add_addr(struct sl_addrs *addrs, const struct sl_addr *a)
{
    if (addrs->n < SL_ADDRS_MAX && !has_addr(addrs, a))
        addrs->a[addrs->n++] = *a;
}

static void add_node(struct sl_addrs *addrs, const struct ares_addrinfo_node *node)
{
    struct sl_addr a = { .len = node->ai_addrlen };

    if (node->ai_addrlen > sizeof(a.v6))
        return;
    memcpy(&a.un, node->ai_addr, node->ai_addrlen);
    sl_addr_set_port(&a, 0);
    add_addr(addrs, &a);
}

static const struct ares_addrinfo_node *of_family(const struct ares_addrinfo_node *node, int family)
{
    while (node != NULL && node->ai_family != family)
        node = node->ai_next;
    return node;
}

/* RFC 8305 section 4: the families take turns. */
static void interleave(const struct ares_addrinfo_node *nodes, struct sl_addrs *addrs)
{
    const struct ares_addrinfo_node *v6 = of_family(nodes, AF_INET6);
    const struct ares_addrinfo_node *v4 = of_family(nodes, AF_INET);

    while (v6 != NULL || v4 != NULL) {
        if (v6 != NULL) {
            add_node(addrs, v6);
            v6 = of_family(v6->ai_next, AF_INET6);
        }
        if (v4 != NULL) {
            add_node(addrs, v4);
            v4 = of_family(v4->ai_next, AF_INET);
        }
    }
}

static uint64_t shorter(uint64_t ttl_ms, int ttl_s)
{
    uint64_t ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 : 0;

    return ms < ttl_ms ? ms : ttl_ms;
}

/* The answer is as good as the first of its records to expire. */
static uint64_t ttl_of(const struct ares_addrinfo *res, uint64_t max_ms)
{
    uint64_t ttl_ms = max_ms;

    for (const struct ares_addrinfo_node *n = res->nodes; n != NULL; n = n->ai_next)
        ttl_ms = shorter(ttl_ms, n->ai_ttl);
    for (const struct ares_addrinfo_cname *c = res->cnames; c != NULL; c = c->next)
        ttl_ms = shorter(ttl_ms, c->ttl);
    return ttl_ms;
}

static enum sl_err err_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
        return SL_NO_ADDRESS;
    case ARES_ETIMEOUT:
        return SL_DNS_TIMEOUT;
    default:
        return SL_NO_NAME;
    }
}

/* Queues the resolve to report addrs, or its fault when there are none. */
static void answer(struct sl_resolve *op)
{
    sl_task_post(op->r->loop, &op->task);
}

static void answer_fault(struct sl_resolve *op, enum sl_err err, const char *text)
{
    (void)sl_fault_set(&op->fault, err, "%s", text);
    answer(op);
}

static void answer_all(struct query *q, int status, const struct sl_addrs *addrs)
{
    struct sl_link *it;

    while ((it = sl_list_pop(&q->waiters)) != NULL) {
        struct sl_resolve *op = SL_CONTAINER(it, struct sl_resolve, link);

        op->addrs = *addrs;
        if (addrs->n > 0)
            answer(op);
        else
            answer_fault(op, err_of(status), ares_strerror(status));
    }
}

static void keep(struct query *q, const struct ares_addrinfo *res, const struct sl_addrs *addrs)
{
    struct sl_resolver *r = q->r;
    uint64_t ttl_ms = ttl_of(res, r->max_ttl_ms);

    /* What is answered before the question went out comes from a file and has no TTL. */
    if (r->asking == q)
        ttl_ms = shorter(r->max_ttl_ms, HOSTS_TTL_S);
    if (ttl_ms > 0)
        sl_name_cache_put(&r->cache, sl_str_make(q->name, q->len), sl_loop_now_ms(r->loop) + ttl_ms,
                          addrs);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *res)
{
    struct query *q = arg;
    struct sl_addrs addrs = { 0 };

    (void)timeouts;
    if (status == ARES_SUCCESS)
        interleave(res->nodes, &addrs);
    if (addrs.n > 0)
        keep(q, res, &addrs);
    else if (status == ARES_SUCCESS)
        status = ARES_ENODATA;
    (void)sl_map_remove(&q->r->queries, sl_str_make(q->name, q->len));
    answer_all(q, status, &addrs);
    if (res != NULL)
        ares_freeaddrinfo(res);
    sl_free(q);
}

/* -- the resolver -- */

static void init_ares_once(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL);
}

/* A name is asked for as it was judged: search lists and host aliases would lead to another.  Old
 * versions of c-ares keep to ARES_FLAG_NOSEARCH nowhere but in ares_search, so the list is empty.
 */
static int open_channel(struct sl_resolver *r, const struct sl_resolver_conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char files_then_dns[] = "fb";
    struct ares_options o = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = (int)(conf->timeout_ms != 0 ? conf->timeout_ms : TIMEOUT_MS),
        .tries = TRIES,
        .ndomains = 0,
        .lookups = files_then_dns,
        .sock_state_cb = on_sock_state,
        .sock_state_cb_data = r,
    };

    pthread_once(&once, init_ares_once);
    return ares_init_options(&r->ares, &o,
                             ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                 ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
}

struct sl_resolver *sl_resolver_new(struct sl_loop *loop, const struct sl_resolver_conf *conf)
{
    struct sl_resolver *r = sl_zalloc(sizeof(*r));
    int status;

    r->loop = loop;
    r->max_ttl_ms = (uint64_t)conf->max_ttl_s * 1000;
    sl_list_init(&r->socks);
    sl_name_cache_init(&r->cache, conf->max_entries);
    status = open_channel(r, conf);
    if (status == ARES_SUCCESS && conf->servers != NULL)
        status = ares_set_servers_ports_csv(r->ares, conf->servers);
    if (status != ARES_SUCCESS)
        sl_resolver_free(&r);
    return r;
}

void sl_resolver_free(struct sl_resolver **r)
{
    struct sl_resolver *gone = *r;

    if (gone == NULL)
        return;
    *r = NULL;
    sl_assert(gone->n_resolves == 0);
    if (gone->ares != NULL)
        ares_destroy(gone->ares);
    sl_timer_stop(&gone->timer);
    sl_name_cache_fini(&gone->cache);
    sl_map_fini(&gone->queries);
    sl_free(gone);
}

/* -- a resolve -- */

static void forget(struct sl_resolve *op)
{
    sl_link_remove(&op->link);
    sl_task_cancel(op->r->loop, &op->task);
    op->r->n_resolves--;
}

/* The resolver may be gone after done. */
static void report(void *arg)
{
    struct sl_resolve *op = arg;

    forget(op);
    if (op->addrs.n > 0)
        op->done(op->arg, &op->addrs, NULL);
    else
        op->done(op->arg, NULL, &op->fault);
    sl_free(op);
}

static void ask(struct sl_resolver *r, struct sl_str name, struct sl_resolve *op)
{
    static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
                                                      .ai_flags = ARES_AI_NOSORT };
    struct query *q = sl_zalloc(sizeof(*q));

    q->r = r;
    q->len = name.n;
    memcpy(q->name, name.p, name.n);
    sl_list_init(&q->waiters);
    sl_list_add(&q->waiters, &op->link);
    (void)sl_map_put(&r->queries, sl_str_make(q->name, q->len), q);
    r->asking = q;
    ares_getaddrinfo(r->ares, q->name, NULL, &hints, on_answer, q);
    r->asking = NULL;
    set_timer(r);
}

static void look_up(struct sl_resolve *op, struct sl_str name)
{
    struct sl_resolver *r = op->r;
    struct query *q = sl_map_get(&r->queries, name);

    if (sl_name_cache_get(&r->cache, name, sl_loop_now_ms(r->loop), &op->addrs))
        answer(op);
    else if (q != NULL)
        sl_list_add(&q->waiters, &op->link);
    else if (r->queries.n >= QUERIES_MAX)
        answer_fault(op, SL_LIMIT, "too many names being looked up");
    else
        ask(r, name, op);
}

/* RFC 6761 section 6.3. */
static bool is_localhost(struct sl_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    return sl_str_eq(name, SL_STR("localhost")) || sl_str_has_suffix(name, SL_STR(".localhost"));
}

static void add_literal(struct sl_addrs *addrs, struct sl_str text)
{
    struct sl_addr a;

    if (sl_addr_parse_ip(text, &a))
        add_addr(addrs, &a);
}

static void begin(struct sl_resolve *op, struct sl_str host)
{
    char lower[NAME_MAX_LEN];
    struct sl_str name;

    if (host.n == 0 || host.n > NAME_MAX_LEN || sl_str_find(host, '\0') != host.n) {
        answer_fault(op, SL_NO_NAME, "not a name");
        return;
    }
    for (size_t i = 0; i < host.n; i++)
        lower[i] = sl_lower(host.p[i]);
    name = sl_str_make(lower, host.n);
    add_literal(&op->addrs, name);
    if (is_localhost(name)) {
        add_literal(&op->addrs, SL_STR("::1"));
        add_literal(&op->addrs, SL_STR("127.0.0.1"));
    }
    if (op->addrs.n > 0)
        answer(op);
    else
        look_up(op, name);
}

struct sl_resolve *sl_resolve_start(struct sl_resolver *r, struct sl_str host, sl_resolve_fn *done,
                                    void *arg)
{
    struct sl_resolve *op = sl_zalloc(sizeof(*op));

    op->r = r;
    op->task = (struct sl_task){ .fn = report, .arg = op };
    op->done = done;
    op->arg = arg;
    r->n_resolves++;
    begin(op, host);
    return op;
}

void sl_resolve_cancel(struct sl_resolve **op)
{
    struct sl_resolve *gone = *op;

    if (gone == NULL)
        return;
    *op = NULL;
    forget(gone);
    sl_free(gone);
}
