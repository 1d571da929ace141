/* main.c -- picks the subcommand. */
#include <fcntl.h>
#include <unistd.h>
#include <yaml.h>

#include "app/cmd.h"
#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"
#include "tls/tls_context.h"

static int print_version(void)
{
    struct sl_buf text = { 0 };
    int status;

    sl_buf_addf(&text, "sluice " SL_VERSION "\n%s\nlibyaml %s\n", sl_tls_library(),
                yaml_get_version_string());
    status = sl_cmd_print(sl_buf_str(&text));
    sl_buf_fini(&text);
    return status;
}

static int print_help(const struct sl_options *o)
{
    struct sl_buf text = { 0 };
    int status = SL_EXIT_USAGE;

    if (sl_options_help(o->topic, &text))
        status = sl_cmd_print(sl_buf_str(&text));
    else
        sl_log(SL_LOG_ERROR, "no help on \"%.60s\"; see sluice help", o->topic);
    sl_buf_fini(&text);
    return status;
}

static int run(const struct sl_options *o)
{
    switch (o->command) {
    case SL_COMMAND_RUN:
        return sl_cmd_run(o);
    case SL_COMMAND_CHECK_CONFIG:
        return sl_cmd_check_config(o);
    case SL_COMMAND_CA_INIT:
    case SL_COMMAND_CA_SHOW:
    case SL_COMMAND_CA_EXPORT:
        return sl_cmd_ca(o);
    case SL_COMMAND_CA_INSTALL:
    case SL_COMMAND_CA_UNINSTALL:
        return sl_cmd_trust(o);
    case SL_COMMAND_EXPLAIN:
        return sl_cmd_explain(o);
    case SL_COMMAND_VERSION:
        return print_version();
    case SL_COMMAND_HELP:
        break;
    }
    return print_help(o);
}

/* Started without standard streams, the next descriptors opened would take their numbers, and log
 * lines would go to sockets. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char *argv[])
{
    struct sl_options options;
    struct sl_fault fault = { 0 };
    int status = SL_EXIT_USAGE;

    fill_standard_descriptors();
    if (sl_options_parse(argc, argv, &options, &fault) == SL_OK)
        status = run(&options);
    else
        sl_log(SL_LOG_ERROR, "%s", fault.text);
    sl_options_fini(&options);
    return status;
}
