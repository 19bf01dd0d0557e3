#include "net/deadline.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

TAILQ_HEAD(deadlines, deadline);

/* What makes two lists the same. */
struct key {
	uint64_t span_us;
	deadline_fn *fn;
};

struct deadline_list {
	UT_hash_handle hh;
	struct loop *loop;
	struct key key;
	struct deadlines entries;
	ev_timer timer;
	unsigned nkept;                  /* pointers of deadline_keep() */
	bool is_called;                  /* handlers of its entries are at work */
};

static void start_timer(struct deadline_list *list, uint64_t due_us)
{
	uint64_t now = clock_us();
	double wait = due_us > now ? (double)(due_us - now) / CLOCK_SECOND : 0;

	ev_now_update(list->loop->ev);
	ev_timer_set(&list->timer, wait, 0.);
	ev_timer_start(list->loop->ev, &list->timer);
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
	struct deadline_list *list = timer->data;
	uint64_t now = clock_us();
	struct deadline *d;

	(void)loop;
	(void)events;
	list->is_called = true;
	while ((d = TAILQ_FIRST(&list->entries)) != NULL && d->at_us <= now) {
		deadline_disarm(d);
		list->key.fn(d);
	}
	list->is_called = false;
	if (d != NULL && !ev_is_active(timer))
		start_timer(list, d->at_us);
}

static struct deadline_list *make_list(struct loop *loop, const struct key *key)
{
	struct deadline_list *list = calloc(1, sizeof(*list));

	if (list == NULL)
		return NULL;
	list->loop = loop;
	memcpy(&list->key, key, sizeof(*key));
	TAILQ_INIT(&list->entries);
	ev_init(&list->timer, on_timer);
	list->timer.data = list;
	HASH_ADD(hh, loop->deadlines, key, sizeof(list->key), list);
	if (HASH_HAS(list))
		return list;
	free(list);
	return NULL;
}

struct deadline_list *deadline_list(struct loop *loop, uint64_t span_us, deadline_fn *fn)
{
	struct deadline_list *list;
	struct key key;

	/* It is compared as bytes: those between the members count too. */
	memset(&key, 0, sizeof(key));
	key.span_us = span_us;
	key.fn = fn;
	HASH_FIND(hh, loop->deadlines, &key, sizeof(key), list);
	return list != NULL ? list : make_list(loop, &key);
}

void deadline_take_out(struct deadline *d)
{
	/* The timer is left alone: when it fires it finds nothing due, and looks at what is there then. */
	TAILQ_REMOVE(&d->list->entries, d, link);
	d->list = NULL;
}

void deadline_arm(struct deadline *d, struct deadline_list *list)
{
	deadline_disarm(d);
	if (list == NULL)
		return;
	d->list = list;
	d->at_us = clock_us() + list->key.span_us;
	TAILQ_INSERT_TAIL(&list->entries, d, link);
	/* Not for this entry, if a handler arms one while others are waiting. */
	if (!ev_is_active(&list->timer))
		start_timer(list, TAILQ_FIRST(&list->entries)->at_us);
}

void deadline_keep(struct deadline_list **kept, struct deadline_list *list)
{
	if (list != NULL)
		list->nkept++;
	if (*kept != NULL)
		(*kept)->nkept--;
	*kept = list;
}

static void drop(struct deadline_list *list)
{
	struct loop *loop = list->loop;

	HASH_DEL(loop->deadlines, list);
	ev_timer_stop(loop->ev, &list->timer);
	free(list);
}

void deadline_drop_unused(struct loop *loop)
{
	struct deadline_list *list, *next;

	HASH_ITER(hh, loop->deadlines, list, next)
		if (list->nkept == 0 && !list->is_called && TAILQ_EMPTY(&list->entries))
			drop(list);
}

unsigned deadline_list_count(const struct loop *loop)
{
	return HASH_COUNT(loop->deadlines);
}

void deadline_free_lists(struct loop *loop)
{
	struct deadline_list *list, *next;

	HASH_ITER(hh, loop->deadlines, list, next)
		drop(list);
}
