/* admission.c -- a count of all, and one of each address that has a connection; entries of 0 are
 * taken out. */
#include "proxy/admission.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define KEY_LEN 16 /* an IPv6 address, IPv4 mapped into it */

struct client {
    char key[KEY_LEN];
    uint32_t n_conns;
};

struct sl_admission {
    pthread_mutex_t lock;
    struct sl_admission_conf conf;
    struct sl_map clients; /* struct client by key */
    uint32_t n_conns;
    atomic_bool is_closed;
};

/* Unix sockets share the unspecified address, which no client can have. */
static void make_key(const struct sl_addr *client, char ret_key[KEY_LEN])
{
    memset(ret_key, 0, KEY_LEN);
    if (client->len != 0 && client->sa.sa_family == AF_INET6) {
        memcpy(ret_key, &client->v6.sin6_addr, KEY_LEN);
    } else if (client->len != 0 && client->sa.sa_family == AF_INET) {
        memset(ret_key + 10, 0xff, 2);
        memcpy(ret_key + 12, &client->v4.sin_addr, 4);
    }
}

struct sl_admission *sl_admission_new(const struct sl_admission_conf *conf)
{
    struct sl_admission *a = sl_zalloc(sizeof(*a));

    pthread_mutex_init(&a->lock, NULL);
    a->conf = *conf;
    return a;
}

void sl_admission_free(struct sl_admission **ref)
{
    struct sl_admission *a = *ref;
    struct client *c;
    size_t cursor = 0;

    if (a == NULL)
        return;
    *ref = NULL;
    while ((c = sl_map_next(&a->clients, &cursor)) != NULL)
        sl_free(c);
    sl_map_fini(&a->clients);
    pthread_mutex_destroy(&a->lock);
    sl_free(a);
}

void sl_admission_configure(struct sl_admission *a, const struct sl_admission_conf *conf)
{
    pthread_mutex_lock(&a->lock);
    a->conf = *conf;
    pthread_mutex_unlock(&a->lock);
}

void sl_admission_close(struct sl_admission *a, bool is_closed)
{
    atomic_store_explicit(&a->is_closed, is_closed, memory_order_relaxed);
}

bool sl_admission_is_closed(const struct sl_admission *a)
{
    return a != NULL && atomic_load_explicit(&a->is_closed, memory_order_relaxed);
}

static struct client *client_add(struct sl_admission *a, const char key[KEY_LEN])
{
    struct client *c = sl_zalloc(sizeof(*c));

    memcpy(c->key, key, KEY_LEN);
    sl_map_put(&a->clients, sl_str_make(c->key, KEY_LEN), c);
    return c;
}

static bool is_full(uint32_t n, uint32_t limit)
{
    return limit != 0 && n >= limit;
}

/* Under the lock. */
static enum sl_err enter(struct sl_admission *a, const char key[KEY_LEN])
{
    struct client *c = sl_map_get(&a->clients, sl_str_make(key, KEY_LEN));

    if (sl_admission_is_closed(a))
        return SL_LIMIT;
    if (is_full(a->n_conns, a->conf.connections))
        return SL_TOO_MANY;
    if (is_full(c == NULL ? 0 : c->n_conns, a->conf.connections_per_client))
        return SL_TOO_MANY;
    if (c == NULL)
        c = client_add(a, key);
    c->n_conns++;
    a->n_conns++;
    return SL_OK;
}

enum sl_err sl_admission_enter(struct sl_admission *a, const struct sl_addr *client)
{
    char key[KEY_LEN];
    enum sl_err err;

    make_key(client, key);
    pthread_mutex_lock(&a->lock);
    err = enter(a, key);
    pthread_mutex_unlock(&a->lock);
    return err;
}

void sl_admission_leave(struct sl_admission *a, const struct sl_addr *client)
{
    char key[KEY_LEN];
    struct client *c;

    make_key(client, key);
    pthread_mutex_lock(&a->lock);
    c = sl_map_get(&a->clients, sl_str_make(key, KEY_LEN));
    sl_assert(c != NULL);
    a->n_conns--;
    if (--c->n_conns == 0) {
        sl_map_remove(&a->clients, sl_str_make(c->key, KEY_LEN));
        sl_free(c);
    }
    pthread_mutex_unlock(&a->lock);
}
