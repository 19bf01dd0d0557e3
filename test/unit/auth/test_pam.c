#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/pam.h"

/* libpam forgets a little when pam_start() does not find the service. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libpam.so";
}

static char dir[] = "/tmp/test_pam.XXXXXX";
static char script[64];

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* A service whose modules are these lines, of which "%s" is the script. */
static void write_service(const char *name, const char *lines)
{
	char path[128], text[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(text, sizeof(text), lines, script);
	write_file(path, text);
}

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(script, sizeof(script), "%s/check.sh", dir);
	write_file(script, "[ \"$PAM_USER:$PAM_RHOST:$(tr -d '\\0')\" = ann:10.0.0.1:secret ]\n");
	write_service("accept", "auth required pam_permit.so\naccount required pam_permit.so\n");
	write_service("deny", "auth required pam_deny.so\naccount required pam_permit.so\n");
	write_service("no-account", "auth required pam_permit.so\naccount required pam_deny.so\n");
	write_service("script", "auth required pam_exec.so expose_authtok quiet /bin/sh %s\n"
				"account required pam_permit.so\n");
	write_service("slow", "auth optional pam_faildelay.so delay=60000000\nauth required pam_deny.so\n");
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"accept", "deny", "no-account", "script", "slow", "check.sh"};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static struct external_answer ask(const char *service, const char *user, const char *password)
{
	const struct external_login login = {EXTERNAL_PAM, service, user, password, "10.0.0.1"};
	struct external_answer answer = {0};

	if (!pam_is_supported())
		skip();
	pam_verify(&login, dir, &answer);
	assert_null(strstr(answer.why, password));
	return answer;
}

static void authentication_and_account_must_both_agree(void **state)
{
	(void)state;
	assert_int_equal(ask("accept", "ann", "secret").verdict, EXTERNAL_ACCEPTED);
	assert_int_equal(ask("deny", "ann", "secret").verdict, EXTERNAL_REFUSED);
	assert_int_equal(ask("no-account", "ann", "secret").verdict, EXTERNAL_REFUSED);
}

static void the_modules_get_user_password_and_address(void **state)
{
	(void)state;
	assert_int_equal(ask("script", "ann", "secret").verdict, EXTERNAL_ACCEPTED);
	assert_int_equal(ask("script", "ann", "wrong").verdict, EXTERNAL_REFUSED);
	assert_int_equal(ask("script", "bob", "secret").verdict, EXTERNAL_REFUSED);
}

static void a_service_that_is_missing_lets_nobody_in(void **state)
{
	struct external_answer answer = ask("missing", "ann", "secret");

	(void)state;
	assert_int_equal(answer.verdict, EXTERNAL_UNAVAILABLE);
	assert_non_null(strstr(answer.why, "\"missing\""));
}

/* The module asks for a minute; ten seconds are the most that is handed on. */
static void a_delay_is_handed_on_instead_of_slept(void **state)
{
	struct external_answer answer = ask("slow", "ann", "secret");

	(void)state;
	assert_int_equal(answer.verdict, EXTERNAL_REFUSED);
	assert_int_equal(answer.delay_us, 10 * 1000 * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(authentication_and_account_must_both_agree),
		cmocka_unit_test(the_modules_get_user_password_and_address),
		cmocka_unit_test(a_service_that_is_missing_lets_nobody_in),
		cmocka_unit_test(a_delay_is_handed_on_instead_of_slept),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
