/*
 * Asks an LDAP directory whether a password is a user's, by binding with it.
 * Blocks. For the processes of auth/helper.
 */
#pragma once
#include <stdbool.h>

#include "auth/external.h"
#include "base/str.h"
#include "conf/ldap_options.h"

/* False: built without LDAP, and all it answers is EXTERNAL_UNAVAILABLE. */
bool ldap_is_supported(void);

void ldap_verify(const struct external_login *login, struct external_answer *answer);

/* May stand in a filter; PostgreSQL refuses the same characters. */
bool ldap_is_searchable(const char *user);

/* What the entry of a user that ldap_is_searchable() is searched by. */
void ldap_add_filter(struct strbuf *out, const struct ldap_options *options, const char *user);

/*
 * The name to bind as, of prefix, user and suffix. Behind a prefix that ends
 * in "=" the user is the value of a DN's attribute, and its special characters
 * are escaped: it can name no entry in another place.
 */
void ldap_add_bind_name(struct strbuf *out, const struct ldap_options *options, const char *user);
