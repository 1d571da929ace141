/* tls_sessions.c -- a map for finding, a ring for forgetting.
 *
 * Invariant: an entry is in both or in neither, and holds one reference on its session.
 */
#include <time.h>

#include "base/mem.h"
#include "tls/tls_internal.h"

struct entry {
    struct sl_link by_use;
    SSL_SESSION *session;
    struct sl_str key; /* of text */
    char text[];
};

void sl_tls_sessions_init(struct sl_tls_sessions *s, uint32_t max)
{
    *s = (struct sl_tls_sessions){ .max = max };
    sl_list_init(&s->by_use);
}

static void forget(struct sl_tls_sessions *s, struct entry *e)
{
    sl_link_remove(&e->by_use);
    sl_map_remove(&s->by_key, e->key);
    SSL_SESSION_free(e->session);
    sl_free(e);
}

void sl_tls_sessions_fini(struct sl_tls_sessions *s)
{
    while (!sl_list_is_empty(&s->by_use))
        forget(s, SL_CONTAINER(s->by_use.next, struct entry, by_use));
    sl_map_fini(&s->by_key);
}

/* The library asks about age for TLS 1.3 only, but a certificate must not be taken as verified for
 * ever under TLS 1.2 either. */
static bool is_usable(const SSL_SESSION *session)
{
    int64_t expires = (int64_t)SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session);

    return SSL_SESSION_is_resumable(session) == 1 && time(NULL) < expires;
}

SSL_SESSION *sl_tls_sessions_get(struct sl_tls_sessions *s, struct sl_str key)
{
    struct entry *e = sl_map_get(&s->by_key, key);

    if (e == NULL)
        return NULL;
    if (!is_usable(e->session)) {
        forget(s, e);
        return NULL;
    }
    sl_link_remove(&e->by_use);
    sl_list_push(&s->by_use, &e->by_use);
    return e->session;
}

static struct entry *add(struct sl_tls_sessions *s, struct sl_str key)
{
    struct entry *e = sl_zalloc(sizeof(*e) + key.n);

    if (s->by_key.n >= s->max)
        forget(s, SL_CONTAINER(s->by_use.prev, struct entry, by_use));
    memcpy(e->text, key.p, key.n);
    e->key = sl_str_make(e->text, key.n);
    sl_map_put(&s->by_key, e->key, e);
    return e;
}

void sl_tls_sessions_put(struct sl_tls_sessions *s, struct sl_str key, SSL_SESSION *session)
{
    struct entry *e = sl_map_get(&s->by_key, key);

    if (e == NULL)
        e = add(s, key);
    SSL_SESSION_free(e->session);
    e->session = session;
    sl_link_remove(&e->by_use);
    sl_list_push(&s->by_use, &e->by_use);
}

void sl_tls_sessions_drop(struct sl_tls_sessions *s, struct sl_str key)
{
    struct entry *e = sl_map_get(&s->by_key, key);

    if (e != NULL)
        forget(s, e);
}
