/*
 * The options of an LDAP login, written as in pg_hba.conf:
 *
 *   ldapserver=ldap.example.net ldapprefix="cn=" ldapsuffix=", dc=example, dc=net"
 *   ldapurl="ldaps://ldap.example.net/dc=example,dc=net?uid?sub"
 *
 * Blanks separate them; double quotes keep blanks, "" inside them is a quote.
 * Either the name that is bound to is made of prefix, user and suffix, or it
 * is searched for below a base.
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

enum ldap_search_scope { LDAP_SEARCH_BASE, LDAP_SEARCH_ONE, LDAP_SEARCH_SUB };

/* No text is NULL unless it says so. */
struct ldap_options {
	const char *scheme; /* "ldap" or "ldaps" */
	const char *server; /* one host or several with blanks between, IPv6 addresses in brackets */
	int port;
	bool tls;	/* StartTLS */
	bool is_search; /* search and bind; else prefix and suffix */
	const char *prefix, *suffix;
	const char *base_dn;
	const char *bind_dn, *bind_password; /* "": the search is made anonymously */
	const char *search_attribute;
	const char *search_filter; /* with $username in it; NULL: the attribute is compared */
	enum ldap_search_scope scope;
};

/*
 * Texts are copied into the arena. False, and *error says which option is
 * wrong and what is accepted, never with the bind password nor with text of
 * which it may be a part.
 */
bool ldap_options_parse(struct slice text, struct arena *arena, struct ldap_options *options,
			struct strbuf *error);

/* Whether a password is among them, right or wrong as they may be. */
bool ldap_options_have_password(const char *text);
