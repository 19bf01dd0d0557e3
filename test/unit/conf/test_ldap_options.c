#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/ldap_options.h"

static struct arena *arena;

static int set_up(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct ldap_options parse(const char *text)
{
	char room[512];
	struct strbuf error;
	struct ldap_options o;

	strbuf_init_fixed(&error, room, sizeof(room));
	if (!ldap_options_parse(slice_of(text), arena, &o, &error))
		fail_msg("%s: %s", text, error.p);
	return o;
}

static void refuse(const char *text, const char *expected)
{
	char room[512];
	struct strbuf error;
	struct ldap_options o;

	strbuf_init_fixed(&error, room, sizeof(room));
	assert_false(ldap_options_parse(slice_of(text), arena, &o, &error));
	if (strstr(error.p, expected) == NULL)
		fail_msg("%s: \"%s\" is not in \"%s\"", text, expected, error.p);
}

static void prefix_and_suffix_make_a_simple_bind(void **state)
{
	struct ldap_options o;

	(void)state;
	o = parse("ldapserver=ldap.example.net ldapprefix=\"cn=\" ldapsuffix=\", dc=example, dc=net\"");
	assert_false(o.is_search);
	assert_string_equal(o.scheme, "ldap");
	assert_string_equal(o.server, "ldap.example.net");
	assert_int_equal(o.port, 389);
	assert_false(o.tls);
	assert_string_equal(o.prefix, "cn=");
	assert_string_equal(o.suffix, ", dc=example, dc=net");
	o = parse("ldapserver=a \"ldapprefix=EXAMPLE\\\"");
	assert_string_equal(o.prefix, "EXAMPLE\\");
	assert_string_equal(o.suffix, "");
}

static void a_base_makes_a_search(void **state)
{
	struct ldap_options o;

	(void)state;
	o = parse("ldapserver=\"a b\" ldapport=1389 ldaptls=1 ldapbasedn=\"dc=example, dc=net\" ldapbinddn=cn=reader "
		  "ldapbindpasswd=\"a \"\"b\"\" c\"");
	assert_true(o.is_search);
	assert_string_equal(o.server, "a b");
	assert_int_equal(o.port, 1389);
	assert_true(o.tls);
	assert_string_equal(o.base_dn, "dc=example, dc=net");
	assert_string_equal(o.bind_dn, "cn=reader");
	assert_string_equal(o.bind_password, "a \"b\" c");
	assert_string_equal(o.search_attribute, "uid");
	assert_null(o.search_filter);
	assert_int_equal(o.scope, LDAP_SEARCH_SUB);
}

static void attribute_or_filter_say_what_is_searched_for(void **state)
{
	(void)state;
	assert_string_equal(parse("ldapserver=a ldapbasedn=dc=x ldapsearchattribute=mail").search_attribute, "mail");
	assert_string_equal(
		parse("ldapserver=a ldapbasedn=dc=x ldapsearchfilter=(|(uid=$username)(mail=$username))").search_filter,
		"(|(uid=$username)(mail=$username))");
}

static void an_unquoted_comma_belongs_to_the_value(void **state)
{
	(void)state;
	assert_string_equal(parse("ldapserver=a ldapbasedn=dc=example,dc=net").base_dn, "dc=example,dc=net");
}

static void a_url_says_the_same(void **state)
{
	struct ldap_options o;

	(void)state;
	o = parse("ldapurl=\"ldap://ldap.example.net/dc=example,dc=net?uid?sub\"");
	assert_true(o.is_search);
	assert_string_equal(o.server, "ldap.example.net");
	assert_int_equal(o.port, 389);
	assert_string_equal(o.base_dn, "dc=example,dc=net");
	assert_string_equal(o.search_attribute, "uid");
	assert_int_equal(o.scope, LDAP_SEARCH_SUB);

	o = parse("ldapurl=ldaps://[::1]:6360/ou=a%20b,dc=x??one?(cn=$username)");
	assert_string_equal(o.scheme, "ldaps");
	assert_string_equal(o.server, "[::1]");
	assert_int_equal(o.port, 6360);
	assert_string_equal(o.base_dn, "ou=a b,dc=x");
	assert_string_equal(o.search_filter, "(cn=$username)");
	assert_int_equal(o.scope, LDAP_SEARCH_ONE);

	o = parse("ldapurl=ldaps://[::1]/dc=x?mail,uid");
	assert_int_equal(o.port, 636);
	assert_string_equal(o.search_attribute, "mail");
	assert_int_equal(o.scope, LDAP_SEARCH_BASE);

	o = parse("ldapurl=ldap://a ldapprefix=cn=");
	assert_false(o.is_search);
}

static void broken_urls_are_refused(void **state)
{
	(void)state;
	refuse("ldapurl=a/dc=x", "not a URL");
	refuse("ldapurl=ldapi://a/dc=x", "unknown scheme");
	refuse("ldapurl=ldap://a?uid", "a / must stand");
	refuse("ldapurl=ldap://a:0/dc=x", "not a port");
	refuse("ldapurl=ldap://a:99999/dc=x", "not a port");
	refuse("ldapurl=ldap://a:/dc=x", "not a port");
	refuse("ldapurl=ldap://u@a/dc=x", "not a host");
	refuse("ldapurl=ldap:///dc=x", "with a host is missing");
	refuse("ldapurl=ldap://a/dc=x?uid?tree", "unknown scope");
	refuse("ldapurl=ldap://a/dc=%2", "hexadecimal");
	refuse("ldapurl=ldap://a/dc=%zz", "hexadecimal");
	refuse("ldapurl=ldap://a/dc=%00", "hexadecimal");
	refuse("ldapurl=ldap://a/dc=x?uid?sub?" "?!x", "extensions");
	refuse("ldapurl=ldap://a/dc=x?uid?sub?(cn=$username)", "cannot be used together");
	refuse("ldapurl=ldap://a/dc=x ldapprefix=cn=", "cannot be used together");
}

static void broken_values_are_refused_by_name(void **state)
{
	(void)state;
	refuse("ldapserver=a:389 ldapprefix=", "ldapserver: not a host");
	refuse("ldapserver=\"\" ldapprefix=", "ldapserver: empty");
	refuse("ldapserver=::1 ldapprefix=", "ldapserver: not a host");
	refuse("ldapserver=a,b ldapprefix=", "ldapserver: not a host");
	refuse("ldapserver=a ldapport=x", "ldapport: not a port");
	refuse("ldapserver=a ldaptls=yes", "ldaptls: accepted: 0, 1");
	refuse("ldapserver=a ldapscheme=LDAP", "ldapscheme: unknown scheme");
	refuse("ldapserver=a ldapsearchattribute=\"u)(x\"", "ldapsearchattribute: not the name");
}

static void a_filter_without_the_name_is_refused(void **state)
{
	(void)state;
	refuse("ldapserver=a ldapbasedn=dc=x ldapsearchfilter=(uid=ann)", "must contain $username");
}

static void pieces_that_do_not_fit_together_are_refused(void **state)
{
	(void)state;
	refuse("", "is missing");
	refuse("ldapprefix=cn=", "is missing");
	refuse("ldapserver=a", "must be set");
	refuse("ldapserver=a ldapprefix= ldapbasedn=dc=x", "cannot be used together");
	refuse("ldapserver=a ldapsuffix=x ldapbindpasswd=x", "cannot be used together");
	refuse("ldapserver=a ldapbasedn=dc=x ldapsearchattribute=uid ldapsearchfilter=(a=$username)",
	       "cannot be used together");
	refuse("ldapserver=a ldapprefix= ldapscheme=ldaps ldaptls=1", "encrypted already");
}

static void a_password_is_in_no_error(void **state)
{
	static const char *const texts[] = {
		"ldapserver=a ldapbindpasswd=secret1 secret2=secret3",
		"ldapserver=a ldapbindpasswd=secret1 secret2",
		"ldapserver=a ldapbindpasswd=\"secret1",
		"ldapserver=a ldapprefix= ldapbindpasswd=secret1",
	};
	char room[512];
	struct strbuf error;
	struct ldap_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		strbuf_init_fixed(&error, room, sizeof(room));
		assert_false(ldap_options_parse(slice_of(texts[i]), arena, &o, &error));
		assert_false(error.failed);
		assert_null(strstr(error.p, "secret"));
	}
	refuse("ldapserver=a secret", "option 2: not name=value");
	refuse("ldapserver=a secret=x", "option 2: unknown name; accepted: ldapserver,");
	refuse("ldapserver=a b=\"x", "option 2: a double quote does not end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefix_and_suffix_make_a_simple_bind),
		cmocka_unit_test(a_base_makes_a_search),
		cmocka_unit_test(attribute_or_filter_say_what_is_searched_for),
		cmocka_unit_test(an_unquoted_comma_belongs_to_the_value),
		cmocka_unit_test(a_url_says_the_same),
		cmocka_unit_test(broken_urls_are_refused),
		cmocka_unit_test(broken_values_are_refused_by_name),
		cmocka_unit_test(a_filter_without_the_name_is_refused),
		cmocka_unit_test(pieces_that_do_not_fit_together_are_refused),
		cmocka_unit_test(a_password_is_in_no_error),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
