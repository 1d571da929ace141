/* fuzz_conn.c -- a whole connection: the real conn, exchange, gate, pool and codecs between a
 * client, origins and a check whose every move the input chooses.
 *
 * An input is a script.  A step is `@`, a verb, and bytes up to the next newline with `@` behind
 * it; the first may be `@=` with flags:
 *
 *   p preconnect   r rules (witness_rules)   c the check has phase connect   2 HTTP/2 upstream
 *   A D questions without an answer of their own are allowed, denied
 *   n one turn of the loop behind each step, else as many as there are moves
 *   1 7 k K trickles: reads of 1, reads of 7 and writes of 3, room for 11, for 1
 *
 *   > | x r W  the client says, ends its output, closes, resets, stops or starts reading
 *   < S X R w  the same of the newest origin; what it says before there is one is said later
 *   o          connections to origins are refused, or made again
 *   a d e g k  the next answer of the check: allow, deny, status 500, garbage, it hangs up
 *   j          the next answer is this JSON
 *   t          the clock goes on by so many ms
 *   q .        waits until nothing moves; a turn
 *   z c l      drain, cancel, reload
 *
 * Whatever is played: no byte of a request reaches an origin that the check has not allowed (or a
 * rule), see conn_witness.c; the loop comes to rest; the connection ends by its deadlines; every
 * question has its record; connections, exchanges and memory are given back.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/state.h"
#include "conn_witness.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "policy/check_json.h"
#include "policy/gate.h"
#include "proxy/conn.h"
#include "proxy/snapshot.h"
#include "sim_peer.h"
#include "sim_world.h"
#include "tls/ca.h"
#include "tls/tls_context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 8192u
#define STEPS_MAX 300u
#define PEERS 24u
#define QUIET_TURNS 6u
#define TURNS_MAX 200000u
#define CLOCK_STEP_MS 10000u
#define CLOCK_STEPS 60u
#define CLOCK_MAX_MS 200000u

extern const struct sl_state_table sl_conn_table, sl_exchange_table;

struct answer {
    char verb;
    struct sl_str text; /* of j */
};

/* A peer and what it has still to say. */
struct end {
    struct sim_peer peer;
    struct sl_buf out, said;
    bool shuts;
    struct arrival arrival;     /* an origin's */
    bool has_question;          /* the check: one that is not answered */
    struct question *question;  /* of it; NULL: there were too many */
    bool is_answering;          /* out is the answer */
    struct sl_verdict *verdict; /* of it; NULL: a failure */
};

struct play {
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_env *env, *reloaded;
    struct sl_conn *conn;
    struct end client, origins[PEERS], checks[PEERS];
    unsigned n_origins, n_checks, n_turns;
    struct sl_buf early; /* what the next origin says first */
    bool are_refused;
    struct answer answers[STEPS_MAX];
    unsigned n_answers, n_given;
    char otherwise; /* verb of an answer that no step gave; 0: none */
    bool is_narrow, asks_connect, has_http2;
    struct sl_memory_conf trickle;
    uint64_t n_moves, n_wakes;
    struct sl_access_log witness;
};

static struct sim_tls tls;

/* -- TLS contexts: two thirds of what a run would cost, so every environment gets the same ones
 * (--wrap in meson.build).  They keep nothing of a run: no handshake with an origin succeeds. */

enum sl_err __real_sl_tls_client_context_new(const struct sl_tls_client_conf *conf,
                                             struct sl_tls_client_context **ret_context,
                                             struct sl_fault *fault);
struct sl_tls_server_context *
__real_sl_tls_server_context_new(const struct sl_tls_server_conf *conf);
void __real_sl_tls_client_context_free(struct sl_tls_client_context **context);
void __real_sl_tls_server_context_free(struct sl_tls_server_context **context);

static struct sl_tls_client_context *client_context;
static struct sl_tls_server_context *server_context;

enum sl_err __wrap_sl_tls_client_context_new(const struct sl_tls_client_conf *conf,
                                             struct sl_tls_client_context **ret_context,
                                             struct sl_fault *fault)
{
    if (client_context == NULL &&
        __real_sl_tls_client_context_new(conf, &client_context, fault) != SL_OK)
        abort();
    *ret_context = client_context;
    return SL_OK;
}

struct sl_tls_server_context *
__wrap_sl_tls_server_context_new(const struct sl_tls_server_conf *conf)
{
    if (server_context == NULL)
        server_context = __real_sl_tls_server_context_new(conf);
    return server_context;
}

void __wrap_sl_tls_client_context_free(struct sl_tls_client_context **context)
{
    *context = NULL;
}

void __wrap_sl_tls_server_context_free(struct sl_tls_server_context **context)
{
    *context = NULL;
}

/* -- the world -- */

static void end_init(struct play *p, struct end *e, struct sl_stream **ret_other)
{
    e->peer.loop = p->loop;
    e->peer.tls = &tls;
    e->peer.n_moves = &p->n_moves;
    e->peer.n_wakes = &p->n_wakes;
    sim_peer_init(&e->peer, &p->trickle, ret_other);
}

static void end_fini(struct end *e)
{
    sim_peer_fini(&e->peer);
    sl_buf_fini(&e->out);
    sl_buf_fini(&e->said);
    arrival_fini(&e->arrival);
    sl_verdict_unref(&e->verdict);
}

static struct sl_stream *open_stream(void *arg, const struct sl_origin *origin)
{
    struct play *p = arg;
    struct sl_stream *other;
    struct end *e;

    if (sl_str_eq(origin->host, SL_STR(SIM_CHECK_HOST)) && origin->port == 80) {
        if (p->n_checks == PEERS)
            return NULL;
        end_init(p, &p->checks[p->n_checks++], &other);
        return other;
    }
    if (p->are_refused || p->n_origins == PEERS)
        return NULL;
    e = &p->origins[p->n_origins++];
    witness_opened(&p->witness, origin, &e->arrival);
    end_init(p, e, &other);
    sl_buf_add_str(&e->out, sl_buf_str(&p->early));
    sl_buf_reset(&p->early);
    return other;
}

static struct sl_env *make_env(struct play *p)
{
    return sim_env_new(&(struct sim_env_conf){
        .loop = p->loop,
        .mailbox = p->mailbox,
        .tls = &tls,
        .policy =
            sim_policy_new(p->witness.has_rules ? witness_rules : NULL, true, p->asks_connect),
        .access_log = &p->witness,
        .preconnect = p->witness.may_preconnect,
        .http2 = p->has_http2,
        .open = open_stream,
        .open_arg = p });
}

static void on_ended(void *arg, struct sl_conn *conn)
{
    struct play *p = arg;

    sl_assert(conn == p->conn);
    sl_conn_free(&p->conn);
    p->n_moves++;
}

static void play_init(struct play *p)
{
    struct sl_stream *other;
    struct sl_addr peer;

    p->loop = sl_loop_new_sim();
    p->mailbox = sl_mailbox_new(p->loop);
    p->env = make_env(p);
    end_init(p, &p->client, &other);
    sl_assert(sl_addr_parse(SL_STR("192.0.2.1:50000"), &peer));
    p->conn = sl_conn_new(&(struct sl_conn_conf){ .env = p->env,
                                                  .stream = other,
                                                  .peer = peer,
                                                  .listener = SL_STR("fuzz:8080"),
                                                  .id = 1 },
                          on_ended, p);
}

static int64_t count_lives(void)
{
    static const struct sl_state_table *const tables[] = { &sl_conn_table, &sl_exchange_table };
    int64_t n = sim_count_held();

    for (size_t i = 0; i < SL_LEN(tables); i++)
        for (uint32_t k = 0; k < tables[i]->n_rows; k++)
            n += sl_metric_value(tables[i]->gauges[k]);
    return n;
}

static void play_fini(struct play *p)
{
    sl_conn_free(&p->conn);
    end_fini(&p->client);
    for (unsigned i = 0; i < PEERS; i++)
        end_fini(&p->origins[i]);
    for (unsigned i = 0; i < PEERS; i++)
        end_fini(&p->checks[i]);
    sl_buf_fini(&p->early);
    sl_env_unref(&p->env);
    sl_env_unref(&p->reloaded);
    sl_mailbox_free(&p->mailbox);
    sl_loop_free(&p->loop);
    witness_end(&p->witness);
    witness_fini(&p->witness);
    sl_chunk_drain();
    sl_assert(count_lives() == 0);
}

/* -- peers -- */

static void flush(struct end *e)
{
    struct sl_stream *s = e->peer.stream;

    while (s != NULL && e->out.len != 0) {
        struct sl_str rest = sl_buf_str(&e->out);
        size_t n = 0;
        enum sl_err err = sl_stream_write(s, rest.p, rest.n, &n);

        if (err == SL_AGAIN)
            return;
        ++*e->peer.n_moves;
        if (err != SL_OK)
            n = rest.n; /* nobody hears it */
        sl_buf_add(&e->said, rest.p, n);
        sl_buf_consume(&e->out, n);
    }
    if (s != NULL && e->shuts) {
        e->shuts = sl_stream_shutdown(s) == SL_AGAIN;
        *e->peer.n_moves += !e->shuts;
    }
}

static void poll_end(struct end *e)
{
    flush(e);
    if (!e->peer.is_silent)
        sim_peer_read(&e->peer);
}

static void poll_origin(struct play *p, struct end *e)
{
    poll_end(e);
    witness_arrived(&p->witness, &e->arrival, sl_buf_str(&e->peer.got), sl_buf_str(&e->said));
}

/* -- the check -- */

static void take_question(struct play *p, struct end *e)
{
    struct sl_str got = sl_buf_str(&e->peer.got);
    struct strict_request r;
    enum strict err = strict_head(got, &r);
    size_t n = 0;

    sl_assert(err != STRICT_BAD);
    if (err != STRICT_OK || strict_body(&r.framing, sl_str_skip(got, r.len), &n) != STRICT_OK)
        return;
    e->question = witness_asked(&p->witness, sl_str_head(sl_str_skip(got, r.len), n));
    e->has_question = true;
    sl_buf_consume(&e->peer.got, r.len + n);
}

static void say_json(struct end *e, struct sl_str json)
{
    struct sl_fault fault;

    if (sl_check_json_parse(json, &e->verdict, &fault) != SL_OK)
        e->verdict = NULL;
    /* A verdict for more than it was asked about is good for more than can be compared. */
    if (e->verdict != NULL && e->verdict->has_ttl && !e->verdict->vary.all) {
        sl_verdict_unref(&e->verdict);
        json = SL_STR("{\"action\":\"deny\"}");
    }
    sl_buf_addf(&e->out,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%.*s",
                json.n, SL_FMT(json));
}

static void say_answer(struct end *e, const struct answer *a)
{
    e->is_answering = true;
    switch (a->verb) {
    case 'a':
        say_json(e, SL_STR("{\"action\":\"allow\"}"));
        break;
    case 'd':
        say_json(e, SL_STR("{\"action\":\"deny\",\"reason\":\"not today\"}"));
        break;
    case 'e':
        sl_buf_addf(&e->out, "HTTP/1.1 500 Oops\r\nContent-Length: 19\r\n\r\n"
                             "{\"action\":\"allow\"}\r\n");
        break;
    case 'g':
        sl_buf_addf(&e->out, "HTTP/1.1 yes of course\r\n\r\n");
        break;
    case 'k':
        sim_peer_close(&e->peer);
        break;
    default:
        say_json(e, a->text);
    }
}

static bool next_answer(struct play *p, struct answer *ret)
{
    if (p->n_given < p->n_answers) {
        *ret = p->answers[p->n_given++];
        return true;
    }
    *ret = (struct answer){ .verb = p->otherwise };
    return p->otherwise != 0;
}

static void poll_check(struct play *p, struct end *e)
{
    struct answer a;

    poll_end(e);
    if (e->peer.end != SL_OK && !e->is_answering)
        e->has_question = false;
    if (!e->has_question && e->peer.raw != NULL)
        take_question(p, e);
    if (e->has_question && e->question != NULL && !e->is_answering && next_answer(p, &a)) {
        p->n_moves++;
        say_answer(e, &a);
        flush(e);
    }
    if (!e->is_answering || (e->out.len != 0 && e->peer.raw != NULL))
        return;
    witness_answered(&p->witness, e->question, e->verdict);
    sl_verdict_unref(&e->verdict);
    e->is_answering = e->has_question = false;
    p->n_moves++;
}

/* -- time -- */

static void turn(struct play *p)
{
    sl_assert(++p->n_turns < TURNS_MAX);
    sl_loop_turn(p->loop, false);
    poll_end(&p->client);
    for (unsigned i = 0; i < p->n_checks; i++)
        poll_check(p, &p->checks[i]);
    for (unsigned i = 0; i < p->n_origins; i++)
        poll_origin(p, &p->origins[i]);
}

/* Whoever is woken once more when nothing moves would be woken for ever. */
static void settle(struct play *p)
{
    uint64_t woken = p->n_wakes;

    for (unsigned quiet = 0; quiet < QUIET_TURNS; quiet++) {
        uint64_t before = p->n_moves;

        turn(p);
        if (p->n_moves != before)
            quiet = 0;
        if (quiet <= QUIET_TURNS / 2)
            woken = p->n_wakes;
    }
    sl_assert(p->n_wakes == woken);
}

static void run_out_of_time(struct play *p)
{
    settle(p);
    for (unsigned i = 0; i < CLOCK_STEPS && p->conn != NULL; i++) {
        sl_loop_advance(p->loop, CLOCK_STEP_MS);
        settle(p);
    }
    sl_assert(p->conn == NULL);
}

/* -- the script -- */

static void do_clock(struct play *p, struct sl_str digits)
{
    uint64_t ms = 0;

    for (size_t i = 0; i < digits.n && sl_is_digit(digits.p[i]) && ms < CLOCK_MAX_MS; i++)
        ms = ms * 10 + (uint64_t)(digits.p[i] - '0');
    sl_loop_advance(p->loop, ms < CLOCK_MAX_MS ? ms : CLOCK_MAX_MS);
}

static void do_life(struct play *p, char verb)
{
    if (p->conn == NULL)
        return;
    if (verb == 'z')
        sl_conn_drain(p->conn);
    if (verb == 'c')
        sl_conn_free(&p->conn);
    if (verb != 'l')
        return;
    if (p->reloaded == NULL)
        p->reloaded = make_env(p);
    sl_conn_set_env(p->conn, p->reloaded);
}

static void do_peer(struct end *e, char verb)
{
    switch (verb) {
    case 'S':
        e->shuts = true;
        break;
    case 'X':
        sim_peer_close(&e->peer);
        break;
    case 'R':
        sim_peer_reset(&e->peer);
        break;
    case 'W':
        e->peer.is_silent = !e->peer.is_silent;
        break;
    default:
        break;
    }
}

static void do_origin(struct play *p, char verb, struct sl_str text)
{
    struct end *e = p->n_origins == 0 ? NULL : &p->origins[p->n_origins - 1];

    if (verb == '<' && (e == NULL || e->peer.raw == NULL))
        sl_buf_add_str(&p->early, text);
    else if (verb == '<')
        sl_buf_add_str(&e->out, text);
    else if (e != NULL)
        do_peer(e, verb == 'w' ? 'W' : verb);
}

static void do_answer(struct play *p, char verb, struct sl_str text)
{
    p->answers[p->n_answers++] = (struct answer){ verb, text };
}

static void do_step(struct play *p, char verb, struct sl_str text)
{
    static const char client_verbs[] = "|xrW", peer_verbs[] = "SXRW";
    const char *at = strchr(client_verbs, verb);

    if (verb == '>')
        sl_buf_add_str(&p->client.out, text);
    else if (verb == '\0')
        return;
    else if (at != NULL)
        do_peer(&p->client, peer_verbs[at - client_verbs]);
    else if (strchr("<SXRw", verb) != NULL)
        do_origin(p, verb, text);
    else if (strchr("adegkj", verb) != NULL)
        do_answer(p, verb, text);
    else if (strchr("zcl", verb) != NULL)
        do_life(p, verb);
    else if (verb == 't')
        do_clock(p, text);
    else if (verb == 'o')
        p->are_refused = !p->are_refused;
}

static void read_flags(struct play *p, struct sl_str flags)
{
    for (size_t i = 0; i < flags.n; i++) {
        char c = flags.p[i];

        p->witness.may_preconnect |= c == 'p';
        p->witness.has_rules |= c == 'r';
        p->asks_connect |= c == 'c';
        p->has_http2 |= c == '2';
        p->is_narrow |= c == 'n';
        if (c == 'A' || c == 'D')
            p->otherwise = sl_lower(c);
        if (c == '1' || c == '7')
            p->trickle.read_max = c == '1' ? 1 : 7;
        if (c == '7')
            p->trickle.write_max = 3;
        if (c == 'k' || c == 'K')
            p->trickle.capacity = c == 'k' ? 11 : 1;
    }
}

/* Cuts the next step off the front: its verb and its bytes. */
static bool next_step(struct sl_str *in, struct sl_str *ret_step)
{
    const char *next;

    if (in->n < 2 || in->p[0] != '@')
        return false;
    next = memmem(in->p + 1, in->n - 1, "\n@", 2);
    *ret_step = sl_str_make(in->p + 1, next != NULL ? (size_t)(next - in->p) - 1 : in->n - 1);
    *in = sl_str_skip(*in, ret_step->n + 2);
    return ret_step->n != 0;
}

static void play_script(struct play *p, struct sl_str in)
{
    struct sl_str step;

    for (unsigned i = 0; i < STEPS_MAX && next_step(&in, &step); i++) {
        do_step(p, step.p[0], sl_str_skip(step, 1));
        if (step.p[0] == 'q' || !p->is_narrow)
            settle(p);
        else
            turn(p);
    }
}

/* With FUZZ_TELL in the environment: who heard what, for whoever looks into an input. */
static void tell_end(const char *who, const struct end *e)
{
    fprintf(stderr, "-- %s got (%s):\n%.*s\n", who, sl_err_name(e->peer.end),
            SL_FMT(sl_buf_str(&e->peer.got)));
}

static void tell(const struct play *p)
{
    if (getenv("FUZZ_TELL") == NULL)
        return;
    tell_end("client", &p->client);
    for (unsigned i = 0; i < p->n_origins; i++)
        tell_end("origin", &p->origins[i]);
    fprintf(stderr, "-- %u turns, %u questions\n", p->n_turns, p->witness.n_questions);
}

static void begin(void)
{
    static bool has_begun;

    if (has_begun)
        return;
    has_begun = true;
    sim_tls_init(&tls);
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_ERROR });
    sl_conn_register();
}

/* What is made once is taken down once, so that whatever then is left has leaked. */
__attribute__((destructor)) static void finish(void)
{
    if (tls.ca == NULL)
        return;
    sim_tls_fini(&tls);
    __real_sl_tls_client_context_free(&client_context);
    __real_sl_tls_server_context_free(&server_context);
}

/* threat: parser-panics, checked-first */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_str in = sl_str_make(data, size), flags;
    struct play *p;

    if (size > INPUT_MAX)
        return 0;
    begin();
    p = sl_zalloc(sizeof(*p));
    if (sl_str_has_prefix(in, SL_STR("@=")) && next_step(&in, &flags))
        read_flags(p, sl_str_skip(flags, 1));
    play_init(p);
    play_script(p, in);
    tell(p);
    run_out_of_time(p);
    play_fini(p);
    sl_free(p);
    return 0;
}
