#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/ldap.h"

static void check_filter(const char *attribute, const char *filter, const char *user, const char *expected)
{
	const struct ldap_options o = {.search_attribute = attribute, .search_filter = filter};
	struct strbuf out;

	strbuf_init(&out);
	ldap_add_filter(&out, &o, user);
	assert_string_equal(out.p, expected);
	strbuf_fini(&out);
}

static void the_filter_has_the_user_wherever_it_says_so(void **state)
{
	(void)state;
	check_filter("uid", NULL, "ann", "(uid=ann)");
	check_filter("uid", "(|(uid=$username)(mail=$username@x))", "ann", "(|(uid=ann)(mail=ann@x))");
	check_filter("uid", "(uid=$username)", "$username", "(uid=$username)");
}

static void what_is_special_in_a_filter_is_not_searched_for(void **state)
{
	(void)state;
	assert_true(ldap_is_searchable("ann.o'hara@x+y"));
	assert_false(ldap_is_searchable("*"));
	assert_false(ldap_is_searchable("a)(uid=b"));
	assert_false(ldap_is_searchable("a\\2a"));
	assert_false(ldap_is_searchable("a/b"));
}

static void check_name(const char *prefix, const char *suffix, const char *user, const char *expected)
{
	const struct ldap_options o = {.prefix = prefix, .suffix = suffix};
	struct strbuf out;

	strbuf_init(&out);
	ldap_add_bind_name(&out, &o, user);
	assert_string_equal(out.p, expected);
	strbuf_fini(&out);
}

static void a_user_in_a_dn_cannot_name_another_place(void **state)
{
	(void)state;
	check_name("cn=", ",dc=x", "ann", "cn=ann,dc=x");
	check_name("cn=", ",dc=x", "ann,ou=y", "cn=ann\\,ou\\=y,dc=x");
	check_name("cn=", ",dc=x", "#a+b\"c;<d>\\", "cn=\\#a\\+b\\\"c\\;\\<d\\>\\\\,dc=x");
	check_name("cn=", "", " a b ", "cn=\\ a b\\ ");
}

static void a_user_in_another_form_of_name_stays_as_it_is(void **state)
{
	(void)state;
	check_name("", "@example.net", "a+b", "a+b@example.net");
	check_name("EXAMPLE\\", "", "ann", "EXAMPLE\\ann");
}

static void an_empty_password_is_never_a_login(void **state)
{
	const struct external_login login = {
		EXTERNAL_LDAP, "ldapserver=127.0.0.1 ldapport=9 ldapprefix=cn=", "ann", "", ""};
	struct external_answer answer = {0};

	(void)state;
	ldap_verify(&login, &answer);
	assert_int_equal(answer.verdict, ldap_is_supported() ? EXTERNAL_REFUSED : EXTERNAL_UNAVAILABLE);
}

static void without_a_directory_nobody_is_refused_nor_accepted(void **state)
{
	const struct external_login login = {
		EXTERNAL_LDAP, "ldapserver=127.0.0.1 ldapport=9 ldapprefix=cn=", "ann", "secret", ""};
	struct external_answer answer = {0};

	(void)state;
	ldap_verify(&login, &answer);
	assert_int_equal(answer.verdict, EXTERNAL_UNAVAILABLE);
	assert_string_not_equal(answer.why, "");
	assert_null(strstr(answer.why, "secret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_filter_has_the_user_wherever_it_says_so),
		cmocka_unit_test(what_is_special_in_a_filter_is_not_searched_for),
		cmocka_unit_test(a_user_in_a_dn_cannot_name_another_place),
		cmocka_unit_test(a_user_in_another_form_of_name_stays_as_it_is),
		cmocka_unit_test(an_empty_password_is_never_a_login),
		cmocka_unit_test(without_a_directory_nobody_is_refused_nor_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
