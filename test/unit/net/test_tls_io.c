#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "net/tls_io.h"
#include "net/tls_socket.h"

#include "tls_peers.h"

static struct tls_cache *cache;
static struct tls_context *to_clients, *to_servers;
static BIO *shared;
static struct strbuf text;

static int make_contexts(void **state)
{
	struct identity id;
	struct tls_options o = {.mode = TLS_REQUIRE, .protocols = "", .ciphers = "", .tls13_ciphers = "",
				.ecdhcurve = "", .dheparams = ""};

	if (tempdir_enter(state) != 0)
		return -1;
	id = make_identity((struct certificate){.cn = "db.test"}, NULL);
	write_identity("server", &id);
	free_identity(&id);
	strbuf_init(&text);
	cache = tls_cache_new();
	to_servers = tls_context_get(cache, TLS_TO_SERVERS, &o, &text);
	o.cert_file = "server.crt";
	o.key_file = "server.key";
	to_clients = tls_context_get(cache, TLS_TO_CLIENTS, &o, &text);
	shared = tls_socket_new();
	return shared != NULL && to_clients != NULL && to_servers != NULL ? 0 : -1;
}

static int free_contexts(void **state)
{
	BIO_free(shared);
	tls_context_unref(&to_clients);
	tls_context_unref(&to_servers);
	tls_cache_free(cache);
	strbuf_fini(&text);
	return tempdir_leave(state);
}

/* The server's end is ours, over the shared BIO; the client's is somebody else's. */
static struct peers open_pair(void)
{
	struct peers p;

	open_sockets(&p);
	p.server = tls_accept_new(to_clients, p.fds[0]);
	p.client = tls_connect_new(to_servers, p.fds[1], "db.test");
	tls_socket_use(shared, p.server);
	return p;
}

/* One step of each end. */
static void advance(struct peers *p)
{
	step(p->client, &p->client_ok);
	if (p->server_ok)
		return;
	tls_socket_aim(shared, p->fds[0]);
	p->server_ok = tls_handshake(p->server) == TLS_STEP_DONE;
}

static struct peers connected_pair(void)
{
	struct peers p = open_pair();

	for (int i = 0; i < 20 && !(p.server_ok && p.client_ok); i++)
		advance(&p);
	assert_true(p.server_ok && p.client_ok);
	return p;
}

static ssize_t receive(struct peers *p, char *data, size_t n)
{
	tls_socket_aim(shared, p->fds[0]);
	return tls_recv(p->server, data, n);
}

static void assert_receives(struct peers *p, const char *expected)
{
	char got[64];

	assert_int_equal(receive(p, got, sizeof(got)), strlen(expected));
	assert_memory_equal(got, expected, strlen(expected));
}

/* As if another user of OpenSSL in this thread had failed and not cared. */
static void leave_an_error(void)
{
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
}

static void connections_over_one_socket_object_do_not_mix(void **state)
{
	struct peers a = open_pair(), b = open_pair();

	(void)state;
	for (int i = 0; i < 20 && !(a.server_ok && b.server_ok && a.client_ok && b.client_ok); i++) {
		advance(&a);
		advance(&b);
	}
	assert_true(a.server_ok && b.server_ok);
	assert_int_equal(SSL_write(a.client, "to a", 4), 4);
	assert_int_equal(SSL_write(b.client, "and to b", 8), 8);
	assert_receives(&b, "and to b");
	assert_receives(&a, "to a");
	close_peers(&a);
	close_peers(&b);
}

static void one_that_goes_in_its_handshake_leaves_the_others(void **state)
{
	struct peers a = open_pair(), b = open_pair();

	(void)state;
	advance(&a);
	advance(&b);
	close_peers(&a);
	for (int i = 0; i < 20 && !(b.server_ok && b.client_ok); i++)
		advance(&b);
	assert_int_equal(SSL_write(b.client, "still here", 10), 10);
	assert_receives(&b, "still here");
	close_peers(&b);
}

static void nothing_to_read_is_for_later_whatever_the_error_queue_holds(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	leave_an_error();
	assert_int_equal(receive(&p, got, sizeof(got)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(SSL_write(p.client, "later", 5), 5);
	assert_receives(&p, "later");
	close_peers(&p);
}

static void a_full_socket_is_for_later_whatever_the_error_queue_holds(void **state)
{
	static const char data[1 << 16];
	struct peers p = connected_pair();
	ssize_t n;

	(void)state;
	leave_an_error();
	tls_socket_aim(shared, p.fds[0]);
	do
		n = tls_send(p.server, data, sizeof(data));
	while (n > 0);
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	close_peers(&p);
}

static void a_polite_end_is_an_end_whatever_the_error_queue_holds(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	SSL_shutdown(p.client);
	leave_an_error();
	assert_int_equal(receive(&p, got, sizeof(got)), 0);
	close_peers(&p);
}

static void a_closed_socket_is_an_end(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	/* Its ticket: a Unix socket that is closed over something unread resets the connection. */
	assert_int_equal(SSL_read(p.client, got, sizeof(got)), -1);
	close(p.fds[1]);
	p.fds[1] = -1;
	assert_int_equal(receive(&p, got, sizeof(got)), 0);
	tls_socket_aim(shared, p.fds[0]);
	assert_int_equal(tls_send(p.server, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close_peers(&p);
}

static void what_is_no_tls_is_an_error_each_time(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	assert_int_equal(write(p.fds[1], "Q\0\0\0\015SELECT 1", 14), 14);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(receive(&p, got, sizeof(got)), -1);
		assert_int_equal(errno, EPROTO);
	}
	close_peers(&p);
}

/* The client is told what it has sent, over a socket that is full: that is no reason to come again later. */
static void a_fatal_error_is_one_even_if_its_alert_does_not_get_away(void **state)
{
	static const char data[1 << 16];
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	tls_socket_aim(shared, p.fds[0]);
	while (write(p.fds[0], data, sizeof(data)) > 0)
		;
	assert_int_equal(write(p.fds[1], "Q\0\0\0\015SELECT 1", 14), 14);
	assert_int_equal(receive(&p, got, sizeof(got)), -1);
	assert_int_equal(errno, EPROTO);
	close_peers(&p);
}

/* The server refuses what comes, and says so: the other end's read must not take that for an end. */
static void an_alert_of_the_peer_is_an_error(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	assert_int_equal(write(p.fds[1], "Q\0\0\0\015SELECT 1", 14), 14);
	assert_int_equal(receive(&p, got, sizeof(got)), -1);
	assert_int_equal(tls_recv(p.client, got, sizeof(got)), -1);
	assert_int_equal(errno, EPROTO);
	close_peers(&p);
}

static void new_keys_pass_unnoticed(void **state)
{
	struct peers p = connected_pair();
	char got[16];

	(void)state;
	assert_int_equal(SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_write(p.client, "new", 3), 3);
	assert_receives(&p, "new");
	tls_socket_aim(shared, p.fds[0]);
	assert_int_equal(tls_send(p.server, "too", 3), 3);
	assert_int_equal(SSL_read(p.client, got, sizeof(got)), 3);
	close_peers(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_over_one_socket_object_do_not_mix),
		cmocka_unit_test(one_that_goes_in_its_handshake_leaves_the_others),
		cmocka_unit_test(nothing_to_read_is_for_later_whatever_the_error_queue_holds),
		cmocka_unit_test(a_full_socket_is_for_later_whatever_the_error_queue_holds),
		cmocka_unit_test(a_polite_end_is_an_end_whatever_the_error_queue_holds),
		cmocka_unit_test(a_closed_socket_is_an_end),
		cmocka_unit_test(what_is_no_tls_is_an_error_each_time),
		cmocka_unit_test(a_fatal_error_is_one_even_if_its_alert_does_not_get_away),
		cmocka_unit_test(an_alert_of_the_peer_is_an_error),
		cmocka_unit_test(new_keys_pass_unnoticed),
	};

	return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
