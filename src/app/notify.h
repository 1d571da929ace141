/* notify.h -- telling systemd how the service fares (sd_notify(3)); nothing without it.
 *
 * Thread: main's.
 */
#ifndef SL_APP_NOTIFY_H
#define SL_APP_NOTIFY_H

void sl_notify_ready(void);
void sl_notify_reloading(void);
void sl_notify_stopping(void);

#endif
