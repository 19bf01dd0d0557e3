/*
 * Why something failed last, in the words for those who ask later.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/atom.h"

/* All zero: nothing has failed. The texts are held. */
struct failure {
	struct atom *sqlstate, *message;
	struct atom *detail, *hint;      /* NULL: none */
	bool is_servers;                 /* the server's own words */
};

/* Texts are copied; detail and hint may be NULL. */
void failure_set(struct failure *f, const char *sqlstate, const char *message, const char *detail, const char *hint,
		 bool is_servers);
void failure_copy(struct failure *f, const struct failure *from);
void failure_clear(struct failure *f);

static inline const char *failure_text(const struct atom *a)
{
	return a == NULL ? NULL : a->text;
}
