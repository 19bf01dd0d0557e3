/*
 * Work that needs memory in very many places, and is given up as a whole when
 * there is none: a configuration being read. Whoever finds no memory calls
 * attempt_give_up(), and attempt() returns, as by longjmp().
 *
 * What would be lost then is guarded: memory, descriptors. Arenas guard
 * themselves. There is one attempt at a time.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"

/* Stays where it is until it is lifted: on the stack of whoever guards, or in what is guarded. */
struct guard {
	void (*undo)(void *arg);
	void *arg;
	struct guard **link, *next;      /* link NULL: guards nothing */
};

/*
 * True when work() has returned: what it has made is the caller's. False when it was given up: all that was guarded has
 * been undone, last to first.
 */
bool attempt(void (*work)(void *arg), void *arg);

/* Ends the program, with a word on standard error, when there is no attempt. */
_Noreturn void attempt_give_up(void);

/* undo(arg) is called when the attempt is given up before guard_lift(). Outside of attempts nothing happens. */
void guard_set(struct guard *g, void (*undo)(void *arg), void *arg);
void guard_strbuf(struct guard *g, struct strbuf *b);
void guard_lift(struct guard *g);
