/* test_options.c -- command lines that are right, and what is said about those that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "app/options.h"
#include "base/mem.h"

#define MAX_ARGS 16

/* Cuts @a line at blanks, as a shell without quotes would; *ret_copy holds the strings. */
static int split(const char *line, char **ret_copy, char *argv[MAX_ARGS])
{
    int argc = 0;
    char *rest = sl_str_dup(sl_str_of(line));

    *ret_copy = rest;
    while (rest != NULL && *rest != '\0' && argc < MAX_ARGS)
        argv[argc++] = strsep(&rest, " ");
    return argc;
}

static enum sl_err parse(const char *line, char **ret_copy, struct sl_options *o,
                         struct sl_fault *fault)
{
    char *argv[MAX_ARGS];
    int argc = split(line, ret_copy, argv);

    return sl_options_parse(argc, argv, o, fault);
}

static const struct {
    const char *line;
    enum sl_command command;
} taken[] = {
    { "sluice run", SL_COMMAND_RUN },
    { "sluice run --", SL_COMMAND_RUN },
    { "sluice check-config -c f", SL_COMMAND_CHECK_CONFIG },
    { "sluice ca init --key rsa-3072 --name X --days 10 --force", SL_COMMAND_CA_INIT },
    { "sluice ca show", SL_COMMAND_CA_SHOW },
    { "sluice ca export --format=p12 -o f", SL_COMMAND_CA_EXPORT },
    { "sluice ca install", SL_COMMAND_CA_INSTALL },
    { "sluice ca uninstall --state-dir d", SL_COMMAND_CA_UNINSTALL },
    { "sluice explain http://h/", SL_COMMAND_EXPLAIN },
    { "sluice version", SL_COMMAND_VERSION },
    { "sluice --version", SL_COMMAND_VERSION },
    { "sluice -V", SL_COMMAND_VERSION },
    { "sluice run --version", SL_COMMAND_VERSION },
    { "sluice help", SL_COMMAND_HELP },
    { "sluice help run", SL_COMMAND_HELP },
    { "sluice -h", SL_COMMAND_HELP },
    { "sluice --help", SL_COMMAND_HELP },
    { "sluice run --help", SL_COMMAND_HELP },
    { "sluice ca --help", SL_COMMAND_HELP },
    { "sluice ca --version", SL_COMMAND_VERSION },
    { "sluice ca --state-dir d show", SL_COMMAND_CA_SHOW },
    { "sluice explain --help", SL_COMMAND_HELP },
};

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(taken); i++) {
        struct sl_options o;
        struct sl_fault fault = { 0 };
        struct sl_buf help = { 0 };
        char *copy;

        if (parse(taken[i].line, &copy, &o, &fault) != SL_OK)
            fail_msg("%s: %s", taken[i].line, fault.text);
        assert_int_equal(o.command, taken[i].command);
        assert_true(sl_options_help(o.topic, &help));
        assert_true(help.len > 100);
        sl_buf_fini(&help);
        sl_options_fini(&o);
        sl_free(copy);
    }
}

static void test_values(void **state)
{
    struct sl_options o;
    struct sl_fault fault = { 0 };
    char *copy;

    (void)state;
    assert_int_equal(parse("sluice run -cf.yaml --listen=127.0.0.1:1 -l [::1]:2 --set a=1 "
                           "--set b=2 --check http://h/ --state-dir d",
                           &copy, &o, &fault),
                     SL_OK);
    assert_string_equal(o.config.path, "f.yaml");
    assert_int_equal(o.config.n_listens, 2);
    assert_string_equal(o.config.listens[1], "[::1]:2");
    assert_int_equal(o.config.n_sets, 2);
    assert_string_equal(o.config.sets[0], "a=1");
    assert_string_equal(o.config.check_url, "http://h/");
    assert_string_equal(o.state_dir, "d");
    sl_options_fini(&o);
    sl_free(copy);

    assert_int_equal(parse("sluice explain https://h/ --method PUT --client ::1 --user u --header "
                           "a:b --header c:d",
                           &copy, &o, &fault),
                     SL_OK);
    assert_string_equal(o.url, "https://h/");
    assert_string_equal(o.method, "PUT");
    assert_int_equal(o.client.sa.sa_family, AF_INET6);
    assert_int_equal(o.headers.n, 2);
    sl_options_fini(&o);
    sl_free(copy);

    assert_int_equal(parse("sluice ca init --key rsa-4096 --days 7300 --name N", &copy, &o, &fault),
                     SL_OK);
    assert_int_equal(o.ca.key, SL_CA_RSA_4096);
    assert_int_equal(o.ca.days, 7300);
    assert_string_equal(o.ca.name, "N");
    assert_false(o.ca.force);
    sl_options_fini(&o);
    sl_free(copy);
}

static const struct {
    const char *line, *wanted;
} refused[] = {
    { "sluice", "which command? see sluice help" },
    { "sluice rum", "unknown command \"rum\"; did you mean \"run\"?" },
    { "sluice frobnicate", "unknown command \"frobnicate\"; see sluice help" },
    { "sluice --config f run", "unknown option --config; see sluice help" },
    { "sluice run --lisen a", "unknown option --lisen; did you mean --listen?" },
    { "sluice run --days 3", "unknown option --days; see sluice help" },
    { "sluice run -x", "unknown option -x; see sluice help" },
    { "sluice run --listen", "--listen: ADDR is missing" },
    { "sluice run -c", "--config: FILE is missing" },
    { "sluice run --help=yes", "--help takes no value" },
    { "sluice run more", "more: nothing more expected here" },
    { "sluice run -- --listen", "--listen: nothing more expected here" },
    { "sluice ca", "sluice ca: init, show, export, install or uninstall expected" },
    { "sluice ca --force", "unknown option --force; see sluice help" },
    { "sluice ca --state-dir d", "sluice ca: init, show, export, install or uninstall expected" },
    { "sluice ca mend", "sluice ca: init, show, export, install or uninstall expected" },
    { "sluice ca init --key dsa", "--key: ecdsa-p256, ecdsa-p384, rsa-3072 or rsa-4096 expected" },
    { "sluice ca init --days 0", "--days: 1 to 7300 expected" },
    { "sluice ca init --days 7301", "--days: 1 to 7300 expected" },
    { "sluice ca init --days 1e3", "--days: 1 to 7300 expected" },
    { "sluice ca init --name=",
      "--name: 1 to 64 bytes of UTF-8 without control characters expected" },
    { "sluice ca export --format jks", "--format: pem, der or p12 expected" },
    { "sluice run --state-dir=", "--state-dir: a directory expected" },
    { "sluice explain", "sluice explain: which URL?" },
    { "sluice explain a b", "b: nothing more expected here" },
    { "sluice explain a --client x", "--client: an address such as 10.0.0.7 expected" },
    { "sluice explain a --method G(T", "--method: not a method" },
    { "sluice explain a --header x", "--header: 'Name: value' expected, not \"x\"" },
    { "sluice explain a --header (:x", "--header: 'Name: value' expected, not \"(:x\"" },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_LEN(refused); i++) {
        struct sl_options o;
        struct sl_fault fault = { 0 };
        char *copy;

        assert_int_equal(parse(refused[i].line, &copy, &o, &fault), SL_CONFIG);
        if (strcmp(fault.text, refused[i].wanted) != 0)
            fail_msg("%s\n said \"%s\"\n  not \"%s\"", refused[i].line, fault.text,
                     refused[i].wanted);
        sl_options_fini(&o);
        sl_free(copy);
    }
}

static void test_help(void **state)
{
    struct sl_buf out = { 0 };

    (void)state;
    assert_false(sl_options_help("nothing", &out));
    assert_int_equal(out.len, 0);
    assert_true(sl_options_help("keys", &out));
    assert_true(sl_options_help("ca", &out));
    sl_buf_add_char(&out, '\0');
    assert_non_null(strstr(out.p, "intercept.leaf_key: ecdsa-p256\n"));
    assert_non_null(strstr(out.p, "Usage: sluice ca export"));
    assert_non_null(strstr(out.p, "  -c, --config FILE\n"));
    sl_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
