#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>

#include "http/exposition.h"
#include "report/metrics.h"

#include "../report/fixture.h"

static const struct stats_history console;
static const struct report report = {.hub = &hub, .console = &console, .version = "1.2.3", .listen_port = 6432};

static int open_hub(void **state)
{
	(void)state;
	fixture_open("[databases]\nshop = host=127.0.0.1\nzoo = host=127.0.0.1\n[pgbouncer]\n");
	return 0;
}

static int close_hub(void **state)
{
	(void)state;
	fixture_close();
	return 0;
}

/* All of it, with so many rows and samples at a time; freed by the caller. What changes by itself is left out. */
static char *tell(unsigned at_a_time)
{
	struct pieces *p = exposition_new(&report);
	struct strbuf out;
	enum told told;
	char *end;

	strbuf_init(&out);
	do {
		unsigned left = at_a_time;

		told = p->next(p, &left, &out);
		assert_int_not_equal(told, TOLD_OUT_OF_MEMORY);
	} while (told == TOLD_SOME);
	p->free(p);
	assert_false(out.failed);
	end = strstr(out.p, "# HELP process_");
	assert_non_null(end);
	*end = '\0';
	return out.p;
}

static void assert_told(const char *expected)
{
	char *text = tell(UINT_MAX);

	if (strstr(text, expected) == NULL)
		fail_msg("%s is not in\n%s", expected, text);
	free(text);
}

static void however_little_is_told_at_a_time_the_whole_is_the_same(void **state)
{
	char *whole, *pieces;

	(void)state;
	fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_ACTIVE);
	fixture_server(fixture_pool("zoo", "bob"), POOL_SERVER_IDLE);
	for (int i = 0; i < 5; i++)
		fixture_client(CLIENT_IDLE, i < 3 ? "shop" : "zoo", "ann");
	whole = tell(UINT_MAX);
	for (unsigned n = 1; n < 8; n++) {
		pieces = tell(n);
		assert_string_equal(pieces, whole);
		free(pieces);
	}
	free(whole);
}

static void names_of_users_are_escaped(void **state)
{
	(void)state;
	fixture_server(fixture_pool("shop", "a\"b\\c\nd\xff\xc3\xa9"), POOL_SERVER_ACTIVE);
	assert_told("\npgbouncer_pools_server_active_connections{database=\"shop\","
		    "user=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa9\"} 1\n");
}

static void clients_with_the_same_labels_are_one_sample(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		fixture_client(CLIENT_IDLE, "shop", "ann");
	fixture_client(CLIENT_IDLE, "zoo", "ann");
	assert_told("\npgbouncer_client_connections{database=\"shop\",user=\"ann\",state=\"idle\",application_name=\"\"} 3\n");
	assert_told("\npgbouncer_client_connections{database=\"zoo\",user=\"ann\",state=\"idle\",application_name=\"\"} 1\n");
}

static void times_are_in_seconds(void **state)
{
	(void)state;
	fixture_pool("shop", "ann")->stats.now.query_time = 12000345;
	registry_find_database(hub.registry, SLICE_LIT("shop"))->was_used = true;
	assert_told("\npgbouncer_stats_queries_duration_seconds_total{database=\"shop\"} 12.000345\n");
}

static void a_histogram_counts_below_each_bound(void **state)
{
	struct pool *pool = fixture_pool("shop", "ann");

	(void)state;
	pool_record(pool, LATENCY_QUERY, 100);
	pool_record(pool, LATENCY_QUERY, 1000);
	pool_record(pool, LATENCY_QUERY, 100000000);
	assert_told("# TYPE pgsluice_query_seconds histogram\n"
		    "pgsluice_query_seconds_bucket{database=\"shop\",user=\"ann\",le=\"0.000128\"} 1\n"
		    "pgsluice_query_seconds_bucket{database=\"shop\",user=\"ann\",le=\"0.000512\"} 1\n"
		    "pgsluice_query_seconds_bucket{database=\"shop\",user=\"ann\",le=\"0.001024\"} 2\n");
	assert_told("le=\"67.108864\"} 2\n"
		    "pgsluice_query_seconds_bucket{database=\"shop\",user=\"ann\",le=\"+Inf\"} 3\n"
		    "pgsluice_query_seconds_sum{database=\"shop\",user=\"ann\"} 100.001100\n"
		    "pgsluice_query_seconds_count{database=\"shop\",user=\"ann\"} 3\n");
}

static void what_is_not_known_has_no_sample(void **state)
{
	char *text;

	(void)state;
	/* Nothing was given out: there is no ratio. */
	fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_IDLE);
	text = tell(UINT_MAX);
	assert_null(strstr(text, "pgsluice_pool_reuse_ratio{"));
	assert_non_null(strstr(text, "pgsluice_pool_load_factor{database=\"shop\",user=\"ann\"} 0.0000\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_hub, close_hub)
		TEST(however_little_is_told_at_a_time_the_whole_is_the_same),
		TEST(names_of_users_are_escaped),
		TEST(clients_with_the_same_labels_are_one_sample),
		TEST(times_are_in_seconds),
		TEST(a_histogram_counts_below_each_bound),
		TEST(what_is_not_known_has_no_sample),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
