#include "base/attempt.h"

#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_going_on;
static jmp_buf out;
static struct guard *guards;             /* the last one first */

bool attempt(void (*work)(void *arg), void *arg)
{
	assert(!is_going_on);
	is_going_on = true;
	if (setjmp(out) != 0)
		return false;
	work(arg);
	while (guards != NULL)
		guard_lift(guards);
	is_going_on = false;
	return true;
}

/* Guards are on stacks that are gone after the jump. */
static void undo_all(void)
{
	while (guards != NULL) {
		struct guard g = *guards;

		guard_lift(guards);
		g.undo(g.arg);
	}
}

_Noreturn void attempt_give_up(void)
{
	if (!is_going_on) {
		fputs("out of memory\n", stderr);
		abort();
	}
	undo_all();
	is_going_on = false;
	longjmp(out, 1);
}

void guard_set(struct guard *g, void (*undo)(void *arg), void *arg)
{
	*g = (struct guard){.undo = undo, .arg = arg};
	if (!is_going_on)
		return;
	g->link = &guards;
	g->next = guards;
	if (g->next != NULL)
		g->next->link = &g->next;
	guards = g;
}

static void undo_strbuf(void *arg)
{
	strbuf_fini(arg);
}

void guard_strbuf(struct guard *g, struct strbuf *b)
{
	guard_set(g, undo_strbuf, b);
}

void guard_lift(struct guard *g)
{
	if (g->link == NULL)
		return;
	*g->link = g->next;
	if (g->next != NULL)
		g->next->link = g->link;
	g->link = NULL;
}
