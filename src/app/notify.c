/* notify.c -- no state; $NOTIFY_SOCKET says whether anybody listens. */
#include "app/notify.h"

#include <inttypes.h>

#if SL_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/clock.h"
#include "base/mem.h"

static void tell(const char *state)
{
#if SL_HAVE_SYSTEMD
    (void)sd_notify(0, state);
#else
    (void)state;
#endif
}

void sl_notify_ready(void)
{
    tell("READY=1");
}

void sl_notify_reloading(void)
{
    char state[64];

    (void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, sl_mono_us());
    tell(state);
}

void sl_notify_stopping(void)
{
    tell("STOPPING=1");
}
