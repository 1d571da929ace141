/* listeners.c -- each listener is in one ring: active, gone, or one of a plan's.
 *
 * One that is gone has its socket for as long as a worker uses it, and may come back.  In a plan's
 * `opened` those are told from new ones by that use.
 */
#include "app/listeners.h"

#include <errno.h>
#include <unistd.h>

#include "app/config.h"
#include "base/mem.h"
#include "io/tcp.h"

static struct sl_listener *at_link(struct sl_link *l)
{
    return SL_CONTAINER(l, struct sl_listener, in_set);
}

static void move_all(struct sl_link *to, struct sl_link *from)
{
    for (struct sl_link *l; (l = sl_list_pop(from)) != NULL;)
        sl_list_add(to, l);
}

static void free_all(struct sl_link *ring)
{
    for (struct sl_link *l; (l = sl_list_pop(ring)) != NULL;) {
        sl_listener_close(at_link(l));
        sl_free(at_link(l));
    }
}

void sl_listeners_init(struct sl_listeners *set)
{
    sl_list_init(&set->active);
    sl_list_init(&set->gone);
    set->admin_fd = -1;
}

void sl_listeners_fini(struct sl_listeners *set)
{
    free_all(&set->active);
    free_all(&set->gone);
}

static void remove_file(const struct sl_listener *l)
{
    if (l->fd >= 0 && l->bound.sa.sa_family == AF_UNIX)
        (void)unlink(l->bound.un.sun_path);
}

void sl_listeners_remove_files(const struct sl_listeners *set)
{
    SL_LIST_FOREACH (l, &set->active)
        remove_file(at_link(l));
    SL_LIST_FOREACH (l, &set->gone)
        remove_file(at_link(l));
}

void sl_listener_close(struct sl_listener *l)
{
    if (l->fd < 0)
        return;
    remove_file(l);
    close(l->fd);
    l->fd = -1;
}

static bool yield_one(int fd, const struct sl_addr *bound, const struct sl_addr *addr, bool yields)
{
    if (fd < 0 || !sl_addr_collides(bound, addr))
        return false;
    sl_tcp_yield(fd, yields);
    return true;
}

/* Sockets of ours that are in the way of @a addr; false when there are none. */
static bool yield_all(const struct sl_listener_plan *plan, const struct sl_addr *addr, bool yields)
{
    const struct sl_listeners *set = plan->set;
    const struct sl_link *const rings[] = { &set->active, &set->gone, &plan->dropped };
    bool any = yield_one(set->admin_fd, &set->admin_bound, addr, yields);

    for (size_t i = 0; i < SL_LEN(rings); i++)
        SL_LIST_FOREACH (it, rings[i])
            any |= yield_one(at_link(it)->fd, &at_link(it)->bound, addr, yields);
    return any;
}

enum sl_err sl_listeners_bind(const struct sl_listener_plan *plan, const struct sl_addr *addr,
                              int *ret_fd, struct sl_addr *ret_bound, struct sl_fault *fault)
{
    struct sl_fault taken = { 0 };
    enum sl_err err = sl_tcp_listen(addr, ret_fd, ret_bound, &taken);

    if (taken.os_errno == EADDRINUSE && yield_all(plan, addr, true)) {
        err = sl_tcp_listen_over(addr, ret_fd, ret_bound, &taken);
        (void)yield_all(plan, addr, false);
    }
    if (err != SL_OK)
        *fault = taken;
    return err;
}

static enum sl_err open_one(struct sl_listener_plan *plan, const struct sl_addr *addr,
                            struct sl_fault *fault)
{
    struct sl_listener *l = sl_zalloc(sizeof(*l));
    enum sl_err err = sl_listeners_bind(plan, addr, &l->fd, &l->bound, fault);

    if (err != SL_OK) {
        sl_free(l);
        return err;
    }
    l->asked = *addr;
    sl_addr_text(&l->bound, l->name);
    sl_list_add(&plan->opened, &l->in_set);
    return SL_OK;
}

/* One with a socket for this address, or NULL. */
static struct sl_link *find(struct sl_link *ring, const struct sl_addr *addr)
{
    SL_LIST_FOREACH (it, ring)
        if (at_link(it)->fd >= 0 && sl_addr_eq(&at_link(it)->asked, addr))
            return it;
    return NULL;
}

/* True when there was one; it is moved. */
static bool move_one(struct sl_link *to, struct sl_link *from, const struct sl_addr *addr)
{
    struct sl_link *found = find(from, addr);

    if (found == NULL)
        return false;
    sl_assert(found != to); /* the analyser does not see that it is no head */
    sl_link_remove(found);
    sl_list_add(to, found);
    return true;
}

static enum sl_err plan_one(struct sl_listeners *set, const struct sl_addr *addr,
                            struct sl_listener_plan *plan, struct sl_fault *fault)
{
    if (move_one(&plan->kept, &set->active, addr) || move_one(&plan->opened, &set->gone, addr))
        return SL_OK;
    return open_one(plan, addr, fault);
}

enum sl_err sl_listeners_plan(struct sl_listeners *set, const struct sl_config_listener *wanted,
                              uint32_t n_wanted, struct sl_listener_plan *plan,
                              struct sl_fault *fault)
{
    enum sl_err err = SL_OK;

    plan->set = set;
    sl_list_init(&plan->opened);
    sl_list_init(&plan->kept);
    sl_list_init(&plan->dropped);
    for (uint32_t i = 0; i < n_wanted && err == SL_OK; i++)
        err = plan_one(set, &wanted[i].address, plan, fault);
    move_all(&plan->dropped, &set->active);
    if (err != SL_OK)
        sl_listeners_undo(set, plan);
    return err;
}

void sl_listeners_undo(struct sl_listeners *set, struct sl_listener_plan *plan)
{
    SL_LIST_FOREACH_SAFE (it, &plan->opened) {
        if (at_link(it)->n_using == 0)
            continue;
        sl_link_remove(it);
        sl_list_add(&set->gone, it);
    }
    free_all(&plan->opened);
    move_all(&set->active, &plan->kept);
    move_all(&set->active, &plan->dropped);
}

void sl_listeners_commit(struct sl_listeners *set, struct sl_listener_plan *plan)
{
    move_all(&set->active, &plan->kept);
    move_all(&set->active, &plan->opened);
    move_all(&set->gone, &plan->dropped);
}
