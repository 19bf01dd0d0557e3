/*
 * What applications, by their application_name, ask of the servers: the names
 * that have run most transactions, and the others together.
 *
 * Clients choose their names, so there are so many places and no more. A name
 * that has none takes that of the name with the fewest transactions, whose
 * counts go to the others ("space saving": Metwally, Agrawal, El Abbadi, 2005).
 * The newcomer inherits that number as its rank, so that of 10,000 names that
 * come once none drives out one that keeps coming. Counts are what they say:
 * what has run since the name got its place.
 *
 * Where the counts of a client's queries go is kept with its set of parameters
 * (struct paramset_mark): a query costs no look-up of a name.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/params.h"

/* The name under which all those are told that have no place; who calls itself so is one of them. */
#define APPLICATIONS_OTHER "other"

/* Longer names are cut, as PostgreSQL does. */
#define APPLICATION_NAME_MAX 63

/* Times in microseconds. */
struct application {
	struct atom *name;           /* NULL: the others */
	uint64_t transactions, queries, transaction_time, query_time, wait_time;
	uint64_t rank;               /* to which its transactions are added: see above */
	uint32_t generation;         /* of this place: a mark of another one is void */
};

struct applications {
	struct application *places;  /* the first is the others' */
	size_t n, most;              /* beside the others' */
	uint32_t last_generation;
	size_t parameter;            /* the index of application_name in a paramset */
};

/* With room for that many names. NULL: out of memory. */
struct applications *applications_new(const struct params *params, size_t most);
void applications_free(struct applications **a);

/* Changes how many; if they become fewer, the first in rank stay. False, and nothing changed, when out of memory. */
bool applications_resize(struct applications *a, size_t most);

/* For applications_of(): the place is found by name, or it is time to get one. */
__attribute__((cold))
struct application *applications_look_up(struct applications *a, struct paramset *set);

/* Where sessions with these parameters are counted; it stands until the next call. */
static inline struct application *applications_of(struct applications *a, struct paramset *set)
{
	const struct paramset_mark *mark = paramset_mark(set);

	if (mark->place != 0 && mark->place <= a->n && a->places[mark->place].generation == mark->generation)
		return &a->places[mark->place];
	return applications_look_up(a, set);
}

/* The same for a reader: no place is given to anybody. Its index, 0 for the others. */
size_t applications_find(const struct applications *a, const struct paramset *set);

/* All but the others into an array of a->n, those with the most transactions first. */
void applications_sort(const struct applications *a, const struct application **order);
