#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/dns.h"

#include "../conf/tempdir.h"
#include "turning.h"

#define SECOND UINT64_C(1000000)

/* A name server on a loopback port: what it answers to the next queries, and how many it has had. */
static struct {
	ev_io io;
	int port;
	const char *ip;                  /* of type A; NULL: the name does not exist */
	bool is_silent;
	unsigned ttl, nqueries;
} server;

/* Port 53 is not everybody's to listen on, and c-ares takes no other from resolv.conf: its connect() is led here. */
int connect_here(int fd, const struct sockaddr *sa, socklen_t n) __asm__("connect");
int connect_here(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct addr_any a = {.len = n};

	memcpy(&a.u, sa, n);
	addr_any_set_port(&a, server.port);
	return (int)syscall(SYS_connect, fd, &a.u.sa, a.len);
}

static struct dns *dns;

/* Answers what was asked for: one address, none of type AAAA, or NXDOMAIN. */
static void on_query(EV_P_ ev_io *io, int events)
{
	uint8_t p[512];
	struct addr_any from = {.len = sizeof(from.u)}, ip;
	ssize_t n = recvfrom(io->fd, p, sizeof(p) - 16, 0, &from.u.sa, &from.len);
	size_t q = 12;

	(void)loop;
	(void)events;
	if (n < 17)
		return;
	server.nqueries++;
	if (server.is_silent)
		return;
	while (q < (size_t)n && p[q] != 0)
		q += p[q] + 1u;
	q += 5;
	p[2] = 0x81;
	p[3] = server.ip == NULL ? 0x83 : 0x80;
	memset(p + 6, 0, 6);
	if (server.ip != NULL && p[q - 3] == 1) {
		const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, (uint8_t)(server.ttl >> 8), (uint8_t)server.ttl, 0, 4};

		p[7] = 1;
		addr_any_from_ip(&ip, server.ip, 0);
		memcpy(p + q, record, sizeof(record));
		memcpy(p + q + sizeof(record), &ip.u.in.sin_addr, 4);
		q += sizeof(record) + 4;
	}
	sendto(io->fd, p, q, 0, &from.u.sa, from.len);
}

static void start_server(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct addr_any a;
	struct addr self;

	addr_any_from_ip(&a, "127.0.0.1", 0);
	if (bind(fd, &a.u.sa, a.len) != 0)
		abort();
	addr_of_self(&self, fd);
	memset(&server, 0, sizeof(server));
	server.port = self.port;
	ev_io_init(&server.io, on_query, fd, EV_READ);
	ev_io_start(loop->ev, &server.io);
}

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
	tempdir_write("resolv.conf", "nameserver 127.0.0.1\noptions retrans:1 retry:1 timeout:1 attempts:1\n");
	dns = dns_new(loop, &o, &error);
	return dns == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	dns_free(dns);
	ev_io_stop(loop->ev, &server.io);
	close(server.io.fd);
	return close_loop(state);
}

static void let_ttl(uint64_t max_us, uint64_t nxdomain_us)
{
	dns_configure(dns, &(struct dns_options){.max_ttl_us = max_us, .nxdomain_ttl_us = nxdomain_us});
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
	assert_int_equal(f.pending, 1);
	turn_until(a.ncalls == 1 && b.ncalls == 1);
	assert_string_equal(b.first, "192.0.2.1");
	dns_figures(dns, &f);
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
		TEST(a_name_is_answered_later),
		TEST(those_who_ask_meanwhile_share_one_query),
		TEST(a_kept_answer_is_given_at_once),
		TEST(an_answer_is_kept_no_longer_than_it_says),
		TEST(an_answer_is_kept_no_longer_than_the_bound),
		TEST(an_unknown_name_has_no_addresses_and_is_not_asked_for_again_at_once),
		TEST(an_unknown_name_is_asked_for_again_after_its_time),
		TEST(the_last_good_answer_serves_while_no_server_answers),
		TEST(a_name_that_has_vanished_loses_its_addresses),
		TEST(who_has_lost_interest_is_not_called),
		TEST(freeing_it_calls_nobody),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
