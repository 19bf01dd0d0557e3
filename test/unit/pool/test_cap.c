#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "pool/cap.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define HOUR (3600 * SECOND)
#define NOW (1000 * SECOND)

/* ------------------------------------------------------------------ pools under one bound, moved by hand */

#define POOLS 12

static struct cap cap;
static struct pool pools[POOLS];
static struct pool_server servers[POOLS][32];
static unsigned nservers[POOLS];
static struct pool_client clients[POOLS][8];

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

static int set_up(void **state)
{
	(void)state;
	memset(servers, 0, sizeof(servers));
	memset(clients, 0, sizeof(clients));
	memset(nservers, 0, sizeof(nservers));
	cap_init(&cap);
	cap.max = 10;
	for (unsigned i = 0; i < POOLS; i++) {
		pool_init(&pools[i], NULL, NULL);
		pools[i].settings.size = 20;
		pools[i].settings.connect_parallel = 20;
		pools[i].is_capped = true;
		cap_join(&cap, &pools[i], CAP_ALL);
	}
	return 0;
}

/* n servers more for pool i, since `now`. */
static void have_active(unsigned i, unsigned n, uint64_t now)
{
	for (; n > 0; n--) {
		struct pool_server *s = &servers[i][nservers[i]++];

		pool_server_join(&pools[i], s, now);
		pool_server_enter(s, POOL_SERVER_ACTIVE);
	}
}

static void have_idle(unsigned i, unsigned n, uint64_t now)
{
	have_active(i, n, now);
	for (unsigned k = nservers[i] - n; k < nservers[i]; k++)
		assert_null(pool_release(&servers[i][k], now));
}

static void lose_one(unsigned i, uint64_t now)
{
	pool_server_leave(&servers[i][--nservers[i]], now);
}

/* Client k of pool i waits, and the pool with it. */
static void block(unsigned i, unsigned k, uint64_t now)
{
	struct pool_server *s;

	assert_int_equal(pool_acquire(&pools[i], &clients[i][k], now, &s), POOL_QUEUED);
	cap_block(&cap, &pools[i], CAP_ALL, now);
}

/* A pool of n servers that lacks one more. */
static void have_wanting(unsigned i, unsigned n, uint64_t now)
{
	have_active(i, n, now);
	block(i, 0, now);
}

static struct pool_server *victim_for(unsigned i, uint64_t now)
{
	uint64_t again_at;

	return cap_victim(&cap, &pools[i], now, &again_at);
}

/* ------------------------------------------------------------------ counting */

static void zero_is_no_bound(void **state)
{
	enum cap_kind kind;

	(void)state;
	cap.max = 0;
	have_active(0, 20, NOW);
	assert_null(cap_full(&pools[0], &kind));
	assert_int_equal(cap.count, 20);
}

static void servers_of_all_pools_and_in_all_states_count(void **state)
{
	enum cap_kind kind;

	(void)state;
	have_active(0, 4, NOW);
	have_idle(1, 4, NOW);
	pool_server_join(&pools[2], &servers[2][0], NOW);
	assert_null(cap_full(&pools[3], &kind));
	pool_server_join(&pools[2], &servers[2][1], NOW);
	assert_ptr_equal(cap_full(&pools[3], &kind), &cap);
	assert_int_equal(kind, CAP_ALL);
	pool_server_leave(&servers[2][0], NOW);
	assert_null(cap_full(&pools[3], &kind));
	assert_int_equal(cap.count, 9);
}

static void a_bound_that_was_lowered_is_reached(void **state)
{
	enum cap_kind kind;

	(void)state;
	have_active(0, 8, NOW);
	cap.max = 5;
	assert_ptr_equal(cap_full(&pools[1], &kind), &cap);
	for (unsigned i = 0; i < 3; i++) {
		lose_one(0, NOW);
		assert_ptr_equal(cap_full(&pools[1], &kind), &cap);
	}
	lose_one(0, NOW);
	assert_null(cap_full(&pools[1], &kind));
}

static void a_pool_is_under_several_bounds_at_a_time(void **state)
{
	struct cap of_database, of_user;
	enum cap_kind kind;

	(void)state;
	cap_init(&of_database);
	cap_init(&of_user);
	of_database.max = 5;
	of_user.max = 3;
	cap_join(&of_database, &pools[0], CAP_DATABASE);
	cap_join(&of_database, &pools[1], CAP_DATABASE);
	cap_join(&of_user, &pools[0], CAP_USER);
	have_active(1, 2, NOW);
	have_active(0, 2, NOW);
	assert_null(cap_full(&pools[0], &kind));
	have_active(0, 1, NOW);
	assert_int_equal(of_user.count, 3);
	assert_int_equal(of_database.count, 5);
	assert_int_equal(cap.count, 5);
	assert_ptr_equal(cap_full(&pools[0], &kind), &of_database);
	assert_int_equal(kind, CAP_DATABASE);
	lose_one(1, NOW);
	assert_ptr_equal(cap_full(&pools[0], &kind), &of_user);
	assert_int_equal(kind, CAP_USER);
	assert_null(cap_full(&pools[1], &kind));
}

static void a_pool_that_leaves_is_no_longer_under_the_bound(void **state)
{
	enum cap_kind kind;

	(void)state;
	have_idle(1, 10, NOW);
	cap_leave(&pools[0], CAP_ALL);
	cap_leave(&pools[0], CAP_ALL);
	assert_null(cap_full(&pools[0], &kind));
	assert_non_null(victim_for(2, NOW + SECOND));
	cap_leave(&pools[1], CAP_ALL);
	assert_null(victim_for(2, NOW + SECOND));
}

/* ------------------------------------------------------------------ idle servers of others */

static void nobody_idle_nobody_evicted(void **state)
{
	uint64_t again_at = 1;

	(void)state;
	have_active(0, 10, NOW);
	assert_null(cap_victim(&cap, &pools[1], NOW + HOUR, &again_at));
	assert_int_equal(again_at, 0);
}

static void a_pool_does_not_evict_from_itself(void **state)
{
	(void)state;
	have_idle(0, 10, NOW);
	assert_null(victim_for(0, NOW + HOUR));
}

static void the_pool_with_the_most_to_spare_loses_one(void **state)
{
	(void)state;
	have_idle(0, 2, NOW - 3 * SECOND);
	have_idle(1, 3, NOW - SECOND);
	have_active(2, 5, NOW - 9 * SECOND);
	assert_null(pool_release(&servers[2][0], NOW - 9 * SECOND));
	assert_ptr_equal(victim_for(3, NOW), &servers[1][0]);
	/* What is guaranteed is nothing to spare. */
	pools[1].settings.guaranteed_size = 2;
	assert_ptr_equal(victim_for(3, NOW), &servers[0][0]);
}

static void among_equals_the_longest_idle_goes(void **state)
{
	(void)state;
	have_idle(0, 2, NOW - 2 * SECOND);
	have_idle(1, 2, NOW - 3 * SECOND);
	have_idle(2, 2, NOW - SECOND);
	assert_ptr_equal(victim_for(3, NOW), &servers[1][0]);
}

/* Five servers of pool 0, released one after another in another order than they were made. */
static void release_in_disorder(void)
{
	static const unsigned order[] = {3, 0, 4, 2, 1};

	have_active(0, 5, NOW);
	for (unsigned i = 0; i < 5; i++)
		assert_null(pool_release(&servers[0][order[i]], NOW + i * MS));
}

static void it_loses_its_longest_idle_server(void **state)
{
	(void)state;
	release_in_disorder();
	assert_ptr_equal(victim_for(1, NOW + SECOND), &servers[0][3]);
	pool_server_leave(&servers[0][3], NOW);
	assert_ptr_equal(victim_for(1, NOW + SECOND), &servers[0][0]);
}

static void it_loses_its_longest_idle_server_in_round_robin_too(void **state)
{
	(void)state;
	pools[0].settings.round_robin = true;
	release_in_disorder();
	assert_ptr_equal(victim_for(1, NOW + SECOND), &servers[0][3]);
	pool_server_leave(&servers[0][3], NOW);
	assert_ptr_equal(victim_for(1, NOW + SECOND), &servers[0][0]);
}

static void guaranteed_servers_are_nobodys_victims(void **state)
{
	(void)state;
	pools[0].settings.guaranteed_size = 3;
	have_idle(0, 3, NOW);
	assert_null(victim_for(1, NOW + HOUR));
	/* A fourth can go, but not more than that, however many are idle. */
	have_idle(0, 1, NOW);
	assert_non_null(victim_for(1, NOW + HOUR));
	lose_one(0, NOW);
	assert_null(victim_for(1, NOW + HOUR));
	/* Busy ones count: with three of them all idle ones are to spare. */
	have_active(0, 3, NOW);
	assert_non_null(victim_for(1, NOW + HOUR));
}

static void a_pool_with_far_fewer_servers_takes_at_once(void **state)
{
	(void)state;
	have_idle(0, 3, NOW);
	have_active(1, 1, NOW);
	assert_non_null(victim_for(1, NOW));
}

static void a_pool_with_as_many_or_more_takes_only_what_has_rested(void **state)
{
	uint64_t again_at;

	(void)state;
	have_idle(0, 1, NOW);
	have_idle(1, 1, NOW + 30 * MS);
	have_active(2, 1, NOW);
	assert_null(cap_victim(&cap, &pools[2], NOW + 40 * MS, &again_at));
	assert_int_equal(again_at, NOW + 100 * MS);
	assert_null(cap_victim(&cap, &pools[2], again_at - 1, &again_at));
	assert_ptr_equal(cap_victim(&cap, &pools[2], NOW + 100 * MS, &again_at), &servers[0][0]);
}

static void a_pool_that_lacks_what_is_guaranteed_takes_at_once(void **state)
{
	(void)state;
	have_idle(0, 1, NOW);
	have_active(1, 4, NOW);
	assert_null(victim_for(1, NOW));
	pools[1].settings.guaranteed_size = 5;
	assert_non_null(victim_for(1, NOW));
	pools[1].settings.guaranteed_size = 4;
	assert_null(victim_for(1, NOW));
}

/* ------------------------------------------------------------------ turns */

static void a_pool_under_no_bound_that_is_reached_yields_nothing(void **state)
{
	(void)state;
	have_active(0, 8, NOW);
	have_wanting(1, 1, NOW);
	assert_false(cap_yields(&pools[0], NOW));
	have_active(0, 1, NOW);
	assert_true(cap_yields(&pools[0], NOW));
	pools[0].is_capped = false;
	assert_false(cap_yields(&pools[0], NOW));
}

static void a_server_is_given_up_to_who_has_fewer(void **state)
{
	(void)state;
	have_active(0, 6, NOW);
	have_wanting(1, 4, NOW);
	assert_true(cap_yields(&pools[0], NOW));
	assert_false(cap_yields(&pools[1], NOW));
}

static void nothing_is_given_up_to_equals(void **state)
{
	(void)state;
	have_active(0, 5, NOW);
	have_wanting(1, 5, NOW);
	assert_false(cap_yields(&pools[0], NOW));
	assert_false(cap_yields(&pools[0], NOW + HOUR));
}

static void nothing_is_given_up_to_who_waits_no_longer(void **state)
{
	(void)state;
	have_active(0, 10, NOW);
	block(1, 0, NOW);
	pool_forget(&clients[1][0]);
	assert_false(cap_yields(&pools[0], NOW));
}

static void nothing_is_given_up_to_who_is_paused(void **state)
{
	(void)state;
	have_active(0, 10, NOW);
	block(1, 0, NOW);
	pools[1].is_paused = true;
	assert_false(cap_yields(&pools[0], NOW + SECOND));
}

static void where_one_is_the_difference_turns_are_taken(void **state)
{
	(void)state;
	cap.max = 11;
	have_active(0, 6, NOW);
	have_wanting(1, 5, NOW);
	assert_false(cap_yields(&pools[0], NOW));
	/* It has had one server more, for a quarter of a second. */
	assert_false(cap_yields(&pools[0], NOW + 240 * MS));
	assert_true(cap_yields(&pools[0], NOW + 260 * MS));
}

/* Each client that queues has the session layer look at its pool, which waits in the line anew then. */
static void who_waits_again_keeps_his_claim(void **state)
{
	(void)state;
	cap.max = 11;
	have_active(0, 6, NOW);
	have_wanting(1, 5, NOW);
	block(1, 1, NOW + 200 * MS);
	block(1, 2, NOW + 300 * MS);
	assert_true(cap_yields(&pools[0], NOW + 301 * MS));
}

static void who_joins_has_no_claim_for_the_time_before(void **state)
{
	(void)state;
	cap.max = 11;
	have_active(0, 11, NOW);
	/* An hour later the other one comes, and is led up to the same number at once. */
	block(1, 0, NOW + HOUR);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(cap_yields(&pools[0], NOW + HOUR));
		lose_one(0, NOW + HOUR);
		assert_ptr_equal(cap_next(&cap, NOW + HOUR), &pools[1]);
		have_active(1, 1, NOW + HOUR);
		block(1, i + 1, NOW + HOUR);
	}
	/* From there on turns begin: who has one more keeps it for a turn. */
	assert_false(cap_yields(&pools[0], NOW + HOUR + 200 * MS));
	assert_true(cap_yields(&pools[0], NOW + HOUR + 300 * MS));
}

static void what_a_pool_had_while_nobody_else_wanted_it_is_no_debt(void **state)
{
	(void)state;
	cap.max = 5;
	/* For an hour pool 0 keeps five servers, of which it uses none, and pool 1 has nothing to do. */
	have_idle(0, 5, NOW);
	for (unsigned i = 0; i < 3; i++) {
		lose_one(0, NOW + HOUR);
		have_active(1, 1, NOW + HOUR);
	}
	for (unsigned i = 0; i < 2; i++)
		pool_server_enter(&servers[0][i], POOL_SERVER_ACTIVE);
	block(1, 0, NOW + HOUR);
	block(0, 0, NOW + HOUR);
	/* Both want more from now on; pool 1 has the odd one for one turn, not for an hour. */
	assert_false(cap_yields(&pools[1], NOW + HOUR + 200 * MS));
	assert_true(cap_yields(&pools[1], NOW + HOUR + 10 * SECOND));
}

static void nobody_gives_up_what_is_guaranteed_to_him(void **state)
{
	(void)state;
	pools[0].settings.guaranteed_size = 10;
	have_active(0, 10, NOW);
	block(1, 0, NOW);
	assert_false(cap_yields(&pools[0], NOW + HOUR));
	pools[0].settings.guaranteed_size = 9;
	assert_true(cap_yields(&pools[0], NOW));
	lose_one(0, NOW);
	have_active(2, 1, NOW);
	assert_false(cap_yields(&pools[0], NOW + HOUR));
	/* Not even to one who lacks what is guaranteed to him. */
	pools[1].settings.guaranteed_size = 5;
	assert_false(cap_yields(&pools[0], NOW + HOUR));
}

static void who_lacks_what_is_guaranteed_is_given_way_by_who_has_fewer(void **state)
{
	(void)state;
	have_active(0, 2, NOW);
	have_wanting(1, 8, NOW);
	assert_false(cap_yields(&pools[0], NOW));
	/* A line that was gone through is left alone for a moment. */
	pools[1].settings.guaranteed_size = 9;
	assert_true(cap_yields(&pools[0], NOW + 100));
	pools[1].settings.guaranteed_size = 8;
	assert_false(cap_yields(&pools[0], NOW + 100));
}

/* The first server of a pool, which the welcome of its clients comes from, is wanted by no less of a client. */
static void a_client_that_logs_in_is_one_that_waits(void **state)
{
	(void)state;
	have_wanting(0, 10, NOW);
	pool_await_login(&pools[1], &clients[1][0], NOW);
	cap_block(&cap, &pools[1], CAP_ALL, NOW);
	assert_true(cap_yields(&pools[0], NOW + 10 * SECOND));
	lose_one(0, NOW + 10 * SECOND);
	assert_ptr_equal(cap_next(&cap, NOW + 10 * SECOND), &pools[1]);
}

/* ------------------------------------------------------------------ who is next */

static void nobody_waits_and_nobody_is_next(void **state)
{
	(void)state;
	assert_null(cap_next(&cap, NOW));
	block(0, 0, NOW);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[0]);
	assert_null(pools[0].blocked_in);
	assert_null(cap_next(&cap, NOW));
}

static void who_lacks_what_is_guaranteed_is_next(void **state)
{
	(void)state;
	have_wanting(0, 0, NOW);
	have_wanting(1, 5, NOW);
	have_wanting(2, 1, NOW);
	pools[1].settings.guaranteed_size = 6;
	assert_ptr_equal(cap_next(&cap, NOW), &pools[1]);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[0]);
}

static void who_has_fewer_is_next(void **state)
{
	(void)state;
	have_wanting(0, 6, NOW);
	have_wanting(1, 1, NOW);
	have_wanting(2, 3, NOW);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[1]);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[2]);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[0]);
}

static void who_has_had_less_is_next(void **state)
{
	(void)state;
	cap.max = 11;
	have_wanting(0, 6, NOW);
	have_wanting(1, 5, NOW);
	lose_one(0, NOW + SECOND);
	assert_ptr_equal(cap_next(&cap, NOW + SECOND), &pools[1]);
}

/* A server that was given up to one who has fewer does not come back to the giver, whatever they have had. */
static void what_is_given_up_goes_to_another(void **state)
{
	(void)state;
	cap.max = 6;
	have_wanting(0, 4, NOW);
	have_wanting(1, 2, NOW);
	pools[1].seats[CAP_ALL].used_us += 10 * SECOND;
	assert_true(cap_yields(&pools[0], NOW));
	lose_one(0, NOW);
	assert_ptr_equal(cap_next(&cap, NOW), &pools[1]);
}

static void who_has_waited_longest_is_next_among_equals(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		have_active(i, 2, NOW);
	block(1, 0, NOW + MS);
	block(2, 0, NOW + 2 * MS);
	block(0, 0, NOW + 3 * MS);
	/* The line's order is that in which they were looked at last. */
	block(1, 1, NOW + 4 * MS);
	assert_ptr_equal(cap_next(&cap, NOW + 10 * MS), &pools[1]);
	assert_ptr_equal(cap_next(&cap, NOW + 10 * MS), &pools[2]);
	assert_ptr_equal(cap_next(&cap, NOW + 10 * MS), &pools[0]);
}

static void who_only_wants_his_minimum_comes_last(void **state)
{
	(void)state;
	cap_block(&cap, &pools[0], CAP_ALL, NOW);
	have_wanting(1, 9, NOW + SECOND);
	cap_block(&cap, &pools[2], CAP_ALL, NOW);
	assert_ptr_equal(cap_next(&cap, NOW + SECOND), &pools[1]);
	assert_ptr_equal(cap_next(&cap, NOW + SECOND), &pools[0]);
	assert_ptr_equal(cap_next(&cap, NOW + SECOND), &pools[2]);
}

/*
 * Three pools with 1, 2 and 3 servers, of which those with more have had less:
 * one is the difference between neighbours, so that each is before the next
 * one, but two between the first and the last.
 */
static void the_next_never_has_two_more_than_another_that_waits(void **state)
{
	static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (unsigned k = 0; k < 6; k++) {
		set_up(state);
		cap.max = 6;
		for (unsigned i = 0; i < 3; i++)
			have_active(i, i + 1, NOW);
		for (unsigned i = 0; i < 3; i++)
			pools[i].seats[CAP_ALL].used_us = (3 - i) * 10 * SECOND;
		for (unsigned i = 0; i < 3; i++) {
			struct pool_server *s;

			pool_acquire(&pools[orders[k][i]], &clients[orders[k][i]][0], NOW, &s);
			pool_block(&pools[orders[k][i]], &cap.blocked);
		}
		assert_true(pool_server_count(cap_next(&cap, NOW)) <= 2);
	}
}

/* ------------------------------------------------------------------ pools under one bound, over time */

/* Does what the session layer does with the pools' and the bound's answers; connecting takes so long. */
#define CONNECT_US (3 * MS)
#define SIDES 12
#define SIDE_MAX 40

struct sim_client {
	struct pool_client c;
	uint64_t at;                     /* its next query; 0: it waits, or has a server */
	uint64_t asked_at;
	bool leaves;                     /* after this query */
};

struct sim_server {
	struct pool_server s;
	uint64_t at;                     /* the end of its login or of its transaction; 0: idle */
	struct sim_client *client;
};

struct side {
	struct pool pool;
	struct sim_client clients[SIDE_MAX];
	struct sim_server servers[SIDE_MAX];
	uint64_t work_us;                /* how long transactions take, on average */
	uint64_t think_us;               /* and a client rests after each */
	uint64_t wake_at;
	/* Since count_anew(). */
	uint64_t had_us;                 /* servers, times how long clients had them */
	uint64_t longest_wait_us;
	unsigned nqueries, nevicted, ngiven_up;
};

static struct side sides[SIDES];
static unsigned nsides;
static uint64_t now;
static uint32_t dice_state;

static uint32_t dice(void)
{
	dice_state = dice_state * 1664525 + 1013904223;
	return dice_state >> 8;
}

static struct side *side_of(const struct pool *pool)
{
	return (struct side *)((char *)pool - offsetof(struct side, pool));
}

static void drop_sides(void)
{
	for (unsigned i = 0; i < nsides; i++)
		pool_fini(&sides[i].pool);
	memset(sides, 0, sizeof(sides));
	nsides = 0;
}

static void have_sides(unsigned n, unsigned max)
{
	drop_sides();
	dice_state = 4711;
	nsides = n;
	now = NOW;
	cap_init(&cap);
	cap.max = max;
	for (unsigned i = 0; i < n; i++) {
		pool_init(&sides[i].pool, NULL, NULL);
		sides[i].pool.settings.size = SIDE_MAX;
		sides[i].pool.settings.connect_parallel = 4;
		sides[i].pool.is_capped = true;
		cap_join(&cap, &sides[i].pool, CAP_ALL);
	}
}

/* So many clients that query again and again: the pool never has enough servers. */
static void saturate(unsigned i, uint64_t work_us, uint64_t from)
{
	sides[i].work_us = work_us;
	sides[i].pool.nclients = SIDE_MAX;
	for (unsigned k = 0; k < SIDE_MAX; k++)
		sides[i].clients[k].at = from;
}

static void drop(struct sim_server *v)
{
	const struct pool *pool = v->s.pool;

	assert_true(pool_server_count(pool) > pool->settings.guaranteed_size);
	pool_server_leave(&v->s, now);
	memset(v, 0, sizeof(*v));
}

static void open_one(struct side *d)
{
	struct sim_server *v = d->servers;

	while (v->s.pool != NULL)
		v++;
	pool_server_join(&d->pool, &v->s, now);
	v->at = now + CONNECT_US;
	assert_true(cap.count <= cap.max);
}

static void set_wake(struct side *d, uint64_t at)
{
	if (at != 0 && (d->wake_at == 0 || at < d->wake_at))
		d->wake_at = at;
}

/* Opens one, or has an idle one of another pool closed for it; false: not now. */
static bool open_next(struct side *d)
{
	struct pool_server *victim;
	enum cap_kind kind;
	uint64_t again_at;
	struct cap *full;
	bool reserve;

	if (!pool_wants_server(&d->pool, now, &reserve))
		return false;
	full = cap_full(&d->pool, &kind);
	if (full == NULL) {
		open_one(d);
		return true;
	}
	victim = cap_victim(full, &d->pool, now, &again_at);
	if (victim == NULL) {
		cap_block(full, &d->pool, kind, now);
		set_wake(d, again_at);
		return false;
	}
	side_of(victim->pool)->nevicted++;
	drop((struct sim_server *)victim);
	return true;
}

static void fill(struct side *d)
{
	pool_unblock(&d->pool);
	while (open_next(d))
		;
}

static void share(void)
{
	unsigned n = 0;
	struct pool *p;

	TAILQ_FOREACH(p, &cap.blocked, blocked_link)
		n++;
	while (n-- > 0 && (p = cap_next(&cap, now)) != NULL) {
		fill(side_of(p));
		if (p->blocked_in == &cap.blocked)
			break;
	}
}

static void begin(struct side *d, struct sim_server *v, struct sim_client *c)
{
	uint64_t work = d->work_us / 2 + dice() % d->work_us;

	v->client = c;
	v->at = now + work;
	d->had_us += work;
	d->nqueries++;
	if (now - c->asked_at > d->longest_wait_us)
		d->longest_wait_us = now - c->asked_at;
}

static void offer(struct side *d, struct sim_server *v)
{
	struct pool_client *c = pool_release(&v->s, now);

	v->at = 0;
	if (c != NULL)
		begin(d, v, (struct sim_client *)c);
	else
		share();
}

static void arrive(struct side *d, struct sim_client *c)
{
	struct pool_server *s;

	c->at = 0;
	c->asked_at = now;
	if (pool_acquire(&d->pool, &c->c, now, &s) == POOL_GRANTED)
		begin(d, (struct sim_server *)s, c);
	else
		fill(d);
}

/* The login or the transaction is over. */
static void finish(struct side *d, struct sim_server *v)
{
	struct sim_client *c = v->client;

	v->client = NULL;
	if (c == NULL) {
		offer(d, v);
		fill(d);
		return;
	}
	c->at = c->leaves ? 0 : now + d->think_us;
	if (!cap_yields(&d->pool, now)) {
		offer(d, v);
		return;
	}
	d->ngiven_up++;
	drop(v);
	share();
	fill(d);
}

static bool is_due(uint64_t at)
{
	return at != 0 && at <= now;
}

static void do_what_is_due(struct side *d)
{
	for (unsigned i = 0; i < SIDE_MAX; i++) {
		if (d->servers[i].s.pool != NULL && is_due(d->servers[i].at))
			finish(d, &d->servers[i]);
		if (is_due(d->clients[i].at))
			arrive(d, &d->clients[i]);
	}
	if (is_due(d->wake_at)) {
		d->wake_at = 0;
		fill(d);
	}
}

static void keep_soonest(uint64_t *soonest, uint64_t at)
{
	if (at != 0 && at < *soonest)
		*soonest = at;
}

static uint64_t next_event(uint64_t end)
{
	uint64_t soonest = end;

	for (unsigned i = 0; i < nsides; i++) {
		keep_soonest(&soonest, sides[i].wake_at);
		for (unsigned k = 0; k < SIDE_MAX; k++) {
			keep_soonest(&soonest, sides[i].clients[k].at);
			keep_soonest(&soonest, sides[i].servers[k].at);
		}
	}
	return soonest > now ? soonest : now;
}

static void run_until(uint64_t end)
{
	while ((now = next_event(end)) < end)
		for (unsigned i = 0; i < nsides; i++)
			do_what_is_due(&sides[i]);
}

static void count_anew(void)
{
	for (unsigned i = 0; i < nsides; i++) {
		sides[i].had_us = sides[i].longest_wait_us = 0;
		sides[i].nqueries = sides[i].nevicted = sides[i].ngiven_up = 0;
	}
}

/* Lets it settle, then counts for so long. */
static void run_for(uint64_t span)
{
	run_until(now + 2 * SECOND);
	count_anew();
	run_until(now + span);
}

static uint64_t had_by_all(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < nsides; i++)
		sum += sides[i].had_us;
	return sum;
}

static unsigned handed_over(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nsides; i++)
		n += sides[i].ngiven_up + sides[i].nevicted;
	return n;
}

/* All have had the same, within 5 %. */
static void assert_equal_shares(void)
{
	uint64_t fair = had_by_all() / nsides;

	for (unsigned i = 0; i < nsides; i++)
		if (sides[i].had_us < fair * 95 / 100 || sides[i].had_us > fair * 105 / 100)
			fail_msg("side %u of %u under a bound of %u has had %.1f %% of its fair share", i, nsides, cap.max,
				 100. * (double)sides[i].had_us / (double)fair);
}

/* n saturated pools under a bound, over half a minute. */
static void assert_fair(unsigned n, unsigned max, uint64_t work_us)
{
	have_sides(n, max);
	for (unsigned i = 0; i < n; i++)
		saturate(i, work_us, NOW + i);
	run_for(30 * SECOND);
	assert_equal_shares();
}

static void three_equal_pools_under_a_bound_of_ten_have_equal_shares(void **state)
{
	static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	(void)state;
	for (unsigned k = 0; k < 6; k++) {
		have_sides(3, 10);
		for (unsigned i = 0; i < 3; i++)
			saturate(orders[k][i], 5 * MS, NOW + i * 500 * MS);
		run_for(60 * SECOND);
		assert_equal_shares();
		/* And the bound is used, not talked about. */
		assert_true(had_by_all() > 60 * SECOND * 10 * 95 / 100);
	}
}

static void so_have_three_under_a_bound_of_eleven(void **state)
{
	(void)state;
	assert_fair(3, 11, 5 * MS);
}

static void so_have_two_under_an_odd_bound(void **state)
{
	(void)state;
	assert_fair(2, 5, 5 * MS);
}

static void so_have_two_under_a_bound_of_one(void **state)
{
	(void)state;
	assert_fair(2, 1, 5 * MS);
}

static void so_have_more_pools_than_servers(void **state)
{
	(void)state;
	assert_fair(5, 4, 5 * MS);
	assert_fair(12, 10, 5 * MS);
}

static void so_have_pools_of_long_transactions(void **state)
{
	(void)state;
	have_sides(3, 10);
	for (unsigned i = 0; i < 3; i++)
		saturate(i, 400 * MS, NOW + i);
	run_for(10 * 60 * SECOND);
	assert_equal_shares();
}

static void short_transactions_have_no_less_time_than_long_ones(void **state)
{
	(void)state;
	have_sides(2, 10);
	saturate(0, 2 * MS, NOW);
	saturate(1, 50 * MS, NOW);
	run_for(30 * SECOND);
	assert_equal_shares();
}

static void few_servers_are_handed_over(void **state)
{
	static const unsigned cases[][2] = {{3, 10}, {3, 11}, {2, 5}, {2, 10}, {5, 4}, {12, 10}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		have_sides(cases[i][0], cases[i][1]);
		for (unsigned k = 0; k < nsides; k++)
			saturate(k, 5 * MS, NOW + k);
		run_for(30 * SECOND);
		/* Of some two hundred transactions that a server runs in a second, two go with a change of hands at most. */
		if (handed_over() > 30 * 2 * cap.max)
			fail_msg("%u pools under a bound of %u: %u hand-overs in 30 s", nsides, cap.max, handed_over());
	}
}

/* Clients of the second pool come at a steady pace while nobody of them is served. */
static void a_pool_whose_clients_keep_coming_is_not_starved(void **state)
{
	(void)state;
	have_sides(2, 1);
	saturate(0, 5 * MS, NOW);
	sides[1].work_us = 5 * MS;
	for (unsigned k = 0; k < SIDE_MAX; k++) {
		sides[1].clients[k].at = NOW + SECOND + k * 50 * MS;
		sides[1].clients[k].leaves = true;
	}
	run_until(NOW + 3 * SECOND);
	assert_true(sides[1].nqueries > 0);
	run_until(NOW + 10 * SECOND);
	assert_int_equal(sides[1].nqueries, SIDE_MAX);
	assert_true(sides[1].longest_wait_us < 3 * SECOND);
}

/* The same with so many others in line that not all are looked at. */
static void a_pool_far_back_in_the_line_is_not_starved(void **state)
{
	(void)state;
	have_sides(12, 11);
	for (unsigned i = 0; i < 11; i++)
		saturate(i, SECOND, NOW + i);
	sides[11].work_us = 5 * MS;
	for (unsigned k = 0; k < SIDE_MAX; k++) {
		sides[11].clients[k].at = NOW + 2 * SECOND + k * 150 * MS;
		sides[11].clients[k].leaves = true;
	}
	run_until(NOW + 2 * SECOND + SIDE_MAX * 150 * MS);
	assert_true(sides[11].nqueries > 0);
	run_until(now + 3 * SECOND);
	assert_int_equal(sides[11].nqueries, SIDE_MAX);
	assert_true(sides[11].longest_wait_us < 3 * SECOND);
}

static void have_occasional_client(unsigned i, uint64_t think_us)
{
	sides[i].work_us = MS;
	sides[i].think_us = think_us;
	sides[i].pool.nclients = 1;
	sides[i].clients[0].at = NOW + SECOND;
}

static void a_pool_with_one_client_now_and_then_is_not_starved(void **state)
{
	static const uint64_t thinks[] = {10 * MS, 50 * MS, 150 * MS, SECOND};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		have_sides(2, 10);
		saturate(0, 5 * MS, NOW);
		have_occasional_client(1, thinks[i]);
		run_for(30 * SECOND);
		assert_true(sides[1].longest_wait_us < 50 * MS);
		assert_true(sides[1].nqueries > 30 * SECOND / (thinks[i] + 50 * MS));
	}
}

static void a_client_now_and_then_costs_two_connections_each_time_at_most(void **state)
{
	static const uint64_t thinks[] = {10 * MS, 50 * MS, 150 * MS, SECOND};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		have_sides(2, 10);
		saturate(0, 5 * MS, NOW);
		have_occasional_client(1, thinks[i]);
		run_for(30 * SECOND);
		assert_true(handed_over() <= 2 * sides[1].nqueries + 2);
		/* Who comes back before his server has rested finds it still there. */
		if (thinks[i] < 90 * MS)
			assert_true(handed_over() <= 4);
	}
}

static void many_clients_now_and_then_leave_the_most_of_the_bound_in_use(void **state)
{
	(void)state;
	have_sides(9, 10);
	saturate(0, 5 * MS, NOW);
	for (unsigned i = 1; i < 9; i++) {
		have_occasional_client(i, SECOND);
		sides[i].clients[0].at += i * 100 * MS;
	}
	run_for(30 * SECOND);
	assert_true(sides[0].had_us > 30 * SECOND * 10 * 70 / 100);
	for (unsigned i = 1; i < 9; i++)
		assert_true(sides[i].longest_wait_us < 100 * MS);
}

/* One client each, every eleven milliseconds, and a server less than there are pools. */
static void pools_with_little_to_do_hand_over_few_servers_too(void **state)
{
	(void)state;
	have_sides(3, 2);
	for (unsigned i = 0; i < 3; i++)
		have_occasional_client(i, 10 * MS);
	run_for(30 * SECOND);
	if (handed_over() > 30 * 2 * cap.max)
		fail_msg("%u hand-overs in 30 s", handed_over());
	for (unsigned i = 0; i < 3; i++)
		assert_true(sides[i].longest_wait_us < 2 * SECOND);
}

static void who_was_silent_for_an_hour_takes_no_more_than_his_share(void **state)
{
	(void)state;
	have_sides(2, 11);
	saturate(0, 5 * MS, NOW);
	run_until(NOW + SECOND);
	/* An hour in which the first pool is served and the second has nothing to do: what is due is put off. */
	for (unsigned k = 0; k < SIDE_MAX; k++)
		if (sides[0].servers[k].at != 0)
			sides[0].servers[k].at += HOUR;
	now += HOUR;
	saturate(1, 5 * MS, now);
	run_for(30 * SECOND);
	assert_equal_shares();
}

static void who_kept_idle_servers_for_an_hour_has_no_less_than_his_share(void **state)
{
	(void)state;
	have_sides(2, 5);
	saturate(0, 5 * MS, NOW);
	run_until(NOW + SECOND);
	for (unsigned k = 0; k < SIDE_MAX; k++)
		sides[0].clients[k].leaves = true;
	run_until(NOW + 10 * SECOND);
	assert_int_equal(sides[0].pool.nservers[POOL_SERVER_IDLE], 5);
	now += HOUR;
	for (unsigned k = 0; k < SIDE_MAX; k++)
		sides[0].clients[k].leaves = false;
	saturate(0, 5 * MS, now + SECOND);
	saturate(1, 5 * MS, now);
	run_for(30 * SECOND);
	assert_equal_shares();
}

/* drop() asserts that nobody goes below what is guaranteed to him. */
static void guaranteed_servers_are_kept_against_any_load(void **state)
{
	(void)state;
	have_sides(4, 10);
	for (unsigned i = 0; i < 4; i++)
		sides[i].pool.settings.guaranteed_size = i;
	for (unsigned i = 0; i < 4; i++)
		saturate(i, 5 * MS, NOW + i);
	sides[1].think_us = 30 * MS;
	sides[3].think_us = 100 * MS;
	run_for(60 * SECOND);
	assert_true(pool_server_count(&sides[2].pool) >= 2);
}

static void who_comes_late_is_given_what_is_guaranteed_to_him(void **state)
{
	(void)state;
	have_sides(3, 10);
	saturate(0, 5 * MS, NOW);
	saturate(1, 5 * MS, NOW);
	run_until(NOW + SECOND);
	sides[2].pool.settings.guaranteed_size = 8;
	saturate(2, 5 * MS, now);
	run_until(now + SECOND);
	assert_int_equal(pool_server_count(&sides[2].pool), 8);
	run_for(10 * SECOND);
	assert_int_equal(pool_server_count(&sides[2].pool), 8);
	/* What is left is shared by the others. */
	assert_true(sides[0].had_us > 9 * SECOND);
	assert_true(sides[1].had_us > 9 * SECOND);
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < POOLS; i++)
		pool_fini(&pools[i]);
	drop_sides();
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zero_is_no_bound),
		TEST(servers_of_all_pools_and_in_all_states_count),
		TEST(a_bound_that_was_lowered_is_reached),
		TEST(a_pool_is_under_several_bounds_at_a_time),
		TEST(a_pool_that_leaves_is_no_longer_under_the_bound),
		TEST(nobody_idle_nobody_evicted),
		TEST(a_pool_does_not_evict_from_itself),
		TEST(the_pool_with_the_most_to_spare_loses_one),
		TEST(among_equals_the_longest_idle_goes),
		TEST(it_loses_its_longest_idle_server),
		TEST(it_loses_its_longest_idle_server_in_round_robin_too),
		TEST(guaranteed_servers_are_nobodys_victims),
		TEST(a_pool_with_far_fewer_servers_takes_at_once),
		TEST(a_pool_with_as_many_or_more_takes_only_what_has_rested),
		TEST(a_pool_that_lacks_what_is_guaranteed_takes_at_once),
		TEST(a_pool_under_no_bound_that_is_reached_yields_nothing),
		TEST(a_server_is_given_up_to_who_has_fewer),
		TEST(nothing_is_given_up_to_equals),
		TEST(nothing_is_given_up_to_who_waits_no_longer),
		TEST(nothing_is_given_up_to_who_is_paused),
		TEST(where_one_is_the_difference_turns_are_taken),
		TEST(who_waits_again_keeps_his_claim),
		TEST(who_joins_has_no_claim_for_the_time_before),
		TEST(what_a_pool_had_while_nobody_else_wanted_it_is_no_debt),
		TEST(nobody_gives_up_what_is_guaranteed_to_him),
		TEST(who_lacks_what_is_guaranteed_is_given_way_by_who_has_fewer),
		TEST(a_client_that_logs_in_is_one_that_waits),
		TEST(nobody_waits_and_nobody_is_next),
		TEST(who_lacks_what_is_guaranteed_is_next),
		TEST(who_has_fewer_is_next),
		TEST(who_has_had_less_is_next),
		TEST(what_is_given_up_goes_to_another),
		TEST(who_has_waited_longest_is_next_among_equals),
		TEST(who_only_wants_his_minimum_comes_last),
		TEST(the_next_never_has_two_more_than_another_that_waits),
		TEST(three_equal_pools_under_a_bound_of_ten_have_equal_shares),
		TEST(so_have_three_under_a_bound_of_eleven),
		TEST(so_have_two_under_an_odd_bound),
		TEST(so_have_two_under_a_bound_of_one),
		TEST(so_have_more_pools_than_servers),
		TEST(so_have_pools_of_long_transactions),
		TEST(short_transactions_have_no_less_time_than_long_ones),
		TEST(few_servers_are_handed_over),
		TEST(a_pool_whose_clients_keep_coming_is_not_starved),
		TEST(a_pool_far_back_in_the_line_is_not_starved),
		TEST(a_pool_with_one_client_now_and_then_is_not_starved),
		TEST(a_client_now_and_then_costs_two_connections_each_time_at_most),
		TEST(many_clients_now_and_then_leave_the_most_of_the_bound_in_use),
		TEST(pools_with_little_to_do_hand_over_few_servers_too),
		TEST(who_was_silent_for_an_hour_takes_no_more_than_his_share),
		TEST(who_kept_idle_servers_for_an_hour_has_no_less_than_his_share),
		TEST(guaranteed_servers_are_kept_against_any_load),
		TEST(who_comes_late_is_given_what_is_guaranteed_to_him),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
