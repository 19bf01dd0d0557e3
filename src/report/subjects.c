#include "report/subjects.h"

#include <stdlib.h>

#include "conf/userlist.h"
#include "session/client.h"

static int compare_slices(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_subjects(const void *a, const void *b)
{
	const struct subject *x = a, *y = b;
	int order = compare_slices(x->name, y->name);

	return order != 0 ? order : compare_slices(x->user, y->user);
}

static void sort(struct subjects *list)
{
	qsort(list->items, list->n, sizeof(list->items[0]), compare_subjects);
}

/* An empty list with room for `most`. */
static bool prepare(struct subjects *list, size_t most)
{
	list->n = 0;
	list->items = calloc(most, sizeof(list->items[0]));
	return list->items != NULL;
}

static struct subject *add(struct subjects *list, struct slice name)
{
	struct subject *s = &list->items[list->n++];

	s->name = name;
	return s;
}

bool subjects_databases(const struct hub *hub, struct subjects *list)
{
	struct database *db = NULL;
	size_t n = 1;

	while ((db = registry_next_database(hub->registry, db)) != NULL)
		n++;
	if (!prepare(list, n))
		return false;
	add(list, SLICE_LIT(CONSOLE_NAME));
	while ((db = registry_next_database(hub->registry, db)) != NULL) {
		if (!db->is_dead)
			add(list, atom_slice(db->name))->database = db;
	}
	sort(list);
	return true;
}

static bool is_abandoned(const struct pool *pool)
{
	return pool->database->is_dead && pool->nclients + pool->nlogins + pool_server_count(pool) == 0;
}

bool subjects_pools(const struct hub *hub, struct subjects *list)
{
	struct pool *pool = NULL;

	if (!prepare(list, (size_t)registry_pool_count(hub->registry) + 1))
		return false;
	add(list, SLICE_LIT(CONSOLE_NAME))->user = SLICE_LIT(CONSOLE_NAME);
	while ((pool = registry_next_pool(hub->registry, pool)) != NULL) {
		struct subject *s;

		if (is_abandoned(pool))
			continue;
		s = add(list, atom_slice(pool->database->name));
		s->user = atom_slice(pool->user->name);
		s->pool = pool;
	}
	sort(list);
	return true;
}

/* What is known of one user stands side by side now; makes one of it. */
static void merge_users(struct subjects *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct subject *s = &list->items[i];

		if (n == 0 || !slice_eq(list->items[n - 1].name, s->name)) {
			list->items[n++] = *s;
			continue;
		}
		if (s->seen != NULL)
			list->items[n - 1].seen = s->seen;
		if (s->conf != NULL)
			list->items[n - 1].conf = s->conf;
	}
	list->n = n;
}

static size_t bound_of_users(const struct hub *hub)
{
	const struct conf *conf = registry_conf(hub->registry);
	size_t n = userlist_count(conf->userlist) + 1;
	struct user *user = NULL;

	for (const struct conf_user *u = conf->users; u != NULL; u = u->next)
		n++;
	while ((user = registry_next_user(hub->registry, user)) != NULL)
		n++;
	return n;
}

bool subjects_users(const struct hub *hub, struct subjects *list)
{
	const struct conf *conf = registry_conf(hub->registry);
	struct user *user = NULL;

	if (!prepare(list, bound_of_users(hub)))
		return false;
	add(list, SLICE_LIT(CONSOLE_NAME));
	for (size_t i = 0; i < userlist_count(conf->userlist); i++)
		add(list, slice_of(userlist_at(conf->userlist, i)->name));
	for (const struct conf_user *u = conf->users; u != NULL; u = u->next)
		add(list, slice_of(u->name))->conf = u;
	while ((user = registry_next_user(hub->registry, user)) != NULL)
		add(list, atom_slice(user->name))->seen = user;
	sort(list);
	merge_users(list);
	return true;
}

void subjects_free(struct subjects *list)
{
	free(list->items);
	*list = (struct subjects){0};
}

struct subject *subjects_find(const struct subjects *list, struct slice name)
{
	struct subject key = {.name = name};

	return bsearch(&key, list->items, list->n, sizeof(list->items[0]), compare_subjects);
}

unsigned console_client_count(const struct hub *hub)
{
	const struct client *c;
	uint32_t i = 0;
	unsigned n = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		n += client_is_on_console(c);
	return n;
}

unsigned database_server_count(const struct database *db)
{
	struct pool *pool = NULL;
	unsigned n = 0;

	while ((pool = database_next_pool(db, pool)) != NULL)
		n += pool_server_count(pool);
	return n;
}

bool server_is_used(const struct pool_server *s, uint64_t now)
{
	const struct pool_settings *set = &s->pool->settings;

	return s->state == POOL_SERVER_IDLE && set->checks && now - s->idle_since > set->check_delay_us;
}

const char *load_balance_word(const struct conf *conf, const struct conf_database *db)
{
	enum setting_id id = SETTING_load_balance_hosts;

	if (db == NULL || db->nhosts < 2)
		return NULL;
	return setting_choice_word(id, (int)conf_effective(conf, id, db, NULL));
}

void history_of_database(const struct database *db, struct stats_history *sum)
{
	struct pool *pool = NULL;

	*sum = db->gone;
	while ((pool = database_next_pool(db, pool)) != NULL)
		stats_add_history(sum, &pool->stats);
}

void history_of_all(const struct hub *hub, struct stats_history *sum)
{
	struct database *db = NULL;

	*sum = *registry_gone_stats(hub->registry);
	while ((db = registry_next_database(hub->registry, db)) != NULL) {
		struct stats_history of_one;

		history_of_database(db, &of_one);
		stats_add_history(sum, &of_one);
	}
}
