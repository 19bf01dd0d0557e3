#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/dns_zone.h"

#include "name_server.h"

#define SECOND UINT64_C(1000000)
#define MS UINT64_C(1000)

static struct dns_channel *channel;
static struct dns_zones *zones;

/* Members that were told of a change. */
static struct dns_member *told[16];
static size_t ntold;

static void on_change(struct dns_member *m)
{
	told[ntold++ % 16] = m;
}

static int set_up(void **state)
{
	const char *error;

	if (open_loop(state) != 0)
		return -1;
	start_server();
	server.serial = 1;
	ntold = 0;
	channel = dns_channel_new(loop, "resolv.conf", &error);
	zones = dns_zones_new(loop, channel, on_change);
	return 0;
}

/* Members are the tests' own: they have left by now. */
static int tear_down(void **state)
{
	dns_channel_free(channel);
	dns_zones_free(zones);
	stop_server();
	return close_loop(state);
}

/* Waits until nothing is asked. */
static void settle(void)
{
	turn_until(dns_zones_pending(zones) == 0);
}

static const struct dns_zone *only_zone(void)
{
	assert_int_equal(dns_zones_count(zones), 1);
	return dns_zones_next(zones, NULL);
}

static void a_names_zone_is_found_by_asking_for_the_name(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.zone = "example.com";
	server.serial = 4000000000u;
	dns_zones_join(zones, &m, "db.eu.Example.com.");
	assert_int_equal(dns_zones_pending(zones), 1);
	settle();
	assert_int_equal(server.nsoa, 1);
	assert_ptr_equal(m.zone, only_zone());
	assert_string_equal(dns_zone_name(m.zone), "example.com");
	assert_true(dns_zone_serial(m.zone) == 4000000000u);
	assert_int_equal(dns_zone_size(m.zone), 1);
	dns_zones_leave(&m);
	assert_int_equal(dns_zones_count(zones), 0);
}

static void a_name_may_be_its_own_zone(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.zone = "db.example.com";
	dns_zones_join(zones, &m, "db.example.com");
	settle();
	assert_string_equal(dns_zone_name(only_zone()), "db.example.com");
	dns_zones_leave(&m);
}

static void the_zone_of_an_alias_is_that_of_the_alias(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.zone = "example.com";
	server.alias = "db.example.com";
	dns_zones_join(zones, &m, "db.example.com");
	settle();
	assert_string_equal(server.soa_asked[1], "example.com");
	assert_string_equal(dns_zone_name(only_zone()), "example.com");
	dns_zones_leave(&m);
}

static void the_search_goes_up_but_not_to_the_end(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	dns_zones_join(zones, &m, "db.eu.example.com");
	settle();
	assert_int_equal(server.nsoa, 3);
	assert_string_equal(server.soa_asked[0], "db.eu.example.com");
	assert_string_equal(server.soa_asked[1], "eu.example.com");
	assert_string_equal(server.soa_asked[2], "example.com");
	assert_null(m.zone);
	assert_null(m.search);
	assert_int_equal(dns_zones_count(zones), 0);
}

static void a_network_of_its_own_may_have_a_zone_of_one_part(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.alias = "db.internal";
	server.zone = "internal";
	dns_zones_join(zones, &m, "db.internal");
	settle();
	assert_string_equal(dns_zone_name(only_zone()), "internal");
	dns_zones_leave(&m);
}

static void the_search_has_a_bound(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	dns_zones_join(zones, &m, "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p");
	settle();
	assert_int_equal(server.nsoa, 8);
	assert_null(m.search);
}

static void names_that_cannot_be_asked_for_have_no_zone(void **state)
{
	struct dns_member m = {0};
	char longest[400];

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	dns_zones_join(zones, &m, longest);
	dns_zones_join(zones, &m, "");
	longest[100] = '\0';
	dns_zones_join(zones, &m, longest);
	settle();
	dns_zones_join(zones, &m, "a..b");
	settle();
	assert_null(m.zone);
	assert_null(m.search);
}

static void nothing_is_asked_without_a_period(void **state)
{
	struct dns_member m = {0};

	(void)state;
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	turn_a_few_times();
	assert_int_equal(server.nsoa, 0);
	assert_null(m.search);
}

static void a_name_is_looked_for_once(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	dns_zones_join(zones, &m, "db.example.com");
	settle();
	dns_zones_join(zones, &m, "db.example.com");
	settle();
	assert_int_equal(server.nsoa, 1);
	dns_zones_leave(&m);
}

static void a_member_may_leave_while_its_zone_is_looked_for(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 1000 * SECOND);
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	dns_zones_leave(&m);
	settle();
	assert_null(m.zone);
	assert_int_equal(dns_zones_count(zones), 0);
}

static void all_members_of_a_zone_are_told_that_its_serial_has_changed(void **state)
{
	struct dns_member a = {0}, b = {0};

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &a, "a.example.com");
	dns_zones_join(zones, &b, "b.example.com");
	turn_until(server.nsoa > 8);
	assert_int_equal(dns_zone_size(only_zone()), 2);
	assert_int_equal(ntold, 0);
	/* Down is another number too. */
	server.serial = 0;
	turn_until(ntold > 0);
	turn_until(server.nsoa > 16);
	assert_int_equal(ntold, 2);
	assert_ptr_not_equal(told[0], told[1]);
	assert_int_equal(dns_zone_serial(only_zone()), 0);
	dns_zones_leave(&a);
	assert_int_equal(dns_zone_size(only_zone()), 1);
	dns_zones_leave(&b);
}

static void a_name_server_that_fails_changes_nothing(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	turn_until(m.zone != NULL);
	server.fails = true;
	turn(0.1);
	turn_a_few_times();
	assert_int_equal(ntold, 0);
	assert_int_equal(dns_zone_serial(only_zone()), 1);
	/* Nor does one that tells no zone any more. */
	server.fails = false;
	server.zone = NULL;
	turn(0.1);
	turn_a_few_times();
	assert_int_equal(ntold, 0);
	dns_zones_leave(&m);
}

static void a_zone_that_has_become_a_part_of_another_lets_its_members_go(void **state)
{
	struct dns_member a = {0}, b = {0};

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "eu.example.com";
	dns_zones_join(zones, &a, "a.eu.example.com");
	dns_zones_join(zones, &b, "b.eu.example.com");
	turn_until(a.zone != NULL && b.zone != NULL);
	server.zone = "example.com";
	turn_until(ntold == 2);
	assert_null(a.zone);
	assert_null(b.zone);
	assert_int_equal(dns_zones_count(zones), 0);
	dns_zones_join(zones, &a, "a.eu.example.com");
	turn_until(a.zone != NULL);
	assert_string_equal(dns_zone_name(a.zone), "example.com");
	dns_zones_leave(&a);
}

static void the_last_member_may_leave_while_the_serial_is_asked_for(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	turn_until(m.zone != NULL);
	server.is_silent = true;
	turn_until(dns_zones_pending(zones) == 1);
	dns_zones_leave(&m);
	assert_null(m.zone);
	settle();
	assert_int_equal(dns_zones_count(zones), 0);
}

static void switched_off_it_forgets_all_zones(void **state)
{
	struct dns_member a = {0}, b = {0};
	unsigned asked;

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &a, "a.example.com");
	turn_until(a.zone != NULL);
	dns_zones_join(zones, &b, "b.example.com");
	dns_zones_configure(zones, 0);
	assert_null(a.zone);
	settle();
	assert_null(b.zone);
	assert_null(b.search);
	assert_int_equal(dns_zones_count(zones), 0);
	asked = server.nsoa;
	turn(0.05);
	turn_a_few_times();
	assert_int_equal(server.nsoa, asked);
}

static void the_same_period_again_does_not_put_the_next_check_off(void **state)
{
	struct dns_member m = {0};

	(void)state;
	dns_zones_configure(zones, 200 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &m, "db.example.com");
	turn_until(m.zone != NULL);
	/* Each time after far less than the period, for far longer than the period. */
	for (int i = 0; i < 60 && server.nsoa < 2; i++) {
		dns_zones_configure(zones, 200 * MS);
		turn(0.02);
	}
	assert_true(server.nsoa >= 2);
	dns_zones_leave(&m);
}

static void the_end_may_come_while_questions_are_under_way(void **state)
{
	struct dns_member a = {0}, b = {0};
	const char *error;

	(void)state;
	dns_zones_configure(zones, 10 * MS);
	server.zone = "example.com";
	dns_zones_join(zones, &a, "a.example.com");
	turn_until(a.zone != NULL);
	server.is_silent = true;
	turn_until(dns_zones_pending(zones) == 1);
	dns_zones_join(zones, &b, "b.example.com");
	dns_channel_free(channel);
	assert_int_equal(dns_zones_pending(zones), 0);
	assert_null(b.search);
	dns_zones_leave(&a);
	dns_zones_leave(&b);
	assert_int_equal(ntold, 0);
	channel = dns_channel_new(loop, "resolv.conf", &error);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_names_zone_is_found_by_asking_for_the_name),
		TEST(a_name_may_be_its_own_zone),
		TEST(the_zone_of_an_alias_is_that_of_the_alias),
		TEST(the_search_goes_up_but_not_to_the_end),
		TEST(a_network_of_its_own_may_have_a_zone_of_one_part),
		TEST(the_search_has_a_bound),
		TEST(names_that_cannot_be_asked_for_have_no_zone),
		TEST(nothing_is_asked_without_a_period),
		TEST(a_name_is_looked_for_once),
		TEST(a_member_may_leave_while_its_zone_is_looked_for),
		TEST(all_members_of_a_zone_are_told_that_its_serial_has_changed),
		TEST(a_name_server_that_fails_changes_nothing),
		TEST(a_zone_that_has_become_a_part_of_another_lets_its_members_go),
		TEST(the_last_member_may_leave_while_the_serial_is_asked_for),
		TEST(switched_off_it_forgets_all_zones),
		TEST(the_same_period_again_does_not_put_the_next_check_off),
		TEST(the_end_may_come_while_questions_are_under_way),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
