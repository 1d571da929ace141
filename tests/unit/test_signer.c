/* test_signer.c -- a key in another process: asked, signed with, lost and found again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "leaf_kit.h"
#include "tls/signer_internal.h"
#include "tls/signer_line.h"

#define RATE 1000

static char dir[64], cert_path[96], key_path[96];
static const struct sl_signer_paths paths = { .certificate = cert_path, .key = key_path };
static struct sl_str text; /* of a leaf */
static struct sl_signer *signer;
static struct sl_signer_key *key;

/* One asker: a loop and its line. */
struct desk {
    struct sl_loop *loop;
    struct sl_signer_line *line;
};

struct reply {
    bool is_there;
    enum sl_err err;
    struct sl_signature signature;
    struct sl_fault fault;
};

static struct desk desk;

static void desk_open(struct desk *d)
{
    d->loop = sl_loop_new();
    assert_non_null(d->loop);
    d->line = sl_signer_line_new(d->loop, signer);
}

static void desk_close(struct desk *d)
{
    sl_signer_line_close(&d->line);
    sl_loop_free(&d->loop);
}

static void on_signed(void *arg, const struct sl_signature *signature, const struct sl_fault *fault)
{
    struct reply *r = arg;

    assert_false(r->is_there);
    r->is_there = true;
    r->err = signature != NULL ? SL_OK : fault->err;
    if (signature != NULL)
        r->signature = *signature;
    else
        r->fault = *fault;
}

static enum sl_err sign_at(const struct desk *d, struct sl_str what, struct reply *r)
{
    *r = (struct reply){ .is_there = false };
    sl_signer_line_sign(d->line, key, what, on_signed, r);
    while (!r->is_there)
        sl_loop_turn(d->loop, true);
    return r->err;
}

static enum sl_err sign(struct sl_str what, struct reply *r)
{
    return sign_at(&desk, what, r);
}

static enum sl_err open_key(struct sl_signer_key **ret_key, struct sl_fault *fault)
{
    struct sl_cert_chain chain = { 0 };
    enum sl_err err = sl_signer_open(signer, &paths, &chain, ret_key, fault);

    assert_int_equal(chain.n, err == SL_OK ? 1 : 0);
    sl_cert_chain_fini(&chain);
    return err;
}

static void make_text(void)
{
    X509 *cert = draft_of(cert_path, key_path, 86400);

    text = text_of(cert);
    X509_free(cert);
}

static int set_up(void **state)
{
    struct sl_fault fault = { 0 };

    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/sluice-test-signer-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/ca.key", dir);
    assert_int_equal(sl_signer_start(RATE, &signer, &fault), SL_OK);
    assert_int_equal(sl_signer_make_ca(signer, &paths, &fault), SL_OK);
    assert_int_equal(open_key(&key, &fault), SL_OK);
    make_text();
    desk_open(&desk);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    desk_close(&desk);
    sl_signer_close(&key);
    sl_signer_unref(&signer);
    OPENSSL_free((void *)(uintptr_t)text.p);
    (void)unlink(cert_path);
    (void)unlink(key_path);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* The only child of a process; -1 while there is none. */
static pid_t child_of(pid_t parent)
{
    char path[64], line[32];
    const char *child;
    FILE *children;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    children = fopen(path, "r");
    assert_non_null(children);
    child = fgets(line, sizeof(line), children);
    (void)fclose(children);
    return child != NULL ? (pid_t)strtol(child, NULL, 10) : -1;
}

static pid_t find_signer(void)
{
    return child_of(child_of(getpid()));
}

static bool is_valid(const struct sl_signature *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, sl_signer_key_public(key)) == 1 &&
              EVP_DigestVerify(ctx, signature->bytes, signature->n, (const unsigned char *)text.p,
                               text.n) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static void assert_signs(void)
{
    struct reply r;

    assert_string_equal(sign(text, &r) == SL_OK ? "" : r.fault.text, "");
    assert_true(is_valid(&r.signature));
}

static void assert_fails(enum sl_err err, const char *hint)
{
    struct reply r;

    assert_int_equal(sign(text, &r), err);
    assert_non_null(strstr(r.fault.text, hint));
}

static void test_signs(void **state)
{
    (void)state;
    assert_signs();
    assert_signs();
}

static void test_the_private_half_stays_there(void **state)
{
    BIGNUM *secret = NULL;

    (void)state;
    assert_int_equal(EVP_PKEY_get_bn_param(sl_signer_key_public(key), "priv", &secret), 0);
    assert_null(secret);
}

static void test_refusals_come_with_their_text(void **state)
{
    const struct sl_signer_paths no_key = { .certificate = cert_path, .key = cert_path };
    struct sl_cert_chain chain = { 0 };
    struct sl_signer_key *none = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(sl_signer_open(signer, &no_key, &chain, &none, &fault), SL_CONFIG);
    assert_non_null(strstr(fault.text, cert_path));
    assert_int_equal(sl_signer_make_ca(signer, &paths, &fault), SL_CONFIG);
    assert_int_equal(fault.os_errno, EEXIST);
    assert_null(none);
    assert_signs();
}

static void test_too_long_a_text_is_refused_here(void **state)
{
    static char zeros[SL_SIGNER_BODY_MAX];
    size_t most = sizeof(zeros) - 1 - (strlen(key_path) + 1);
    struct reply r;

    (void)state;
    assert_int_equal(sign(sl_str_make(zeros, most + 1), &r), SL_LIMIT);
    assert_int_equal(sign(sl_str_make(zeros, most), &r), SL_INTERNAL);
    assert_non_null(strstr(r.fault.text, "not the text of a leaf"));
    assert_signs();
}

static void test_it_signs_nothing_but_leaves(void **state)
{
    X509 *cert = draft_of(cert_path, key_path, 86400);
    struct sl_str evil;
    struct reply r;

    (void)state;
    X509_EXTENSION_free(
        X509_delete_ext(cert, X509_get_ext_by_NID(cert, NID_basic_constraints, -1)));
    evil = text_of(cert);
    assert_int_equal(sign(evil, &r), SL_INTERNAL);
    OPENSSL_free((void *)(uintptr_t)evil.p);
    X509_free(cert);
    assert_int_equal(sign(SL_STR("any text"), &r), SL_INTERNAL);
    assert_signs();
}

/* Whatever takes over the process that asks. */
static void test_what_is_sealed_stays_so(void **state)
{
    const struct sl_signer_paths elsewhere = { .certificate = "/tmp/x.pem", .key = "/tmp/x.key" };
    const struct sl_signer_paths beyond = { .certificate = cert_path, .key = "/etc/passwd" };
    struct sl_cert_chain chain = { 0 };
    struct sl_signer_key *other = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(sl_signer_seal(signer, &paths, &fault), SL_OK);
    for (int life = 0; life < 2; life++) {
        assert_int_equal(sl_signer_make_ca(signer, &elsewhere, &fault), SL_CONFIG);
        assert_int_equal(access(elsewhere.key, F_OK), -1);
        assert_int_equal(sl_signer_open(signer, &elsewhere, &chain, &other, &fault), SL_CONFIG);
        assert_non_null(strstr(fault.text, "restart"));
        assert_int_equal(sl_signer_open(signer, &beyond, &chain, &other, &fault), SL_CONFIG);
        assert_non_null(strstr(fault.text, "restart"));
        assert_int_equal(sl_signer_seal(signer, &elsewhere, &fault), SL_INTERNAL);
        assert_int_equal(open_key(&other, &fault), SL_OK);
        sl_signer_close(&other);
        assert_int_equal(kill(find_signer(), SIGKILL), 0);
        assert_signs();
    }
}

static void test_many_questions_at_once(void **state)
{
    static struct reply replies[500];

    (void)state;
    memset(replies, 0, sizeof(replies));
    for (size_t i = 0; i < SL_LEN(replies); i++)
        sl_signer_line_sign(desk.line, key, text, on_signed, &replies[i]);
    while (!replies[SL_LEN(replies) - 1].is_there)
        sl_loop_turn(desk.loop, true);
    for (size_t i = 0; i < SL_LEN(replies); i++)
        assert_true(replies[i].is_there && replies[i].err == SL_OK &&
                    is_valid(&replies[i].signature));
}

/* Whatever was asked and not answered is asked again. */
static void test_its_death_loses_no_question(void **state)
{
    static struct reply replies[100];

    (void)state;
    memset(replies, 0, sizeof(replies));
    assert_signs();
    assert_int_equal(kill(find_signer(), SIGSTOP), 0);
    for (size_t i = 0; i < SL_LEN(replies); i++)
        sl_signer_line_sign(desk.line, key, text, on_signed, &replies[i]);
    assert_int_equal(kill(find_signer(), SIGKILL), 0);
    while (!replies[SL_LEN(replies) - 1].is_there)
        sl_loop_turn(desk.loop, true);
    for (size_t i = 0; i < SL_LEN(replies); i++)
        assert_true(replies[i].is_there && replies[i].err == SL_OK &&
                    is_valid(&replies[i].signature));
}

static void test_a_line_that_is_closed_answers(void **state)
{
    struct reply asked = { 0 }, late = { 0 };
    struct sl_signer_line *kept = sl_signer_line_ref(desk.line);

    (void)state;
    sl_signer_line_sign(desk.line, key, text, on_signed, &asked);
    assert_false(asked.is_there);
    sl_signer_line_close(&desk.line);
    assert_int_equal(asked.err, SL_INTERNAL);
    sl_signer_line_sign(kept, key, text, on_signed, &late);
    assert_true(late.is_there);
    assert_int_equal(late.err, SL_INTERNAL);
    sl_signer_line_unref(&kept);
}

/* Each generation of a configuration opens it; the last one's end is the key's. */
static void test_a_key_is_opened_by_many(void **state)
{
    struct sl_signer_key *again = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(open_key(&again, &fault), SL_OK);
    sl_signer_close(&again);
    assert_int_equal(unlink(key_path), 0);
    assert_signs();
    sl_signer_close(&key);
    assert_int_equal(open_key(&key, &fault), SL_CONFIG);
    assert_null(key);
}

static void test_a_killed_signer_is_replaced(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(find_signer(), SIGKILL), 0);
        assert_signs();
    }
}

/* Whose parent ignored SIGCHLD ignores it too, and would have no children to wait for. */
static void test_it_is_replaced_whoever_started_it(void **state)
{
    struct sl_fault fault = { 0 };

    (void)state;
    desk_close(&desk);
    sl_signer_close(&key);
    sl_signer_unref(&signer);
    assert_true(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    assert_int_equal(sl_signer_start(RATE, &signer, &fault), SL_OK);
    assert_int_equal(open_key(&key, &fault), SL_OK);
    desk_open(&desk);
    assert_signs();
    assert_int_equal(kill(find_signer(), SIGKILL), 0);
    assert_signs();
}

/* The one before has taken its count of holders with it. */
static void test_a_key_outlives_its_older_holder_and_a_signer(void **state)
{
    struct sl_signer_key *old = key;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(kill(find_signer(), SIGKILL), 0);
    assert_int_equal(open_key(&key, &fault), SL_OK);
    assert_int_equal(unlink(key_path), 0);
    sl_signer_close(&old);
    assert_signs();
}

static void test_closing_does_not_wait(void **state)
{
    struct sl_signer_key *again = NULL;
    struct sl_fault fault = { 0 };
    pid_t pid = find_signer();
    uint64_t start_us;

    (void)state;
    assert_int_equal(open_key(&again, &fault), SL_OK);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    start_us = sl_mono_us();
    sl_signer_close(&again);
    assert_in_range(sl_mono_us() - start_us, 0, 500000);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_signs();
}

/* More than a second's work is no silence. */
static void test_a_slow_key_is_waited_for(void **state)
{
    static struct reply replies[400];
    struct sl_ca_new_conf conf = { .key = SL_CA_RSA_4096, .force = true };
    struct sl_fault fault = { 0 };

    (void)state;
    memset(replies, 0, sizeof(replies));
    sl_signer_close(&key);
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    assert_int_equal(open_key(&key, &fault), SL_OK);
    for (size_t i = 0; i < SL_LEN(replies); i++)
        sl_signer_line_sign(desk.line, key, text, on_signed, &replies[i]);
    while (!replies[SL_LEN(replies) - 1].is_there)
        sl_loop_turn(desk.loop, true);
    for (size_t i = 0; i < SL_LEN(replies); i++)
        assert_int_equal(replies[i].err, SL_OK);
}

static void test_another_key_in_its_place_is_not_used(void **state)
{
    struct sl_ca_new_conf conf = { .key = SL_CA_ECDSA_P256, .force = true };
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(sl_ca_create(cert_path, key_path, &conf, &fault), SL_OK);
    assert_signs();
    assert_int_equal(kill(find_signer(), SIGKILL), 0);
    assert_fails(SL_CONFIG, "another key");
    assert_fails(SL_CONFIG, "another key");
}

static void test_a_silent_signer_costs_one_second_once(void **state)
{
    pid_t pid = find_signer();
    uint64_t start_us = sl_mono_us();
    struct reply r;

    (void)state;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    for (int i = 0; i < 100; i++)
        assert_fails(SL_INTERNAL, "does not answer");
    assert_in_range((sl_mono_us() - start_us) / 1000, 990, 1900);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (sign(text, &r) != SL_OK) { /* until its death is known */
        assert_int_equal(r.err, SL_INTERNAL);
        sl_loop_turn(desk.loop, false);
    }
    assert_true(is_valid(&r.signature));
}

static void test_an_answer_that_comes_late_is_nobody_s(void **state)
{
    pid_t pid = find_signer();
    struct reply r;

    (void)state;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(sign(SL_STR("another text"), &r), SL_INTERNAL);
    assert_int_equal(kill(pid, SIGCONT), 0);
    while (sign(text, &r) != SL_OK)
        sl_loop_turn(desk.loop, false);
    assert_true(is_valid(&r.signature));
}

static void test_those_who_wait_are_not_held_up_for_ever(void **state)
{
    pid_t pid = find_signer();
    uint64_t start_us = sl_mono_us();
    struct sl_signer_key *again = NULL;
    struct sl_fault fault = { 0 };

    (void)state;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(open_key(&again, &fault), SL_INTERNAL);
    assert_in_range((sl_mono_us() - start_us) / 1000, 2990, 5900);
    assert_int_equal(kill(pid, SIGCONT), 0);
    while (open_key(&again, &fault) != SL_OK)
        continue;
    sl_signer_close(&again);
    assert_signs();
}

/* It does not read: what finds no room is not waited for, and not held against it later. */
static void test_a_full_socket_holds_nobody_up(void **state)
{
    pid_t pid = find_signer();
    uint64_t start_us = sl_mono_us();
    struct sl_signer_key *again = NULL;
    struct sl_fault fault = { 0 };
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    while (sl_signer_join(signer, fds[1]) == SL_OK)
        continue;
    assert_int_equal(open_key(&again, &fault), SL_INTERNAL);
    assert_in_range(sl_mono_us() - start_us, 0, 1900000);
    assert_int_equal(kill(pid, SIGCONT), 0);
    while (open_key(&again, &fault) != SL_OK)
        assert_in_range(sl_mono_us() - start_us, 0, 20000000);
    sl_signer_close(&again);
    close(fds[0]);
    close(fds[1]);
    assert_signs();
}

static void test_without_its_keeper_it_is_dead(void **state)
{
    struct reply r;

    (void)state;
    assert_int_equal(kill(child_of(getpid()), SIGKILL), 0);
    while (sign(text, &r) == SL_OK)
        continue;
    assert_fails(SL_INTERNAL, "has died");
}

static void test_signals_of_the_service_do_not_end_it(void **state)
{
    static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
    pid_t keeper = child_of(getpid()), pid = child_of(keeper);

    (void)state;
    for (size_t i = 0; i < SL_LEN(signals); i++) {
        assert_int_equal(kill(keeper, signals[i]), 0);
        assert_int_equal(kill(pid, signals[i]), 0);
    }
    assert_signs();
    assert_int_equal(child_of(getpid()), keeper);
    assert_int_equal(find_signer(), pid);
}

static void test_it_signs_so_many_a_second(void **state)
{
    const unsigned rate = 50; /* slow enough for any machine */
    struct sl_fault fault = { 0 };
    uint64_t start_us;
    struct reply r;
    unsigned n = 0;

    (void)state;
    desk_close(&desk);
    sl_signer_close(&key);
    sl_signer_unref(&signer);
    assert_int_equal(sl_signer_start(rate, &signer, &fault), SL_OK);
    assert_int_equal(open_key(&key, &fault), SL_OK);
    desk_open(&desk);
    start_us = sl_mono_us();
    while (sign(text, &r) == SL_OK)
        n++;
    assert_int_equal(r.err, SL_LIMIT);
    assert_in_range(n, rate, rate * ((sl_mono_us() - start_us) / 1000000 + 2));
}

static void *sign_many(void *arg)
{
    size_t *n = arg;
    struct desk own;
    struct reply r;

    desk_open(&own);
    for (int i = 0; i < 200; i++)
        *n += sign_at(&own, text, &r) == SL_OK && is_valid(&r.signature);
    desk_close(&own);
    return NULL;
}

static void test_threads_get_their_own_answers(void **state)
{
    pthread_t threads[4];
    size_t signed_by[4] = { 0 };

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, &signed_by[i]), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(signed_by[i], 200);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_signs),
        CASE(test_the_private_half_stays_there),
        CASE(test_refusals_come_with_their_text),
        CASE(test_too_long_a_text_is_refused_here),
        CASE(test_it_signs_nothing_but_leaves),
        CASE(test_what_is_sealed_stays_so),
        CASE(test_many_questions_at_once),
        CASE(test_its_death_loses_no_question),
        CASE(test_a_line_that_is_closed_answers),
        CASE(test_a_key_is_opened_by_many),
        CASE(test_a_killed_signer_is_replaced),
        CASE(test_it_is_replaced_whoever_started_it),
        CASE(test_a_key_outlives_its_older_holder_and_a_signer),
        CASE(test_closing_does_not_wait),
        CASE(test_a_slow_key_is_waited_for),
        CASE(test_another_key_in_its_place_is_not_used),
        CASE(test_a_silent_signer_costs_one_second_once),
        CASE(test_an_answer_that_comes_late_is_nobody_s),
        CASE(test_those_who_wait_are_not_held_up_for_ever),
        CASE(test_a_full_socket_holds_nobody_up),
        CASE(test_without_its_keeper_it_is_dead),
        CASE(test_signals_of_the_service_do_not_end_it),
        CASE(test_it_signs_so_many_a_second),
        CASE(test_threads_get_their_own_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
