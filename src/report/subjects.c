#include "report/subjects.h"

#include <stdlib.h>

#include "conf/userlist.h"
#include "session/client.h"

/*
 * The names of all, and not they themselves: they may go while a table is told
 * in pieces. One block of memory, texts behind the items.
 */
struct roll {
	size_t n, bytes;             /* bytes: of the texts */
	char *text;                  /* where the next text goes; NULL: they are only counted */
	struct roll_item {
		struct slice name, user;
	} items[];
};

struct subject_kind {
	/* Adds all to the roll. Twice: when they are counted, and when their names are taken down. */
	void (*call)(const struct hub *hub, struct roll *roll);
	/* The one of this name; false: it is gone. */
	bool (*find)(const struct hub *hub, struct subject *s);
};

static struct slice keep(struct roll *roll, struct slice text)
{
	struct slice kept = {roll->text, text.n};

	if (text.n > 0)
		memcpy(roll->text, text.p, text.n);
	roll->text += text.n;
	return kept;
}

static void add(struct roll *roll, struct slice name, struct slice user)
{
	if (roll->text != NULL)
		roll->items[roll->n] = (struct roll_item){keep(roll, name), keep(roll, user)};
	roll->n++;
	roll->bytes += name.n + user.n;
}

static int compare_slices(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_items(const void *a, const void *b)
{
	const struct roll_item *x = a, *y = b;
	int order = compare_slices(x->name, y->name);

	return order != 0 ? order : compare_slices(x->user, y->user);
}

/* Sorted; NULL when out of memory. */
static struct roll *call_roll(const struct subject_kind *kind, const struct hub *hub)
{
	struct roll count = {0}, *roll;

	kind->call(hub, &count);
	roll = malloc(sizeof(*roll) + count.n * sizeof(roll->items[0]) + count.bytes);
	if (roll == NULL)
		return NULL;
	*roll = (struct roll){.text = (char *)&roll->items[count.n]};
	kind->call(hub, roll);
	qsort(roll->items, roll->n, sizeof(roll->items[0]), compare_items);
	return roll;
}

enum told subjects_piece(const struct subject_kind *kind, const struct report *r, struct table_place *place,
			 unsigned most, struct row_sink *sink, subject_row *row)
{
	const struct roll *roll;

	if (place->notes == NULL)
		place->notes = call_roll(kind, r->hub);
	roll = place->notes;
	if (roll == NULL)
		return TOLD_OUT_OF_MEMORY;
	for (; most > 0 && place->at < roll->n; place->at++, most--) {
		struct subject s = {.name = roll->items[place->at].name, .user = roll->items[place->at].user};

		if (kind->find(r->hub, &s) && !row(r, sink, &s))
			return TOLD_OUT_OF_MEMORY;
	}
	return place->at < roll->n ? TOLD_SOME : TOLD_ALL;
}

size_t subjects_count(const struct subject_kind *kind, const struct hub *hub)
{
	struct roll count = {0};

	kind->call(hub, &count);
	return count.n;
}

static bool is_console(const struct subject *s)
{
	return slice_is(s->name, CONSOLE_NAME);
}

/* --- Databases --- */

static void call_databases(const struct hub *hub, struct roll *roll)
{
	struct database *db = NULL;

	add(roll, SLICE_LIT(CONSOLE_NAME), (struct slice){0});
	while ((db = registry_next_database(hub->registry, db)) != NULL) {
		if (!db->is_dead)
			add(roll, atom_slice(db->name), (struct slice){0});
	}
}

static bool find_database(const struct hub *hub, struct subject *s)
{
	s->database = registry_find_database(hub->registry, s->name);
	return s->database != NULL || is_console(s);
}

const struct subject_kind subject_databases = {call_databases, find_database};

/* --- Pools --- */

static bool is_abandoned(const struct pool *pool)
{
	return pool->database->is_dead && pool->nclients + pool->nlogins + pool_server_count(pool) == 0;
}

static void call_pools(const struct hub *hub, struct roll *roll)
{
	struct pool *pool = NULL;

	add(roll, SLICE_LIT(CONSOLE_NAME), SLICE_LIT(CONSOLE_NAME));
	while ((pool = registry_next_pool(hub->registry, pool)) != NULL) {
		if (!is_abandoned(pool))
			add(roll, atom_slice(pool->database->name), atom_slice(pool->user->name));
	}
}

static bool find_pool(const struct hub *hub, struct subject *s)
{
	s->pool = registry_pool_named(hub->registry, s->name, s->user);
	return s->pool != NULL ? !is_abandoned(s->pool) : is_console(s);
}

const struct subject_kind subject_pools = {call_pools, find_pool};

/* --- Users --- */

static bool is_listed(const struct conf *conf, struct slice name)
{
	return slice_is(name, CONSOLE_NAME) || userlist_find(conf->userlist, name) != NULL;
}

/* One who is known from more than one place counts where he is met first. */
static void call_users(const struct hub *hub, struct roll *roll)
{
	const struct conf *conf = registry_conf(hub->registry);
	const struct slice none = {0};
	struct user *user = NULL;

	add(roll, SLICE_LIT(CONSOLE_NAME), none);
	for (size_t i = 0; i < userlist_count(conf->userlist); i++) {
		struct slice name = slice_of(userlist_at(conf->userlist, i)->name);

		if (!slice_is(name, CONSOLE_NAME))
			add(roll, name, none);
	}
	for (const struct conf_user *u = conf->users; u != NULL; u = u->next) {
		if (!is_listed(conf, slice_of(u->name)))
			add(roll, slice_of(u->name), none);
	}
	while ((user = registry_next_user(hub->registry, user)) != NULL) {
		if (!is_listed(conf, atom_slice(user->name)) && user->conf == NULL)
			add(roll, atom_slice(user->name), none);
	}
}

static bool find_user(const struct hub *hub, struct subject *s)
{
	const struct conf *conf = registry_conf(hub->registry);

	s->seen = registry_find_user(hub->registry, s->name);
	s->conf = conf_find_user(conf, s->name);
	return s->seen != NULL || s->conf != NULL || is_listed(conf, s->name);
}

const struct subject_kind subject_users = {call_users, find_user};

/* --- Hosts --- */

static void call_hosts(const struct hub *hub, struct roll *roll)
{
	const struct hosts *hosts = registry_hosts(hub->registry);

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h))
		add(roll, slice_of(h->key), (struct slice){0});
}

static bool find_host(const struct hub *hub, struct subject *s)
{
	s->host = hosts_find(registry_hosts(hub->registry), s->name);
	return s->host != NULL;
}

const struct subject_kind subject_hosts = {call_hosts, find_host};

/* --- What several tables ask --- */

unsigned console_client_count(const struct hub *hub)
{
	struct user *user = NULL;
	unsigned n = 0;

	while ((user = registry_next_user(hub->registry, user)) != NULL)
		n += user->nconsoles;
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
