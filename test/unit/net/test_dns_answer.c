#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "net/dns_answer.h"

#define SECOND UINT64_C(1000000)

/* What c-ares tells: addresses on the stack, chained. */
struct told {
	struct ares_addrinfo info;
	struct ares_addrinfo_node nodes[64];
	struct sockaddr_in6 room[64];
	size_t n;
};

static void add(struct told *t, const char *ip, int ttl)
{
	struct ares_addrinfo_node *node = &t->nodes[t->n];
	struct addr_any a;

	assert_true(addr_any_from_ip(&a, ip, 0));
	memcpy(&t->room[t->n], &a.u, a.len);
	node->ai_family = a.u.sa.sa_family;
	node->ai_addr = (struct sockaddr *)&t->room[t->n];
	node->ai_addrlen = a.len;
	node->ai_ttl = ttl;
	if (t->n++ > 0)
		node[-1].ai_next = node;
	t->info.nodes = t->nodes;
}

static void assert_address(const struct dns_answer *answer, size_t i, const char *ip)
{
	struct addr_any a;

	assert_true(i < answer->n);
	assert_true(addr_any_from_ip(&a, ip, 0));
	assert_true(addr_any_eq(&answer->addresses[i], &a));
}

static void addresses_of_both_families_are_read_in_order(void **state)
{
	struct told t = {0};
	struct dns_answer answer;

	(void)state;
	add(&t, "192.0.2.1", 60);
	add(&t, "2001:db8::1", 60);
	add(&t, "192.0.2.2", 60);
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_int_equal(answer.n, 3);
	assert_address(&answer, 0, "192.0.2.1");
	assert_address(&answer, 1, "2001:db8::1");
	assert_address(&answer, 2, "192.0.2.2");
	assert_false(answer.is_cut);
	dns_answer_free(&answer);
}

static void what_is_beside_the_address_does_not_count(void **state)
{
	struct told t = {0};
	struct dns_answer answer;

	(void)state;
	add(&t, "192.0.2.1", 60);
	add(&t, "2001:db8::1", 60);
	memset(((struct sockaddr_in *)&t.room[0])->sin_zero, 0xff, 8);
	((struct sockaddr_in *)&t.room[0])->sin_port = 5432;
	t.room[1].sin6_flowinfo = 7;
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_address(&answer, 0, "192.0.2.1");
	assert_address(&answer, 1, "2001:db8::1");
	dns_answer_free(&answer);
}

static void nothing_is_no_answer(void **state)
{
	struct told t = {0};
	struct dns_answer answer;

	(void)state;
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_ENODATA);
	add(&t, "192.0.2.1", 60);
	t.nodes[0].ai_family = AF_UNIX;
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_ENODATA);
}

static void the_shortest_life_counts_that_of_aliases_too(void **state)
{
	struct ares_addrinfo_cname alias = {.ttl = 40};
	struct told t = {0};
	struct dns_answer answer;

	(void)state;
	add(&t, "192.0.2.1", 60);
	add(&t, "192.0.2.2", 50);
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_int_equal(answer.ttl_us, 50 * SECOND);
	dns_answer_free(&answer);
	t.info.cnames = &alias;
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_int_equal(answer.ttl_us, 40 * SECOND);
	dns_answer_free(&answer);
	t.nodes[1].ai_ttl = (int)0x80000000u;
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_int_equal(answer.ttl_us, 0);
	dns_answer_free(&answer);
}

static void more_than_can_be_looked_at_is_cut(void **state)
{
	struct told t = {0};
	struct dns_answer answer;

	(void)state;
	for (int i = 0; i < 60; i++)
		add(&t, "192.0.2.1", 60);
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	assert_true(answer.is_cut);
	assert_in_range(answer.n, 16, 59);
	dns_answer_free(&answer);
}

static struct dns_answer answer_of(const char *a, const char *b, const char *c)
{
	struct told t = {0};
	struct dns_answer answer;

	add(&t, a, 60);
	if (b != NULL)
		add(&t, b, 60);
	if (c != NULL)
		add(&t, c, 60);
	assert_int_equal(dns_answer_read(&answer, &t.info), ARES_SUCCESS);
	return answer;
}

static bool same(struct dns_answer a, struct dns_answer b)
{
	bool is_same = dns_answer_same(&a, &b);

	assert_int_equal(dns_answer_same(&b, &a), is_same);
	dns_answer_free(&a);
	dns_answer_free(&b);
	return is_same;
}

static void answers_are_compared_as_sets(void **state)
{
	(void)state;
	assert_true(same(answer_of("192.0.2.1", "::1", NULL), answer_of("::1", "192.0.2.1", NULL)));
	assert_true(same(answer_of("192.0.2.1", "::1", "::1"), answer_of("::1", "192.0.2.1", "192.0.2.1")));
	assert_false(same(answer_of("192.0.2.1", NULL, NULL), answer_of("192.0.2.2", NULL, NULL)));
	assert_false(same(answer_of("192.0.2.1", NULL, NULL), answer_of("192.0.2.1", "192.0.2.2", NULL)));
	assert_false(same(answer_of("192.0.2.1", "192.0.2.2", NULL), answer_of("192.0.2.1", "192.0.2.3", NULL)));
	assert_false(same((struct dns_answer){0}, answer_of("192.0.2.1", NULL, NULL)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_both_families_are_read_in_order),
		cmocka_unit_test(what_is_beside_the_address_does_not_count),
		cmocka_unit_test(nothing_is_no_answer),
		cmocka_unit_test(the_shortest_life_counts_that_of_aliases_too),
		cmocka_unit_test(more_than_can_be_looked_at_is_cut),
		cmocka_unit_test(answers_are_compared_as_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
