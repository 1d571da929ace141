/* options.c -- two tables, commands and flags; a flag names the commands it belongs to. */
#include "app/options.h"

#include "app/config_keys.h"
#include "app/config_value.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "http/message.h"

#define ON(command) (1u << (unsigned)SL_COMMAND_##command)
#define ON_CA_FILES (ON(CA_INIT) | ON(CA_SHOW) | ON(CA_EXPORT) | ON(CA_INSTALL) | ON(CA_UNINSTALL))
#define ON_CONFIG (ON(RUN) | ON(CHECK_CONFIG) | ON(EXPLAIN) | ON_CA_FILES)
#define ON_ALL ((ON(HELP) << 1) - 1)

enum flag_kind { FLAG_TEXT, FLAG_LIST, FLAG_SWITCH };

struct flag {
    const char *name;
    char letter;      /* 0: none */
    const char *what; /* name of the argument, NULL for switches */
    enum flag_kind kind;
    size_t offset; /* into sl_options */
    uint32_t commands;
    const char *help;
};

struct command {
    const char *name, *verb; /* "ca", "init" */
    enum sl_command command;
    bool takes_operand;
    const char *usage, *help;
};

#define AT(member) offsetof(struct sl_options, member)

/* clang-format off */
static const struct flag flags[] = {
    { "config", 'c', "FILE", FLAG_TEXT, AT(config.path), ON_CONFIG,
      "configuration; else $SLUICE_CONFIG, ./sluice.yaml, /etc/sluice/sluice.yaml, built-in" },
    { "set", 0, "KEY=VALUE", FLAG_LIST, AT(sets), ON_CONFIG,
      "set any key of the file; VALUE is YAML (repeatable)" },
    { "state-dir", 0, "DIR", FLAG_TEXT, AT(state_dir), ON_CONFIG,
      "where ca.pem and ca.key are; /var/lib/sluice for root, else ~/.local/state/sluice" },
    { "listen", 'l', "ADDR", FLAG_LIST, AT(listens), ON(RUN) | ON(CHECK_CONFIG) | ON(EXPLAIN),
      "host:port, [v6]:port or unix:/path, in place of the file's (repeatable)" },
    { "check", 0, "URL", FLAG_TEXT, AT(config.check_url), ON(RUN) | ON(CHECK_CONFIG) | ON(EXPLAIN),
      "ask this service about what no rule decides" },
    { "key", 0, "KIND", FLAG_TEXT, AT(key_text), ON(CA_INIT),
      "ecdsa-p256 (default), ecdsa-p384, rsa-3072 or rsa-4096" },
    { "name", 0, "NAME", FLAG_TEXT, AT(ca.name), ON(CA_INIT),
      "name of the authority, as people see it; 1 to 64 bytes" },
    { "days", 0, "N", FLAG_TEXT, AT(days_text), ON(CA_INIT),
      "validity, 1 to 7300; default 3650" },
    { "force", 0, NULL, FLAG_SWITCH, AT(ca.force), ON(CA_INIT),
      "replace an authority that exists; its files are kept as .bak" },
    { "format", 0, "FORMAT", FLAG_TEXT, AT(format_text), ON(CA_EXPORT),
      "pem (default, with its chain), der or p12; never the key" },
    { "output", 'o', "FILE", FLAG_TEXT, AT(output), ON(CA_EXPORT),
      "write there, not to stdout" },
    { "method", 0, "METHOD", FLAG_TEXT, AT(method), ON(EXPLAIN), "GET when not named" },
    { "client", 0, "IP", FLAG_TEXT, AT(client_text), ON(EXPLAIN), "127.0.0.1 when not named" },
    { "user", 0, "NAME", FLAG_TEXT, AT(user), ON(EXPLAIN), "the authenticated user; none when not named" },
    { "header", 0, "'NAME: VALUE'", FLAG_LIST, AT(headers), ON(EXPLAIN), "a field of the request (repeatable)" },
    { "help", 'h', NULL, FLAG_SWITCH, AT(wants_help), ON_ALL, "this text" },
    { "version", 'V', NULL, FLAG_SWITCH, AT(wants_version), ON_ALL, "the version" },
};

static const struct command commands[] = {
    { "run", NULL, SL_COMMAND_RUN, false, "sluice run [OPTION]...",
      "Runs the proxy.\n\n"
      "  sluice run\n"
      "  sluice run --check http://127.0.0.1:9000/check\n"
      "  sluice run -c sluice.yaml --listen 0.0.0.0:3128 --set log.format=json\n\n"
      "SIGTERM and SIGINT drain, a second one stops at once; SIGHUP reloads the configuration;\n"
      "SIGUSR1 opens the access log anew.\n" },
    { "check-config", NULL, SL_COMMAND_CHECK_CONFIG, false, "sluice check-config [OPTION]...",
      "Reads the configuration, its lists and keys; exits 0, or 78 with what is wrong and where.\n\n"
      "  sluice check-config -c sluice.yaml\n" },
    { "ca", "init", SL_COMMAND_CA_INIT, false, "sluice ca init [OPTION]...",
      "Makes the certificate authority that forged certificates are signed with.\n\n"
      "  sluice ca init --name 'Example Corp inspection' --days 1825\n" },
    { "ca", "show", SL_COMMAND_CA_SHOW, false, "sluice ca show [OPTION]...",
      "Prints name, key, validity and fingerprint of the authority.\n" },
    { "ca", "export", SL_COMMAND_CA_EXPORT, false, "sluice ca export [OPTION]...",
      "Writes the authority's certificate, for clients to trust.\n\n"
      "  sluice ca export > sluice.pem\n"
      "  sluice ca export --format p12 -o sluice.p12\n" },
    { "ca", "install", SL_COMMAND_CA_INSTALL, false, "sluice ca install [OPTION]...",
      "Makes this machine trust the authority (Debian; as root).\n" },
    { "ca", "uninstall", SL_COMMAND_CA_UNINSTALL, false, "sluice ca uninstall [OPTION]...",
      "Takes that back (Debian; as root).\n" },
    { "explain", NULL, SL_COMMAND_EXPLAIN, true, "sluice explain URL [OPTION]...",
      "Prints which rule or check decides about a request, and why.  Checks are asked; nothing is\n"
      "sent upstream, the name is not resolved.\n\n"
      "  sluice explain https://ads.example/x -c sluice.yaml --client 10.0.0.7\n" },
    { "version", NULL, SL_COMMAND_VERSION, false, "sluice version", "Prints the version.\n" },
    { "help", NULL, SL_COMMAND_HELP, true, "sluice help [COMMAND|keys]",
      "Help on a command, or on all keys of the configuration.\n" },
};
/* clang-format on */

static const char overview[] =
    "sluice " SL_VERSION ": a forward proxy that opens TLS and asks before a request passes\n\n"
    "  sluice run                                       rules of the file, or allow all\n"
    "  sluice run --check http://127.0.0.1:9000/check   ask a service about each request\n"
    "  sluice explain https://example.com/              which rule decides, and why\n\n"
    "Commands:\n"
    "  run            the proxy itself\n"
    "  check-config   is the configuration right?\n"
    "  ca             init, show, export, install, uninstall: the certificate authority\n"
    "  explain        which rule or check decides about a URL\n"
    "  version        versions of sluice, OpenSSL and libyaml\n"
    "  help           COMMAND, or keys: every key of the configuration\n\n"
    "sluice COMMAND --help says more.  Exit status: 0 success, 1 failed at run time, 2 wrong\n"
    "command line, 78 wrong configuration.\n";

/* -- parsing -- */

struct parser {
    int argc, at;
    char *const *argv;
    const char *family;            /* "ca", whose verb names the command; NULL: none yet */
    const struct command *command; /* NULL before it is named */
    struct sl_options *options;
    struct sl_fault *fault;
};

/* The commands that it may still be: a flag must suit them all. */
static uint32_t possible_commands(const struct parser *p)
{
    if (p->command != NULL)
        return 1u << (unsigned)p->command->command;
    return p->family != NULL ? ON_CA_FILES : ON_ALL;
}

static bool is_on(const struct flag *flag, const struct parser *p)
{
    return (possible_commands(p) & ~flag->commands) == 0;
}

static void append(struct sl_option_list *list, const char *value)
{
    list->v = sl_realloc((void *)(uintptr_t)list->v, (list->n + 1) * sizeof(*list->v));
    list->v[list->n++] = value;
}

static void store(struct parser *p, const struct flag *flag, const char *value)
{
    char *at = (char *)p->options + flag->offset;
    bool on = true;

    switch (flag->kind) {
    case FLAG_TEXT:
        memcpy(at, &value, sizeof(value));
        break;
    case FLAG_LIST:
        append((struct sl_option_list *)(void *)at, value);
        break;
    case FLAG_SWITCH:
        memcpy(at, &on, sizeof(on));
        break;
    }
}

/* @a value: what stood behind '=' or the letter; NULL: nothing did. */
static enum sl_err take_flag(struct parser *p, const struct flag *flag, const char *value)
{
    if (flag->kind == FLAG_SWITCH && value != NULL)
        return sl_fault_set(p->fault, SL_CONFIG, "--%s takes no value", flag->name);
    if (flag->kind != FLAG_SWITCH && value == NULL) {
        if (p->at == p->argc)
            return sl_fault_set(p->fault, SL_CONFIG, "--%s: %s is missing", flag->name, flag->what);
        value = p->argv[p->at++];
    }
    store(p, flag, value);
    return SL_OK;
}

static enum sl_err unknown_flag(struct parser *p, const char *arg)
{
    struct sl_str name = sl_str_of(arg);
    struct sl_suggest suggest;

    name = sl_str_skip(sl_str_head(name, sl_str_find(name, '=')), 2);
    sl_suggest_init(&suggest, name);
    for (size_t i = 0; i < SL_LEN(flags); i++)
        if (is_on(&flags[i], p))
            sl_suggest_offer(&suggest, sl_str_of(flags[i].name));
    if (suggest.best.n == 0)
        return sl_fault_set(p->fault, SL_CONFIG, "unknown option %.60s; see sluice help", arg);
    return sl_fault_set(p->fault, SL_CONFIG, "unknown option %.60s; did you mean --%.*s?", arg,
                        SL_FMT(suggest.best));
}

static enum sl_err take_long(struct parser *p, const char *arg)
{
    struct sl_str text = sl_str_skip(sl_str_of(arg), 2);
    size_t equals = sl_str_find(text, '=');

    for (size_t i = 0; i < SL_LEN(flags); i++)
        if (is_on(&flags[i], p) && sl_str_eq(sl_str_head(text, equals), sl_str_of(flags[i].name)))
            return take_flag(p, &flags[i], equals < text.n ? text.p + equals + 1 : NULL);
    return unknown_flag(p, arg);
}

static enum sl_err take_short(struct parser *p, const char *arg)
{
    for (size_t i = 0; i < SL_LEN(flags); i++)
        if (is_on(&flags[i], p) && flags[i].letter == arg[1])
            return take_flag(p, &flags[i], arg[2] != '\0' ? arg + 2 : NULL);
    return unknown_flag(p, arg);
}

static enum sl_err unknown_command(struct parser *p, const char *name)
{
    struct sl_suggest suggest;

    sl_suggest_init(&suggest, sl_str_of(name));
    for (size_t i = 0; i < SL_LEN(commands); i++)
        sl_suggest_offer(&suggest, sl_str_of(commands[i].name));
    if (suggest.best.n == 0)
        return sl_fault_set(p->fault, SL_CONFIG, "unknown command \"%.60s\"; see sluice help",
                            name);
    return sl_fault_set(p->fault, SL_CONFIG, "unknown command \"%.60s\"; did you mean \"%.*s\"?",
                        name, SL_FMT(suggest.best));
}

static enum sl_err no_verb(struct parser *p)
{
    return sl_fault_set(p->fault, SL_CONFIG,
                        "sluice %s: init, show, export, install or uninstall expected", p->family);
}

static enum sl_err take_verb(struct parser *p, const char *verb)
{
    for (size_t i = 0; i < SL_LEN(commands); i++) {
        if (commands[i].verb == NULL || strcmp(commands[i].name, p->family) != 0 ||
            strcmp(commands[i].verb, verb) != 0)
            continue;
        p->command = &commands[i];
        return SL_OK;
    }
    return no_verb(p);
}

static enum sl_err take_command(struct parser *p, const char *name)
{
    for (size_t i = 0; i < SL_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        if (commands[i].verb != NULL)
            p->family = commands[i].name;
        else
            p->command = &commands[i];
        return SL_OK;
    }
    return unknown_command(p, name);
}

static enum sl_err take_operand(struct parser *p, const char *arg)
{
    const char **operand;

    if (p->command == NULL)
        return p->family != NULL ? take_verb(p, arg) : take_command(p, arg);
    operand = p->command->command == SL_COMMAND_HELP ? &p->options->topic : &p->options->url;
    if (!p->command->takes_operand || *operand != NULL)
        return sl_fault_set(p->fault, SL_CONFIG, "%.60s: nothing more expected here", arg);
    *operand = arg;
    return SL_OK;
}

static enum sl_err take_all(struct parser *p)
{
    bool has_flags = true;
    enum sl_err err = SL_OK;

    while (err == SL_OK && p->at < p->argc) {
        const char *arg = p->argv[p->at++];

        if (!has_flags || arg[0] != '-' || arg[1] == '\0')
            err = take_operand(p, arg);
        else if (strcmp(arg, "--") == 0)
            has_flags = false;
        else
            err = arg[1] == '-' ? take_long(p, arg) : take_short(p, arg);
    }
    return err;
}

/* -- what texts mean -- */

/* It is shown in one line, by many programs. */
static bool is_name(struct sl_str s)
{
    return s.n >= 1 && s.n <= 64 && sl_is_utf8(s) && !sl_value_has_control(s);
}

static enum sl_err read_ca_texts(struct sl_options *o, struct sl_fault *fault)
{
    uint64_t days = 0;
    uint32_t format = SL_CA_PEM;

    if (o->key_text != NULL && !sl_ca_key_parse(sl_str_of(o->key_text), &o->ca.key))
        return sl_fault_set(fault, SL_CONFIG,
                            "--key: ecdsa-p256, ecdsa-p384, rsa-3072 or rsa-4096 expected");
    if (o->days_text != NULL &&
        (!sl_str_to_u64(sl_str_of(o->days_text), &days) || days < 1 || days > 7300))
        return sl_fault_set(fault, SL_CONFIG, "--days: 1 to 7300 expected");
    if (o->format_text != NULL && !sl_value_word(sl_str_of(o->format_text), "pem|der|p12", &format))
        return sl_fault_set(fault, SL_CONFIG, "--format: pem, der or p12 expected");
    if (o->ca.name != NULL && !is_name(sl_str_of(o->ca.name)))
        return sl_fault_set(fault, SL_CONFIG,
                            "--name: 1 to 64 bytes of UTF-8 without control characters expected");
    o->ca.days = (uint32_t)days;
    o->format = (enum sl_ca_format)format;
    return SL_OK;
}

static enum sl_err check_header(const char *text, struct sl_fault *fault)
{
    struct sl_str rest = sl_str_of(text), name;

    if (sl_str_find(rest, ':') == rest.n || !sl_str_next(&rest, ':', &name) || !sl_is_token(name) ||
        !sl_is_field_value(sl_str_trim(rest)))
        return sl_fault_set(fault, SL_CONFIG, "--header: 'Name: value' expected, not \"%.60s\"",
                            text);
    return SL_OK;
}

static enum sl_err read_explain_texts(struct sl_options *o, struct sl_fault *fault)
{
    if (!sl_addr_parse_ip(sl_str_of(o->client_text != NULL ? o->client_text : "127.0.0.1"),
                          &o->client))
        return sl_fault_set(fault, SL_CONFIG, "--client: an address such as 10.0.0.7 expected");
    if (o->method != NULL && !sl_is_token(sl_str_of(o->method)))
        return sl_fault_set(fault, SL_CONFIG, "--method: not a method");
    for (uint32_t i = 0; i < o->headers.n; i++)
        if (check_header(o->headers.v[i], fault) != SL_OK)
            return SL_CONFIG;
    if (o->command == SL_COMMAND_EXPLAIN && o->url == NULL)
        return sl_fault_set(fault, SL_CONFIG, "sluice explain: which URL?");
    return SL_OK;
}

static enum sl_err settle(struct parser *p)
{
    struct sl_options *o = p->options;
    enum sl_err err;

    if (p->command == NULL && !o->wants_help && !o->wants_version)
        return p->family != NULL
                   ? no_verb(p)
                   : sl_fault_set(p->fault, SL_CONFIG, "which command? see sluice help");
    o->config.sets = o->sets.v;
    o->config.n_sets = o->sets.n;
    o->config.listens = o->listens.v;
    o->config.n_listens = o->listens.n;
    if (o->state_dir != NULL && o->state_dir[0] == '\0')
        return sl_fault_set(p->fault, SL_CONFIG, "--state-dir: a directory expected");
    if (p->command != NULL)
        o->command = p->command->command;
    if (o->wants_version)
        o->command = SL_COMMAND_VERSION;
    if (o->wants_help) {
        o->command = SL_COMMAND_HELP;
        o->topic = p->command != NULL ? p->command->name : p->family;
    }
    err = read_ca_texts(o, p->fault);
    return err != SL_OK ? err : read_explain_texts(o, p->fault);
}

enum sl_err sl_options_parse(int argc, char *const argv[], struct sl_options *ret_options,
                             struct sl_fault *fault)
{
    struct parser p = {
        .argc = argc, .at = 1, .argv = argv, .options = ret_options, .fault = fault
    };
    enum sl_err err;

    *ret_options = (struct sl_options){ .command = SL_COMMAND_HELP };
    err = take_all(&p);
    return err != SL_OK ? err : settle(&p);
}

void sl_options_fini(struct sl_options *o)
{
    sl_free((void *)(uintptr_t)o->listens.v);
    sl_free((void *)(uintptr_t)o->sets.v);
    sl_free((void *)(uintptr_t)o->headers.v);
    *o = (struct sl_options){ .command = SL_COMMAND_HELP };
}

/* -- help -- */

static void help_on_flags(enum sl_command command, struct sl_buf *out)
{
    for (size_t i = 0; i < SL_LEN(flags); i++) {
        const struct flag *f = &flags[i];

        if ((f->commands & 1u << (unsigned)command) == 0)
            continue;
        if (f->letter != 0)
            sl_buf_addf(out, "  -%c, ", f->letter);
        else
            sl_buf_add_str(out, SL_STR("      "));
        sl_buf_addf(out, "--%s%s%s\n          %s\n", f->name, f->what != NULL ? " " : "",
                    f->what != NULL ? f->what : "", f->help);
    }
}

bool sl_options_help(const char *topic, struct sl_buf *out)
{
    bool is_known = false;

    if (topic == NULL) {
        sl_buf_add_str(out, sl_str_of(overview));
        return true;
    }
    if (strcmp(topic, "keys") == 0) {
        sl_key_describe(out);
        return true;
    }
    for (size_t i = 0; i < SL_LEN(commands); i++) {
        if (strcmp(commands[i].name, topic) != 0)
            continue;
        sl_buf_addf(out, "%sUsage: %s\n\n%s\n", is_known ? "\n" : "", commands[i].usage,
                    commands[i].help);
        help_on_flags(commands[i].command, out);
        is_known = true;
    }
    return is_known;
}
