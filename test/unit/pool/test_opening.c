#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "pool/opening.h"
#include "pool/registry.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define NOW (1000 * SECOND)
#define HOSTS 4

static struct hosts *hosts;
static struct host *list[HOSTS];
static uint64_t read_only_until[HOSTS];
static struct database db;

/* The pool in question, and others under the same bounds. */
static struct pool pool, others[2];
static struct cap caps[CAP_KINDS];
static struct pool_server servers[32];
static unsigned nservers;
static struct pool_client clients[8];
static unsigned nclients;
static struct opening o;

static void have_pool(struct pool *p)
{
	pool_init(p, &db, NULL);
	p->settings.size = 20;
	p->settings.connect_parallel = 4;
	p->settings.breaker_failures = 2;
	p->settings.host_connect_parallel = 3;
	p->settings.most_retry_wait_us = 15 * SECOND;
	p->settings.recheck_us = 2 * SECOND;
	p->settings.load_balance = LOAD_BALANCE_ROUND_ROBIN;
	p->is_capped = true;
	for (size_t i = 0; i < CAP_KINDS; i++)
		cap_join(&caps[i], p, (enum cap_kind)i);
}

static int set_up(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};

	(void)state;
	hosts = hosts_new();
	for (unsigned i = 0; i < HOSTS; i++)
		list[i] = host_ref(hosts, names[i], 5432);
	memset(read_only_until, 0, sizeof(read_only_until));
	db = (struct database){.hosts = list, .nhosts = 1, .read_only_until = read_only_until};
	for (size_t i = 0; i < CAP_KINDS; i++)
		cap_init(&caps[i]);
	have_pool(&pool);
	for (size_t i = 0; i < 2; i++)
		have_pool(&others[i]);
	memset(servers, 0, sizeof(servers));
	memset(clients, 0, sizeof(clients));
	nservers = nclients = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pool_unblock(&pool);
	pool_fini(&pool);
	for (unsigned i = 0; i < HOSTS; i++)
		host_unref(&list[i]);
	hosts_free(hosts);
	return atom_count() == 0 ? 0 : -1;
}

static void have_waiting(void)
{
	struct pool_server *s;

	pool.nclients++;
	pool_acquire(&pool, &clients[nclients++], NOW, &s);
}

static struct pool_server *have_server(struct pool *p, enum pool_server_state state)
{
	struct pool_server *s = &servers[nservers++];

	pool_server_join(p, s, NOW);
	pool_server_enter(s, state);
	s->idle_since = NOW;
	return s;
}

static bool finds(uint64_t now)
{
	memset(&o, 0xff, sizeof(o));
	return opening_find(&pool, now, &o);
}

static bool finds_host(unsigned i)
{
	return finds(NOW) && o.host_index == i && o.victim == NULL;
}

static bool is_held_by(enum pool_hold hold, const struct host *host)
{
	return !finds(NOW) && o.hold == hold && o.host == host;
}

/* So many attempts at a host fail now. */
static void have_failures(struct host *host, unsigned n, enum breaker_stage stage)
{
	const struct breaker_limits limits = {.failures = 2, .attempts = 3, .most_wait_us = 15 * SECOND};

	for (unsigned i = 0; i < n; i++) {
		breaker_begins(&host->breaker, NOW);
		breaker_fails(&host->breaker, &limits, stage, NOW, NOW, UINT32_MAX);
	}
}

/* Down; the next try is when this time is over, and no look before. */
static void be_down_for(struct host *host, uint64_t span)
{
	have_failures(host, 2, BREAKER_LOGIN);
	host->breaker.backoff.retry_at = NOW + span;
}

/* It has failed once; the same. */
static void have_failed(struct host *host, uint64_t span)
{
	have_failures(host, 1, BREAKER_LOGIN);
	host->breaker.backoff.retry_at = NOW + span;
}

/* As many attempts as there may be. */
static void be_busy(struct host *host)
{
	for (unsigned i = 0; i < 3; i++)
		breaker_begins(&host->breaker, NOW);
}

/* ------------------------------------------------------------------ what the pool wants for itself */

static void nothing_is_opened_that_nobody_wants(void **state)
{
	(void)state;
	assert_false(finds(NOW));
	assert_int_equal(o.hold, HOLD_NONE);
	assert_int_equal(o.again_at, 0);
	assert_null(o.cap);
	assert_null(o.host);
}

static void what_is_wanted_and_possible_is_opened(void **state)
{
	(void)state;
	have_waiting();
	assert_true(finds_host(0));
	assert_false(o.is_reserve);
	assert_int_equal(o.hold, HOLD_NONE);
	assert_null(o.cap);
	assert_null(o.host);
}

static void the_pools_own_reason_comes_first(void **state)
{
	(void)state;
	have_waiting();
	be_down_for(list[0], SECOND);
	pool.backoff.retry_at = NOW + 5 * SECOND;
	assert_true(is_held_by(HOLD_RETRY, NULL));
	assert_int_equal(o.again_at, NOW + 5 * SECOND);
	assert_null(o.cap);
}

static void the_reserve_is_told_as_such(void **state)
{
	(void)state;
	pool.settings.size = pool.settings.reserve_size = 1;
	pool.settings.reserve_timeout_us = SECOND;
	have_server(&pool, POOL_SERVER_ACTIVE);
	have_waiting();
	assert_true(is_held_by(HOLD_POOL_SIZE, NULL));
	assert_int_equal(o.again_at, NOW + SECOND);
	assert_true(finds(NOW + SECOND));
	assert_true(o.is_reserve);
}

/* ------------------------------------------------------------------ which host */

static void the_list_is_gone_through_from_where_the_database_stands(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	for (unsigned i = 0; i < 3; i++) {
		db.next_host = i;
		assert_true(finds_host(i));
	}
	pool.settings.load_balance = LOAD_BALANCE_DISABLE;
	assert_true(finds_host(2));
}

static void a_host_that_may_not_be_connected_to_is_passed_over(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 4;
	be_down_for(list[0], SECOND);
	have_failed(list[1], SECOND);
	be_busy(list[2]);
	assert_true(finds_host(3));
	db.next_host = 1;
	assert_true(finds_host(3));
	breaker_succeeds(&list[2]->breaker);
	assert_true(finds_host(2));
}

static void when_its_time_has_come_a_host_is_tried_again(void **state)
{
	(void)state;
	have_waiting();
	be_down_for(list[0], SECOND);
	assert_false(finds(NOW + SECOND - 1));
	assert_true(finds(NOW + SECOND));
}

static void least_connections_takes_the_host_with_the_fewest(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	pool.settings.load_balance = LOAD_BALANCE_LEAST_CONNECTIONS;
	list[0]->nservers = 4;
	list[1]->nservers = 2;
	list[2]->nservers = 3;
	assert_true(finds_host(1));
	/* Those on their way count. */
	breaker_begins(&list[1]->breaker, NOW);
	breaker_begins(&list[1]->breaker, NOW);
	assert_true(finds_host(2));
	be_down_for(list[2], SECOND);
	assert_true(finds_host(0));
	/* Other ways of choosing do not look at it. */
	pool.settings.load_balance = LOAD_BALANCE_ROUND_ROBIN;
	assert_true(finds_host(0));
}

static void among_equally_loaded_hosts_the_next_one_is_taken(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	pool.settings.load_balance = LOAD_BALANCE_LEAST_CONNECTIONS;
	for (unsigned i = 0; i < 3; i++) {
		db.next_host = i;
		assert_true(finds_host(i));
	}
}

/* ------------------------------------------------------------------ none can be connected to */

static void the_hold_of_a_host_says_what_is_wrong_with_it(void **state)
{
	(void)state;
	have_waiting();
	be_busy(list[0]);
	assert_true(is_held_by(HOLD_HOST_CONNECTS, list[0]));
	for (unsigned i = 0; i < 3; i++)
		breaker_succeeds(&list[0]->breaker);
	have_failed(list[0], SECOND);
	assert_true(is_held_by(HOLD_RETRY, list[0]));
	assert_int_equal(o.again_at, NOW + SECOND);
	be_down_for(list[0], SECOND);
	assert_true(is_held_by(HOLD_BREAKER, list[0]));
	assert_int_equal(o.again_at, NOW + SECOND);
	assert_null(o.cap);
}

static void a_host_that_is_probed_is_waited_for(void **state)
{
	(void)state;
	have_waiting();
	be_down_for(list[0], SECOND);
	breaker_begins(&list[0]->breaker, NOW + SECOND);
	assert_false(finds(NOW + SECOND));
	assert_int_equal(o.hold, HOLD_BREAKER);
	assert_ptr_equal(o.host, list[0]);
	assert_int_equal(o.again_at, 0);
}

static void of_several_the_one_that_may_be_tried_first_is_waited_for(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	be_down_for(list[0], 3 * SECOND);
	be_down_for(list[1], SECOND);
	be_down_for(list[2], 2 * SECOND);
	for (db.next_host = 0; db.next_host < 3; db.next_host++)
		assert_true(is_held_by(HOLD_BREAKER, list[1]));
}

static void rather_one_that_is_not_down_is_waited_for(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	be_down_for(list[0], SECOND);
	have_failed(list[1], 10 * SECOND);
	be_down_for(list[2], SECOND);
	for (db.next_host = 0; db.next_host < 3; db.next_host++)
		assert_true(is_held_by(HOLD_RETRY, list[1]));
}

/* All that it lacks is the end of a login that is under way; the other one is tried again in ten seconds. */
static void rather_one_that_is_well_and_busy_is_waited_for(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 2;
	be_busy(list[0]);
	have_failed(list[1], 10 * SECOND);
	for (db.next_host = 0; db.next_host < 2; db.next_host++)
		assert_true(is_held_by(HOLD_HOST_CONNECTS, list[0]));
}

/* ------------------------------------------------------------------ target_session_attrs */

static void only_hosts_that_suit_are_taken(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	list[0]->role = list[2]->role = HOST_STANDBY;
	list[1]->role = HOST_PRIMARY;
	pool.settings.attrs = TARGET_READ_WRITE;
	assert_true(finds_host(1));
	pool.settings.attrs = TARGET_STANDBY;
	assert_true(finds_host(0));
	db.next_host = 1;
	assert_true(finds_host(2));
	pool.settings.attrs = TARGET_ANY;
	assert_true(finds_host(1));
}

static void a_host_that_is_known_to_suit_comes_before_one_that_may(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	pool.settings.attrs = TARGET_PRIMARY;
	assert_true(finds_host(0));
	list[2]->role = HOST_PRIMARY;
	assert_true(finds_host(2));
	be_down_for(list[2], SECOND);
	assert_true(finds_host(0));
}

static void when_no_host_suits_nobodys_recovery_is_waited_for(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 2;
	for (unsigned i = 0; i < 2; i++) {
		list[i]->role = HOST_STANDBY;
		list[i]->role_at = NOW;
		list[i]->is_asked = true;
	}
	pool.settings.attrs = TARGET_READ_WRITE;
	assert_true(is_held_by(HOLD_NO_HOST, NULL));
	assert_int_equal(o.again_at, 0);
	assert_int_equal(o.recheck_at, 0);
	assert_null(o.cap);
	be_down_for(list[0], SECOND);
	assert_true(is_held_by(HOLD_NO_HOST, NULL));
}

static void a_host_of_another_kind_that_nobody_asks_is_tried_again_after_a_while(void **state)
{
	(void)state;
	have_waiting();
	list[0]->role = HOST_STANDBY;
	list[0]->role_at = NOW;
	pool.settings.attrs = TARGET_READ_WRITE;
	assert_true(is_held_by(HOLD_NO_HOST, NULL));
	assert_int_equal(o.recheck_at, NOW + 2 * SECOND);
	assert_true(finds(NOW + 2 * SECOND));
	/* Not more than once a second. */
	pool.settings.recheck_us = 0;
	assert_int_equal(opening_recheck_wait(&pool), SECOND);
	assert_false(finds(NOW + SECOND - 1));
	assert_true(finds(NOW + SECOND));
}

static void a_host_that_is_down_and_suits_is_told_of(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 2;
	list[0]->role = HOST_STANDBY;
	list[1]->role = HOST_PRIMARY;
	list[0]->is_asked = true;
	be_down_for(list[1], SECOND);
	pool.settings.attrs = TARGET_PRIMARY;
	assert_true(is_held_by(HOLD_BREAKER, list[1]));
}

static void prefer_standby_takes_a_primary_only_when_there_is_no_standby(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 3;
	list[0]->role = HOST_PRIMARY;
	list[1]->role = HOST_STANDBY;
	list[2]->role = HOST_STANDBY;
	pool.settings.attrs = TARGET_PREFER_STANDBY;
	assert_true(finds_host(1));
	be_down_for(list[1], SECOND);
	assert_true(finds_host(2));
	be_busy(list[2]);
	assert_true(finds_host(0));
	list[1]->role = list[2]->role = HOST_PRIMARY;
	assert_true(finds_host(0));
}

static void a_database_that_is_read_only_at_a_host_is_so_for_a_while(void **state)
{
	(void)state;
	have_waiting();
	db.nhosts = 2;
	list[0]->role = list[1]->role = HOST_PRIMARY;
	list[0]->is_asked = list[1]->is_asked = true;
	read_only_until[0] = NOW + SECOND;
	pool.settings.attrs = TARGET_READ_WRITE;
	assert_true(finds_host(1));
	assert_true(finds(NOW + SECOND) && o.host_index == 0);
	read_only_until[1] = NOW + 2 * SECOND;
	assert_true(is_held_by(HOLD_NO_HOST, NULL));
	assert_int_equal(o.recheck_at, NOW + SECOND);
	/* Who reads only is at home there. */
	pool.settings.attrs = TARGET_READ_ONLY;
	assert_true(finds_host(0));
	read_only_until[0] = 0;
	assert_true(finds_host(1));
	/* To others it is all the same. */
	pool.settings.attrs = TARGET_PRIMARY;
	assert_true(finds_host(0));
}

static void a_login_keeps_a_host_that_suits(void **state)
{
	(void)state;
	db.nhosts = 2;
	list[0]->role = HOST_PRIMARY;
	pool.settings.attrs = TARGET_STANDBY;
	assert_false(opening_keeps(&pool, NOW, 0));
	pool.settings.attrs = TARGET_PRIMARY;
	assert_true(opening_keeps(&pool, NOW, 0));
	pool.settings.attrs = TARGET_READ_WRITE;
	assert_true(opening_keeps(&pool, NOW, 0));
	read_only_until[0] = NOW + 1;
	assert_false(opening_keeps(&pool, NOW, 0));
}

static void a_login_that_met_a_primary_leaves_it_for_a_standby_that_may_be(void **state)
{
	(void)state;
	db.nhosts = 2;
	list[0]->role = HOST_PRIMARY;
	pool.settings.attrs = TARGET_PREFER_STANDBY;
	assert_false(opening_keeps(&pool, NOW, 0));
	list[1]->role = HOST_PRIMARY;
	assert_true(opening_keeps(&pool, NOW, 0));
	list[1]->role = HOST_STANDBY;
	assert_false(opening_keeps(&pool, NOW, 0));
	assert_true(opening_keeps(&pool, NOW, 1));
	be_down_for(list[1], SECOND);
	assert_true(opening_keeps(&pool, NOW, 0));
}

/* ------------------------------------------------------------------ down */

static bool is_down(void)
{
	memset(&o, 0xff, sizeof(o));
	return opening_is_down(&pool, NOW, &o);
}

static void a_pool_is_down_when_all_its_hosts_are(void **state)
{
	(void)state;
	db.nhosts = 2;
	assert_false(is_down());
	be_down_for(list[0], 2 * SECOND);
	assert_false(is_down());
	be_down_for(list[1], SECOND);
	assert_true(is_down());
	assert_ptr_equal(o.host, list[1]);
	assert_int_equal(o.hold, HOLD_BREAKER);
	assert_int_equal(o.again_at, NOW + SECOND);
}

static void a_pool_is_not_down_while_a_host_has_only_failed_or_is_busy(void **state)
{
	(void)state;
	db.nhosts = 2;
	be_down_for(list[0], SECOND);
	have_failed(list[1], 10 * SECOND);
	assert_false(is_down());
	breaker_begins(&list[1]->breaker, NOW);
	breaker_succeeds(&list[1]->breaker);
	be_busy(list[1]);
	assert_false(is_down());
}

static void a_server_that_starts_does_not_make_a_pool_down(void **state)
{
	(void)state;
	have_failures(list[0], 5, BREAKER_NOT_YET);
	assert_false(is_down());
}

static void a_probe_under_way_leaves_the_pool_down(void **state)
{
	(void)state;
	be_down_for(list[0], 0);
	assert_false(is_down());
	breaker_begins(&list[0]->breaker, NOW);
	assert_true(is_down());
	assert_ptr_equal(o.host, list[0]);
}

static void a_pool_is_down_when_no_host_suits(void **state)
{
	(void)state;
	list[0]->role = HOST_STANDBY;
	list[0]->is_asked = true;
	pool.settings.attrs = TARGET_PRIMARY;
	assert_true(is_down());
	assert_int_equal(o.hold, HOLD_NO_HOST);
	assert_null(o.host);
}

static void whether_a_pool_is_down_does_not_hang_on_what_it_wants(void **state)
{
	(void)state;
	be_down_for(list[0], SECOND);
	assert_true(is_down());
	pool.is_paused = true;
	pool.backoff.retry_at = NOW + SECOND;
	caps[CAP_DATABASE].max = 1;
	have_server(&pool, POOL_SERVER_ACTIVE);
	assert_true(is_down());
}

/* ------------------------------------------------------------------ the next host of an attempt */

static void an_attempt_goes_once_around_the_list(void **state)
{
	unsigned index;

	(void)state;
	db.nhosts = 4;
	assert_true(opening_next_host(&pool, NOW, 2, 1, &index));
	assert_int_equal(index, 3);
	assert_true(opening_next_host(&pool, NOW, 2, 2, &index));
	assert_int_equal(index, 0);
	assert_true(opening_next_host(&pool, NOW, 2, 3, &index));
	assert_int_equal(index, 1);
	assert_false(opening_next_host(&pool, NOW, 2, 4, &index));
}

static void an_attempt_passes_over_what_is_down_or_does_not_suit(void **state)
{
	unsigned index;

	(void)state;
	db.nhosts = 4;
	pool.settings.attrs = TARGET_PRIMARY;
	list[1]->role = HOST_STANDBY;
	be_down_for(list[2], SECOND);
	assert_true(opening_next_host(&pool, NOW, 0, 1, &index));
	assert_int_equal(index, 3);
	be_busy(list[3]);
	assert_false(opening_next_host(&pool, NOW, 0, 1, &index));
	assert_true(opening_next_host(&pool, NOW + SECOND, 0, 1, &index));
	assert_int_equal(index, 2);
}

static void an_attempt_at_the_only_host_has_no_next(void **state)
{
	unsigned index;

	(void)state;
	assert_false(opening_next_host(&pool, NOW, 0, 1, &index));
}

/* ------------------------------------------------------------------ bounds */

static void each_bound_is_told_by_its_name(void **state)
{
	static const enum pool_hold holds[] = {
		[CAP_DATABASE] = HOLD_MAX_DB, [CAP_USER] = HOLD_MAX_USER, [CAP_ALL] = HOLD_MAX_ALL};

	(void)state;
	have_waiting();
	have_server(&others[0], POOL_SERVER_ACTIVE);
	for (unsigned i = 0; i < CAP_KINDS; i++) {
		caps[i].max = 1;
		assert_true(is_held_by(holds[i], NULL));
		assert_ptr_equal(o.cap, &caps[i]);
		assert_int_equal(o.cap_kind, i);
		assert_int_equal(o.again_at, 0);
		caps[i].max = 2;
		assert_true(finds_host(0));
	}
}

static void for_a_client_an_idle_server_of_another_pool_makes_room(void **state)
{
	struct pool_server *idle;

	(void)state;
	have_waiting();
	caps[CAP_ALL].max = 3;
	idle = have_server(&others[0], POOL_SERVER_IDLE);
	have_server(&others[0], POOL_SERVER_ACTIVE);
	have_server(&others[1], POOL_SERVER_ACTIVE);
	assert_true(finds(NOW));
	assert_ptr_equal(o.victim, idle);
	/* With it gone there is room. */
	pool_server_leave(idle, NOW);
	assert_true(finds_host(0));
}

static void a_server_that_has_to_rest_first_is_waited_for(void **state)
{
	(void)state;
	have_server(&pool, POOL_SERVER_ACTIVE);
	have_waiting();
	caps[CAP_ALL].max = 2;
	have_server(&others[0], POOL_SERVER_IDLE);
	assert_true(is_held_by(HOLD_MAX_ALL, NULL));
	assert_int_equal(o.again_at, NOW + 100 * MS);
	assert_true(finds(o.again_at));
	assert_non_null(o.victim);
}

static void the_minimum_closes_nobodys_servers(void **state)
{
	(void)state;
	pool.settings.min_size = 1;
	pool.nclients = 1;
	caps[CAP_ALL].max = 1;
	have_server(&others[0], POOL_SERVER_IDLE);
	assert_false(finds(NOW + SECOND));
	assert_int_equal(o.hold, HOLD_MAX_ALL);
	assert_null(o.victim);
	have_waiting();
	assert_true(finds(NOW + SECOND));
	assert_non_null(o.victim);
}

static void for_a_host_that_is_down_nobodys_server_is_closed(void **state)
{
	(void)state;
	have_waiting();
	caps[CAP_ALL].max = 1;
	have_server(&others[0], POOL_SERVER_IDLE);
	be_down_for(list[0], SECOND);
	assert_true(is_held_by(HOLD_BREAKER, list[0]));
	assert_null(o.victim);
}

/* Its port refuses connections; the next try is far off, and looks come before. */
static void be_shut(struct host *host)
{
	have_failures(host, 2, BREAKER_CONNECT);
	host->breaker.backoff.retry_at = NOW + 10 * SECOND;
}

static void for_a_look_at_a_host_that_is_down_nobodys_server_is_closed(void **state)
{
	struct pool_server *idle;

	(void)state;
	be_shut(list[0]);
	have_waiting();
	caps[CAP_ALL].max = 1;
	idle = have_server(&others[0], POOL_SERVER_IDLE);
	assert_false(finds(NOW + SECOND));
	assert_int_equal(o.hold, HOLD_BREAKER);
	assert_ptr_equal(o.host, list[0]);
	assert_null(o.victim);
	/* Somebody may go for the attempt itself. */
	assert_true(finds(NOW + 10 * SECOND));
	assert_ptr_equal(o.victim, idle);
	pool_server_leave(idle, NOW + SECOND);
	assert_true(finds(NOW + SECOND));
	assert_null(o.victim);
}

static void without_room_for_a_look_a_pool_is_down(void **state)
{
	struct pool_server *idle;

	(void)state;
	be_shut(list[0]);
	caps[CAP_USER].max = 1;
	idle = have_server(&others[0], POOL_SERVER_IDLE);
	assert_true(opening_is_down(&pool, NOW + SECOND, &o));
	assert_ptr_equal(o.host, list[0]);
	assert_false(opening_is_down(&pool, NOW + 10 * SECOND, &o));
	pool_server_leave(idle, NOW + SECOND);
	assert_false(opening_is_down(&pool, NOW + SECOND, &o));
}

static void without_room_for_a_look_another_host_is_taken(void **state)
{
	(void)state;
	db.nhosts = 2;
	be_shut(list[0]);
	have_waiting();
	caps[CAP_DATABASE].max = 1;
	have_server(&others[0], POOL_SERVER_IDLE);
	assert_true(finds(NOW + SECOND));
	assert_int_equal(o.host_index, 1);
	assert_non_null(o.victim);
}

static void an_attempt_under_way_may_look_at_the_next_host(void **state)
{
	unsigned index;

	(void)state;
	db.nhosts = 2;
	be_shut(list[1]);
	caps[CAP_ALL].max = 1;
	have_server(&pool, POOL_SERVER_NEW);
	assert_true(opening_next_host(&pool, NOW + SECOND, 0, 1, &index));
	assert_int_equal(index, 1);
}

static void for_those_who_were_sent_away_nobodys_server_is_closed(void **state)
{
	struct pool_server *idle;

	(void)state;
	pool.wanted_until = NOW + 15 * SECOND;
	caps[CAP_ALL].max = 1;
	idle = have_server(&others[0], POOL_SERVER_IDLE);
	assert_false(finds(NOW + SECOND));
	assert_int_equal(o.hold, HOLD_MAX_ALL);
	pool_server_leave(idle, NOW + SECOND);
	assert_true(finds(NOW + SECOND));
	assert_null(o.victim);
}

/* The user's other pool has nothing to give: what is closed in the database's other pool makes no room for this one. */
static void for_one_bound_nobodys_server_is_closed_while_another_is_in_the_way(void **state)
{
	struct cap of_user;

	(void)state;
	cap_init(&of_user);
	of_user.max = 1;
	cap_leave(&pool, CAP_USER);
	cap_leave(&others[1], CAP_USER);
	cap_leave(&others[1], CAP_DATABASE);
	cap_join(&of_user, &pool, CAP_USER);
	cap_join(&of_user, &others[1], CAP_USER);
	have_server(&others[1], POOL_SERVER_ACTIVE);
	caps[CAP_DATABASE].max = 1;
	have_server(&others[0], POOL_SERVER_IDLE);
	have_waiting();
	assert_false(finds(NOW + SECOND));
	assert_null(o.victim);
	assert_int_equal(o.hold, HOLD_MAX_USER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_opened_that_nobody_wants),
		TEST(what_is_wanted_and_possible_is_opened),
		TEST(the_pools_own_reason_comes_first),
		TEST(the_reserve_is_told_as_such),
		TEST(the_list_is_gone_through_from_where_the_database_stands),
		TEST(a_host_that_may_not_be_connected_to_is_passed_over),
		TEST(when_its_time_has_come_a_host_is_tried_again),
		TEST(least_connections_takes_the_host_with_the_fewest),
		TEST(among_equally_loaded_hosts_the_next_one_is_taken),
		TEST(the_hold_of_a_host_says_what_is_wrong_with_it),
		TEST(a_host_that_is_probed_is_waited_for),
		TEST(of_several_the_one_that_may_be_tried_first_is_waited_for),
		TEST(rather_one_that_is_not_down_is_waited_for),
		TEST(rather_one_that_is_well_and_busy_is_waited_for),
		TEST(only_hosts_that_suit_are_taken),
		TEST(a_host_that_is_known_to_suit_comes_before_one_that_may),
		TEST(when_no_host_suits_nobodys_recovery_is_waited_for),
		TEST(a_host_of_another_kind_that_nobody_asks_is_tried_again_after_a_while),
		TEST(a_host_that_is_down_and_suits_is_told_of),
		TEST(prefer_standby_takes_a_primary_only_when_there_is_no_standby),
		TEST(a_database_that_is_read_only_at_a_host_is_so_for_a_while),
		TEST(a_login_keeps_a_host_that_suits),
		TEST(a_login_that_met_a_primary_leaves_it_for_a_standby_that_may_be),
		TEST(a_pool_is_down_when_all_its_hosts_are),
		TEST(a_pool_is_not_down_while_a_host_has_only_failed_or_is_busy),
		TEST(a_server_that_starts_does_not_make_a_pool_down),
		TEST(a_probe_under_way_leaves_the_pool_down),
		TEST(a_pool_is_down_when_no_host_suits),
		TEST(whether_a_pool_is_down_does_not_hang_on_what_it_wants),
		TEST(an_attempt_goes_once_around_the_list),
		TEST(an_attempt_passes_over_what_is_down_or_does_not_suit),
		TEST(an_attempt_at_the_only_host_has_no_next),
		TEST(each_bound_is_told_by_its_name),
		TEST(for_a_client_an_idle_server_of_another_pool_makes_room),
		TEST(a_server_that_has_to_rest_first_is_waited_for),
		TEST(the_minimum_closes_nobodys_servers),
		TEST(for_a_host_that_is_down_nobodys_server_is_closed),
		TEST(for_a_look_at_a_host_that_is_down_nobodys_server_is_closed),
		TEST(without_room_for_a_look_a_pool_is_down),
		TEST(without_room_for_a_look_another_host_is_taken),
		TEST(an_attempt_under_way_may_look_at_the_next_host),
		TEST(for_those_who_were_sent_away_nobodys_server_is_closed),
		TEST(for_one_bound_nobodys_server_is_closed_while_another_is_in_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
