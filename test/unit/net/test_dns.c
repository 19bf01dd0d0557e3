#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/dns.h"

#include "name_server.h"

#define SECOND UINT64_C(1000000)
#define MS UINT64_C(1000)

static struct dns *dns;

/* What a caller was told. */
struct told {
	unsigned ncalls;
	size_t n;
	char first[64];
	const char *error;
};

static void on_answer(void *arg, const struct addr_any *addresses, size_t n, const char *error)
{
	struct told *t = arg;
	struct strbuf b;
	struct addr a;

	t->ncalls++;
	t->n = n;
	t->error = error;
	strbuf_init_fixed(&b, t->first, sizeof(t->first));
	if (n == 0)
		return;
	addr_from_sockaddr(&a, &addresses[0].u.sa);
	assert_int_equal(a.port, 0);
	addr_print_host(&a, &b);
}

static int set_up(void **state)
{
	struct dns_options o = {.resolv_conf = "resolv.conf", .max_ttl_us = 15 * SECOND, .nxdomain_ttl_us = 15 * SECOND};
	const char *error;

	if (open_loop(state) != 0)
		return -1;
	start_server();
	dns = dns_new(loop, &o, &error);
	return dns == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	dns_free(dns);
	stop_server();
	return close_loop(state);
}

static void let_ttl(uint64_t max_us, uint64_t nxdomain_us)
{
	dns_configure(dns, &(struct dns_options){.max_ttl_us = max_us, .nxdomain_ttl_us = nxdomain_us});
}

/* Asks and waits for the answer. */
static void ask(const char *host, struct told *t)
{
	unsigned before = t->ncalls;

	dns_resolve(dns, host, on_answer, t);
	turn_until(t->ncalls == before + 1);
}

/* Whether the answer comes at once. */
static bool is_kept(const char *host)
{
	struct told t = {0};
	struct dns_waiter *w = dns_resolve(dns, host, on_answer, &t);

	dns_cancel(&w);
	return t.ncalls == 1 && t.n > 0;
}

/* For how long the only name's answer holds. */
static uint64_t ttl(void)
{
	struct dns_host_info info = {0};

	assert_true(dns_next_host(dns, &info));
	return info.ttl_us;
}

static void let_pass(uint64_t us)
{
	usleep((useconds_t)us);
	clock_turn();
}

static void a_numeric_address_is_answered_at_once(void **state)
{
	struct told t = {0};

	(void)state;
	assert_null(dns_resolve(dns, "10.0.0.7", on_answer, &t));
	assert_int_equal(t.ncalls, 1);
	assert_int_equal(t.n, 1);
	assert_string_equal(t.first, "10.0.0.7");
	assert_null(t.error);
	assert_null(dns_resolve(dns, "::1", on_answer, &t));
	assert_string_equal(t.first, "::1");
	assert_int_equal(server.nqueries, 0);
}

static void localhost_needs_no_name_server(void **state)
{
	struct told t = {0};

	(void)state;
	dns_resolve(dns, "localhost", on_answer, &t);
	turn_until(t.ncalls == 1);
	assert_true(t.n >= 1);
	assert_null(t.error);
	assert_true(strcmp(t.first, "127.0.0.1") == 0 || strcmp(t.first, "::1") == 0);
	assert_int_equal(server.nqueries, 0);
}

static void a_name_of_the_hosts_file_is_kept_as_long_as_the_bound_allows(void **state)
{
	struct told t = {0};

	(void)state;
	ask("localhost", &t);
	assert_true(ttl() > 14 * SECOND);
	assert_true(is_kept("localhost"));
}

static void case_does_not_matter_in_a_name(void **state)
{
	struct told t = {0};
	struct dns_figures f;

	(void)state;
	server.ip = "192.0.2.1";
	ask("DB.example", &t);
	assert_true(is_kept("db.EXAMPLE"));
	dns_figures(dns, &f);
	assert_int_equal(f.names, 1);
}

static void a_name_longer_than_any_is_refused(void **state)
{
	char host[300];
	struct told t = {0};

	(void)state;
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	assert_null(dns_resolve(dns, host, on_answer, &t));
	assert_int_equal(t.ncalls, 1);
	assert_int_equal(t.n, 0);
	assert_non_null(t.error);
}

static void a_name_is_answered_later(void **state)
{
	struct told t = {0};

	(void)state;
	server.ip = "192.0.2.1";
	server.ttl = 60;
	assert_non_null(dns_resolve(dns, "db.example", on_answer, &t));
	assert_int_equal(t.ncalls, 0);
	turn_until(t.ncalls == 1);
	assert_int_equal(t.n, 1);
	assert_string_equal(t.first, "192.0.2.1");
	assert_null(t.error);
}

static void those_who_ask_meanwhile_share_one_query(void **state)
{
	struct told a = {0}, b = {0};
	struct dns_figures f;

	(void)state;
	server.ip = "192.0.2.1";
	dns_resolve(dns, "db.example", on_answer, &a);
	dns_resolve(dns, "db.example", on_answer, &b);
	dns_figures(dns, &f);
	assert_int_equal(f.names, 1);
	assert_int_equal(f.queries, 1);
	assert_int_equal(f.pending, 2);
	turn_until(a.ncalls == 1 && b.ncalls == 1);
	assert_string_equal(b.first, "192.0.2.1");
	dns_figures(dns, &f);
	assert_int_equal(f.names, 1);
	assert_int_equal(f.queries, 0);
	assert_int_equal(f.pending, 0);
}

static void a_kept_answer_is_given_at_once(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	server.ip = "192.0.2.1";
	server.ttl = 60;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	asked = server.nqueries;
	assert_null(dns_resolve(dns, "db.example", on_answer, &t));
	assert_int_equal(t.ncalls, 2);
	assert_string_equal(t.first, "192.0.2.1");
	assert_int_equal(server.nqueries, asked);
}

static void an_answer_is_kept_no_longer_than_it_says(void **state)
{
	struct told t = {0};

	(void)state;
	server.ip = "192.0.2.1";
	server.ttl = 1;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	usleep(1050000);
	clock_turn();
	server.ip = "192.0.2.2";
	assert_non_null(dns_resolve(dns, "db.example", on_answer, &t));
	turn_until(t.ncalls == 2);
	assert_string_equal(t.first, "192.0.2.2");
}

static void an_answer_that_says_it_is_not_to_be_kept_is_not(void **state)
{
	struct told t = {0};

	(void)state;
	server.ip = "192.0.2.1";
	server.ttl = 0;
	ask("db.example", &t);
	assert_int_equal(t.n, 1);
	assert_false(is_kept("db.example"));
}

static void an_answer_is_kept_no_longer_than_the_alias_that_led_to_it(void **state)
{
	struct told t = {0};

	(void)state;
	server.ip = "192.0.2.1";
	server.alias = "db.example";
	server.alias_ttl = 2;
	ask("db.example", &t);
	assert_string_equal(t.first, "192.0.2.1");
	assert_in_range(ttl(), 1, 2 * SECOND);
}

static void an_answer_is_kept_no_longer_than_the_bound(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(20000, 20000);
	server.ip = "192.0.2.1";
	server.ttl = 3600;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	usleep(25000);
	clock_turn();
	server.ip = "192.0.2.2";
	assert_non_null(dns_resolve(dns, "db.example", on_answer, &t));
	turn_until(t.ncalls == 2);
	assert_string_equal(t.first, "192.0.2.2");
}

static void an_unknown_name_has_no_addresses_and_is_not_asked_for_again_at_once(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	dns_resolve(dns, "none.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	assert_int_equal(t.n, 0);
	assert_non_null(t.error);
	asked = server.nqueries;
	assert_null(dns_resolve(dns, "none.example", on_answer, &t));
	assert_int_equal(t.ncalls, 2);
	assert_int_equal(t.n, 0);
	assert_non_null(t.error);
	assert_int_equal(server.nqueries, asked);
}

static void an_unknown_name_is_asked_for_again_after_its_time(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(15 * SECOND, 20000);
	dns_resolve(dns, "late.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	assert_int_equal(t.n, 0);
	usleep(25000);
	clock_turn();
	server.ip = "192.0.2.3";
	assert_non_null(dns_resolve(dns, "late.example", on_answer, &t));
	turn_until(t.ncalls == 2);
	assert_int_equal(t.n, 1);
	assert_null(t.error);
}

static void the_last_good_answer_serves_while_no_server_answers(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(20000, 20000);
	server.ip = "192.0.2.1";
	server.ttl = 60;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	usleep(25000);
	clock_turn();
	server.is_silent = true;
	assert_non_null(dns_resolve(dns, "db.example", on_answer, &t));
	turn_until(t.ncalls == 2);
	assert_int_equal(t.n, 1);
	assert_string_equal(t.first, "192.0.2.1");
}

/* With a resolver that itself is in no hurry. */
static void let_timeouts_be_long(void)
{
	struct dns_options o = {.resolv_conf = "resolv.conf", .nxdomain_ttl_us = 15 * SECOND};
	const char *error;

	dns_free(dns);
	tempdir_write("resolv.conf", "nameserver 127.0.0.1\noptions retrans:60000 retry:1 timeout:60 attempts:1\n");
	dns = dns_new(loop, &o, &error);
	assert_non_null(dns);
}

static void the_last_good_answer_serves_when_a_new_one_takes_too_long(void **state)
{
	struct told t = {0};
	struct dns_figures f;

	(void)state;
	let_timeouts_be_long();
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	server.is_silent = true;
	server.ip = "192.0.2.2";
	ask("db.example", &t);
	assert_string_equal(t.first, "192.0.2.1");
	assert_null(t.error);
	/* Nobody waits again for as long as a failure is remembered, and what comes late is good. */
	assert_true(is_kept("db.example"));
	dns_figures(dns, &f);
	assert_int_equal(f.queries, 1);
	assert_int_equal(f.pending, 0);
	server.is_silent = false;
	answer_held();
	turn_until(ttl() == 0);
	server.is_silent = true;
	ask("db.example", &t);
	assert_string_equal(t.first, "192.0.2.2");
}

static void who_has_nothing_else_waits_for_the_first_answer(void **state)
{
	struct told t = {0};

	(void)state;
	let_timeouts_be_long();
	server.ip = "192.0.2.1";
	server.is_silent = true;
	assert_non_null(dns_resolve(dns, "db.example", on_answer, &t));
	turn(2.5);
	turn_a_few_times();
	assert_int_equal(t.ncalls, 0);
	answer_held();
	turn_until(t.ncalls == 1);
	assert_string_equal(t.first, "192.0.2.1");
}

static void a_name_that_has_vanished_loses_its_addresses(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(20000, 20000);
	server.ip = "192.0.2.1";
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	usleep(25000);
	clock_turn();
	server.ip = NULL;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 2);
	assert_int_equal(t.n, 0);
}

static void a_name_that_has_vanished_does_not_come_back_when_no_server_answers(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(0, 0);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	server.ip = NULL;
	ask("db.example", &t);
	assert_int_equal(t.n, 0);
	server.fails = true;
	ask("db.example", &t);
	assert_int_equal(t.n, 0);
	assert_non_null(t.error);
}

/* ------------------------------------------------------------------ ahead of time */

static void a_name_in_use_is_looked_up_before_its_answer_expires(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(3 * SECOND, 3 * SECOND);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	asked = server.nqueries;
	assert_true(is_kept("db.example"));
	assert_true(is_kept("db.example"));
	turn_until(server.nqueries > asked);
	assert_in_range(ttl(), 1, SECOND);
	turn_until(ttl() > 2 * SECOND);
	assert_true(is_kept("db.example"));
	/* A and AAAA, once: using it twice has not asked twice. */
	assert_int_equal(server.nqueries, asked + 2);
}

static void who_asks_while_it_is_looked_up_ahead_of_time_does_not_wait(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(3 * SECOND, 3 * SECOND);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	assert_true(is_kept("db.example"));
	asked = server.nqueries;
	server.is_silent = true;
	turn_until(server.nqueries > asked);
	assert_true(is_kept("db.example"));
}

static void one_that_is_used_only_when_it_is_nearly_over_is_looked_up_at_once(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(5 * SECOND, 5 * SECOND);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	asked = server.nqueries;
	let_pass(4550 * MS);
	assert_true(is_kept("db.example"));
	turn_until(ttl() > 2 * SECOND);
	assert_int_equal(server.nqueries, asked + 2);
}

static void a_name_that_nobody_uses_is_left_to_expire(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(100 * MS, 100 * MS);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	asked = server.nqueries;
	turn_until(ttl() == 0);
	turn_a_few_times();
	assert_int_equal(server.nqueries, asked);
}

static void looking_up_ahead_of_time_is_no_use(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(200 * MS, 200 * MS);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	asked = server.nqueries;
	assert_true(is_kept("db.example"));
	turn_until(server.nqueries == asked + 2);
	turn_until(ttl() == 0);
	turn_a_few_times();
	assert_int_equal(server.nqueries, asked + 2);
}

static void when_it_cannot_be_renewed_the_answer_stays_for_the_rest_of_its_time(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(4 * SECOND, 0);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	assert_true(is_kept("db.example"));
	asked = server.nqueries;
	server.fails = true;
	turn_until(server.nqueries > asked);
	turn_a_few_times();
	assert_in_range(ttl(), 1, SECOND);
	assert_true(is_kept("db.example"));
}

static void while_it_cannot_be_renewed_the_answer_is_given_at_once_for_dns_nxdomain_ttl(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	let_ttl(200 * MS, 15 * SECOND);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	assert_true(is_kept("db.example"));
	asked = server.nqueries;
	server.fails = true;
	turn_until(server.nqueries > asked);
	turn_until(ttl() > 10 * SECOND);
	assert_true(is_kept("db.example"));
}

/* ------------------------------------------------------------------ changes */

static struct {
	unsigned ncalls;
	char host[64];
	size_t n;
	struct addr_any first;
} change;

static void on_change(void *arg, const char *host, const struct addr_any *addresses, size_t n)
{
	assert_ptr_equal(arg, &change);
	change.ncalls++;
	change.n = n;
	change.first = addresses[0];
	snprintf(change.host, sizeof(change.host), "%s", host);
}

static void watch_changes(void)
{
	memset(&change, 0, sizeof(change));
	dns_on_change(dns, on_change, &change);
	/* Every question goes to the name server. */
	let_ttl(0, 0);
}

static void the_first_answer_and_each_other_one_is_a_change(void **state)
{
	struct told t = {0};
	struct addr_any expected;

	(void)state;
	watch_changes();
	server.ip = "192.0.2.1";
	ask("DB.example", &t);
	assert_int_equal(change.ncalls, 1);
	assert_string_equal(change.host, "db.example");
	server.ip = "192.0.2.2";
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 2);
	assert_int_equal(change.n, 1);
	addr_any_from_ip(&expected, "192.0.2.2", 0);
	assert_true(addr_any_eq(&change.first, &expected));
	server.ip = "192.0.2.2,192.0.2.3";
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 3);
	assert_int_equal(change.n, 2);
	server.ip = "192.0.2.3";
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 4);
}

static void another_order_is_no_change(void **state)
{
	struct told t = {0};

	(void)state;
	watch_changes();
	server.ip = "192.0.2.1,192.0.2.2,192.0.2.3";
	ask("db.example", &t);
	server.ip = "192.0.2.3,192.0.2.1,192.0.2.2";
	ask("db.example", &t);
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 1);
}

static void a_failure_is_no_change(void **state)
{
	struct told t = {0};

	(void)state;
	watch_changes();
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	server.fails = true;
	ask("db.example", &t);
	server.fails = false;
	server.ip = NULL;
	ask("db.example", &t);
	assert_int_equal(t.n, 0);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 1);
	/* The one to compare with is still that from before. */
	server.ip = NULL;
	ask("db.example", &t);
	server.ip = "192.0.2.2";
	ask("db.example", &t);
	assert_int_equal(change.ncalls, 2);
}

static void asks_again(void *arg, const char *host, const struct addr_any *addresses, size_t n)
{
	(void)addresses;
	(void)n;
	if (change.ncalls++ == 0)
		dns_resolve(dns, host, on_answer, arg);
}

static void a_change_may_lead_to_the_next_question(void **state)
{
	struct told first = {0}, second = {0};

	(void)state;
	watch_changes();
	dns_on_change(dns, asks_again, &second);
	server.ip = "192.0.2.1";
	ask("db.example", &first);
	turn_until(second.ncalls == 1);
	assert_string_equal(second.first, "192.0.2.1");
	assert_int_equal(first.ncalls, 1);
}

static struct told asked_again;

static void ask_again(void *arg, const struct addr_any *addresses, size_t n, const char *error)
{
	on_answer(arg, addresses, n, error);
	dns_resolve(dns, "localhost", on_answer, &asked_again);
}

static void who_is_told_may_ask_for_the_same_again(void **state)
{
	struct told t = {0};

	(void)state;
	let_ttl(0, 0);
	memset(&asked_again, 0, sizeof(asked_again));
	assert_null(dns_resolve(dns, "localhost", ask_again, &t));
	assert_int_equal(t.ncalls, 1);
	assert_int_equal(asked_again.ncalls, 1);
	assert_true(asked_again.n >= 1);
}

/* ------------------------------------------------------------------ what is known */

static void let_forget(uint64_t us)
{
	dns_configure(dns, &(struct dns_options){.max_ttl_us = 15 * SECOND, .nxdomain_ttl_us = 15 * SECOND, .forget_us = us});
}

static size_t count_names(void)
{
	struct dns_figures f;

	dns_figures(dns, &f);
	return f.names;
}

static void a_name_that_nobody_has_used_for_long_is_forgotten(void **state)
{
	struct told t = {0};

	(void)state;
	let_forget(50 * MS);
	server.ip = "192.0.2.1";
	ask("db.example", &t);
	assert_int_equal(count_names(), 1);
	turn_until(count_names() == 0);
	ask("db.example", &t);
	assert_int_equal(t.n, 1);
}

static void a_name_in_use_is_not_forgotten(void **state)
{
	struct told t = {0};
	uint64_t end;

	(void)state;
	let_forget(1 * SECOND);
	server.ip = "192.0.2.1";
	ask("idle.example", &t);
	ask("db.example", &t);
	for (end = clock_us() + 2500 * MS; clock_us() < end; turn(0.05))
		assert_true(is_kept("db.example"));
	assert_int_equal(count_names(), 1);
}

static void a_name_that_somebody_waits_for_is_not_forgotten(void **state)
{
	struct told t = {0};

	(void)state;
	let_forget(20 * MS);
	server.ip = "192.0.2.1";
	server.is_silent = true;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_until(t.ncalls == 1);
	assert_int_equal(t.n, 0);
}

static void names_are_listed_with_their_addresses(void **state)
{
	struct dns_host_info info = {0};
	struct told t = {0};

	(void)state;
	assert_false(dns_next_host(dns, &info));
	server.ip = "192.0.2.1,192.0.2.2";
	ask("a.example", &t);
	server.ip = NULL;
	ask("b.example", &t);
	assert_true(dns_next_host(dns, &info));
	assert_string_equal(info.host, "a.example");
	assert_int_equal(info.n, 2);
	assert_in_range(info.ttl_us, 10 * SECOND, 15 * SECOND);
	assert_true(dns_next_host(dns, &info));
	assert_string_equal(info.host, "b.example");
	assert_int_equal(info.n, 0);
	assert_false(dns_next_host(dns, &info));
}

/* ------------------------------------------------------------------ zones */

static void check_zones(uint64_t period_us)
{
	dns_configure(dns, &(struct dns_options){.max_ttl_us = 1000 * SECOND, .nxdomain_ttl_us = 1000 * SECOND,
						 .zone_check_period_us = period_us});
}

/* The serial of the only zone; 0: there is none. */
static uint32_t serial(void)
{
	struct dns_zone_info info = {0};

	return dns_next_zone(dns, &info) ? info.serial : 0;
}

static size_t zone_size(void)
{
	struct dns_zone_info info = {0};

	return dns_next_zone(dns, &info) ? info.count : 0;
}

static void a_changed_serial_has_the_names_looked_up_anew(void **state)
{
	struct dns_zone_info info = {0};
	struct told t = {0};

	(void)state;
	check_zones(20 * MS);
	server.ip = "192.0.2.1";
	server.zone = "example";
	server.serial = 7;
	server.ttl = 1000;
	ask("db.example", &t);
	ask("other.example", &t);
	turn_until(zone_size() == 2);
	assert_true(dns_next_zone(dns, &info));
	assert_string_equal(info.zone, "example");
	assert_int_equal(info.serial, 7);
	assert_false(dns_next_zone(dns, &info));
	server.ip = "192.0.2.2";
	server.serial = 8;
	turn_until(serial() == 8);
	turn_a_few_times();
	assert_true(is_kept("db.example"));
	ask("db.example", &t);
	assert_string_equal(t.first, "192.0.2.2");
	ask("other.example", &t);
	assert_string_equal(t.first, "192.0.2.2");
}

static void the_same_serial_has_nothing_looked_up(void **state)
{
	struct told t = {0};
	unsigned asked;

	(void)state;
	check_zones(5 * MS);
	server.ip = "192.0.2.1";
	server.zone = "example";
	server.serial = 7;
	ask("db.example", &t);
	asked = server.nqueries;
	turn_until(server.nsoa > 5);
	assert_int_equal(server.nqueries, asked);
}

static void zones_are_not_asked_for_unless_they_are_to_be_checked(void **state)
{
	struct told t = {0};
	struct dns_figures f;

	(void)state;
	server.ip = "192.0.2.1";
	server.zone = "example";
	ask("db.example", &t);
	turn_a_few_times();
	assert_int_equal(server.nsoa, 0);
	dns_figures(dns, &f);
	assert_int_equal(f.zones, 0);
}

static void checks_that_are_switched_on_find_the_zones_of_names_known_before(void **state)
{
	struct told t = {0};
	struct dns_figures f;

	(void)state;
	server.ip = "192.0.2.1";
	server.zone = "example";
	server.serial = 7;
	ask("db.example", &t);
	check_zones(1000 * SECOND);
	turn_until(serial() == 7);
	dns_figures(dns, &f);
	assert_int_equal(f.zones, 1);
	check_zones(0);
	assert_int_equal(serial(), 0);
}

static void names_of_the_hosts_file_have_no_zone(void **state)
{
	struct told t = {0};

	(void)state;
	check_zones(5 * MS);
	server.zone = "localhost";
	ask("localhost", &t);
	turn_a_few_times();
	assert_int_equal(server.nsoa, 0);
}

static void who_has_lost_interest_is_not_called(void **state)
{
	struct told a = {0}, b = {0};
	struct dns_waiter *w;

	(void)state;
	server.ip = "192.0.2.1";
	w = dns_resolve(dns, "db.example", on_answer, &a);
	dns_resolve(dns, "db.example", on_answer, &b);
	dns_cancel(&w);
	assert_null(w);
	dns_cancel(&w);
	turn_until(b.ncalls == 1);
	assert_int_equal(a.ncalls, 0);
}

static void freeing_it_calls_nobody(void **state)
{
	struct told t = {0};

	(void)state;
	server.is_silent = true;
	dns_resolve(dns, "db.example", on_answer, &t);
	turn_a_few_times();
	dns_free(dns);
	dns = NULL;
	turn_a_few_times();
	assert_int_equal(t.ncalls, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_numeric_address_is_answered_at_once),
		TEST(localhost_needs_no_name_server),
		TEST(a_name_of_the_hosts_file_is_kept_as_long_as_the_bound_allows),
		TEST(case_does_not_matter_in_a_name),
		TEST(a_name_longer_than_any_is_refused),
		TEST(a_name_is_answered_later),
		TEST(those_who_ask_meanwhile_share_one_query),
		TEST(a_kept_answer_is_given_at_once),
		TEST(an_answer_is_kept_no_longer_than_it_says),
		TEST(an_answer_that_says_it_is_not_to_be_kept_is_not),
		TEST(an_answer_is_kept_no_longer_than_the_alias_that_led_to_it),
		TEST(an_answer_is_kept_no_longer_than_the_bound),
		TEST(an_unknown_name_has_no_addresses_and_is_not_asked_for_again_at_once),
		TEST(an_unknown_name_is_asked_for_again_after_its_time),
		TEST(the_last_good_answer_serves_while_no_server_answers),
		TEST(the_last_good_answer_serves_when_a_new_one_takes_too_long),
		TEST(who_has_nothing_else_waits_for_the_first_answer),
		TEST(a_name_that_has_vanished_loses_its_addresses),
		TEST(a_name_that_has_vanished_does_not_come_back_when_no_server_answers),
		TEST(a_name_in_use_is_looked_up_before_its_answer_expires),
		TEST(who_asks_while_it_is_looked_up_ahead_of_time_does_not_wait),
		TEST(one_that_is_used_only_when_it_is_nearly_over_is_looked_up_at_once),
		TEST(a_name_that_nobody_uses_is_left_to_expire),
		TEST(looking_up_ahead_of_time_is_no_use),
		TEST(when_it_cannot_be_renewed_the_answer_stays_for_the_rest_of_its_time),
		TEST(while_it_cannot_be_renewed_the_answer_is_given_at_once_for_dns_nxdomain_ttl),
		TEST(the_first_answer_and_each_other_one_is_a_change),
		TEST(another_order_is_no_change),
		TEST(a_failure_is_no_change),
		TEST(a_change_may_lead_to_the_next_question),
		TEST(who_is_told_may_ask_for_the_same_again),
		TEST(a_name_that_nobody_has_used_for_long_is_forgotten),
		TEST(a_name_in_use_is_not_forgotten),
		TEST(a_name_that_somebody_waits_for_is_not_forgotten),
		TEST(names_are_listed_with_their_addresses),
		TEST(a_changed_serial_has_the_names_looked_up_anew),
		TEST(the_same_serial_has_nothing_looked_up),
		TEST(zones_are_not_asked_for_unless_they_are_to_be_checked),
		TEST(checks_that_are_switched_on_find_the_zones_of_names_known_before),
		TEST(names_of_the_hosts_file_have_no_zone),
		TEST(who_has_lost_interest_is_not_called),
		TEST(freeing_it_calls_nobody),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
