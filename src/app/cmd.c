/* cmd.c -- what subcommands share: how they end, how they print. */
#include "app/cmd.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"

int sl_cmd_failed(enum sl_err err, const char *text)
{
    sl_log(SL_LOG_ERROR, "%s", text[0] != '\0' ? text : sl_err_text(err));
    return err == SL_CONFIG ? SL_EXIT_CONFIG : SL_EXIT_FAILED;
}

int sl_cmd_print(struct sl_str text)
{
    if (fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0)
        return SL_EXIT_OK;
    sl_log(SL_LOG_ERROR, "stdout: %s", strerror(errno));
    return SL_EXIT_FAILED;
}
