/* test_listeners.c -- what a reload does to listening sockets, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/config.h"
#include "app/listeners.h"
#include "base/mem.h"
#include "io/tcp.h"

static struct sl_config_listener wanted;

static struct sl_listener *only_one(struct sl_link *ring)
{
    assert_false(sl_list_is_empty(ring));
    assert_ptr_equal(ring->next->next, ring);
    return SL_CONTAINER(ring->next, struct sl_listener, in_set);
}

/* The plan's rings point at themselves: it is made in place. */
static void plan(struct sl_listeners *set, uint32_t n_wanted, struct sl_listener_plan *p)
{
    struct sl_fault fault = { 0 };

    assert_int_equal(sl_listeners_plan(set, &wanted, n_wanted, p, &fault), SL_OK);
}

static void commit(struct sl_listeners *set, uint32_t n_wanted)
{
    struct sl_listener_plan p;

    plan(set, n_wanted, &p);
    sl_listeners_commit(set, &p);
}

/* The address has a port of its own from here on, as a file would name it. */
static int set_up(void **state)
{
    struct sl_listeners *set = sl_zalloc(sizeof(*set));

    sl_listeners_init(set);
    assert_true(sl_addr_parse(SL_STR("127.0.0.1:0"), &wanted.address));
    commit(set, 1);
    wanted.address = only_one(&set->active)->asked = only_one(&set->active)->bound;
    only_one(&set->active)->n_using = 2;
    *state = set;
    return 0;
}

static int tear_down(void **state)
{
    sl_listeners_fini(*state);
    sl_free(*state);
    return 0;
}

static void what_stays_is_kept(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_listener *l = only_one(&set->active);

    commit(set, 1);
    assert_ptr_equal(only_one(&set->active), l);
}

static void one_that_workers_still_use_comes_back(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_listener *l = only_one(&set->active);
    int fd = l->fd;

    commit(set, 0);
    assert_ptr_equal(only_one(&set->gone), l);
    struct sl_listener_plan p;

    plan(set, 1, &p);
    assert_ptr_equal(only_one(&p.opened), l);
    sl_listeners_undo(set, &p);
    assert_ptr_equal(only_one(&set->gone), l);
    assert_int_equal(l->fd, fd);
    commit(set, 1);
    assert_ptr_equal(only_one(&set->active), l);
    assert_int_equal(l->fd, fd);
    assert_true(sl_list_is_empty(&set->gone));
}

static void one_that_is_closed_is_opened_anew(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_listener *l = only_one(&set->active);

    commit(set, 0);
    l->n_using = 0;
    sl_listener_close(l);
    commit(set, 1);
    assert_ptr_not_equal(only_one(&set->active), l);
    assert_ptr_equal(only_one(&set->gone), l);
}

static void undo_closes_what_is_new(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_addr own = wanted.address;

    assert_true(sl_addr_parse(SL_STR("127.0.0.1:0"), &wanted.address));
    struct sl_listener_plan p;

    plan(set, 1, &p);
    sl_listeners_undo(set, &p);
    assert_true(sl_addr_eq(&only_one(&set->active)->asked, &own));
    assert_true(sl_list_is_empty(&set->gone));
}

static bool can_connect(uint16_t port)
{
    struct sl_addr at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can;

    assert_true(sl_addr_parse(SL_STR("127.0.0.1:0"), &at));
    sl_addr_set_port(&at, port);
    can = connect(fd, &at.sa, at.len) == 0;
    close(fd);
    return can;
}

static void close_gone(struct sl_listeners *set)
{
    SL_LIST_FOREACH (it, &set->gone)
        sl_listener_close(SL_CONTAINER(it, struct sl_listener, in_set));
}

/* There and back: the new one stands before the old one is closed. */
static void one_is_replaced_by_one_on_the_same_port(void **state)
{
    static const char *const to[] = { "0.0.0.0:0", "127.0.0.1:0" };
    struct sl_listeners *set = *state;
    uint16_t port = sl_addr_port(&wanted.address);

    for (size_t i = 0; i < SL_LEN(to); i++) {
        assert_true(sl_addr_parse(sl_str_of(to[i]), &wanted.address));
        sl_addr_set_port(&wanted.address, port);
        commit(set, 1);
        assert_true(sl_addr_eq(&only_one(&set->active)->bound, &wanted.address));
        close_gone(set);
        assert_true(can_connect(port));
    }
}

static void the_admin_address_is_taken_over(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_addr any = wanted.address;
    struct sl_listener_plan p;
    struct sl_fault fault = { 0 };
    int fd = -1;

    sl_addr_set_port(&any, 0);
    assert_int_equal(sl_tcp_listen(&any, &set->admin_fd, &set->admin_bound, &fault), SL_OK);
    any = wanted.address;
    wanted.address = set->admin_bound;
    plan(set, 1, &p);
    assert_int_equal(sl_listeners_bind(&p, &any, &fd, &any, &fault), SL_OK);
    sl_listeners_commit(set, &p);
    close(set->admin_fd);
    close(fd);
    assert_true(can_connect(sl_addr_port(&wanted.address)));
}

/* Ours yields for the moment only, and what is not ours does not. */
static void others_on_the_port_are_in_the_way(void **state)
{
    struct sl_listeners *set = *state;
    struct sl_addr addr = wanted.address, bound;
    struct sl_fault fault = { 0 };
    struct sl_listener_plan p;
    int other = -1, fd = -1;

    assert_true(sl_addr_parse(SL_STR("127.0.0.2:0"), &addr));
    sl_addr_set_port(&addr, sl_addr_port(&wanted.address));
    assert_int_equal(sl_tcp_listen(&addr, &other, &bound, &fault), SL_OK);
    assert_true(sl_addr_parse(SL_STR("0.0.0.0:0"), &addr));
    sl_addr_set_port(&addr, sl_addr_port(&wanted.address));
    wanted.address = addr;
    assert_int_equal(sl_listeners_plan(set, &wanted, 1, &p, &fault), SL_IO);
    assert_non_null(strstr(fault.text, "already in use"));
    close(other);
    commit(set, 1);
    assert_int_equal(sl_tcp_listen(&addr, &fd, &bound, &fault), SL_IO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_stays_is_kept),
        TEST(one_that_workers_still_use_comes_back),
        TEST(one_that_is_closed_is_opened_anew),
        TEST(undo_closes_what_is_new),
        TEST(one_is_replaced_by_one_on_the_same_port),
        TEST(the_admin_address_is_taken_over),
        TEST(others_on_the_port_are_in_the_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
