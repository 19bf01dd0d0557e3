#include "auth/ldap.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"

bool ldap_is_searchable(const char *user)
{
	return strpbrk(user, "*()\\/") == NULL;
}

void ldap_add_filter(struct strbuf *out, const struct ldap_options *options, const char *user)
{
	static const char marker[] = "$username";
	const char *rest = options->search_filter, *found;

	if (rest == NULL) {
		strbuf_addf(out, "(%s=%s)", options->search_attribute, user);
		return;
	}
	while ((found = strstr(rest, marker)) != NULL) {
		strbuf_add(out, rest, (size_t)(found - rest));
		strbuf_add_str(out, user);
		rest = found + sizeof(marker) - 1;
	}
	strbuf_add_str(out, rest);
}

/* RFC 4514, section 2.4. */
static void add_escaped(struct strbuf *out, const char *value)
{
	for (const char *p = value; *p != '\0'; p++) {
		bool is_first = p == value, is_last = p[1] == '\0';

		if (strchr("\"+,;<>\\=", *p) != NULL || (is_first && *p == '#') ||
		    ((is_first || is_last) && *p == ' '))
			strbuf_add_char(out, '\\');
		strbuf_add_char(out, *p);
	}
}

void ldap_add_bind_name(struct strbuf *out, const struct ldap_options *options, const char *user)
{
	size_t n = strlen(options->prefix);

	strbuf_add(out, options->prefix, n);
	if (n > 0 && options->prefix[n - 1] == '=')
		add_escaped(out, user);
	else
		strbuf_add_str(out, user);
	strbuf_add_str(out, options->suffix);
}

#ifdef HAVE_LDAP

#include <ldap.h>
#include <sys/time.h>

#define TIMEOUT_SECONDS 10

/* One check of one login. */
struct check {
	const struct external_login *login;
	struct ldap_options options;
	struct external_answer *answer;
};

/* Always false, to end a chain of steps. */
static bool fail(struct check *c, enum external_verdict verdict, const char *step, const char *why)
{
	c->answer->verdict = verdict;
	snprintf(c->answer->why, sizeof(c->answer->why), "LDAP server \"%s\": %s: %s", c->options.server,
		 step, why);
	return false;
}

/* What a directory says when it is in good health and will not let this user in. */
static bool is_refusal(int result)
{
	switch (result) {
	case LDAP_INVALID_CREDENTIALS:
	case LDAP_NO_SUCH_OBJECT:
	case LDAP_INVALID_DN_SYNTAX:
	case LDAP_INAPPROPRIATE_AUTH:
	case LDAP_INSUFFICIENT_ACCESS:
	case LDAP_UNWILLING_TO_PERFORM:
	case LDAP_CONSTRAINT_VIOLATION:
		return true;
	default:
		return false;
	}
}

/* One URI for each host; libldap tries them in turn. */
static void add_uris(struct strbuf *out, const struct ldap_options *o)
{
	struct slice rest = slice_of(o->server), host;

	while (slice_split(&rest, ' ', &host))
		if (host.n > 0)
			strbuf_addf(out, "%s%s://%.*s:%d", out->n == 0 ? "" : " ", o->scheme, (int)host.n,
				    host.p, o->port);
}

static int configure(LDAP *ld, const struct ldap_options *o)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	int version = LDAP_VERSION3, result;

	result = ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	if (result == LDAP_SUCCESS)
		result = ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &timeout);
	if (result == LDAP_SUCCESS)
		result = ldap_set_option(ld, LDAP_OPT_TIMEOUT, &timeout);
	if (result == LDAP_SUCCESS && o->tls)
		result = ldap_start_tls_s(ld, NULL, NULL);
	return result;
}

static void disconnect(LDAP *ld)
{
	if (ld != NULL)
		ldap_unbind_ext_s(ld, NULL, NULL);
}

/* NULL: the answer says why. */
static LDAP *connect_to(struct check *c)
{
	struct strbuf uris;
	LDAP *ld = NULL;
	int result;

	strbuf_init(&uris);
	add_uris(&uris, &c->options);
	result = uris.failed ? LDAP_NO_MEMORY : ldap_initialize(&ld, uris.p);
	strbuf_fini(&uris);
	if (result == LDAP_SUCCESS)
		result = configure(ld, &c->options);
	if (result == LDAP_SUCCESS)
		return ld;
	fail(c, EXTERNAL_UNAVAILABLE, c->options.tls ? "StartTLS" : "connection", ldap_err2string(result));
	disconnect(ld);
	return NULL;
}

static int bind_as(LDAP *ld, const char *dn, const char *password)
{
	struct berval secret;

	ber_str2bv(password, 0, 0, &secret);
	return ldap_sasl_bind_s(ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* An empty password never comes here: a bind with it is an anonymous one, and succeeds. */
static bool bind_user(struct check *c, const char *dn)
{
	LDAP *ld = connect_to(c);
	int result;

	if (ld == NULL)
		return false;
	result = bind_as(ld, dn, c->login->password);
	disconnect(ld);
	return result == LDAP_SUCCESS || fail(c, is_refusal(result) ? EXTERNAL_REFUSED : EXTERNAL_UNAVAILABLE,
					      "bind of the user", ldap_err2string(result));
}

static int scope_of(const struct ldap_options *o)
{
	switch (o->scope) {
	case LDAP_SEARCH_BASE:
		return LDAP_SCOPE_BASE;
	case LDAP_SEARCH_ONE:
		return LDAP_SCOPE_ONELEVEL;
	default:
		return LDAP_SCOPE_SUBTREE;
	}
}

/*
 * Two entries are enough to know that there is not just one. *dn is to be
 * freed by ldap_memfree(), NULL when there is no such entry or more than one.
 */
static bool search(struct check *c, LDAP *ld, const char *filter, char **dn)
{
	char no_attributes[] = LDAP_NO_ATTRS;
	char *attributes[] = {no_attributes, NULL};
	LDAPMessage *found = NULL;
	int result, n;

	result = ldap_search_ext_s(ld, c->options.base_dn, scope_of(&c->options), filter, attributes, 0, NULL,
				   NULL, NULL, 2, &found);
	n = result == LDAP_SUCCESS || result == LDAP_SIZELIMIT_EXCEEDED ? ldap_count_entries(ld, found) : -1;
	*dn = n == 1 ? ldap_get_dn(ld, ldap_first_entry(ld, found)) : NULL;
	ldap_msgfree(found);
	if (n < 0)
		return fail(c, EXTERNAL_UNAVAILABLE, "search", ldap_err2string(result));
	if (*dn == NULL)
		fail(c, EXTERNAL_REFUSED, "search", n == 0 ? "no such entry" : "more than one entry");
	return true;
}

/* As search(), from the connection to the filter. */
static bool find_user(struct check *c, char **dn)
{
	struct strbuf filter;
	LDAP *ld = connect_to(c);
	int result;
	bool ok;

	if (ld == NULL)
		return false;
	result = bind_as(ld, c->options.bind_dn, c->options.bind_password);
	if (result != LDAP_SUCCESS) {
		disconnect(ld);
		return fail(c, EXTERNAL_UNAVAILABLE, "bind for the search", ldap_err2string(result));
	}
	strbuf_init(&filter);
	ldap_add_filter(&filter, &c->options, c->login->user);
	ok = filter.failed ? fail(c, EXTERNAL_UNAVAILABLE, "search", "out of memory")
			   : search(c, ld, filter.p, dn);
	strbuf_fini(&filter);
	disconnect(ld);
	return ok;
}

/*
 * A user that is not there costs a bind too, so that the time of the answer
 * does not tell it from a wrong password; what comes of it is not looked at.
 */
static bool search_and_bind(struct check *c)
{
	struct external_answer not_found;
	char *dn = NULL;
	bool ok;

	if (!ldap_is_searchable(c->login->user))
		return fail(c, EXTERNAL_REFUSED, "search",
			    "the user name has characters that are special in a filter");
	if (!find_user(c, &dn))
		return false;
	if (dn == NULL) {
		not_found = *c->answer;
		bind_user(c, c->options.base_dn);
		*c->answer = not_found;
		return false;
	}
	ok = bind_user(c, dn);
	ldap_memfree(dn);
	return ok;
}

static bool simple_bind(struct check *c)
{
	struct strbuf name;
	bool ok;

	strbuf_init(&name);
	ldap_add_bind_name(&name, &c->options, c->login->user);
	ok = name.failed ? fail(c, EXTERNAL_UNAVAILABLE, "bind of the user", "out of memory")
			 : bind_user(c, name.p);
	strbuf_fini(&name);
	return ok;
}

bool ldap_is_supported(void)
{
	return true;
}

void ldap_verify(const struct external_login *login, struct external_answer *answer)
{
	struct check c = {.login = login, .answer = answer};
	struct arena *arena = arena_new();
	struct strbuf error;

	strbuf_init_fixed(&error, answer->why, sizeof(answer->why));
	if (login->password[0] == '\0') {
		answer->verdict = EXTERNAL_REFUSED;
		strbuf_add_str(&error, "the password is empty");
	} else if (!ldap_options_parse(slice_of(login->target), arena, &c.options, &error)) {
		answer->verdict = EXTERNAL_UNAVAILABLE;
	} else if (c.options.is_search ? search_and_bind(&c) : simple_bind(&c)) {
		answer->verdict = EXTERNAL_ACCEPTED;
	}
	arena_free(arena);
}

#else

bool ldap_is_supported(void)
{
	return false;
}

void ldap_verify(const struct external_login *login, struct external_answer *answer)
{
	(void)login;
	answer->verdict = EXTERNAL_UNAVAILABLE;
	snprintf(answer->why, sizeof(answer->why), "this program was built without LDAP");
}

#endif
