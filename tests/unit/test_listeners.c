/* test_listeners.c -- what a reload does to listening sockets, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/config.h"
#include "app/listeners.h"
#include "base/mem.h"

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_stays_is_kept),
        TEST(one_that_workers_still_use_comes_back),
        TEST(one_that_is_closed_is_opened_anew),
        TEST(undo_closes_what_is_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
