/*
 * Deadlines: one list and one timer per duration, not a timer per connection.
 *
 * Everything armed with the same duration expires in the order in which it was
 * armed, so arming and disarming are list operations of constant cost. The
 * timer only wakes the loop when the first entry may be due, and an empty list
 * has none running.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"

struct deadline_list;

/* Embedded in what may expire. All zero: not armed. */
struct deadline {
	TAILQ_ENTRY(deadline) link;
	struct deadline_list *list;      /* NULL: not armed */
	uint64_t at_us;
};

/* Called once for an entry that is due; it is disarmed by then and may be armed again or freed. */
typedef void deadline_fn(struct deadline *d);

/*
 * The list for what `fn` handles after this span; made at the first call, found at constant cost. It stays until
 * deadline_drop_unused() finds that nothing is armed in it: who has a pointer to it for longer says so by
 * deadline_keep().
 */
struct deadline_list *deadline_list(struct loop *loop, uint64_t span_us, deadline_fn *fn);

/* The same for a setting in which 0 stands for no bound: NULL then. */
static inline struct deadline_list *deadline_list_unless_0(struct loop *loop, uint64_t span_us, deadline_fn *fn)
{
	return span_us == 0 ? NULL : deadline_list(loop, span_us, fn);
}

/* *kept, which was NULL at first, points to this list from now on; NULL: to none any more. */
void deadline_keep(struct deadline_list **kept, struct deadline_list *list);

/* Lists that nobody keeps and in which nothing is armed go. For a reload: durations are others by then. */
void deadline_drop_unused(struct loop *loop);

/* How many there are. */
unsigned deadline_list_count(const struct loop *loop);

/* Moves the entry to the end of the list; it is due a span from now. NULL: disarms it. */
void deadline_arm(struct deadline *d, struct deadline_list *list);

/* For the next: of one that is armed. */
void deadline_take_out(struct deadline *d);

static inline void deadline_disarm(struct deadline *d)
{
	if (d->list != NULL)
		deadline_take_out(d);
}

/* For one whose list may have become another (a reload): armed in that one from now on; left alone if it is the same. */
static inline void deadline_renew(struct deadline *d, struct deadline_list *list)
{
	if (d->list != list)
		deadline_arm(d, list);
}

static inline bool deadline_is_armed(const struct deadline *d)
{
	return d->list != NULL;
}

/* For loop_free(). */
void deadline_free_lists(struct loop *loop);
