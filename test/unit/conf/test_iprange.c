#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/iprange.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool to_ip(struct ip *ip, const char *text)
{
	struct addr_any any;
	struct addr addr;

	assert_true(addr_any_from_ip(&any, text, 1));
	addr_from_sockaddr(&addr, &any.u.sa);
	return ip_from_addr(ip, &addr);
}

/* `mask` is a number of bits or written out. */
static bool set(struct ip_range *range, const char *net, const char *mask)
{
	*range = (struct ip_range){0};
	if (!ip_range_set_net(range, net))
		return false;
	return strpbrk(mask, ".:") != NULL ? ip_range_set_mask(range, mask) : ip_range_set_bits(range, slice_of(mask));
}

static void addresses_are_in_a_range_or_not(void **state)
{
	static const struct {
		const char *net, *mask, *address;
		bool is_in;
	} cases[] = {
		{"10.0.0.0", "8", "10.255.1.2", true},         {"10.0.0.0", "8", "11.0.0.1", false},
		{"10.0.0.5", "8", "10.9.9.9", true},           {"10.0.0.0", "9", "10.128.0.0", false},
		{"10.1.2.3", "32", "10.1.2.3", true},          {"10.1.2.3", "32", "10.1.2.2", false},
		{"0.0.0.0", "0", "192.0.2.1", true},           {"0.0.0.0", "0", "2001:db8::1", false},
		{"10.1.0.0", "255.255.0.0", "10.1.9.9", true}, {"10.1.0.0", "255.255.0.0", "10.2.0.0", false},
		{"10.0.0.7", "255.0.0.255", "10.3.4.7", true}, {"10.0.0.7", "255.0.0.255", "10.3.4.8", false},
		{"2001:db8::", "32", "2001:db8:9::1", true},   {"2001:db8::", "32", "2001:db9::1", false},
		{"2001:db8::", "ffff:ffff::", "2001:db8:9::1", true}, {"::1", "128", "::1", true},
		{"::1", "128", "::2", false},                  {"::", "0", "::1", true},
		{"::", "0", "127.0.0.1", false},               {"10.0.0.0", "8", "::ffff:10.1.2.3", true},
		{"10.0.0.0", "8", "::ffff:11.1.2.3", false},   {"::", "0", "::ffff:10.1.2.3", false},
		{"::ffff:10.0.0.0", "104", "10.1.2.3", true},  {"::ffff:10.0.0.0", "104", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0", "104", "11.1.2.3", false}, {"::ffff:0:0", "96", "192.0.2.1", true},
		{"::ffff:10.0.0.0", "90", "10.1.2.3", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip_range range;
		struct ip ip;

		assert_true(set(&range, cases[i].net, cases[i].mask));
		assert_true(to_ip(&ip, cases[i].address));
		if (ip_range_has(&range, &ip) != cases[i].is_in)
			fail_msg("%s in %s/%s", cases[i].address, cases[i].net, cases[i].mask);
	}
}

static void what_is_no_range_is_refused(void **state)
{
	static const struct {
		const char *net, *mask;
	} cases[] = {
		{"10.1", "8"}, {"example.org", "8"}, {"", "8"}, {"10.0.0.0", "33"}, {"10.0.0.0", "-1"}, {"10.0.0.0", "+8"},
		{"10.0.0.0", ""}, {"10.0.0.0", "8x"}, {"10.0.0.0", " 8"}, {"10.0.0.0", "ffff::"}, {"::", "129"},
		{"::", "255.0.0.0"}, {"10.0.0.0", "255.0.0"}, {"fe80::1%lo", "64"}, {"10.0.0.0", "4294967304"},
	};
	struct ip_range range;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (set(&range, cases[i].net, cases[i].mask))
			fail_msg("accepted: %s/%s", cases[i].net, cases[i].mask);
	}
}

static void only_ip_addresses_are_any(void **state)
{
	const struct addr local = {.family = AF_UNIX}, unknown = {0};
	struct ip ip;

	(void)state;
	assert_false(ip_from_addr(&ip, &local));
	assert_false(ip_from_addr(&ip, &unknown));
	assert_false(ip_from_addr(&ip, NULL));
}

static void the_loopback_network_is_one_of_ours(void **state)
{
	struct arena *arena = arena_new();
	struct ip_range *hosts = NULL, *networks = NULL;
	struct ip self, neighbour, stranger;

	(void)state;
	assert_true(ip_range_add_interfaces(&hosts, arena, false));
	assert_true(ip_range_add_interfaces(&networks, arena, true));
	assert_true(to_ip(&self, "127.0.0.1") && to_ip(&neighbour, "127.9.9.9") && to_ip(&stranger, "224.1.2.3"));
	assert_true(ip_range_has(hosts, &self));
	assert_false(ip_range_has(hosts, &neighbour));
	assert_true(ip_range_has(networks, &neighbour));
	assert_false(ip_range_has(networks, &stranger));
	assert_false(ip_range_has(NULL, &self));
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_in_a_range_or_not),
		cmocka_unit_test(what_is_no_range_is_refused),
		cmocka_unit_test(only_ip_addresses_are_any),
		cmocka_unit_test(the_loopback_network_is_one_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
