/* list.h -- an intrusive doubly linked ring: the list head is a link of its own.
 *
 * Thread: the owner's.
 */
#ifndef SL_BASE_LIST_H
#define SL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct sl_link {
    struct sl_link *prev, *next; /**< both NULL when in no list */
};

static inline void sl_list_init(struct sl_link *head)
{
    head->prev = head->next = head;
}

static inline bool sl_list_is_empty(const struct sl_link *head)
{
    return head->next == head || head->next == NULL;
}

static inline bool sl_link_is_in(const struct sl_link *l)
{
    return l->next != NULL;
}

/** Appends at the end. */
static inline void sl_list_add(struct sl_link *head, struct sl_link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

/** Inserts at the front. */
static inline void sl_list_push(struct sl_link *head, struct sl_link *l)
{
    sl_list_add(head->next, l);
}

/** Takes it out of whatever list it is in; no-op when in none. */
static inline void sl_link_remove(struct sl_link *l)
{
    if (l->next == NULL)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/** The first link taken out, or NULL. */
static inline struct sl_link *sl_list_pop(struct sl_link *head)
{
    struct sl_link *l = head->next;

    if (sl_list_is_empty(head))
        return NULL;
    sl_link_remove(l);
    return l;
}

#define SL_LIST_FOREACH(it, head)                                                                  \
    for (struct sl_link *it = (head)->next; it != (head); it = it->next)
/** The same where the body may remove @a it. */
#define SL_LIST_FOREACH_SAFE(it, head)                                                             \
    for (struct sl_link *it = (head)->next, *it##_next = it->next; it != (head);                   \
         it = it##_next, it##_next = it->next)

#endif
