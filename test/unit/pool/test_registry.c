#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/registry.h"

#include "../conf/tempdir.h"

#define SECOND UINT64_C(1000000)

static struct registry *registry;

/* What the hooks were called for: "pool shop/ann", one a line. */
static struct strbuf calls;
static bool refuses;

/* The hosts that are gone: "127.0.0.1:5432", one a line. */
static struct strbuf gone;

/* The first bound that is reached; NULL: there is room under all of them. */
static struct cap *cap_full(const struct pool *p, enum cap_kind *kind)
{
	for (size_t i = 0; i < CAP_KINDS; i++) {
		struct cap *bound = p->seats[i].cap;

		if (bound == NULL || !cap_is_full(bound))
			continue;
		*kind = (enum cap_kind)i;
		return bound;
	}
	return NULL;
}

static bool note_pool(void *arg, struct pool *pool)
{
	assert_ptr_equal(arg, &calls);
	strbuf_addf(&calls, "pool %s/%s\n", pool->database->name->text, pool->user->name->text);
	return !refuses;
}

static void note_pool_freed(void *arg, struct pool *pool)
{
	(void)arg;
	strbuf_addf(&calls, "freed %s/%s\n", pool->database->name->text, pool->user->name->text);
}

static bool note_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
	return true;
}

static void note_user_freed(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
}

static void note_changed(void *arg, struct database *db)
{
	(void)arg;
	strbuf_addf(&calls, "changed %s\n", db->name->text);
}

static void note_removed(void *arg, struct database *db)
{
	(void)arg;
	strbuf_addf(&calls, "removed %s\n", db->name->text);
}

static void note_auto(void *arg, struct database *db)
{
	(void)arg;
	strbuf_addf(&calls, "auto %s\n", db->name->text);
}

static void note_gone(void *arg, struct host *host)
{
	assert_ptr_equal(arg, &gone);
	strbuf_addf(&gone, "%s\n", host->key);
}

static const struct registry_hooks hooks = {
	.on_pool = note_pool,
	.on_pool_freed = note_pool_freed,
	.on_user = note_user,
	.on_user_freed = note_user_freed,
	.on_database_changed = note_changed,
	.on_database_removed = note_removed,
	.on_auto_database = note_auto,
	.arg = &calls,
};

static struct conf *conf_of(const char *ini)
{
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("test.ini", ini), NULL, 0, &problems);
	if (conf == NULL)
		fail_msg("%s", problems.errors.p);
	conf_problems_fini(&problems);
	return conf;
}

static void open_with(const char *ini)
{
	strbuf_init(&calls);
	strbuf_add_str(&calls, "");
	strbuf_init(&gone);
	strbuf_add_str(&gone, "");
	refuses = false;
	registry = registry_new(conf_of(ini), &hooks);
	assert_non_null(registry);
	hosts_on_gone(registry_hosts(registry), note_gone, &gone);
}

static int tear_down(void **state)
{
	(void)state;
	registry_free(registry);
	strbuf_fini(&calls);
	strbuf_fini(&gone);
	return atom_count() == 0 ? 0 : -1;
}

static void reload(const char *ini)
{
	strbuf_reset(&calls);
	strbuf_reset(&gone);
	registry_reload(registry, conf_of(ini));
}

static struct database *database(const char *name)
{
	return registry_database(registry, slice_of(name));
}

static struct user *user(const char *name)
{
	return registry_user(registry, slice_of(name));
}

static struct pool *pool(const char *db, const char *who)
{
	return registry_pool(registry, database(db), user(who));
}

static const char two[] = "[databases]\nshop = host=127.0.0.1\nbooks = host=127.0.0.1 dbname=library\n[pgbouncer]\n";

/* ------------------------------------------------------------------ databases */

static void configured_databases_are_known_from_the_start(void **state)
{
	struct database *db = NULL;
	unsigned n = 0;

	(void)state;
	open_with(two);
	assert_string_equal(database("shop")->name->text, "shop");
	assert_ptr_equal(database("shop"), database("shop"));
	assert_null(database("Shop"));
	assert_null(database("sho"));
	while ((db = registry_next_database(registry, db)) != NULL)
		n++;
	assert_int_equal(n, 2);
	assert_string_equal(calls.p, "");
}

static void the_name_on_the_server_may_be_another(void **state)
{
	(void)state;
	open_with(two);
	assert_string_equal(database_server_name(database("shop")), "shop");
	assert_string_equal(database_server_name(database("books")), "library");
}

static void without_a_star_unknown_databases_do_not_exist(void **state)
{
	(void)state;
	open_with(two);
	assert_null(database("other"));
	assert_null(database(""));
	assert_string_equal(calls.p, "");
}

static void a_star_makes_databases_as_they_are_asked_for(void **state)
{
	struct database *db;

	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n* = host=127.0.0.2 pool_size=7\n[pgbouncer]\n");
	db = database("other");
	assert_non_null(db);
	assert_true(db->is_auto);
	assert_false(database("shop")->is_auto);
	assert_string_equal(db->conf->hosts[0].host, "127.0.0.2");
	assert_string_equal(database_server_name(db), "other");
	assert_ptr_equal(database("other"), db);
	assert_string_equal(calls.p, "auto other\n");
	assert_int_equal(pool("other", "ann")->settings.size, 7);
}

static void an_automatic_database_can_be_dropped_with_its_pools(void **state)
{
	(void)state;
	open_with("[databases]\n* = host=127.0.0.1\n[pgbouncer]\n");
	pool("a", "ann");
	pool("b", "ann");
	pool("a", "bob");
	strbuf_reset(&calls);
	registry_drop_database(registry, database("a"));
	assert_int_equal(registry_pool_count(registry), 1);
	assert_string_equal(calls.p, "freed a/ann\nfreed a/bob\n");
	assert_string_equal(registry_next_database(registry, NULL)->name->text, "b");
}

static void to_look_for_a_database_makes_none(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n* = host=127.0.0.1\n[pgbouncer]\n");
	assert_non_null(registry_find_database(registry, SLICE_LIT("shop")));
	assert_null(registry_find_database(registry, SLICE_LIT("other")));
	assert_string_equal(calls.p, "");
	database("other");
	assert_ptr_equal(registry_find_database(registry, SLICE_LIT("other")), database("other"));
	reload("[databases]\nbooks = host=127.0.0.1\n[pgbouncer]\n");
	assert_null(registry_find_database(registry, SLICE_LIT("shop")));
}

/* ------------------------------------------------------------------ users and pools */

static void a_user_is_made_once(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n[users]\nann = pool_mode=session\n[pgbouncer]\n");
	assert_ptr_equal(user("ann"), user("ann"));
	assert_ptr_not_equal(user("ann"), user("Ann"));
	assert_non_null(user("ann")->conf);
	assert_null(user("bob")->conf);
}

static void to_look_for_users_and_pools_makes_none(void **state)
{
	struct pool *p;

	(void)state;
	open_with(two);
	assert_null(registry_find_user(registry, SLICE_LIT("ann")));
	assert_null(registry_pool_named(registry, SLICE_LIT("shop"), SLICE_LIT("ann")));
	p = pool("shop", "ann");
	assert_ptr_equal(registry_find_user(registry, SLICE_LIT("ann")), p->user);
	assert_ptr_equal(registry_pool_named(registry, SLICE_LIT("shop"), SLICE_LIT("ann")), p);
	assert_null(registry_pool_named(registry, SLICE_LIT("books"), SLICE_LIT("ann")));
	assert_null(registry_pool_named(registry, SLICE_LIT("shop"), SLICE_LIT("bob")));
	assert_null(registry_pool_named(registry, SLICE_LIT("elsewhere"), SLICE_LIT("ann")));
	reload("[databases]\nbooks = host=127.0.0.1\n[pgbouncer]\n");
	assert_ptr_equal(registry_pool_named(registry, SLICE_LIT("shop"), SLICE_LIT("ann")), p);
	assert_int_equal(registry_pool_count(registry), 1);
}

static void a_pool_is_for_one_user_on_one_database(void **state)
{
	struct pool *p;

	(void)state;
	open_with(two);
	p = pool("shop", "ann");
	assert_ptr_equal(pool("shop", "ann"), p);
	assert_ptr_not_equal(pool("shop", "bob"), p);
	assert_ptr_not_equal(pool("books", "ann"), p);
	assert_ptr_equal(p->database, database("shop"));
	assert_ptr_equal(p->user, user("ann"));
	assert_int_equal(registry_pool_count(registry), 3);
	assert_string_equal(calls.p, "pool shop/ann\npool shop/bob\npool books/ann\n");
}

static void a_forced_user_has_one_pool_for_all(void **state)
{
	struct pool *p;

	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1 user=app\n[pgbouncer]\n");
	p = pool("shop", "ann");
	assert_string_equal(p->user->name->text, "app");
	assert_true(p->settings.is_forced_user);
	assert_ptr_equal(pool("shop", "bob"), p);
	assert_ptr_equal(registry_pool(registry, database("shop"), NULL), p);
	assert_int_equal(registry_pool_count(registry), 1);
}

static struct pool *find_pool(const char *db, const char *who)
{
	return registry_find_pool(registry, slice_of(db), slice_of(who));
}

static void to_look_for_a_pool_makes_none(void **state)
{
	struct pool *p;

	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\nforced = host=127.0.0.1 user=app\n[pgbouncer]\n");
	assert_null(find_pool("shop", "ann"));
	user("ann");
	assert_null(find_pool("shop", "ann"));
	assert_null(find_pool("nowhere", "ann"));
	assert_int_equal(registry_pool_count(registry), 0);
	p = pool("shop", "ann");
	assert_ptr_equal(find_pool("shop", "ann"), p);
	assert_null(find_pool("shop", "bob"));
	p = pool("forced", "ann");
	assert_ptr_equal(find_pool("forced", "whoever"), p);
}

static void without_a_user_there_is_no_pool(void **state)
{
	(void)state;
	open_with(two);
	assert_null(registry_pool(registry, database("shop"), NULL));
	assert_int_equal(registry_pool_count(registry), 0);
}

static void a_pool_that_is_refused_leaves_nothing(void **state)
{
	(void)state;
	open_with(two);
	refuses = true;
	assert_null(pool("shop", "ann"));
	assert_int_equal(registry_pool_count(registry), 0);
	assert_null(registry_next_pool(registry, NULL));
	assert_null(database_next_pool(database("shop"), NULL));
	assert_string_equal(calls.p, "pool shop/ann\nfreed shop/ann\n");
}

static void a_pool_has_the_settings_that_hold_for_it(void **state)
{
	struct pool_settings *set;

	(void)state;
	open_with("[databases]\n"
		  "shop = host=127.0.0.1 pool_mode=transaction pool_size=3 min_pool_size=1 reserve_pool_size=2\n"
		  "books = host=127.0.0.1\n"
		  "[users]\n"
		  "ann = pool_mode=statement pool_size=9\n"
		  "[pgbouncer]\n"
		  "default_pool_size = 25\n"
		  "min_pool_size = 4\n"
		  "reserve_pool_timeout = 7\n"
		  "server_lifetime = 100\n"
		  "server_connect_parallel = 6\n"
		  "server_round_robin = 1\n"
		  "server_check_delay = 11\n"
		  "server_check_query = select 1\n");
	set = &pool("shop", "bob")->settings;
	assert_int_equal(set->mode, POOL_MODE_TRANSACTION);
	assert_int_equal(set->size, 3);
	assert_int_equal(set->min_size, 1);
	assert_int_equal(set->reserve_size, 2);
	assert_int_equal(set->reserve_timeout_us, 7 * SECOND);
	assert_int_equal(set->server_lifetime_us, 100 * SECOND);
	assert_int_equal(set->connect_parallel, 6);
	assert_true(set->round_robin);
	assert_int_equal(set->check_delay_us, 11 * SECOND);
	assert_true(set->checks);
	assert_false(set->is_forced_user);
	set = &pool("books", "bob")->settings;
	assert_int_equal(set->mode, POOL_MODE_SESSION);
	assert_int_equal(set->size, 25);
	assert_int_equal(set->min_size, 4);
	/* The user's before the database's. */
	set = &pool("shop", "ann")->settings;
	assert_int_equal(set->mode, POOL_MODE_STATEMENT);
	assert_int_equal(set->size, 9);
}

static void a_pool_has_the_settings_of_hosts_and_bounds_too(void **state)
{
	struct pool_settings *set;

	(void)state;
	open_with("[databases]\n"
		  "shop = host=127.0.0.1 guaranteed_pool_size=2 load_balance_hosts=least-connections "
		  "target_session_attrs=prefer-standby server_down_action=wait\n"
		  "books = host=127.0.0.1\n"
		  "[users]\n"
		  "ann = guaranteed_pool_size=5\n"
		  "[pgbouncer]\n"
		  "guaranteed_pool_size = 1\n"
		  "target_session_attrs = read-write\n"
		  "breaker_failures = 7\n"
		  "host_connect_parallel = 8\n"
		  "host_check_interval = 9\n"
		  "server_login_retry = 10\n");
	set = &pool("shop", "bob")->settings;
	assert_int_equal(set->guaranteed_size, 2);
	assert_int_equal(set->load_balance, LOAD_BALANCE_LEAST_CONNECTIONS);
	assert_int_equal(set->attrs, TARGET_PREFER_STANDBY);
	assert_int_equal(set->down_action, SERVER_DOWN_WAIT);
	assert_int_equal(set->breaker_failures, 7);
	assert_int_equal(set->host_connect_parallel, 8);
	assert_int_equal(set->recheck_us, 9 * SECOND);
	assert_int_equal(set->most_retry_wait_us, 10 * SECOND);
	set = &pool("books", "bob")->settings;
	assert_int_equal(set->guaranteed_size, 1);
	assert_int_equal(set->load_balance, LOAD_BALANCE_ROUND_ROBIN);
	assert_int_equal(set->attrs, TARGET_READ_WRITE);
	assert_int_equal(set->down_action, SERVER_DOWN_FAIL);
	/* The user's before the database's. */
	assert_int_equal(pool("shop", "ann")->settings.guaranteed_size, 5);
}

static void an_empty_check_query_checks_nothing(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nserver_check_query =\n");
	assert_false(pool("shop", "ann")->settings.checks);
}

static void a_new_pool_of_a_paused_database_is_paused(void **state)
{
	(void)state;
	open_with(two);
	database("shop")->is_paused = true;
	assert_true(pool("shop", "ann")->is_paused);
	assert_false(pool("books", "ann")->is_paused);
}

static void a_users_setting_comes_before_the_general_one(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n[users]\nann = max_user_connections=3\n"
		  "[pgbouncer]\nmax_user_connections = 50\n");
	assert_int_equal(registry_user_setting(registry, SETTING_max_user_connections, user("ann")), 3);
	assert_int_equal(registry_user_setting(registry, SETTING_max_user_connections, user("bob")), 50);
	assert_int_equal(registry_user_setting(registry, SETTING_max_user_connections, NULL), 50);
}

static void iteration_meets_every_pool_and_user_once(void **state)
{
	struct pool *p = NULL;
	struct user *u = NULL;
	char name[16];
	unsigned n = 0;

	(void)state;
	open_with(two);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		pool("shop", name);
		pool("books", name);
	}
	while ((p = registry_next_pool(registry, p)) != NULL)
		n++;
	assert_int_equal(n, 200);
	n = 0;
	while ((p = database_next_pool(database("books"), p)) != NULL) {
		assert_ptr_equal(p->database, database("books"));
		n++;
	}
	assert_int_equal(n, 100);
	n = 0;
	while ((u = registry_next_user(registry, u)) != NULL)
		n++;
	assert_int_equal(n, 100);
}

/* ------------------------------------------------------------------ hosts */

/* All hosts that are known, in the order in which they came: "a:1 b:2 ". */
static void assert_hosts(const char *expected)
{
	const struct hosts *hosts = registry_hosts(registry);
	struct strbuf text;

	strbuf_init(&text);
	strbuf_add_str(&text, "");
	for (struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h))
		strbuf_addf(&text, "%s ", h->key);
	assert_string_equal(text.p, expected);
	strbuf_fini(&text);
}

static void assert_hosts_of(const struct database *db, const char *expected)
{
	struct strbuf text;

	strbuf_init(&text);
	for (unsigned i = 0; i < db->nhosts; i++)
		strbuf_addf(&text, "%s ", db->hosts[i]->key);
	assert_string_equal(text.p, expected);
	strbuf_fini(&text);
	for (unsigned i = 0; i < db->nhosts; i++)
		assert_int_equal(db->read_only_until[i], 0);
	assert_true(db->next_host < db->nhosts);
}

static void a_database_has_the_hosts_of_its_entry_in_their_order(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h2,h1,h3 port=7\nbooks = host=h1\nplain =\n[pgbouncer]\nunix_socket_dir = /run\n");
	assert_hosts_of(database("shop"), "h2:7 h1:7 h3:7 ");
	assert_hosts_of(database("books"), "h1:5432 ");
	assert_hosts_of(database("plain"), "/run:5432 ");
	assert_hosts("h2:7 h1:7 h3:7 h1:5432 /run:5432 ");
}

static void databases_that_name_the_same_host_share_it(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1,h2\nbooks = host=h2,h2\n[pgbouncer]\n");
	assert_ptr_equal(database("shop")->hosts[1], database("books")->hosts[0]);
	assert_ptr_equal(database("books")->hosts[0], database("books")->hosts[1]);
	assert_int_equal(database("shop")->hosts[1]->refs, 3);
	assert_hosts("h1:5432 h2:5432 ");
}

static void an_automatic_database_has_the_hosts_of_the_star(void **state)
{
	(void)state;
	open_with("[databases]\n* = host=h1,h2\n[pgbouncer]\n");
	assert_hosts("");
	assert_hosts_of(database("a"), "h1:5432 h2:5432 ");
	assert_ptr_equal(database("a")->hosts[1], database("b")->hosts[1]);
	registry_drop_database(registry, database("a"));
	assert_string_equal(gone.p, "");
	registry_drop_database(registry, database("b"));
	assert_string_equal(gone.p, "h1:5432\nh2:5432\n");
	assert_hosts("");
}

static void a_reload_keeps_what_logins_have_told_of_a_databases_hosts(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1,h2\nbooks = host=h2\n[pgbouncer]\n");
	database("shop")->read_only_until[1] = 4711;
	reload("[databases]\nshop = host=h3,h2,h1\nbooks = host=h2\n[pgbouncer]\n");
	assert_int_equal(database("shop")->read_only_until[0], 0);
	assert_int_equal(database("shop")->read_only_until[1], 4711);
	assert_int_equal(database("shop")->read_only_until[2], 0);
	assert_int_equal(database("books")->read_only_until[0], 0);
}

static void a_reload_keeps_hosts_that_are_still_named(void **state)
{
	struct host *host;

	(void)state;
	open_with("[databases]\nshop = host=h1,h2\nbooks = host=h3\n[pgbouncer]\n");
	host = database("shop")->hosts[1];
	host->role = HOST_STANDBY;
	host->breaker.nfailures = 3;
	reload("[databases]\nshop = host=h2,h4\nbooks = host=h2\n[pgbouncer]\n");
	assert_hosts_of(database("shop"), "h2:5432 h4:5432 ");
	assert_ptr_equal(database("shop")->hosts[0], host);
	assert_ptr_equal(database("books")->hosts[0], host);
	assert_int_equal(host->role, HOST_STANDBY);
	assert_int_equal(host->breaker.nfailures, 3);
	assert_int_equal(host->refs, 2);
	assert_string_equal(gone.p, "h1:5432\nh3:5432\n");
	/* A reload that changes nothing changes nothing here. */
	reload("[databases]\nshop = host=h2,h4\nbooks = host=h2\n[pgbouncer]\n");
	assert_int_equal(host->refs, 2);
	assert_string_equal(gone.p, "");
	assert_string_equal(calls.p, "");
}

static void a_host_that_a_server_is_connected_to_stays_until_that_ends(void **state)
{
	struct host *host;

	(void)state;
	open_with("[databases]\nshop = host=h1\n[pgbouncer]\n");
	host = host_again(database("shop")->hosts[0]);
	reload("[databases]\nshop = host=h2\n[pgbouncer]\n");
	assert_string_equal(gone.p, "");
	assert_hosts("h1:5432 h2:5432 ");
	host_unref(&host);
	assert_string_equal(gone.p, "h1:5432\n");
	assert_hosts("h2:5432 ");
}

static void the_place_in_a_list_that_became_shorter_is_in_it(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1,h2,h3,h4,h5\n[pgbouncer]\n");
	database("shop")->next_host = 4;
	reload("[databases]\nshop = host=h1,h2\n[pgbouncer]\n");
	assert_hosts_of(database("shop"), "h1:5432 h2:5432 ");
	reload("[databases]\nshop = host=h9\n[pgbouncer]\n");
	assert_hosts_of(database("shop"), "h9:5432 ");
}

static void a_pool_that_waits_for_a_host_that_goes_waits_no_longer(void **state)
{
	struct pool *p;

	(void)state;
	open_with("[databases]\nshop = host=h1\n[pgbouncer]\n");
	p = pool("shop", "ann");
	pool_block(p, &database("shop")->hosts[0]->blocked);
	reload("[databases]\nshop = host=h2\n[pgbouncer]\n");
	assert_null(p->blocked_in);
	assert_string_equal(gone.p, "h1:5432\n");
}

static void a_database_that_comes_back_has_the_hosts_of_its_new_entry(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1\nbooks = host=h2\n[pgbouncer]\n");
	reload("[databases]\nbooks = host=h2\n[pgbouncer]\n");
	reload("[databases]\nbooks = host=h2\nshop = host=h3,h2\n[pgbouncer]\n");
	assert_hosts_of(database("shop"), "h3:5432 h2:5432 ");
	assert_hosts("h2:5432 h3:5432 ");
}

static void a_configured_database_that_becomes_automatic_has_the_hosts_of_the_star(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1\n[pgbouncer]\n");
	reload("[databases]\n* = host=h2\n[pgbouncer]\n");
	assert_hosts_of(database("shop"), "h2:5432 ");
	assert_string_equal(gone.p, "h1:5432\n");
}

/* "All hosts that databases name or servers are connected to": the entry that named it is no more. */
static void a_host_that_only_a_removed_database_named_is_gone(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1\nbooks = host=h2\n[pgbouncer]\n");
	pool("shop", "ann");
	reload("[databases]\nbooks = host=h2\n[pgbouncer]\n");
	assert_hosts("h2:5432 ");
	assert_string_equal(gone.p, "h1:5432\n");
}

static void freeing_frees_every_host(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h1,h2\nbooks = host=h2\n[pgbouncer]\n");
	pool_block(pool("shop", "ann"), &database("shop")->hosts[0]->blocked);
	pool_block(pool("books", "ann"), hosts_unsuited(registry_hosts(registry)));
	registry_free(registry);
	registry = NULL;
	assert_string_equal(gone.p, "h1:5432\nh2:5432\n");
}

/* ------------------------------------------------------------------ bounds that pools share */

static const struct cap *cap_of(const char *db, const char *who, enum cap_kind kind)
{
	return pool(db, who)->seats[kind].cap;
}

static void bounds_are_those_of_the_configuration_from_the_start(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h max_db_connections=3\nbooks = host=h\n"
		  "[users]\nann = max_user_connections=4\n"
		  "[pgbouncer]\nmax_db_connections = 5\nmax_user_connections = 6\nmax_server_connections = 7\n");
	assert_int_equal(database("shop")->cap.max, 3);
	assert_int_equal(database("books")->cap.max, 5);
	assert_int_equal(user("ann")->cap.max, 4);
	assert_int_equal(user("bob")->cap.max, 6);
	assert_int_equal(cap_of("shop", "ann", CAP_ALL)->max, 7);
	assert_true(pool("shop", "ann")->is_capped);
}

static void a_pool_is_under_the_bounds_of_its_database_of_its_user_and_of_all(void **state)
{
	(void)state;
	open_with(two);
	assert_ptr_equal(cap_of("shop", "ann", CAP_DATABASE), &database("shop")->cap);
	assert_ptr_equal(cap_of("shop", "ann", CAP_USER), &user("ann")->cap);
	assert_ptr_equal(cap_of("shop", "bob", CAP_DATABASE), cap_of("shop", "ann", CAP_DATABASE));
	assert_ptr_equal(cap_of("books", "ann", CAP_USER), cap_of("shop", "ann", CAP_USER));
	assert_ptr_equal(cap_of("books", "bob", CAP_ALL), cap_of("shop", "ann", CAP_ALL));
}

static void the_bound_of_a_forced_user_is_his(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h user=app\n[users]\napp = max_user_connections=2\nann = max_user_connections=1\n"
		  "[pgbouncer]\n");
	assert_ptr_equal(cap_of("shop", "ann", CAP_USER), &user("app")->cap);
	assert_int_equal(cap_of("shop", "ann", CAP_USER)->max, 2);
}

static void without_a_bound_a_pool_is_not_slowed_by_any(void **state)
{
	(void)state;
	open_with(two);
	assert_false(pool("shop", "ann")->is_capped);
	reload("[databases]\nshop = host=127.0.0.1 max_db_connections=1\nbooks = host=127.0.0.1 dbname=library\n"
	       "[pgbouncer]\n");
	assert_true(pool("shop", "ann")->is_capped);
	assert_false(pool("books", "ann")->is_capped);
	reload("[databases]\nshop = host=127.0.0.1\nbooks = host=127.0.0.1 dbname=library\n"
	       "[users]\nann = max_user_connections=1\n[pgbouncer]\n");
	assert_true(pool("shop", "ann")->is_capped);
	assert_true(pool("books", "ann")->is_capped);
	assert_false(pool("books", "bob")->is_capped);
	reload("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nmax_server_connections = 1\n");
	assert_true(pool("shop", "bob")->is_capped);
	reload(two);
	assert_false(pool("shop", "ann")->is_capped);
}

static void a_reload_changes_bounds_and_leaves_their_counts(void **state)
{
	struct pool_server servers[3] = {0};
	const struct cap *all;

	(void)state;
	open_with("[databases]\nshop = host=h max_db_connections=3\n[users]\nann = max_user_connections=4\n"
		  "[pgbouncer]\nmax_server_connections = 7\n");
	for (size_t i = 0; i < 3; i++)
		pool_server_join(pool("shop", i < 2 ? "ann" : "bob"), &servers[i], SECOND);
	all = cap_of("shop", "ann", CAP_ALL);
	reload("[databases]\nshop = host=h\n[users]\nbob = max_user_connections=9\n"
	       "[pgbouncer]\nmax_db_connections = 8\nmax_server_connections = 10\n");
	assert_int_equal(database("shop")->cap.max, 8);
	assert_int_equal(user("ann")->cap.max, 0);
	assert_int_equal(user("bob")->cap.max, 9);
	assert_int_equal(all->max, 10);
	assert_int_equal(database("shop")->cap.count, 3);
	assert_int_equal(user("ann")->cap.count, 2);
	assert_int_equal(user("bob")->cap.count, 1);
	assert_int_equal(all->count, 3);
	for (size_t i = 0; i < 3; i++)
		pool_server_leave(&servers[i], SECOND);
	assert_int_equal(all->count, 0);
}

static void an_automatic_database_has_the_bound_of_the_star(void **state)
{
	(void)state;
	open_with("[databases]\n* = host=h max_db_connections=2\n[pgbouncer]\nmax_db_connections = 9\n");
	assert_int_equal(database("a")->cap.max, 2);
	assert_int_equal(cap_of("a", "ann", CAP_DATABASE)->max, 2);
	/* Each for itself. */
	assert_ptr_not_equal(cap_of("a", "ann", CAP_DATABASE), cap_of("b", "ann", CAP_DATABASE));
	reload("[databases]\n* = host=h\n[pgbouncer]\nmax_db_connections = 9\n");
	assert_int_equal(database("a")->cap.max, 9);
	assert_int_equal(database("c")->cap.max, 9);
}

static void a_database_that_comes_back_has_the_bound_of_its_new_entry(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h max_db_connections=3\nbooks = host=h\n[pgbouncer]\n");
	pool("shop", "ann");
	reload("[databases]\nbooks = host=h\n[pgbouncer]\n");
	reload("[databases]\nbooks = host=h\nshop = host=h max_db_connections=4\n[pgbouncer]\n");
	assert_int_equal(database("shop")->cap.max, 4);
	assert_true(pool("shop", "ann")->is_capped);
}

static void a_user_who_comes_later_has_the_bound_in_force(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=h\n[pgbouncer]\nmax_user_connections = 6\n");
	reload("[databases]\nshop = host=h\n[users]\ncarl = max_user_connections=2\n[pgbouncer]\nmax_user_connections = 5\n");
	assert_int_equal(user("carl")->cap.max, 2);
	assert_int_equal(user("dora")->cap.max, 5);
}

/* The pools of a database that is dropped, and one that was refused, are no rivals of others any more. */
static void pools_that_are_gone_are_under_no_bound(void **state)
{
	struct cap *cap;
	enum cap_kind kind;

	(void)state;
	open_with("[databases]\n* = host=h\n[pgbouncer]\nmax_server_connections = 1\n");
	pool_block(pool("a", "ann"), &pool("a", "ann")->seats[CAP_ALL].cap->blocked);
	cap = pool("b", "ann")->seats[CAP_ALL].cap;
	registry_drop_database(registry, database("a"));
	assert_true(TAILQ_EMPTY(&cap->blocked));
	refuses = true;
	assert_null(pool("b", "bob"));
	assert_ptr_equal(TAILQ_FIRST(&cap->seats)->pool, pool("b", "ann"));
	assert_null(TAILQ_NEXT(TAILQ_FIRST(&cap->seats), link));
	assert_null(cap_full(pool("b", "ann"), &kind));
}

static void a_pool_can_be_dropped_and_made_again(void **state)
{
	struct pool *p;

	(void)state;
	open_with(two);
	p = pool("shop", "ann");
	pool("books", "ann");
	assert_int_equal(user("ann")->npools, 2);
	strbuf_reset(&calls);
	registry_drop_pool(registry, p);
	assert_string_equal(calls.p, "freed shop/ann\n");
	assert_int_equal(registry_pool_count(registry), 1);
	assert_int_equal(user("ann")->npools, 1);
	assert_null(database_next_pool(database("shop"), NULL));
	assert_ptr_equal(pool("shop", "ann")->database, database("shop"));
	assert_int_equal(registry_pool_count(registry), 2);
}

static void a_user_can_be_dropped(void **state)
{
	struct user *u;

	(void)state;
	open_with(two);
	u = user("ann");
	user("bob");
	registry_drop_user(registry, u);
	u = registry_next_user(registry, NULL);
	assert_string_equal(u->name->text, "bob");
	assert_null(registry_next_user(registry, u));
}

static void what_a_dropped_pool_has_counted_stays_with_its_database(void **state)
{
	struct database *db;
	struct pool *p;

	(void)state;
	open_with("[databases]\n* = host=127.0.0.1\n[pgbouncer]\n");
	p = pool("shop", "ann");
	db = p->database;
	assert_true(db->was_used);
	p->stats.now.query_count = 5;
	registry_turn_stats(registry);
	p->stats.now.query_count = 7;
	registry_drop_pool(registry, p);
	assert_int_equal(db->gone.now.query_count, 7);
	assert_int_equal(db->gone.last.query_count, 5);
	assert_true(db->was_used);
	/* Its last period goes on to count in the averages. */
	registry_turn_stats(registry);
	assert_int_equal(db->gone.before_last.query_count, 5);
	assert_int_equal(db->gone.last.query_count, 7);
	assert_int_equal(registry_gone_stats(registry)->now.query_count, 0);
	p = pool("shop", "bob");
	p->stats.now.query_count = 10;
	registry_drop_database(registry, db);
	assert_int_equal(registry_gone_stats(registry)->now.query_count, 17);
	assert_int_equal(registry_gone_stats(registry)->last.query_count, 7);
	registry_turn_stats(registry);
	assert_int_equal(registry_gone_stats(registry)->last.query_count, 17);
}

static unsigned recent(const struct pool *p)
{
	struct histogram h = {0};

	histogram_add_recent(&h, p->latency[LATENCY_QUERY]);
	return (unsigned)h.count;
}

static void histograms_turn_some_at_a_time_whoever_goes_meanwhile(void **state)
{
	enum { POOLS = 5, MOST = 2 };
	struct pool *p[POOLS];

	(void)state;
	open_with("[databases]\n* = host=127.0.0.1\n[pgbouncer]\n");
	assert_false(registry_turn_latency(registry, MOST));
	for (int i = 0; i < POOLS; i++) {
		const char name[] = {(char)('a' + i), '\0'};

		p[i] = pool(name, "ann");
		pool_record(p[i], LATENCY_QUERY, 1);
	}
	/* What is in neither this period nor the last one is recent no more. */
	for (int period = 0; period < 2; period++) {
		registry_turn_stats(registry);
		assert_int_equal(recent(p[0]), 1);
		assert_true(registry_turn_latency(registry, MOST));
		/* The next in turn. */
		if (period == 0)
			registry_drop_pool(registry, p[MOST]);
		registry_turn_latency(registry, MOST);
		assert_false(registry_turn_latency(registry, MOST));
	}
	for (int i = 0; i < POOLS; i++)
		assert_int_equal(i == MOST ? 0 : recent(p[i]), 0);
}

/* ------------------------------------------------------------------ reload */

static void a_reload_puts_the_new_settings_in_force(void **state)
{
	struct pool *p;

	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1 pool_size=3\n[pgbouncer]\n");
	p = pool("shop", "ann");
	reload("[databases]\nshop = host=127.0.0.1 pool_size=4\n[users]\nann = pool_mode=transaction\n[pgbouncer]\n");
	assert_ptr_equal(pool("shop", "ann"), p);
	assert_int_equal(p->settings.size, 4);
	assert_int_equal(p->settings.mode, POOL_MODE_TRANSACTION);
	assert_non_null(user("ann")->conf);
	assert_string_equal(calls.p, "pool shop/ann\n");
	reload("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\n");
	assert_null(user("ann")->conf);
	assert_int_equal(p->settings.mode, POOL_MODE_SESSION);
}

static void a_reload_brings_new_databases(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\n");
	assert_null(database("books"));
	reload(two);
	assert_non_null(database("books"));
	assert_string_equal(calls.p, "");
}

static void a_change_of_target_session_attrs_calls_for_new_connections(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=a,b\n[pgbouncer]\n");
	reload("[databases]\nshop = host=a,b target_session_attrs=standby\n[pgbouncer]\n");
	assert_string_equal(calls.p, "changed shop\n");
	reload("[databases]\nshop = host=a,b target_session_attrs=standby server_down_action=wait\n[pgbouncer]\n");
	assert_string_equal(calls.p, "");
}

static void only_a_change_of_the_server_calls_for_new_connections(void **state)
{
	(void)state;
	open_with(two);
	reload("[databases]\nshop = host=127.0.0.1 pool_size=1\nbooks = host=127.0.0.9 dbname=library\n[pgbouncer]\n");
	assert_string_equal(calls.p, "changed books\n");
	assert_string_equal(database("books")->conf->hosts[0].host, "127.0.0.9");
}

static void a_database_that_is_gone_is_dead_and_not_found(void **state)
{
	struct database *db;
	struct pool *p;

	(void)state;
	open_with(two);
	db = database("shop");
	p = pool("shop", "ann");
	reload("[databases]\nbooks = host=127.0.0.1 dbname=library\n[pgbouncer]\n");
	assert_string_equal(calls.p, "removed shop\n");
	assert_true(db->is_dead);
	assert_true(p->is_dead);
	assert_null(database("shop"));
	/* Told once. */
	reload("[databases]\nbooks = host=127.0.0.1 dbname=library\n[pgbouncer]\n");
	assert_string_equal(calls.p, "");
}

static void a_database_that_comes_back_lives_again(void **state)
{
	struct pool *p;

	(void)state;
	open_with(two);
	p = pool("shop", "ann");
	reload("[databases]\nbooks = host=127.0.0.1 dbname=library\n[pgbouncer]\n");
	reload("[databases]\nbooks = host=127.0.0.1 dbname=library\nshop = host=127.0.0.3 pool_size=2\n[pgbouncer]\n");
	assert_non_null(database("shop"));
	assert_false(p->is_dead);
	assert_int_equal(p->settings.size, 2);
	assert_ptr_equal(pool("shop", "ann"), p);
	assert_string_equal(calls.p, "pool shop/ann\n");
}

static void a_configured_database_may_become_an_automatic_one(void **state)
{
	(void)state;
	open_with(two);
	reload("[databases]\n* = host=127.0.0.1\n[pgbouncer]\n");
	assert_true(database("shop")->is_auto);
	assert_string_equal(database_server_name(database("books")), "books");
	/* It led to another database until now. */
	assert_string_equal(calls.p, "changed books\n");
	reload(two);
	assert_false(database("shop")->is_auto);
}

static void the_snapshot_in_force_is_the_last_one(void **state)
{
	(void)state;
	open_with("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\ndefault_pool_size = 5\n");
	assert_int_equal(registry_conf(registry)->s.default_pool_size, 5);
	reload("[databases]\nshop = host=127.0.0.1\n[pgbouncer]\ndefault_pool_size = 6\n");
	assert_int_equal(registry_conf(registry)->s.default_pool_size, 6);
}

static void freeing_frees_every_pool(void **state)
{
	(void)state;
	open_with(two);
	pool("shop", "ann");
	pool("books", "ann");
	strbuf_reset(&calls);
	registry_free(registry);
	registry = NULL;
	assert_string_equal(calls.p, "freed shop/ann\nfreed books/ann\n");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(configured_databases_are_known_from_the_start),
		TEST(the_name_on_the_server_may_be_another),
		TEST(without_a_star_unknown_databases_do_not_exist),
		TEST(a_star_makes_databases_as_they_are_asked_for),
		TEST(an_automatic_database_can_be_dropped_with_its_pools),
		TEST(to_look_for_a_database_makes_none),
		TEST(a_user_is_made_once),
		TEST(to_look_for_users_and_pools_makes_none),
		TEST(a_pool_is_for_one_user_on_one_database),
		TEST(a_forced_user_has_one_pool_for_all),
		TEST(to_look_for_a_pool_makes_none),
		TEST(without_a_user_there_is_no_pool),
		TEST(a_pool_that_is_refused_leaves_nothing),
		TEST(a_pool_has_the_settings_that_hold_for_it),
		TEST(a_pool_has_the_settings_of_hosts_and_bounds_too),
		TEST(an_empty_check_query_checks_nothing),
		TEST(a_new_pool_of_a_paused_database_is_paused),
		TEST(a_users_setting_comes_before_the_general_one),
		TEST(iteration_meets_every_pool_and_user_once),
		TEST(a_pool_can_be_dropped_and_made_again),
		TEST(a_user_can_be_dropped),
		TEST(what_a_dropped_pool_has_counted_stays_with_its_database),
		TEST(histograms_turn_some_at_a_time_whoever_goes_meanwhile),
		TEST(a_database_has_the_hosts_of_its_entry_in_their_order),
		TEST(databases_that_name_the_same_host_share_it),
		TEST(an_automatic_database_has_the_hosts_of_the_star),
		TEST(a_reload_keeps_what_logins_have_told_of_a_databases_hosts),
		TEST(a_reload_keeps_hosts_that_are_still_named),
		TEST(a_host_that_a_server_is_connected_to_stays_until_that_ends),
		TEST(the_place_in_a_list_that_became_shorter_is_in_it),
		TEST(a_pool_that_waits_for_a_host_that_goes_waits_no_longer),
		TEST(a_database_that_comes_back_has_the_hosts_of_its_new_entry),
		TEST(a_configured_database_that_becomes_automatic_has_the_hosts_of_the_star),
		TEST(a_host_that_only_a_removed_database_named_is_gone),
		TEST(freeing_frees_every_host),
		TEST(bounds_are_those_of_the_configuration_from_the_start),
		TEST(a_pool_is_under_the_bounds_of_its_database_of_its_user_and_of_all),
		TEST(the_bound_of_a_forced_user_is_his),
		TEST(without_a_bound_a_pool_is_not_slowed_by_any),
		TEST(a_reload_changes_bounds_and_leaves_their_counts),
		TEST(an_automatic_database_has_the_bound_of_the_star),
		TEST(a_database_that_comes_back_has_the_bound_of_its_new_entry),
		TEST(a_user_who_comes_later_has_the_bound_in_force),
		TEST(pools_that_are_gone_are_under_no_bound),
		TEST(a_reload_puts_the_new_settings_in_force),
		TEST(a_reload_brings_new_databases),
		TEST(a_change_of_target_session_attrs_calls_for_new_connections),
		TEST(only_a_change_of_the_server_calls_for_new_connections),
		TEST(a_database_that_is_gone_is_dead_and_not_found),
		TEST(a_database_that_comes_back_lives_again),
		TEST(a_configured_database_may_become_an_automatic_one),
		TEST(the_snapshot_in_force_is_the_last_one),
		TEST(freeing_frees_every_pool),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
