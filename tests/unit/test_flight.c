/* test_flight.c -- who leads, who waits, what each gets; on one loop and between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "io/flight.h"
#include "io/loop.h"
#include "io/mailbox.h"

static atomic_int n_refs;

static void *ref(void *result)
{
    atomic_fetch_add(&n_refs, 1);
    return result;
}

static void unref(void *result)
{
    (void)result;
    atomic_fetch_sub(&n_refs, 1);
}

static struct sl_flights *flights_new(void)
{
    atomic_store(&n_refs, 0);
    return sl_flights_new(&(struct sl_flights_conf){ .ref = ref, .unref = unref });
}

struct passenger {
    struct sl_flight_wait *wait;
    struct sl_flight *lead;
    void *result;
    int n_calls;
};

static void on_landed(void *arg, void *result)
{
    struct passenger *p = arg;

    p->wait = NULL;
    p->result = result;
    p->n_calls++;
    if (result != NULL)
        unref(result);
}

struct airport {
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    struct sl_flights *flights;
    struct passenger p[3];
};

static int set_up(void **state)
{
    struct airport *at = sl_zalloc(sizeof(*at));

    at->loop = sl_loop_new_sim();
    at->mailbox = sl_mailbox_new(at->loop);
    at->flights = flights_new();
    *state = at;
    return 0;
}

static int tear_down(void **state)
{
    struct airport *at = *state;

    sl_mailbox_free(&at->mailbox);
    sl_flights_free(&at->flights);
    sl_loop_free(&at->loop);
    assert_int_equal(atomic_load(&n_refs), 0);
    sl_free(at);
    return 0;
}

static void join(struct airport *at, int i, const char *key)
{
    struct passenger *p = &at->p[i];

    p->wait = sl_flight_join(
        at->flights,
        &(struct sl_flight_conf){
            .key = sl_str_of(key), .mailbox = at->mailbox, .done = on_landed, .arg = p },
        &p->lead);
    assert_non_null(p->wait);
}

static char luggage[] = "luggage";

static void the_first_leads_and_all_get_the_result(void **state)
{
    struct airport *at = *state;

    for (int i = 0; i < 3; i++)
        join(at, i, "k");
    assert_non_null(at->p[0].lead);
    assert_null(at->p[1].lead);
    assert_null(at->p[2].lead);
    sl_flight_land(&at->p[0].lead, ref(luggage));
    assert_null(at->p[0].lead);
    for (int i = 0; i < 3; i++)
        assert_int_equal(at->p[i].n_calls, 0);
    sl_loop_turn(at->loop, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(at->p[i].n_calls, 1);
        assert_ptr_equal(at->p[i].result, luggage);
    }
}

static void keys_do_not_mix(void **state)
{
    struct airport *at = *state;

    join(at, 0, "k");
    join(at, 1, "kk");
    join(at, 2, "");
    for (int i = 0; i < 3; i++)
        assert_non_null(at->p[i].lead);
    sl_flight_land(&at->p[1].lead, NULL);
    sl_loop_turn(at->loop, true);
    assert_int_equal(at->p[0].n_calls, 0);
    assert_int_equal(at->p[1].n_calls, 1);
    assert_null(at->p[1].result);
    sl_flight_land(&at->p[0].lead, NULL);
    sl_flight_land(&at->p[2].lead, NULL);
}

static void who_comes_after_the_landing_leads_anew(void **state)
{
    struct airport *at = *state;

    join(at, 0, "k");
    sl_flight_land(&at->p[0].lead, ref(luggage));
    join(at, 1, "k");
    assert_non_null(at->p[1].lead);
    sl_flight_land(&at->p[1].lead, NULL);
    sl_loop_turn(at->loop, true);
    assert_ptr_equal(at->p[0].result, luggage);
    assert_null(at->p[1].result);
}

static void a_leader_that_leaves_still_lands(void **state)
{
    struct airport *at = *state;

    join(at, 0, "k");
    join(at, 1, "k");
    sl_flight_cancel(&at->p[0].wait);
    assert_null(at->p[0].wait);
    sl_flight_cancel(&at->p[0].wait);
    sl_flight_land(&at->p[0].lead, ref(luggage));
    sl_loop_turn(at->loop, true);
    assert_int_equal(at->p[0].n_calls, 0);
    assert_int_equal(at->p[1].n_calls, 1);
}

static void cancelled_while_posted_hears_nothing(void **state)
{
    struct airport *at = *state;

    join(at, 0, "k");
    join(at, 1, "k");
    sl_flight_land(&at->p[0].lead, ref(luggage));
    sl_flight_cancel(&at->p[1].wait);
    sl_loop_turn(at->loop, true);
    assert_int_equal(at->p[0].n_calls, 1);
    assert_int_equal(at->p[1].n_calls, 0);
}

static void landing_on_nobody_frees_the_result(void **state)
{
    struct airport *at = *state;

    join(at, 0, "k");
    sl_flight_cancel(&at->p[0].wait);
    sl_flight_land(&at->p[0].lead, ref(luggage));
    assert_int_equal(atomic_load(&n_refs), 0);
}

/* -- between threads -- */

#define N_THREADS 4
#define N_KEYS 100

struct traveller {
    pthread_t id;
    struct sl_flights *flights;
    struct sl_loop *loop;
    struct sl_mailbox *mailbox;
    size_t n_waiting, n_heard, n_null;
};

static void on_travelled(void *arg, void *result)
{
    struct traveller *t = arg;

    t->n_waiting--;
    t->n_heard++;
    if (result == NULL)
        t->n_null++;
    else
        unref(result);
}

static void travel(struct traveller *t, unsigned key)
{
    struct sl_flight *lead = NULL;
    struct sl_flight_wait *wait =
        sl_flight_join(t->flights,
                       &(struct sl_flight_conf){ .key = sl_str_make(&key, sizeof(key)),
                                                 .mailbox = t->mailbox,
                                                 .done = on_travelled,
                                                 .arg = t },
                       &lead);

    t->n_waiting++;
    if (key % 5 == 4 && lead == NULL) {
        sl_flight_cancel(&wait);
        t->n_waiting--;
    }
    if (lead != NULL)
        sl_flight_land(&lead, ref(luggage));
}

static void *travel_all(void *arg)
{
    struct traveller *t = arg;

    t->loop = sl_loop_new();
    t->mailbox = sl_mailbox_new(t->loop);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned key = 0; key < N_KEYS; key++)
            travel(t, key);
        sl_loop_turn(t->loop, false);
    }
    while (t->n_waiting != 0)
        sl_loop_turn(t->loop, true);
    sl_mailbox_free(&t->mailbox);
    sl_loop_free(&t->loop);
    return NULL;
}

static void threads_share_flights(void **state)
{
    struct sl_flights *flights = flights_new();
    struct traveller t[N_THREADS];

    (void)state;
    for (size_t i = 0; i < N_THREADS; i++) {
        t[i] = (struct traveller){ .flights = flights };
        assert_int_equal(pthread_create(&t[i].id, NULL, travel_all, &t[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(t[i].id, NULL);
        assert_int_equal(t[i].n_null, 0);
        assert_true(t[i].n_heard > 0);
    }
    sl_flights_free(&flights);
    assert_null(flights);
    sl_flights_free(&flights);
    assert_int_equal(atomic_load(&n_refs), 0);
}

#define IN_AIRPORT(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_AIRPORT(the_first_leads_and_all_get_the_result),
        IN_AIRPORT(keys_do_not_mix),
        IN_AIRPORT(who_comes_after_the_landing_leads_anew),
        IN_AIRPORT(a_leader_that_leaves_still_lands),
        IN_AIRPORT(cancelled_while_posted_hears_nothing),
        IN_AIRPORT(landing_on_nobody_frees_the_result),
        cmocka_unit_test(threads_share_flights),
    };

    return cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
