#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"

#include "../failing.h"
#include "tempdir.h"

#define MANY_DATABASES 300

static const char hba[] = "local all all peer map=m\n"
			  "host /^a(.*)$,\"b\" all samenet md5\n"
			  "host all /x \\\n samehost trust\n"
			  "host all all all ldap ldapserver=127.0.0.1 ldapprefix=\"uid=\" ldapsuffix=\",dc=x\"\n"
			  "host @names all 10.0.0.0/8 reject\n";

static const char settings[] = "[users]\nann = pool_mode=session\n[peers]\n1 = host=/tmp\n"
			       "[pgsluice]\nauth_type = hba\nauth_hba_file = hba\nauth_ident_file = ident\n"
			       "auth_file = users\nlisten_port = 7777\n"
			       "auth_ldap_options = ldapserver=127.0.0.1 ldapprefix=x\n";

static int set_up(void **state)
{
	struct strbuf ini;

	if (tempdir_enter_quietly(state) != 0)
		return -1;
	strbuf_init(&ini);
	strbuf_add_str(&ini, "%include other\n[databases]\n");
	for (int i = 0; i < MANY_DATABASES; i++)
		strbuf_addf(&ini, "db%d = host='127.0.0.1' port=%d password='it''s a secret'\n", i, 1000 + i);
	strbuf_add_str(&ini, settings);
	tempdir_write("t.ini", ini.p);
	strbuf_fini(&ini);
	tempdir_write("other", "[databases]\nincluded = user=x\n");
	tempdir_write("hba", hba);
	tempdir_write("names", "p q\n/r\n");
	tempdir_write("ident", "m /^(.*)@x$ \\1\nm y /z\n");
	tempdir_write("users", "\"a\" \"b\"\n\"c\" \"d\"\"e\"\n");
	return 0;
}

static bool is_whole(const struct conf *conf)
{
	const struct conf_database *last = conf_find_database(conf, SLICE_LIT("db299"));

	return conf_find_database(conf, SLICE_LIT("included")) != NULL && last != NULL && last->hosts[0].port == 1299 &&
	       strcmp(last->password, "it's a secret") == 0 && conf_find_user(conf, SLICE_LIT("ann")) != NULL &&
	       userlist_count(conf->userlist) == 2 && hba_uses(conf->hba, HBA_REJECT) && conf->ident != NULL &&
	       conf->s.listen_port == 7777;
}

static struct conf *load(const struct conf *running, size_t *nerrors)
{
	const struct conf_assignment assignment = {.name = "verbose", .value = "1"};
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = conf_reload("t.ini", &assignment, 1, running, &problems);
	*nerrors = problems.nerrors;
	conf_problems_fini(&problems);
	return conf;
}

/* AddressSanitizer tells what an attempt that was given up has left. */
static void a_configuration_is_read_as_a_whole_or_refused(void **state)
{
	size_t nerrors, nrefused = 0;
	struct conf *running = load(NULL, &nerrors);
	bool failed = true;

	(void)state;
	assert_non_null(running);
	running->s.listen_port = 7778;    /* what needs a restart is told, and kept */
	for (long n = 0; failed; n++) {
		struct conf *conf;

		fail_after(n);
		conf = load(running, &nerrors);
		failed = has_failed();
		nrefused += conf == NULL;
		assert_true((conf == NULL) == (nerrors > 0));
		assert_true(conf != NULL || failed);
		if (conf != NULL) {
			conf->s.listen_port--;
			assert_true(is_whole(conf));
		}
		conf_unref(&conf);
	}
	assert_true(nrefused > 20);
	conf_unref(&running);
}

static void a_setting_is_set_or_refused(void **state)
{
	const struct conf_change changes[] = {
		{SCOPE_GLOBAL, SLICE_LIT(""), SLICE_LIT("stats_period"), SLICE_LIT("7")},
		{SCOPE_DATABASE, SLICE_LIT("db7"), SLICE_LIT("pool_size"), SLICE_LIT("3")},
		{SCOPE_USER, SLICE_LIT("bob"), SLICE_LIT("pool_mode"), SLICE_LIT("session")},
	};
	size_t nerrors, nrefused = 0;
	struct conf *loaded = load(NULL, &nerrors);

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool failed = true;

		for (long n = 0; failed; n++) {
			struct strbuf error;
			struct conf *with;

			strbuf_init(&error);
			fail_after(n);
			with = conf_with(loaded, &changes[i], &error);
			failed = has_failed();
			nrefused += with == NULL;
			assert_true(with != NULL || failed);
			assert_true(with != NULL || error.failed || strcmp(error.p, "out of memory") == 0);
			conf_unref(&with);
			strbuf_fini(&error);
		}
	}
	assert_true(nrefused > 5);
	conf_unref(&loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_configuration_is_read_as_a_whole_or_refused),
		cmocka_unit_test(a_setting_is_set_or_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tempdir_leave);
}
