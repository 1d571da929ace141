/* test_list.c -- the intrusive ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int n;
    struct sl_link link;
};

static int number(struct sl_link *l)
{
    return SL_CONTAINER(l, struct item, link)->n;
}

static void keeps_order(void **state)
{
    struct item items[] = { { .n = 0 }, { .n = 1 }, { .n = 2 } };
    struct sl_link head;
    int expected = 0;

    (void)state;
    sl_list_init(&head);
    assert_true(sl_list_is_empty(&head));
    sl_list_add(&head, &items[1].link);
    sl_list_add(&head, &items[2].link);
    sl_list_push(&head, &items[0].link);
    SL_LIST_FOREACH (it, &head)
        assert_int_equal(number(it), expected++);
    assert_int_equal(expected, 3);
    assert_int_equal(number(sl_list_pop(&head)), 0);
    assert_false(sl_link_is_in(&items[0].link));
    assert_true(sl_link_is_in(&items[1].link));
}

static void removal_is_idempotent_and_safe_in_a_walk(void **state)
{
    struct item items[] = { { .n = 0 }, { .n = 1 }, { .n = 2 } };
    struct sl_link head;
    int n_seen = 0;

    (void)state;
    sl_list_init(&head);
    for (size_t i = 0; i < SL_LEN(items); i++)
        sl_list_add(&head, &items[i].link);
    SL_LIST_FOREACH_SAFE (it, &head) {
        n_seen++;
        sl_link_remove(it);
        sl_link_remove(it);
    }
    assert_int_equal(n_seen, 3);
    assert_true(sl_list_is_empty(&head));
    assert_null(sl_list_pop(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(removal_is_idempotent_and_safe_in_a_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
