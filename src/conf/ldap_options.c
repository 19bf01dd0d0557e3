#include "conf/ldap_options.h"

#include <ctype.h>
#include <stdint.h>

#define LDAP_PORT_PLAIN 389
#define LDAP_PORT_TLS	636

#define BIND_PASSWORD "ldapbindpasswd"

/* What has been said, before the pieces are held against each other. NULL: nothing. */
struct parser {
	struct arena *arena;
	struct strbuf *error;
	const char *name; /* of the option at hand */
	const char *scheme, *server, *prefix, *suffix;
	const char *base_dn, *bind_dn, *bind_password, *attribute, *filter;
	int port;
	bool tls;
	enum ldap_search_scope scope;
};

static bool fail(struct parser *p, const char *what)
{
	strbuf_addf(p->error, "%s: %s", p->name, what);
	return false;
}

static bool set_scheme(struct parser *p, struct slice value)
{
	if (slice_is(value, "ldap"))
		p->scheme = "ldap";
	else if (slice_is(value, "ldaps"))
		p->scheme = "ldaps";
	else
		return fail(p, "unknown scheme; accepted: ldap, ldaps");
	return true;
}

static bool is_one_of(const char *set, char c)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool is_host(struct slice host)
{
	if (host.n == 0)
		return false;
	for (size_t i = 0; i < host.n; i++)
		if (!isalnum((unsigned char)host.p[i]) && !is_one_of("-._", host.p[i]))
			return false;
	return true;
}

static bool is_bracketed_address(struct slice host)
{
	if (host.n < 4 || host.p[0] != '[' || host.p[host.n - 1] != ']')
		return false;
	for (size_t i = 1; i < host.n - 1; i++)
		if (!isxdigit((unsigned char)host.p[i]) && !is_one_of(":.", host.p[i]))
			return false;
	return true;
}

static bool set_server(struct parser *p, struct slice value)
{
	struct slice rest = slice_trim(value), host;

	if (rest.n == 0)
		return fail(p, "empty; accepted: a host, or several with blanks between");
	p->server = arena_copy(p->arena, rest);
	while (slice_split(&rest, ' ', &host))
		if (host.n > 0 && !is_host(host) && !is_bracketed_address(host))
			return fail(p,
				    "not a host; accepted: names and addresses with blanks between, IPv6 in "
				    "[brackets], the port as ldapport");
	return true;
}

static bool set_port(struct parser *p, struct slice value)
{
	int64_t port;

	if (!slice_to_int64(value, &port) || port < 1 || port > 65535)
		return fail(p, "not a port; accepted: 1 to 65535");
	p->port = (int)port;
	return true;
}

static bool set_tls(struct parser *p, struct slice value)
{
	p->tls = slice_is(value, "1");
	return p->tls || slice_is(value, "0") || fail(p, "accepted: 0, 1");
}

static bool set_prefix(struct parser *p, struct slice value)
{
	p->prefix = arena_copy(p->arena, value);
	return true;
}

static bool set_suffix(struct parser *p, struct slice value)
{
	p->suffix = arena_copy(p->arena, value);
	return true;
}

static bool set_base_dn(struct parser *p, struct slice value)
{
	p->base_dn = arena_copy(p->arena, value);
	return true;
}

static bool set_bind_dn(struct parser *p, struct slice value)
{
	p->bind_dn = arena_copy(p->arena, value);
	return true;
}

static bool set_bind_password(struct parser *p, struct slice value)
{
	p->bind_password = arena_copy(p->arena, value);
	return true;
}

static bool set_attribute(struct parser *p, struct slice value)
{
	if (value.n == 0)
		return fail(p, "empty; accepted: the name of an attribute");
	for (size_t i = 0; i < value.n; i++)
		if (!isalnum((unsigned char)value.p[i]) && !is_one_of("-.;_", value.p[i]))
			return fail(p, "not the name of an attribute");
	p->attribute = arena_copy(p->arena, value);
	return true;
}

/* Without the name in the filter everybody would be let in with the password of one. */
static bool set_filter(struct parser *p, struct slice value)
{
	p->filter = arena_copy(p->arena, value);
	return strstr(p->filter, "$username") != NULL || fail(p, "must contain $username");
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX to the byte. */
static bool decode(struct parser *p, struct slice coded, struct slice *plain)
{
	char *to = arena_alloc(p->arena, coded.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < coded.n; i++) {
		int high, low;

		to[n] = coded.p[i];
		if (coded.p[i] == '%') {
			high = i + 2 < coded.n ? hex_digit(coded.p[i + 1]) : -1;
			low = high >= 0 ? hex_digit(coded.p[i + 2]) : -1;
			if (low < 0 || high + low == 0)
				return fail(p,
					    "a % must be followed by two hexadecimal digits, and not by 00");
			to[n] = (char)(high * 16 + low);
			i += 2;
		}
		n++;
	}
	*plain = (struct slice){to, n};
	return true;
}

/* Up to one of the ends, which stays at the head of the rest. */
static struct slice take_until(struct slice *rest, const char *ends)
{
	struct slice part = {rest->p, 0};

	while (part.n < rest->n && strchr(ends, rest->p[part.n]) == NULL)
		part.n++;
	rest->p += part.n;
	rest->n -= part.n;
	return part;
}

/* The part behind a "?" at the head of the rest, or an empty one. */
static bool take_url_part(struct parser *p, struct slice *rest, struct slice *part)
{
	struct slice coded;

	*part = (struct slice){"", 0};
	if (rest->n == 0)
		return true;
	rest->p++;
	rest->n--;
	coded = take_until(rest, "?");
	return decode(p, coded, part);
}

static bool set_url_server(struct parser *p, struct slice where)
{
	size_t n = where.n;

	while (n > 0 && isdigit((unsigned char)where.p[n - 1]))
		n--;
	if (n > 0 && where.p[n - 1] == ':') {
		if (!set_port(p, (struct slice){where.p + n, where.n - n}))
			return false;
		where.n = n - 1;
	}
	return where.n == 0 || set_server(p, where);
}

/* "Base" is what RFC 4516 says of a URL that names no scope. */
static bool set_url_scope(struct parser *p, struct slice value)
{
	if (value.n == 0 || slice_is_nocase(value, "base"))
		p->scope = LDAP_SEARCH_BASE;
	else if (slice_is_nocase(value, "one") || slice_is_nocase(value, "onelevel"))
		p->scope = LDAP_SEARCH_ONE;
	else if (slice_is_nocase(value, "sub") || slice_is_nocase(value, "subtree"))
		p->scope = LDAP_SEARCH_SUB;
	else
		return fail(p, "unknown scope; accepted: base, one, sub");
	return true;
}

/* ldap[s]://host[:port]/basedn[?[attribute][?[scope][?[filter]]]] */
static bool set_url(struct parser *p, struct slice value)
{
	const char *colon = memmem(value.p, value.n, "://", 3);
	struct slice rest, base, attribute, scope, filter, first;

	if (colon == NULL)
		return fail(p,
			    "not a URL; accepted: ldap[s]://host[:port]/basedn[?attribute[?scope[?filter]]]");
	if (!set_scheme(p, (struct slice){value.p, (size_t)(colon - value.p)}))
		return false;
	rest = (struct slice){colon + 3, value.n - (size_t)(colon + 3 - value.p)};
	if (!set_url_server(p, take_until(&rest, "/?")))
		return false;
	if (rest.n > 0 && rest.p[0] == '?')
		return fail(p, "a / must stand between the host and the first ?");
	if (!take_url_part(p, &rest, &base) || !take_url_part(p, &rest, &attribute) ||
	    !take_url_part(p, &rest, &scope) || !take_url_part(p, &rest, &filter))
		return false;
	if (rest.n > 0)
		return fail(p, "extensions are not supported");
	if (base.n > 0)
		set_base_dn(p, base);
	if (slice_split(&attribute, ',', &first) && first.n > 0 && !set_attribute(p, first))
		return false;
	if (filter.n > 0 && !set_filter(p, filter))
		return false;
	return set_url_scope(p, scope);
}

static const struct {
	const char *name;
	bool (*set)(struct parser *p, struct slice value);
} known[] = {
	{"ldapserver", set_server},
	{"ldapport", set_port},
	{"ldapscheme", set_scheme},
	{"ldaptls", set_tls},
	{"ldapprefix", set_prefix},
	{"ldapsuffix", set_suffix},
	{"ldapbasedn", set_base_dn},
	{"ldapbinddn", set_bind_dn},
	{BIND_PASSWORD, set_bind_password},
	{"ldapsearchattribute", set_attribute},
	{"ldapsearchfilter", set_filter},
	{"ldapurl", set_url},
};
#define NKNOWN (sizeof(known) / sizeof(known[0]))

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts the next option off *rest, its quotes taken away. False when a quote does not end. */
static bool take_option(struct slice *rest, struct arena *arena, struct slice *option)
{
	char *p = arena_alloc(arena, rest->n + 1);
	bool is_quoted = false;
	size_t n = 0, i;

	for (i = 0; i < rest->n && (is_quoted || !is_blank(rest->p[i])); i++) {
		if (rest->p[i] != '"')
			p[n++] = rest->p[i];
		else if (is_quoted && i + 1 < rest->n && rest->p[i + 1] == '"')
			p[n++] = rest->p[++i];
		else
			is_quoted = !is_quoted;
	}
	rest->p += i;
	rest->n -= i;
	*option = (struct slice){p, n};
	return !is_quoted;
}

/* An unknown name is not shown: behind a forgotten quote it may be the end of a password. */
static bool set_option(struct parser *p, struct slice option, unsigned position)
{
	const char *equals = memchr(option.p, '=', option.n);
	struct slice name = {option.p, equals == NULL ? 0 : (size_t)(equals - option.p)};

	for (size_t i = 0; equals != NULL && i < NKNOWN; i++) {
		if (!slice_is(name, known[i].name))
			continue;
		p->name = known[i].name;
		return known[i].set(p, (struct slice){equals + 1, option.n - name.n - 1});
	}
	strbuf_addf(p->error, "option %u: %s; accepted:", position,
		    equals == NULL ? "not name=value, a value with blanks needs double quotes"
				   : "unknown name");
	for (size_t i = 0; i < NKNOWN; i++)
		strbuf_addf(p->error, "%s %s", i == 0 ? "" : ",", known[i].name);
	return false;
}

static bool check(struct parser *p)
{
	const char *wrong = NULL;

	if (p->server == NULL)
		wrong = "ldapserver or an ldapurl with a host is missing";
	else if ((p->prefix != NULL || p->suffix != NULL) &&
		 (p->base_dn != NULL || p->bind_dn != NULL || p->bind_password != NULL ||
		  p->attribute != NULL || p->filter != NULL))
		wrong = "ldapprefix and ldapsuffix cannot be used together with ldapbasedn, ldapbinddn, "
			"ldapbindpasswd, "
			"ldapsearchattribute, ldapsearchfilter, or an ldapurl that has a base";
	else if (p->prefix == NULL && p->suffix == NULL && p->base_dn == NULL)
		wrong = "one of ldapbasedn, ldapprefix, ldapsuffix must be set";
	else if (p->attribute != NULL && p->filter != NULL)
		wrong = "ldapsearchattribute and ldapsearchfilter cannot be used together";
	else if (p->tls && p->scheme != NULL && strcmp(p->scheme, "ldaps") == 0)
		wrong = "ldaptls=1 is for the scheme ldap: ldaps is encrypted already";
	if (wrong != NULL)
		strbuf_add_str(p->error, wrong);
	return wrong == NULL;
}

static const char *or_else(const char *text, const char *otherwise)
{
	return text != NULL ? text : otherwise;
}

bool ldap_options_parse(struct slice text, struct arena *arena, struct ldap_options *options,
			struct strbuf *error)
{
	struct parser p = {.arena = arena, .error = error, .scope = LDAP_SEARCH_SUB};
	struct slice rest = slice_trim(text), option;

	for (unsigned position = 1; rest.n > 0; position++) {
		if (!take_option(&rest, arena, &option)) {
			strbuf_addf(error, "option %u: a double quote does not end", position);
			return false;
		}
		if (!set_option(&p, option, position))
			return false;
		rest = slice_trim(rest);
	}
	if (!check(&p))
		return false;
	*options = (struct ldap_options){
		.scheme = or_else(p.scheme, "ldap"),
		.server = p.server,
		.port = p.port,
		.tls = p.tls,
		.is_search = p.base_dn != NULL,
		.prefix = or_else(p.prefix, ""),
		.suffix = or_else(p.suffix, ""),
		.base_dn = or_else(p.base_dn, ""),
		.bind_dn = or_else(p.bind_dn, ""),
		.bind_password = or_else(p.bind_password, ""),
		.search_attribute = or_else(p.attribute, "uid"),
		.search_filter = p.filter,
		.scope = p.scope,
	};
	if (options->port == 0)
		options->port = strcmp(options->scheme, "ldaps") == 0 ? LDAP_PORT_TLS : LDAP_PORT_PLAIN;
	return true;
}

bool ldap_options_have_password(const char *text)
{
	return strstr(text, BIND_PASSWORD) != NULL;
}
