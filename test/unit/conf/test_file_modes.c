#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

#include "tempdir.h"

static struct conf_problems problems;

static int set_up(void **state)
{
	(void)state;
	conf_problems_init(&problems);
	strbuf_add_str(&problems.warnings, "");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	conf_problems_fini(&problems);
	return 0;
}

static void write_with_mode(const char *name, const char *text, mode_t mode)
{
	tempdir_write(name, text);
	assert_int_equal(chmod(name, mode), 0);
}

/* What is warned of when "test.ini" is loaded. */
static const char *warnings(void)
{
	struct conf *conf = conf_load("test.ini", NULL, 0, &problems);

	if (conf == NULL)
		fail_msg("%s", problems.errors.p);
	conf_unref(&conf);
	return problems.warnings.p;
}

static const char plain[] = "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\n";
static const char secret[] = "[databases]\nshop = host=127.0.0.1 password=hush\nbooks = host=127.0.0.1 password=x\n"
			     "[pgbouncer]\n";

static void a_file_without_secrets_may_be_read_by_all(void **state)
{
	(void)state;
	write_with_mode("test.ini", plain, 0644);
	assert_string_equal(warnings(), "");
}

static void a_file_with_a_password_is_warned_of_once_when_others_can_read_it(void **state)
{
	(void)state;
	write_with_mode("test.ini", secret, 0644);
	assert_string_equal(warnings(), "test.ini: mode 0644: others can read the passwords in it: chmod 0640 test.ini\n");
	assert_int_equal(problems.nwarnings, 1);
}

static void passwords_may_be_read_by_the_group(void **state)
{
	(void)state;
	write_with_mode("test.ini", secret, 0640);
	assert_string_equal(warnings(), "");
}

static void a_file_that_others_can_change_is_warned_of_whatever_is_in_it(void **state)
{
	(void)state;
	write_with_mode("test.ini", plain, 0664);
	assert_string_equal(warnings(), "test.ini: mode 0664: others can change it: chmod 0644 test.ini\n");
}

static void an_included_file_is_looked_at_for_itself(void **state)
{
	(void)state;
	write_with_mode("more.ini", "[databases]\nshop = host=127.0.0.1 password=hush\n", 0604);
	write_with_mode("test.ini", "%include more.ini\n[pgbouncer]\n", 0644);
	assert_string_equal(warnings(), "more.ini: mode 0604: others can read the passwords in it: chmod 0600 more.ini\n");
}

static void the_password_of_a_directory_is_one(void **state)
{
	(void)state;
	write_with_mode("test.ini",
			"[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nauth_ldap_options = ldapserver=x ldapbasedn=y "
			"ldapbinddn=z ldapbindpasswd=hush\n",
			0644);
	assert_non_null(strstr(warnings(), "test.ini: mode 0644: others can read the passwords in it"));
}

static void an_auth_file_with_a_secret_is_warned_of(void **state)
{
	(void)state;
	write_with_mode("test.ini", "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nauth_file = users\n", 0644);
	write_with_mode("users", "\"ann\" \"hush\"\n", 0644);
	assert_string_equal(warnings(), "users: mode 0644: others can read the passwords in it: chmod 0640 users\n");
	write_with_mode("users", "\"ann\" \"\"\n", 0644);
	strbuf_reset(&problems.warnings);
	strbuf_add_str(&problems.warnings, "");
	assert_string_equal(warnings(), "");
}

static void rules_with_a_password_are_warned_of(void **state)
{
	(void)state;
	write_with_mode("test.ini", "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nauth_hba_file = rules\n", 0644);
	write_with_mode("rules", "host all all all trust\n", 0644);
	assert_string_equal(warnings(), "");
	write_with_mode("rules", "host all all all ldap ldapserver=x ldapbasedn=y ldapbinddn=z ldapbindpasswd=hush\n", 0644);
	assert_string_equal(warnings(), "rules: mode 0644: others can read the passwords in it: chmod 0640 rules\n");
}

static void a_private_key_is_its_owners(void **state)
{
	(void)state;
	write_with_mode("test.ini", "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nclient_tls_key_file = key\n", 0644);
	write_with_mode("key", "", 0600);
	assert_string_equal(warnings(), "");
	write_with_mode("key", "", 0604);
	assert_string_equal(warnings(), "key: mode 0604: others can read the private key in it: chmod 0600 key\n");
}

/* A service's key that root installed is read by way of its group. */
static void the_group_may_read_a_private_key_that_is_roots_and_no_other(void **state)
{
	bool is_root = getuid() == 0;

	(void)state;
	write_with_mode("test.ini", "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nserver_tls_key_file = key\n", 0644);
	write_with_mode("key", "", 0640);
	assert_int_equal(strlen(warnings()) == 0, is_root);
	if (!is_root)
		return;
	assert_int_equal(chown("key", 12345, 12345), 0);
	assert_string_equal(warnings(), "key: mode 0640: others can read the private key in it: chmod 0600 key\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_without_secrets_may_be_read_by_all),
		TEST(a_file_with_a_password_is_warned_of_once_when_others_can_read_it),
		TEST(passwords_may_be_read_by_the_group),
		TEST(a_file_that_others_can_change_is_warned_of_whatever_is_in_it),
		TEST(an_included_file_is_looked_at_for_itself),
		TEST(the_password_of_a_directory_is_one),
		TEST(an_auth_file_with_a_secret_is_warned_of),
		TEST(rules_with_a_password_are_warned_of),
		TEST(a_private_key_is_its_owners),
		TEST(the_group_may_read_a_private_key_that_is_roots_and_no_other),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
