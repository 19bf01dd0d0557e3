#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"

static void assert_printed(const struct addr *a, const char *host, const char *whole)
{
	char room[128];
	struct strbuf b;

	strbuf_init_fixed(&b, room, sizeof(room));
	addr_print_host(a, &b);
	assert_string_equal(b.p, host);
	strbuf_reset(&b);
	addr_print(a, &b);
	assert_string_equal(b.p, whole);
}

static void addresses_print_as_log_lines_have_them(void **state)
{
	struct addr_any any;
	struct addr a;

	(void)state;
	assert_true(addr_any_from_ip(&any, "10.0.0.7", 5121));
	addr_from_sockaddr(&a, &any.u.sa);
	assert_int_equal(a.port, 5121);
	assert_printed(&a, "10.0.0.7", "10.0.0.7:5121");
	assert_true(addr_any_from_ip(&any, "::1", 65535));
	addr_from_sockaddr(&a, &any.u.sa);
	assert_printed(&a, "::1", "[::1]:65535");
	a = (struct addr){.family = AF_UNIX, .u.pid = 4711};
	assert_printed(&a, "unix", "unix(4711):0");
	a = (struct addr){0};
	assert_printed(&a, "(unknown)", "(unknown):0");
}

static void only_numeric_addresses_are_taken(void **state)
{
	static const char *const bad[] = {"", "localhost", "10.0.0", "10.0.0.256", "1.2.3.4 ", " ::1", "[::1]", ":::", "*"};
	struct addr_any a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(addr_any_from_ip(&a, bad[i], 1));
	assert_true(addr_any_from_ip(&a, "255.255.255.255", 0));
	assert_true(addr_any_from_ip(&a, "::ffff:1.2.3.4", 0));
}

static void a_unix_address_is_the_directory_and_the_port(void **state)
{
	struct addr_any a;
	const struct sockaddr_un *un = (const void *)&a.u;

	(void)state;
	assert_true(addr_any_from_unix(&a, "/run/pg", 6432));
	assert_int_equal(a.u.sa.sa_family, AF_UNIX);
	assert_string_equal(un->sun_path, "/run/pg/.s.PGSQL.6432");
	assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + sizeof("/run/pg/.s.PGSQL.6432"));
}

static void an_abstract_address_starts_with_nul_and_ends_with_its_text(void **state)
{
	struct addr_any a;
	const struct sockaddr_un *un = (const void *)&a.u;
	const char expected[] = "\0pool/.s.PGSQL.5432";

	(void)state;
	assert_true(addr_any_from_unix(&a, "@pool", 5432));
	assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + sizeof(expected) - 1);
	assert_memory_equal(un->sun_path, expected, sizeof(expected) - 1);
}

static void a_directory_too_long_for_a_socket_is_refused(void **state)
{
	char dir[200];
	struct addr_any a;
	size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - strlen("/.s.PGSQL.5432");

	(void)state;
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[longest] = '\0';
	assert_true(addr_any_from_unix(&a, dir, 5432));
	dir[longest] = 'd';
	dir[longest + 1] = '\0';
	assert_false(addr_any_from_unix(&a, dir, 5432));
}

static void addresses_are_equal_with_family_host_and_port(void **state)
{
	struct addr_any a, b;

	(void)state;
	addr_any_from_ip(&a, "10.0.0.7", 5432);
	addr_any_from_ip(&b, "10.0.0.7", 5432);
	assert_true(addr_any_eq(&a, &b));
	addr_any_set_port(&b, 5433);
	assert_false(addr_any_eq(&a, &b));
	addr_any_set_port(&b, 5432);
	assert_true(addr_any_eq(&a, &b));
	addr_any_from_ip(&b, "10.0.0.8", 5432);
	assert_false(addr_any_eq(&a, &b));
	addr_any_from_ip(&b, "::ffff:10.0.0.7", 5432);
	assert_false(addr_any_eq(&a, &b));
	addr_any_from_unix(&a, "/a", 1);
	addr_any_from_unix(&b, "/a", 2);
	assert_false(addr_any_eq(&a, &b));
}

static void a_kept_address_is_equal_with_family_host_and_port(void **state)
{
	struct addr a, b;
	struct addr_any any;

	(void)state;
	addr_any_from_ip(&any, "10.0.0.7", 5432);
	addr_from_sockaddr(&a, &any.u.sa);
	b = a;
	assert_true(addr_eq(&a, &b));
	b.port++;
	assert_false(addr_eq(&a, &b));
	b = a;
	b.u.v4.s_addr++;
	assert_false(addr_eq(&a, &b));
	b = a;
	b.family = AF_INET6;
	assert_false(addr_eq(&a, &b));
}

static void setting_the_port_works_for_both_internet_families(void **state)
{
	struct addr_any any;
	struct addr a;

	(void)state;
	addr_any_from_ip(&any, "::1", 0);
	addr_any_set_port(&any, 6432);
	addr_from_sockaddr(&a, &any.u.sa);
	assert_int_equal(a.port, 6432);
	addr_any_from_unix(&any, "/run", 7);
	addr_any_set_port(&any, 6432);
	addr_from_sockaddr(&a, &any.u.sa);
	assert_int_equal(a.family, AF_UNIX);
	assert_int_equal(a.port, 0);
}

static void the_peer_of_a_unix_socket_is_its_process(void **state)
{
	struct addr a;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	addr_of_peer(&a, fds[0]);
	assert_int_equal(a.family, AF_UNIX);
	assert_int_equal(a.u.pid, getpid());
	close(fds[0]);
	close(fds[1]);
}

static void both_ends_of_a_tcp_connection_are_told(void **state)
{
	struct addr_any any;
	struct addr listening, self, peer;
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	addr_any_from_ip(&any, "127.0.0.1", 0);
	assert_int_equal(bind(l, &any.u.sa, any.len), 0);
	assert_int_equal(listen(l, 1), 0);
	addr_of_self(&listening, l);
	addr_any_set_port(&any, listening.port);
	assert_int_equal(connect(c, &any.u.sa, any.len), 0);
	addr_of_peer(&peer, c);
	addr_of_self(&self, c);
	assert_int_equal(peer.family, AF_INET);
	assert_int_equal(peer.port, listening.port);
	assert_int_not_equal(self.port, 0);
	assert_int_not_equal(self.port, peer.port);
	close(c);
	close(l);
}

static void what_is_no_socket_has_an_unknown_address(void **state)
{
	struct addr a = {.family = AF_INET};

	(void)state;
	addr_of_peer(&a, -1);
	assert_int_equal(a.family, 0);
	a.family = AF_INET;
	addr_of_self(&a, -1);
	assert_int_equal(a.family, 0);
}

static void an_address_takes_twenty_bytes(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct addr), 20);
}

static void loopback_is_127_and_1(void **state)
{
	static const char *const own[] = {"127.0.0.1", "127.255.255.254", "::1"};
	static const char *const others[] = {"126.255.255.255", "128.0.0.0", "0.0.0.0", "::", "::2", "::ffff:127.0.0.1"};
	struct addr_any any;
	struct addr a = {0};

	(void)state;
	assert_false(addr_is_loopback(&a));
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		assert_true(addr_any_from_ip(&any, own[i], 1));
		addr_from_sockaddr(&a, &any.u.sa);
		assert_true(addr_is_loopback(&a));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_true(addr_any_from_ip(&any, others[i], 1));
		addr_from_sockaddr(&a, &any.u.sa);
		assert_false(addr_is_loopback(&a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_print_as_log_lines_have_them),
		cmocka_unit_test(only_numeric_addresses_are_taken),
		cmocka_unit_test(a_unix_address_is_the_directory_and_the_port),
		cmocka_unit_test(an_abstract_address_starts_with_nul_and_ends_with_its_text),
		cmocka_unit_test(a_directory_too_long_for_a_socket_is_refused),
		cmocka_unit_test(addresses_are_equal_with_family_host_and_port),
		cmocka_unit_test(a_kept_address_is_equal_with_family_host_and_port),
		cmocka_unit_test(setting_the_port_works_for_both_internet_families),
		cmocka_unit_test(the_peer_of_a_unix_socket_is_its_process),
		cmocka_unit_test(both_ends_of_a_tcp_connection_are_told),
		cmocka_unit_test(what_is_no_socket_has_an_unknown_address),
		cmocka_unit_test(an_address_takes_twenty_bytes),
		cmocka_unit_test(loopback_is_127_and_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
