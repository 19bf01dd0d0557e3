#include "conf/hba.h"

#include <errno.h>

#include "conf/fields.h"
#include "conf/iprange.h"
#include "conf/ldap_options.h"
#include "conf/pattern.h"

/* How deep @files may name others; as PostgreSQL. */
#define DEEPEST_FILE 10

enum connection { CONNECTION_LOCAL, CONNECTION_HOST, CONNECTION_HOSTSSL, CONNECTION_HOSTNOSSL, CONNECTION_COUNT };

static const char *const connection_words[] = {"local", "host", "hostssl", "hostnossl"};

static const char *const method_words[] = {
	"trust", "reject", "md5", "password", "scram-sha-256", "peer", "cert", "ldap", "pam",
};
#define METHOD_COUNT (sizeof(method_words) / sizeof(method_words[0]))

/* What a name in one of the two columns is compared with. */
enum test_kind { TEST_NAME, TEST_PATTERN, TEST_ALL, TEST_SAMEUSER, TEST_REPLICATION };

struct test {
	enum test_kind kind;
	struct slice name;
	const struct pattern *pattern;
	struct test *next;
};

struct rule {
	struct hba_rule shown;
	enum connection connection;
	struct test *databases, *users;
	bool is_any_address;
	struct ip_range *ranges;
	struct rule *next;
};

struct hba {
	struct patterns patterns;
	struct rule *rules, **last;
	uint64_t digest;
};

/* --- the address column --- */

static bool bad_address(struct fields *f, struct slice token)
{
	struct slice shown = fields_excerpt(token);

	conf_error(f->problems, f->at, "%.*s: no address; accepted: IP/bits, IP and a mask, all, samehost, samenet",
		   CONF_EXCERPT(shown));
	return false;
}

static bool bad_mask(struct fields *f, struct slice token)
{
	struct slice shown = fields_excerpt(token);

	conf_error(f->problems, f->at,
		   "%.*s: no mask of this address; accepted: IP/bits, or a mask such as 255.255.0.0 or ffff::",
		   CONF_EXCERPT(shown));
	return false;
}

/* Without a slash, the mask is the next field. */
static bool read_mask(struct fields *f, struct ip_range *range)
{
	struct fields_token token;

	if (!fields_take_one(f, "mask", &token))
		return false;
	return ip_range_set_mask(range, token.text.p) || bad_mask(f, token.text);
}

static bool read_range(struct hba *hba, struct fields *f, struct rule *rule, struct slice token)
{
	struct ip_range *range = arena_alloc(hba->patterns.arena, sizeof(*range));
	struct slice bits = token, address;

	if (!slice_split(&bits, '/', &address) || !ip_range_set_net(range, arena_copy(f->arena, address)))
		return bad_address(f, token);
	rule->ranges = range;
	if (memchr(token.p, '/', token.n) == NULL)
		return read_mask(f, range);
	return ip_range_set_bits(range, bits) || bad_mask(f, token);
}

/* samehost, or samenet. */
static bool read_interfaces(struct hba *hba, struct fields *f, struct rule *rule, bool is_network)
{
	bool ok = ip_range_add_interfaces(&rule->ranges, hba->patterns.arena, is_network);

	if (!ok)
		conf_error(f->problems, f->at, "the addresses of this machine cannot be found out: %s", strerror(errno));
	return ok;
}

static bool read_address(struct hba *hba, struct fields *f, struct rule *rule)
{
	struct fields_token token;

	if (!fields_take_one(f, "address", &token))
		return false;
	if (!token.is_quoted && slice_is(token.text, "samehost"))
		return read_interfaces(hba, f, rule, false);
	if (!token.is_quoted && slice_is(token.text, "samenet"))
		return read_interfaces(hba, f, rule, true);
	rule->is_any_address = !token.is_quoted && slice_is(token.text, "all");
	return rule->is_any_address || read_range(hba, f, rule, token.text);
}

/* --- the database and user columns --- */

/* One column while it is read. */
struct column {
	const char *name;                /* for messages */
	bool is_databases;
	struct test **last;
};

static bool bad_group(struct fields *f, const struct column *column, struct slice token)
{
	conf_error(f->problems, f->at,
		   "%.*s: groups are not known here; accepted: names, all, %s/regular expressions, @files",
		   CONF_EXCERPT(token), column->is_databases ? "sameuser, replication, " : "");
	return false;
}

static bool is_group(const struct column *column, struct slice word)
{
	if (column->is_databases)
		return slice_is(word, "samerole") || slice_is(word, "samegroup");
	return word.p[0] == '+';
}

static enum test_kind kind_of(const struct column *column, const struct fields_token *token)
{
	if (!token->is_quoted && slice_is(token->text, "all"))
		return TEST_ALL;
	if (!token->is_quoted && column->is_databases && slice_is(token->text, "sameuser"))
		return TEST_SAMEUSER;
	if (!token->is_quoted && column->is_databases && slice_is(token->text, "replication"))
		return TEST_REPLICATION;
	return token->text.p[0] == '/' ? TEST_PATTERN : TEST_NAME;
}

static bool add_test(struct hba *hba, const struct fields *f, struct column *column, const struct fields_token *token)
{
	struct test *test = arena_alloc(hba->patterns.arena, sizeof(*test));
	struct slice expression = {token->text.p + 1, token->text.n - 1};
	const char *error;

	test->kind = kind_of(column, token);
	if (test->kind == TEST_NAME)
		test->name = (struct slice){arena_copy(hba->patterns.arena, token->text), token->text.n};
	if (test->kind == TEST_PATTERN) {
		test->pattern = pattern_new(&hba->patterns, expression, &error);
		if (test->pattern == NULL) {
			conf_error(f->problems, f->at, "%.*s: no regular expression: %s", CONF_EXCERPT(token->text),
				   error);
			return false;
		}
	}
	*column->last = test;
	column->last = &test->next;
	return true;
}

static bool add_token(struct hba *hba, struct fields *f, struct column *column, const struct fields_token *token,
		      int depth);

/* All tokens of a file, which is sought where the file that names it is. */
static bool add_file(struct hba *hba, const struct fields *f, struct column *column, const char *name, int depth)
{
	const char *slash = strrchr(f->at.file, '/'), *error;
	int folder = name[0] == '/' || slash == NULL ? 0 : (int)(slash - f->at.file) + 1;
	const char *path = arena_printf(f->arena, "%.*s%s", folder, f->at.file, name);
	struct fields_token token;
	enum fields_step step;
	struct fields inner;

	if (depth > DEEPEST_FILE) {
		conf_error(f->problems, f->at, "@%s: files name each other too deep; accepted: %d levels", name,
			   DEEPEST_FILE);
		return false;
	}
	if (!fields_open(&inner, path, f->arena, f->problems, &error)) {
		conf_error(f->problems, f->at, "@%s cannot be read: %s", name, error);
		return false;
	}
	hba->digest = fields_digest(&inner, hba->digest);
	while (fields_next_line(&inner)) {
		while ((step = fields_take(&inner, &token)) == FIELDS_TOKEN) {
			if (!add_token(hba, &inner, column, &token, depth))
				return false;
		}
		if (step == FIELDS_BAD)
			return false;
	}
	return true;
}

static bool add_token(struct hba *hba, struct fields *f, struct column *column, const struct fields_token *token,
		      int depth)
{
	if (!token->is_quoted && token->text.p[0] == '@' && token->text.n > 1)
		return add_file(hba, f, column, token->text.p + 1, depth + 1);
	if (!token->is_quoted && is_group(column, token->text))
		return bad_group(f, column, token->text);
	return add_test(hba, f, column, token);
}

static bool read_column(struct hba *hba, struct fields *f, struct column *column)
{
	struct fields_token token;
	enum fields_step step = fields_take(f, &token);

	if (step == FIELDS_END)
		conf_error(f->problems, f->at, "the %s is missing", column->name);
	if (step != FIELDS_TOKEN)
		return false;
	while (step == FIELDS_TOKEN) {
		if (!add_token(hba, f, column, &token, 0))
			return false;
		if (!token.has_more)
			return true;
		step = fields_take(f, &token);
	}
	return step == FIELDS_END;
}

/* --- methods and their options --- */

static bool check_ldap_options(struct hba *hba, struct fields *f, struct slice text)
{
	struct ldap_options options;
	struct strbuf error;
	bool ok;

	strbuf_init(&error);
	ok = ldap_options_parse(text, hba->patterns.arena, &options, &error);
	if (!ok)
		conf_error(f->problems, f->at, "ldap: %s", error.failed ? "invalid options" : error.p);
	strbuf_fini(&error);
	return ok;
}

static bool read_ldap_options(struct hba *hba, struct fields *f, struct rule *rule)
{
	const char *start = f->line.p, *end = start;
	struct fields_token token;
	enum fields_step step;
	struct slice options;

	/* Token by token, for a comment to be left out. */
	while ((step = fields_take(f, &token)) == FIELDS_TOKEN)
		end = f->line.p;
	if (step == FIELDS_BAD)
		return false;
	options = slice_trim((struct slice){start, (size_t)(end - start)});
	rule->shown.ldap_options = arena_copy(hba->patterns.arena, options);
	return check_ldap_options(hba, f, options);
}

static bool bad_option(const struct fields *f, const struct rule *rule, struct slice token)
{
	struct slice shown = fields_excerpt(token);
	enum hba_method method = rule->shown.method;

	conf_error(f->problems, f->at, "%.*s: not an option of %s; accepted: %s", CONF_EXCERPT(shown),
		   method_words[method],
		   method == HBA_PEER || method == HBA_CERT ? "map=NAME" : method == HBA_PAM ? "pamservice=NAME" : "none");
	return false;
}

static bool set_option(struct hba *hba, const struct fields *f, struct rule *rule, struct slice token)
{
	enum hba_method method = rule->shown.method;
	struct slice value = token, name;

	/* slice_split() trims, which only makes a difference to quoted blanks around names that have none. */
	if (!slice_split(&value, '=', &name) || value.n == 0)
		return bad_option(f, rule, token);
	if (slice_is(name, "map") && (method == HBA_PEER || method == HBA_CERT))
		rule->shown.map = arena_copy(hba->patterns.arena, value);
	else if (slice_is(name, "pamservice") && method == HBA_PAM)
		rule->shown.pam_service = arena_copy(hba->patterns.arena, value);
	else
		return bad_option(f, rule, token);
	return true;
}

static bool read_options(struct hba *hba, struct fields *f, struct rule *rule)
{
	struct fields_token token;
	enum fields_step step;

	if (rule->shown.method == HBA_LDAP)
		return read_ldap_options(hba, f, rule);
	while ((step = fields_take(f, &token)) == FIELDS_TOKEN) {
		if (!set_option(hba, f, rule, token.text))
			return false;
	}
	return step == FIELDS_END;
}

/* A word's place in a list of n; n when it is not there. */
static size_t find_word(const char *const *words, size_t n, struct slice word)
{
	size_t i = 0;

	while (i < n && !slice_is(word, words[i]))
		i++;
	return i;
}

static bool read_method(struct fields *f, struct rule *rule)
{
	struct fields_token token;
	struct slice shown;
	size_t i;

	if (!fields_take_one(f, "method", &token))
		return false;
	i = find_word(method_words, METHOD_COUNT, token.text);
	rule->shown.method = (enum hba_method)i;
	shown = fields_excerpt(token.text);
	if (i == METHOD_COUNT)
		conf_error(f->problems, f->at, "%.*s: unknown method; accepted: trust, reject, md5, password, scram-sha-256,"
			   " peer, cert, ldap, pam", CONF_EXCERPT(shown));
	else if (i == HBA_PEER && rule->connection != CONNECTION_LOCAL)
		conf_error(f->problems, f->at, "peer: only Unix sockets tell who is there; accepted: in local lines");
	else if (i == HBA_CERT && rule->connection != CONNECTION_HOSTSSL)
		conf_error(f->problems, f->at, "cert: only TLS has certificates; accepted: in hostssl lines");
	else
		return true;
	return false;
}

/* --- lines --- */

static bool read_connection(struct fields *f, struct rule *rule)
{
	struct fields_token token;
	struct slice shown;
	size_t i;

	if (!fields_take_one(f, "type", &token))
		return false;
	i = find_word(connection_words, CONNECTION_COUNT, token.text);
	rule->connection = (enum connection)i;
	if (i < CONNECTION_COUNT)
		return true;
	shown = fields_excerpt(token.text);
	conf_error(f->problems, f->at, "%.*s: unknown type; accepted: local, host, hostssl, hostnossl",
		   CONF_EXCERPT(shown));
	return false;
}

static void read_line(struct hba *hba, struct fields *f, const char *file)
{
	struct rule *rule = arena_alloc(hba->patterns.arena, sizeof(*rule));
	struct column databases = {"database", true, &rule->databases}, users = {"user", false, &rule->users};

	rule->shown.file = file;
	rule->shown.line = f->at.line;
	if (!read_connection(f, rule) || !read_column(hba, f, &databases) || !read_column(hba, f, &users))
		return;
	if (rule->connection != CONNECTION_LOCAL && !read_address(hba, f, rule))
		return;
	if (!read_method(f, rule) || !read_options(hba, f, rule))
		return;
	*hba->last = rule;
	hba->last = &rule->next;
}

uint64_t hba_digest(const struct hba *hba)
{
	return hba != NULL ? hba->digest : 0;
}

struct hba *hba_read(const char *file, struct arena *arena, struct conf_problems *problems)
{
	struct hba *hba = arena_alloc(arena, sizeof(*hba));
	struct arena *scratch = arena_new();
	const char *error, *kept = arena_copy(arena, slice_of(file));
	struct fields f;

	patterns_init(&hba->patterns, arena);
	hba->last = &hba->rules;
	if (!fields_open(&f, file, scratch, problems, &error))
		conf_error(problems, f.at, "auth_hba_file cannot be read: %s", error);
	else
		hba->digest = fields_digest(&f, hba->digest);
	while (fields_next_line(&f))
		read_line(hba, &f, kept);
	arena_free(scratch);
	return hba;
}

void hba_free(struct hba *hba)
{
	if (hba != NULL)
		patterns_free(&hba->patterns);
}

bool hba_uses(const struct hba *hba, enum hba_method method)
{
	const struct rule *rule = hba == NULL ? NULL : hba->rules;

	while (rule != NULL && rule->shown.method != method)
		rule = rule->next;
	return rule != NULL;
}

bool hba_has_password(const struct hba *hba)
{
	for (const struct rule *rule = hba == NULL ? NULL : hba->rules; rule != NULL; rule = rule->next)
		if (rule->shown.ldap_options != NULL && ldap_options_have_password(rule->shown.ldap_options))
			return true;
	return false;
}

const char *hba_method_name(enum hba_method method)
{
	return method_words[method];
}

/* --- matching --- */

static enum match yes_if(bool matches)
{
	return matches ? MATCH_YES : MATCH_NO;
}

static enum match match_test(const struct test *test, const struct hba_request *request, struct slice name)
{
	switch (test->kind) {
	case TEST_NAME:
		return yes_if(slice_eq(test->name, name));
	case TEST_PATTERN:
		return pattern_match(test->pattern, name, NULL);
	case TEST_ALL:
		return MATCH_YES;
	case TEST_SAMEUSER:
		return yes_if(slice_eq(request->user, request->database));
	case TEST_REPLICATION:
		break;
	}
	return MATCH_NO;
}

static enum match match_tests(const struct test *test, const struct hba_request *request, struct slice name)
{
	enum match match = MATCH_NO;

	for (; test != NULL && match == MATCH_NO; test = test->next)
		match = match_test(test, request, name);
	return match;
}

/* Physical replication has no database: only the keyword means it, not even `all` does. */
static enum match match_databases(const struct rule *rule, const struct hba_request *request)
{
	const struct test *test = rule->databases;

	if (!request->is_replication)
		return match_tests(test, request, request->database);
	while (test != NULL && test->kind != TEST_REPLICATION)
		test = test->next;
	return yes_if(test != NULL);
}

static bool is_about_connection(const struct rule *rule, const struct hba_request *request, const struct ip *ip)
{
	if (request->is_unix || rule->connection == CONNECTION_LOCAL)
		return request->is_unix && rule->connection == CONNECTION_LOCAL;
	if (rule->connection == (request->is_tls ? CONNECTION_HOSTNOSSL : CONNECTION_HOSTSSL))
		return false;
	return rule->is_any_address || ip_range_has(rule->ranges, ip);
}

static enum match match_rule(const struct rule *rule, const struct hba_request *request, const struct ip *ip)
{
	enum match match = MATCH_NO;

	if (is_about_connection(rule, request, ip))
		match = match_databases(rule, request);
	return match == MATCH_YES ? match_tests(rule->users, request, request->user) : match;
}

const struct hba_rule *hba_find(const struct hba *hba, const struct hba_request *request)
{
	const struct rule *rule = hba != NULL ? hba->rules : NULL;
	enum match match = MATCH_NO;
	struct ip ip;

	/* Of an unknown address it could not be said that a reject does not mean it. */
	if (!request->is_unix && !ip_from_addr(&ip, request->peer))
		return NULL;
	for (; rule != NULL; rule = rule->next) {
		match = match_rule(rule, request, &ip);
		if (match != MATCH_NO)
			break;
	}
	return match == MATCH_YES ? &rule->shown : NULL;
}
