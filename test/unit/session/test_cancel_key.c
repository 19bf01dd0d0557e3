#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "../report/fixture.h"

static struct client *with_key(bool is_long)
{
	struct client *c = fixture_client(CLIENT_IDLE, NULL, NULL);

	c->has_long_key = is_long;
	cancel_key_make(c);
	return c;
}

/* The client that is found by the key in the room. */
static struct client *found(const uint8_t *key, size_t n)
{
	return cancel_key_find(&hub, (struct slice){(const char *)key, n});
}

static int set_up(void **state)
{
	(void)state;
	fixture_open("[databases]\n[pgbouncer]\npeer_id = 772\n[peers]\n");
	memset(&hub.cancel_secret, 's', sizeof(hub.cancel_secret));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fixture_close();
	return 0;
}

static void a_key_finds_its_client_and_no_other(void **state)
{
	struct client *c[20];
	uint8_t key[CANCEL_KEY_LONG];

	(void)state;
	for (int i = 0; i < 20; i++)
		c[i] = with_key(i % 2 == 0);
	for (int i = 0; i < 20; i++) {
		size_t n = cancel_key_print(c[i], key);

		assert_int_equal(n, i % 2 == 0 ? CANCEL_KEY_LONG : CANCEL_KEY_SHORT);
		assert_ptr_equal(found(key, n), c[i]);
	}
}

static void hops_do_not_count_and_all_else_does(void **state)
{
	struct client *c = with_key(true);
	uint8_t key[CANCEL_KEY_LONG];
	size_t n = cancel_key_print(c, key);
	struct slice text = {(const char *)key, n};

	(void)state;
	for (unsigned hops = CANCEL_KEY_MOST_HOPS; hops > 0; hops--) {
		assert_int_equal(cancel_key_hops(text), hops);
		assert_ptr_equal(found(key, n), c);
		cancel_key_take_hop(key);
	}
	assert_int_equal(cancel_key_hops(text), 0);
	assert_ptr_equal(found(key, n), c);
	for (size_t bit = 0; bit < n * 8; bit++) {
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (bit / 8 != 7 || bit % 8 > 1)
			assert_null(found(key, n));
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t less = 0; less < n; less++)
		assert_null(found(key, less));
}

static void the_layout_is_pgbouncers(void **state)
{
	uint8_t key[CANCEL_KEY_LONG];

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct slice text = {(const char *)key, cancel_key_print(with_key(false), key)};

		assert_int_equal(key[0] & 0x80, 0);
		assert_int_equal(cancel_key_peer(text), 772);
		assert_int_equal(key[1], 772 & 0xff);
		assert_int_equal(key[7] & 3, 3);
	}
}

static void who_is_not_in_has_no_key(void **state)
{
	struct client *c = with_key(false);
	uint8_t key[CANCEL_KEY_LONG];
	size_t n = cancel_key_print(c, key);

	(void)state;
	c->state = CLIENT_STARTUP;
	assert_null(found(key, n));
	c->state = CLIENT_CANCEL;
	assert_null(found(key, n));
	c->state = CLIENT_CLOSED;
	assert_null(found(key, n));
	c->state = CLIENT_ACTIVE;
	assert_ptr_equal(found(key, n), c);
}

static void another_process_makes_other_keys(void **state)
{
	struct client *c = with_key(true);
	uint8_t key[CANCEL_KEY_LONG];
	size_t n = cancel_key_print(c, key);

	(void)state;
	memset(&hub.cancel_secret, 't', sizeof(hub.cancel_secret));
	assert_null(found(key, n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_finds_its_client_and_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hops_do_not_count_and_all_else_does, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_layout_is_pgbouncers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_not_in_has_no_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_process_makes_other_keys, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
