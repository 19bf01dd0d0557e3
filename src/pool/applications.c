#include "pool/applications.h"

#include <stdlib.h>
#include <string.h>

/* How often who has no place is counted with the others before it tries again for one: that costs a look at all places. */
#define TRIES_EVERY 32

struct applications *applications_new(const struct params *params, size_t most)
{
	struct applications *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->parameter = (size_t)params_find(params, SLICE_LIT("application_name"));
	a->most = most;
	a->places = calloc(most + 1, sizeof(a->places[0]));
	if (a->places == NULL)
		applications_free(&a);
	return a;
}

void applications_free(struct applications **a)
{
	struct applications *dead = *a;

	*a = NULL;
	if (dead == NULL)
		return;
	for (size_t i = 0; dead->places != NULL && i <= dead->n; i++)
		atom_unref(&dead->places[i].name);
	free(dead->places);
	free(dead);
}

static uint64_t rank(const struct application *app)
{
	return app->rank + app->transactions;
}

/* What it has counted is the others' from now on. */
static void give_to_others(struct applications *a, struct application *app)
{
	struct application *others = &a->places[0];

	others->transactions += app->transactions;
	others->queries += app->queries;
	others->transaction_time += app->transaction_time;
	others->query_time += app->query_time;
	others->wait_time += app->wait_time;
	atom_unref(&app->name);
}

static size_t lowest(const struct applications *a)
{
	size_t found = 1;

	for (size_t i = 2; i <= a->n; i++)
		if (rank(&a->places[i]) < rank(&a->places[found]))
			found = i;
	return found;
}

/* The place of a name that has none; 0: there is no place to be had, or no memory. */
static size_t take_place(struct applications *a, struct slice name)
{
	struct application fresh = {0};
	size_t i;

	if (a->most == 0 || slice_is(name, APPLICATIONS_OTHER))
		return 0;
	fresh.name = atom_get(name);
	if (fresh.name == NULL)
		return 0;
	fresh.generation = ++a->last_generation;
	if (a->n < a->most) {
		i = ++a->n;
	} else {
		i = lowest(a);
		fresh.rank = rank(&a->places[i]) + 1;
		give_to_others(a, &a->places[i]);
	}
	a->places[i] = fresh;
	return i;
}

static struct slice name_of(const struct applications *a, const struct paramset *set)
{
	const struct atom *value = paramset_value(set, a->parameter);
	struct slice name = value == NULL ? SLICE_LIT("") : atom_slice(value);

	if (name.n > APPLICATION_NAME_MAX)
		name.n = APPLICATION_NAME_MAX;
	return name;
}

static size_t find(const struct applications *a, struct slice name)
{
	const struct atom *atom = atom_find(name);

	for (size_t i = 1; atom != NULL && i <= a->n; i++)
		if (a->places[i].name == atom)
			return i;
	return 0;
}

size_t applications_find(const struct applications *a, const struct paramset *set)
{
	return find(a, name_of(a, set));
}

struct application *applications_look_up(struct applications *a, struct paramset *set)
{
	struct paramset_mark *mark = paramset_mark(set);
	bool has_lost_it = mark->place != 0;
	size_t i;

	if (!has_lost_it && mark->misses % TRIES_EVERY != 0) {
		mark->misses++;
		return &a->places[0];
	}
	i = find(a, name_of(a, set));
	/* Who has just been driven out does not drive out the next one at once. */
	if (i == 0 && !has_lost_it)
		i = take_place(a, name_of(a, set));
	*mark = (struct paramset_mark){
		.generation = a->places[i].generation, .place = (uint16_t)i, .misses = i == 0 ? 1 : 0};
	return &a->places[i];
}

static int compare(const void *x, const void *y)
{
	const struct application *a = *(struct application *const *)x, *b = *(struct application *const *)y;

	if (a->transactions != b->transactions)
		return a->transactions < b->transactions ? 1 : -1;
	return (a > b) - (a < b);
}

void applications_sort(const struct applications *a, const struct application **order)
{
	for (size_t i = 0; i < a->n; i++)
		order[i] = &a->places[i + 1];
	qsort(order, a->n, sizeof(order[0]), compare);
}

bool applications_resize(struct applications *a, size_t most)
{
	struct application *places;

	if (most == a->most)
		return true;
	places = calloc(most + 1, sizeof(places[0]));
	if (places == NULL)
		return false;
	while (a->n > most) {
		size_t i = lowest(a);

		give_to_others(a, &a->places[i]);
		a->places[i] = a->places[a->n--];
	}
	memcpy(places, a->places, (a->n + 1) * sizeof(places[0]));
	free(a->places);
	a->places = places;
	a->most = most;
	return true;
}
