#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/tls_ticket.h"

#include "tls_peers.h"

#define DAY (TLS_TICKET_SECONDS * CLOCK_SECOND)
#define START (5 * DAY)

static struct tls_tickets tickets;
static struct tls_ticket_key first;

static int set_up(void **state)
{
	(void)state;
	tls_tickets_init(&tickets, START);
	first = tickets.current;
	return 0;
}

static bool is_known(const struct tls_ticket_key *key)
{
	const struct tls_ticket_key *found = tls_tickets_find(&tickets, key->name);

	return found != NULL && memcmp(found, key, sizeof(*key)) == 0;
}

static void a_key_serves_for_a_day(void **state)
{
	(void)state;
	tls_tickets_rotate(&tickets, START + DAY - 1);
	assert_ptr_equal(tls_tickets_find(&tickets, first.name), &tickets.current);
}

static void its_tickets_are_good_for_another_day(void **state)
{
	(void)state;
	tls_tickets_rotate(&tickets, START + DAY + 5);
	assert_ptr_equal(tls_tickets_find(&tickets, first.name), &tickets.former);
	assert_memory_not_equal(&tickets.current, &first, sizeof(first));
	tls_tickets_rotate(&tickets, START + 2 * DAY - 1);
	assert_true(is_known(&first));
	tls_tickets_rotate(&tickets, START + 2 * DAY);
	assert_false(is_known(&first));
}

static void keys_that_slept_too_long_are_both_forgotten(void **state)
{
	struct tls_ticket_key second;

	(void)state;
	tls_tickets_rotate(&tickets, START + DAY);
	second = tickets.current;
	tls_tickets_rotate(&tickets, START + 3 * DAY);
	assert_false(is_known(&first));
	assert_false(is_known(&second));
	assert_int_equal(tickets.made_at, START + 3 * DAY);
}

/* A server context with tickets, and sessions that a client got from it. */
static SSL_CTX *server_ctx, *client_ctx;
static struct identity server_id, ca, client_id;

static int set_up_contexts(void **state)
{
	(void)state;
	ca = make_identity((struct certificate){.cn = "ca", .is_ca = true}, NULL);
	server_id = make_identity((struct certificate){.cn = "server"}, &ca);
	server_ctx = SSL_CTX_new(TLS_server_method());
	client_ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_use_certificate(server_ctx, server_id.x);
	SSL_CTX_use_PrivateKey(server_ctx, server_id.key);
	SSL_CTX_set_session_id_context(server_ctx, (const unsigned char *)"test", 4);
	SSL_CTX_set_session_cache_mode(server_ctx, SSL_SESS_CACHE_OFF);
	return tls_tickets_install(server_ctx) ? 0 : -1;
}

static int tear_down_contexts(void **state)
{
	(void)state;
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	free_identity(&ca);
	free_identity(&server_id);
	free_identity(&client_id);
	return 0;
}

/* Connects with a session (and drops it) or without; returns the next one. */
static SSL_SESSION *connect_once(SSL_SESSION *session, bool *is_resumed)
{
	struct peers p;
	SSL_SESSION *next;

	open_sockets(&p);
	p.server = SSL_new(server_ctx);
	SSL_set_fd(p.server, p.fds[0]);
	SSL_set_accept_state(p.server);
	p.client = plain_client(client_ctx, p.fds[1]);
	if (session != NULL)
		SSL_set_session(p.client, session);
	SSL_SESSION_free(session);
	assert_true(shake_hands(&p, NULL, NULL));
	assert_true(carry(p.server, p.client));
	*is_resumed = SSL_session_reused(p.server);
	next = SSL_get1_session(p.client);
	SSL_shutdown(p.client);
	close_peers(&p);
	return next;
}

static void check_resumption(int version)
{
	bool is_resumed;
	SSL_SESSION *session;

	SSL_CTX_set_max_proto_version(client_ctx, version);
	session = connect_once(NULL, &is_resumed);
	assert_false(is_resumed);
	for (int i = 0; i < 3; i++) {
		session = connect_once(session, &is_resumed);
		assert_true(is_resumed);
	}
	SSL_SESSION_free(session);
}

static void a_client_that_comes_back_is_known_in_tls_1_2(void **state)
{
	(void)state;
	check_resumption(TLS1_2_VERSION);
}

static void a_client_that_comes_back_is_known_in_tls_1_3(void **state)
{
	(void)state;
	check_resumption(TLS1_3_VERSION);
}

static void tickets_of_another_context_are_not_taken(void **state)
{
	bool is_resumed;
	SSL_SESSION *session = connect_once(NULL, &is_resumed);
	SSL_CTX *first_ctx = server_ctx;
	SSL_CTX *kept_client = client_ctx;
	struct identity kept_ca = ca, kept_server = server_id;

	assert_int_equal(set_up_contexts(state), 0);
	SSL_CTX_free(client_ctx);
	client_ctx = kept_client;
	session = connect_once(session, &is_resumed);
	assert_false(is_resumed);
	SSL_SESSION_free(session);
	SSL_CTX_free(first_ctx);
	free_identity(&kept_ca);
	free_identity(&kept_server);
}

static void a_session_ends_with_the_clients_certificate(void **state)
{
	bool is_resumed;
	SSL_SESSION *session;

	(void)state;
	client_id = make_identity((struct certificate){.cn = "ann", .expires_in = 2}, &ca);
	SSL_CTX_use_certificate(client_ctx, client_id.x);
	SSL_CTX_use_PrivateKey(client_ctx, client_id.key);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(server_ctx), ca.x);
	SSL_CTX_set_verify(server_ctx, SSL_VERIFY_PEER, NULL);
	session = connect_once(NULL, &is_resumed);
	session = connect_once(session, &is_resumed);
	assert_true(is_resumed);
	/* From now on an expired certificate is no reason to refuse the handshake, only not to resume. */
	SSL_CTX_set_verify(server_ctx, SSL_VERIFY_NONE, NULL);
	while (X509_cmp_current_time(X509_get0_notAfter(client_id.x)) > 0)
		usleep(50000);
	session = connect_once(session, &is_resumed);
	assert_false(is_resumed);
	SSL_SESSION_free(session);
}

#define TEST_KEYS(f) cmocka_unit_test_setup(f, set_up)
#define TEST_CONTEXTS(f) cmocka_unit_test_setup_teardown(f, set_up_contexts, tear_down_contexts)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_KEYS(a_key_serves_for_a_day),
		TEST_KEYS(its_tickets_are_good_for_another_day),
		TEST_KEYS(keys_that_slept_too_long_are_both_forgotten),
		TEST_CONTEXTS(a_client_that_comes_back_is_known_in_tls_1_2),
		TEST_CONTEXTS(a_client_that_comes_back_is_known_in_tls_1_3),
		TEST_CONTEXTS(tickets_of_another_context_are_not_taken),
		TEST_CONTEXTS(a_session_ends_with_the_clients_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
