/* sim.c -- the director: makes a world for each play, turns the loop until
 * nothing moves, strikes where the play says so, and looks at what is left.
 */
#include "sim.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proxy/access_log.h"
#include "proxy/conn.h"
#include "proxy/snapshot.h"
#include "sim_peer.h"
#include "sim_service.h"
#include "sim_witness.h"
#include "sim_world.h"

#define QUIET_TURNS 10   /* without a move: nothing will, but by the clock */
#define TURNS_MAX 400000 /* of one play */
#define CLOCK_STEP_MS 10000
#define CLOCK_STEPS 60  /* by then every deadline there is has passed */
#define BLOWS_WHOLE 100 /* of a kind: enough for every turn of most cases */
#define BLOWS_NARROW 20

static struct sim_tls tls;

/* clang-format off */
#define BLOW_MAP(X) \
    X(NONE, "none") X(CANCEL, "cancel") X(DRAIN, "drain") \
    X(CLIENT_RESET, "client resets") X(CLIENT_CLOSE, "client closes") X(CLIENT_SILENT, "client silent") \
    X(ORIGIN_RESET, "origins reset") X(ORIGIN_CLOSE, "origins close") X(ORIGIN_SILENT, "origins silent") \
    X(CHECK_DEATH, "check dies") X(CHECK_SILENT, "check silent")
/* clang-format on */

enum blow {
#define X(id, text) BLOW_##id,
    BLOW_MAP(X)
#undef X
        BLOW_N
};

static const char *const blow_names[] = {
#define X(id, text) [BLOW_##id] = text,
    BLOW_MAP(X)
#undef X
};

struct play {
    struct sl_memory_conf trickle;
    enum blow blow;
    unsigned at_turn;
    unsigned max_records; /* no blow makes more of them than there are without it */
};

struct course {
    unsigned n_turns; /* that the scripts took */
    unsigned n_records;
};

struct sim {
    const struct sim_case *c;
    struct play play;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_env *env, *reloaded;
    struct sl_conn *conn;
    struct sim_peer client, origins[SIM_PEERS];
    struct sim_service checks[SIM_PEERS];
    unsigned n_origins, n_checks, n_turns;
    bool is_check_dead, are_origins_silent, is_check_silent;
    uint64_t n_moves, n_wakes;
    int64_t n_held; /* when the play began: a failed one may have left some */
    struct sim_witness witness;
    struct sl_access_log log;
};

/* -- the world -- */

static void init_peer(struct sim *s, struct sim_peer *p, struct sl_stream **ret_other)
{
    p->loop = s->loop;
    p->tls = &tls;
    p->n_moves = &s->n_moves;
    p->n_wakes = &s->n_wakes;
    sim_peer_init(p, &s->play.trickle, ret_other);
}

static struct sl_stream *open_check(struct sim *s)
{
    struct sl_stream *other;

    if (s->is_check_dead)
        return NULL;
    assert_in_range(s->n_checks, 0, SIM_PEERS - 1);
    init_peer(s, &s->checks[s->n_checks].peer, &other);
    s->checks[s->n_checks++].peer.is_silent = s->is_check_silent;
    return other;
}

static struct sl_stream *open_stream(void *arg, const struct sl_origin *origin)
{
    struct sim *s = arg;
    struct sim_peer *p = &s->origins[s->n_origins];
    struct sl_stream *other;

    if (sl_str_eq(origin->host, SL_STR(SIM_CHECK_HOST)))
        return open_check(s);
    sim_witness_opened(&s->witness, origin);
    if (s->n_origins == SIM_PEERS || s->c->origins[s->n_origins] == NULL)
        return NULL;
    p->role = SIM_ORIGIN;
    p->at = s->c->origins[s->n_origins++];
    init_peer(s, p, &other);
    p->is_silent = s->are_origins_silent;
    return other;
}

static struct sl_env *make_env(struct sim *s, const struct sim_rule *rules)
{
    return sim_env_new(&(struct sim_env_conf){
        .loop = s->loop,
        .mailbox = s->mailbox,
        .tls = &tls,
        .policy = sim_policy_new(rules, s->c->answers[0] != NULL, s->c->asks_connect),
        .access_log = &s->log,
        .preconnect = s->c->preconnect,
        .open = open_stream,
        .open_arg = s });
}

static void on_ended(void *arg, struct sl_conn *conn)
{
    struct sim *s = arg;

    assert_ptr_equal(conn, s->conn);
    sl_conn_free(&s->conn);
    s->n_moves++;
}

static void sim_init(struct sim *s, const struct sim_case *c, const struct play *play)
{
    struct sl_stream *other;
    struct sl_addr peer;

    *s = (struct sim){ .c = c, .play = *play, .witness = { .c = c } };
    s->log.witness = &s->witness;
    s->n_held = sim_count_held();
    s->loop = sl_loop_new_sim();
    s->mailbox = sl_mailbox_new(s->loop);
    s->env = make_env(s, c->rules);
    if (c->reloaded != NULL)
        s->reloaded = make_env(s, c->reloaded);
    s->client.role = SIM_CLIENT;
    s->client.at = c->client;
    init_peer(s, &s->client, &other);
    assert_true(sl_addr_parse(SL_STR("192.0.2.1:50000"), &peer));
    s->conn = sl_conn_new(
        &(struct sl_conn_conf){
            .env = s->env, .stream = other, .peer = peer, .listener = SL_STR("sim:8080"), .id = 1 },
        on_ended, s);
}

/* The loop asserts that no timer and no task is left, ASan that no memory is.
 */
static void sim_fini(struct sim *s)
{
    sl_conn_free(&s->conn);
    sim_peer_fini(&s->client);
    for (unsigned i = 0; i < s->n_origins; i++)
        sim_peer_fini(&s->origins[i]);
    for (unsigned i = 0; i < s->n_checks; i++)
        sim_peer_fini(&s->checks[i].peer);
    sl_env_unref(&s->env);
    sl_env_unref(&s->reloaded);
    sl_mailbox_free(&s->mailbox);
    sl_loop_free(&s->loop);
    sim_witness_end(&s->witness);
    sim_witness_fini(&s->witness);
    assert_int_equal(sim_count_held(), s->n_held);
}

/* -- a play
 * -------------------------------------------------------------------------------------
 */

static void silence(struct sim *s, enum blow blow)
{
    s->client.is_silent |= blow == BLOW_CLIENT_SILENT;
    s->are_origins_silent |= blow == BLOW_ORIGIN_SILENT;
    s->is_check_silent |= blow == BLOW_CHECK_SILENT;
    for (unsigned i = 0; i < s->n_origins; i++)
        s->origins[i].is_silent |= s->are_origins_silent;
    for (unsigned i = 0; i < s->n_checks; i++)
        s->checks[i].peer.is_silent |= s->is_check_silent;
}

static void end_origins(struct sim *s, void (*end)(struct sim_peer *p))
{
    for (unsigned i = 0; i < s->n_origins; i++)
        end(&s->origins[i]);
}

static void kill_check(struct sim *s)
{
    s->is_check_dead = true;
    for (unsigned i = 0; i < s->n_checks; i++) {
        sim_peer_reset(&s->checks[i].peer);
        if (s->checks[i].answer != NULL)
            s->witness.n_out--;
        s->checks[i].answer = NULL;
    }
}

static void strike(struct sim *s)
{
    switch (s->play.blow) {
    case BLOW_CANCEL:
        sl_conn_free(&s->conn);
        break;
    case BLOW_DRAIN:
        if (s->conn != NULL)
            sl_conn_drain(s->conn);
        break;
    case BLOW_CLIENT_RESET:
        sim_peer_reset(&s->client);
        break;
    case BLOW_CLIENT_CLOSE:
        sim_peer_close(&s->client);
        break;
    case BLOW_ORIGIN_RESET:
        end_origins(s, sim_peer_reset);
        break;
    case BLOW_ORIGIN_CLOSE:
        end_origins(s, sim_peer_close);
        break;
    case BLOW_CHECK_DEATH:
        kill_check(s);
        break;
    case BLOW_CLIENT_SILENT:
    case BLOW_ORIGIN_SILENT:
    case BLOW_CHECK_SILENT:
        silence(s, s->play.blow);
        break;
    case BLOW_NONE:
    case BLOW_N:
        break;
    }
}

static void poll_origin(struct sim *s, struct sim_peer *p)
{
    size_t before = p->got.len;

    sim_peer_poll(p);
    sim_witness_arrived(&s->witness, sl_buf_str(&p->got), before);
}

static void turn(struct sim *s)
{
    if (s->n_turns == s->play.at_turn)
        strike(s);
    s->n_turns++;
    assert_in_range(s->n_turns, 0, TURNS_MAX);
    sl_loop_turn(s->loop, false);
    sim_peer_poll(&s->client);
    for (unsigned i = 0; i < s->n_checks; i++)
        sim_service_poll(&s->checks[i], &s->witness, s->n_turns);
    for (unsigned i = 0; i < s->n_origins; i++)
        poll_origin(s, &s->origins[i]);
}

/* Whoever is woken once more when nothing moves would be woken for ever. */
static void settle(struct sim *s)
{
    uint64_t woken = 0;

    for (unsigned quiet = 0; quiet < QUIET_TURNS; quiet++) {
        uint64_t before = s->n_moves;

        turn(s);
        if (s->n_moves != before)
            quiet = 0;
        if (quiet == QUIET_TURNS / 2)
            woken = s->n_wakes;
    }
    if (s->n_wakes != woken)
        fail_msg("%s: the loop spins", s->c->name);
}

/* What a script leaves to the director, done once nothing else moves. */
static bool direct(struct sim *s, struct sim_peer *p)
{
    const struct sim_step *step = p->at;

    if (p->is_silent)
        return false;
    if (step->verb == SIM_WAIT)
        sl_loop_advance(s->loop, step->ms);
    else if (step->verb == SIM_DRAIN && s->conn != NULL)
        sl_conn_drain(s->conn);
    else if (step->verb == SIM_RELOAD && s->conn != NULL)
        sl_conn_set_env(s->conn, s->reloaded);
    else if (step->verb != SIM_QUIET)
        return false;
    p->at++;
    return true;
}

static bool direct_any(struct sim *s)
{
    bool moved = direct(s, &s->client);

    for (unsigned i = 0; i < s->n_origins && !moved; i++)
        moved = direct(s, &s->origins[i]);
    return moved;
}

static void run_scripts(struct sim *s)
{
    do
        settle(s);
    while (direct_any(s));
}

/* A play that got stuck is ended by the proxy's deadlines, all of them shorter
 * than this. */
static void run_out_of_time(struct sim *s)
{
    for (unsigned i = 0; i < CLOCK_STEPS && s->conn != NULL; i++) {
        sl_loop_advance(s->loop, CLOCK_STEP_MS);
        settle(s);
    }
    if (s->conn != NULL)
        fail_msg("the connection outlives its deadlines");
}

static void expect(const struct sim *s, const char *what, const struct sl_buf *got,
                   const char *pattern)
{
    if (pattern != NULL && !sim_matches(sl_buf_str(got), pattern))
        fail_msg("%s: %s:\n[%.*s]\nexpected:\n[%s]", s->c->name, what, SL_FMT(sl_buf_str(got)),
                 pattern);
}

static void expect_all(const struct sim *s)
{
    expect(s, "to the client", &s->client.got, s->c->to_client);
    expect(s, "opened", &s->witness.opened, s->c->opened != NULL ? s->c->opened : "");
    expect(s, "asked", &s->witness.asked, s->c->asked != NULL ? s->c->asked : "");
    expect(s, "log", &s->witness.log, s->c->log);
    for (unsigned i = 0; i < SIM_PEERS; i++)
        expect(s, "to an origin", &s->origins[i].got, s->c->to_origins[i]);
    if (s->client.at->verb != SIM_STOP)
        fail_msg("%s: the client's script is stuck at step %td", s->c->name,
                 s->client.at - s->c->client);
}

/* -- all plays of a case
 * ------------------------------------------------------------------------
 */

static struct play now_playing;

static struct course play(const struct sim_case *c, const struct play *play)
{
    struct sim s;
    struct course course;

    now_playing = *play;
    sim_init(&s, c, play);
    run_scripts(&s);
    course.n_turns = s.n_turns;
    if (play->blow == BLOW_NONE)
        expect_all(&s);
    run_out_of_time(&s);
    sl_conn_free(&s.conn);
    course.n_records = s.witness.n_records;
    assert_in_range(course.n_records, 0, play->max_records);
    sim_fini(&s);
    return course;
}

static bool is_apt(const struct sim_case *c, enum blow blow)
{
    if (blow == BLOW_CHECK_DEATH || blow == BLOW_CHECK_SILENT)
        return c->answers[0] != NULL;
    if (blow == BLOW_ORIGIN_RESET || blow == BLOW_ORIGIN_CLOSE || blow == BLOW_ORIGIN_SILENT)
        return c->origins[0] != NULL;
    return true;
}

/* Plays every kind of blow, at @a n_blows turns at most. */
static void strike_everywhere(const struct sim_case *c, const struct sl_memory_conf *trickle,
                              unsigned n_blows)
{
    struct course normal = play(c, &(struct play){ .trickle = *trickle, .max_records = UINT_MAX });
    unsigned stride = normal.n_turns / n_blows + 1;

    for (enum blow blow = BLOW_CANCEL; blow < BLOW_N; blow++) {
        for (unsigned at = 1; is_apt(c, blow) && at < normal.n_turns; at += stride)
            (void)play(c, &(struct play){ .trickle = *trickle,
                                          .blow = blow,
                                          .at_turn = at,
                                          .max_records = normal.n_records });
    }
}

static void play_case(void **state)
{
    static const struct sl_memory_conf trickles[] = {
        { .read_max = 1 },
        { .read_max = 7, .write_max = 3 },
        { .capacity = 1 },
        { .read_max = 5, .capacity = 11 },
        { .write_max = 100, .capacity = 257 },
    };
    static const struct sl_memory_conf whole, narrow = { .capacity = 199 };
    const struct sim_case *c = *state;

    strike_everywhere(c, &whole, BLOWS_WHOLE);
    for (size_t i = 0; i < SL_LEN(trickles); i++)
        (void)play(c, &(struct play){ .trickle = trickles[i], .max_records = UINT_MAX });
    strike_everywhere(c, &narrow, BLOWS_NARROW);
    now_playing.blow = BLOW_N;
}

/* -- the program
 * ----------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
    (void)state;
    sim_tls_init(&tls);
    sl_log_configure(&(struct sl_log_conf){ .level = SL_LOG_ERROR });
    sl_conn_register();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sim_tls_fini(&tls);
    sl_chunk_drain();
    return 0;
}

/* What was being played when a test failed; quiet after success. */
static int tell(void **state)
{
    (void)state;
    if (now_playing.blow != BLOW_N)
        print_message("last play: %s at turn %u, read_max %zu write_max %zu capacity %zu\n",
                      blow_names[now_playing.blow], now_playing.at_turn,
                      now_playing.trickle.read_max, now_playing.trickle.write_max,
                      now_playing.trickle.capacity);
    return 0;
}

int sim_main(const struct sim_case *cases, size_t n_cases)
{
    struct CMUnitTest *tests = sl_zalloc(n_cases * sizeof(*tests));
    int failed;

    for (size_t i = 0; i < n_cases; i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = play_case,
                                        .teardown_func = tell,
                                        .initial_state = (void *)(uintptr_t)&cases[i] };
    if (getenv("SIM_CASE") != NULL)
        cmocka_set_test_filter(getenv("SIM_CASE"));
    failed = _cmocka_run_group_tests("sim", tests, n_cases, set_up, tear_down);
    sl_free(tests);
    return failed;
}
