#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/host.h"

static struct hosts *hosts;

/* What on_gone was called with. */
static struct strbuf gone;

static void note_gone(void *arg, struct host *host)
{
	assert_ptr_equal(arg, &gone);
	assert_true(TAILQ_EMPTY(&host->blocked));
	strbuf_addf(&gone, "%s %s %d\n", host->key, host->name->text, host->port);
}

static int set_up(void **state)
{
	(void)state;
	strbuf_init(&gone);
	strbuf_add_str(&gone, "");
	hosts = hosts_new();
	if (hosts == NULL)
		return -1;
	hosts_on_gone(hosts, note_gone, &gone);
	return 0;
}

static int tear_down(void **state)
{
	bool is_empty = hosts_next(hosts, NULL) == NULL;

	(void)state;
	hosts_free(hosts);
	strbuf_fini(&gone);
	return is_empty && atom_count() == 0 ? 0 : -1;
}

/* ------------------------------------------------------------------ one for each name and port */

static void a_name_and_port_are_one_host_for_all(void **state)
{
	struct host *a = host_ref(hosts, "db1", 5432), *b = host_ref(hosts, "db1", 5432);

	(void)state;
	assert_non_null(a);
	assert_ptr_equal(a, b);
	assert_int_equal(a->refs, 2);
	assert_string_equal(a->name->text, "db1");
	assert_int_equal(a->port, 5432);
	assert_string_equal(a->key, "db1:5432");
	assert_ptr_equal(hosts_find(hosts, SLICE_LIT("db1:5432")), a);
	assert_null(hosts_find(hosts, SLICE_LIT("db1:5433")));
	host_unref(&a);
	host_unref(&b);
}

static void another_name_or_port_is_another_host(void **state)
{
	struct host *list[] = {
		host_ref(hosts, "db1", 5432),  host_ref(hosts, "db1", 5433), host_ref(hosts, "db2", 5432),
		host_ref(hosts, "/tmp", 5432), host_ref(hosts, "::1", 5),    host_ref(hosts, "::1:5", 5),
		host_ref(hosts, "", 5432),     host_ref(hosts, "DB1", 5432),
	};
	size_t n = sizeof(list) / sizeof(list[0]), met = 0;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(list[i]->refs, 1);
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(list[i], list[k]);
	}
	for (struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h))
		met++;
	assert_int_equal(met, n);
	for (size_t i = 0; i < n; i++)
		host_unref(&list[i]);
}

static void a_new_host_is_up_and_of_unknown_role(void **state)
{
	struct host *host = host_ref(hosts, "db1", 5432);

	(void)state;
	assert_string_equal(host_state_text(host), "up");
	assert_string_equal(host_role_text(host), "unknown");
	assert_null(failure_text(host->failure.message));
	assert_int_equal(host->nservers, 0);
	assert_true(TAILQ_EMPTY(&host->blocked));
	assert_null(host->session);
	host_unref(&host);
}

/* ------------------------------------------------------------------ the end */

static void a_host_goes_with_the_last_who_names_it(void **state)
{
	struct host *a = host_ref(hosts, "db1", 5432), *b = host_again(a), *c = host_ref(hosts, "db1", 5432);

	(void)state;
	host_unref(&b);
	assert_null(b);
	host_unref(&a);
	assert_string_equal(gone.p, "");
	host_unref(&c);
	assert_string_equal(gone.p, "db1:5432 db1 5432\n");
	assert_null(hosts_next(hosts, NULL));
	host_unref(&c);
}

static void one_that_comes_back_knows_nothing_of_the_one_before(void **state)
{
	struct host *host = host_ref(hosts, "db1", 5432);

	(void)state;
	host->role = HOST_STANDBY;
	host->breaker.is_open = true;
	host_unref(&host);
	host = host_ref(hosts, "db1", 5432);
	assert_int_equal(host->role, HOST_UNKNOWN);
	assert_string_equal(host_state_text(host), "up");
	host_unref(&host);
}

static void one_that_goes_keeps_nobody_waiting(void **state)
{
	struct host *host = host_ref(hosts, "db1", 5432);
	struct pool one, other;

	(void)state;
	pool_init(&one, NULL, NULL);
	pool_init(&other, NULL, NULL);
	pool_block(&one, &host->blocked);
	pool_block(&other, &host->blocked);
	host_unref(&host);
	assert_null(one.blocked_in);
	assert_null(other.blocked_in);
	assert_string_equal(gone.p, "db1:5432 db1 5432\n");
}

/* That nothing of it is left is checked after the test: no atom may be. */
static void one_that_goes_takes_its_failure_along(void **state)
{
	struct host *host = host_ref(hosts, "db1", 5432), *other = host_ref(hosts, "db2", 5432);

	(void)state;
	failure_set(&host->failure, "08001", "connect failed", "Host \"db1\".", NULL, false);
	failure_copy(&other->failure, &host->failure);
	host_unref(&host);
	assert_string_equal(failure_text(other->failure.message), "connect failed");
	assert_null(failure_text(other->failure.hint));
	/* The same texts once more, from itself. */
	failure_copy(&other->failure, &other->failure);
	assert_string_equal(failure_text(other->failure.sqlstate), "08001");
	assert_string_equal(failure_text(other->failure.detail), "Host \"db1\".");
	host_unref(&other);
}

static void without_a_hook_a_host_goes_too(void **state)
{
	struct hosts *plain = hosts_new();
	struct host *host = host_ref(plain, "db1", 5432);

	(void)state;
	host_unref(&host);
	assert_null(hosts_next(plain, NULL));
	hosts_free(plain);
}

/* ------------------------------------------------------------------ roles */

static void a_host_suits_who_asks_for_what_it_is(void **state)
{
	static const struct {
		enum host_role_kind role;
		bool is_read_only;
		/* any, read-write, read-only, primary, standby, prefer-standby */
		const char *suits;
	} cases[] = {
		{HOST_UNKNOWN, false, "yyyyyy"}, {HOST_UNKNOWN, true, "yyyyyy"},
		{HOST_PRIMARY, false, "yynyny"}, {HOST_PRIMARY, true, "ynyyny"},
		{HOST_STANDBY, false, "ynynyy"}, {HOST_STANDBY, true, "ynynyy"},
	};
	struct host host = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host.role = cases[i].role;
		host.is_read_only = cases[i].is_read_only;
		for (int attrs = TARGET_ANY; attrs <= TARGET_PREFER_STANDBY; attrs++)
			assert_int_equal(host_suits(&host, (enum target_session_attrs)attrs),
					 cases[i].suits[attrs] == 'y');
	}
}

static void states_and_roles_have_words(void **state)
{
	struct host host = {0};

	(void)state;
	host.role = HOST_PRIMARY;
	assert_string_equal(host_role_text(&host), "primary");
	host.role = HOST_STANDBY;
	assert_string_equal(host_role_text(&host), "standby");
	host.breaker.nfailures = 1;
	assert_string_equal(host_state_text(&host), "failing");
	host.breaker.is_open = true;
	assert_string_equal(host_state_text(&host), "down");
	host.breaker.is_probed = true;
	assert_string_equal(host_state_text(&host), "probing");
}

static void pools_whom_no_host_suits_wait_in_one_queue(void **state)
{
	struct pool one;

	(void)state;
	pool_init(&one, NULL, NULL);
	pool_block(&one, hosts_unsuited(hosts));
	assert_ptr_equal(TAILQ_FIRST(hosts_unsuited(hosts)), &one);
	pool_unblock(&one);
	assert_true(TAILQ_EMPTY(hosts_unsuited(hosts)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_and_port_are_one_host_for_all),
		TEST(another_name_or_port_is_another_host),
		TEST(a_new_host_is_up_and_of_unknown_role),
		TEST(a_host_goes_with_the_last_who_names_it),
		TEST(one_that_comes_back_knows_nothing_of_the_one_before),
		TEST(one_that_goes_keeps_nobody_waiting),
		TEST(one_that_goes_takes_its_failure_along),
		TEST(without_a_hook_a_host_goes_too),
		TEST(a_host_suits_who_asks_for_what_it_is),
		TEST(states_and_roles_have_words),
		TEST(pools_whom_no_host_suits_wait_in_one_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
