#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/hba.h"
#include "tempdir.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
	struct arena *arena;
	struct conf_problems problems;
	struct hba *hba;
};

static struct fixture read_text(const char *text)
{
	struct fixture f = {.arena = arena_new()};

	conf_problems_init(&f.problems);
	f.hba = hba_read(tempdir_write("hba.conf", text), f.arena, &f.problems);
	return f;
}

static void done(struct fixture *f)
{
	hba_free(f->hba);
	conf_problems_fini(&f->problems);
	arena_free(f->arena);
}

/* A client: "unix ann shop", "tcp:10.0.0.7 ann shop", "tls:::1 ann shop"; "repl" behind it for physical replication. */
static const struct hba_rule *find(const struct hba *hba, const char *client)
{
	struct slice rest = slice_of(client), from, user, database, replication = {"", 0};
	struct hba_request request = {0};
	struct addr_any any;
	struct addr peer = {.family = AF_UNIX};
	char ip[64];

	assert_true(slice_split(&rest, ' ', &from) && slice_split(&rest, ' ', &user) && slice_split(&rest, ' ', &database));
	slice_split(&rest, ' ', &replication);
	request.is_unix = slice_is(from, "unix");
	request.is_tls = from.n > 4 && memcmp(from.p, "tls:", 4) == 0;
	if (!request.is_unix) {
		snprintf(ip, sizeof(ip), "%.*s", (int)from.n - 4, from.p + 4);
		assert_true(addr_any_from_ip(&any, ip, 5000));
		addr_from_sockaddr(&peer, &any.u.sa);
	}
	request.peer = &peer;
	request.user = user;
	request.database = database;
	request.is_replication = slice_is(replication, "repl");
	return hba_find(hba, &request);
}

/* The line that holds for a client; 0 when there is none. */
static int line_of(const struct hba *hba, const char *client)
{
	const struct hba_rule *rule = find(hba, client);

	return rule != NULL ? rule->line : 0;
}

/* One file of one line, and a client that it is or is not about. */
static const struct {
	const char *line, *client;
	bool matches;
} single_lines[] = {
	{"local all all trust", "unix ann shop", true},
	{"local all all trust", "tcp:127.0.0.1 ann shop", false},
	{"local all all trust", "tls:127.0.0.1 ann shop", false},
	{"host all all all trust", "unix ann shop", false},
	{"host all all all trust", "tcp:10.0.0.7 ann shop", true},
	{"host all all all trust", "tls:10.0.0.7 ann shop", true},
	{"host all all all trust", "tcp:2001:db8::1 ann shop", true},
	{"hostssl all all all trust", "tcp:10.0.0.7 ann shop", false},
	{"hostssl all all all trust", "tls:10.0.0.7 ann shop", true},
	{"hostssl all all all trust", "unix ann shop", false},
	{"hostnossl all all all trust", "tcp:10.0.0.7 ann shop", true},
	{"hostnossl all all all trust", "tls:10.0.0.7 ann shop", false},
	{"hostnossl all all all trust", "unix ann shop", false},

	{"local shop all trust", "unix ann shop", true},
	{"local shop all trust", "unix ann shop2", false},
	{"local shop all trust", "unix ann Shop", false},
	{"local shop all trust", "unix ann sho", false},
	{"local a,shop,b all trust", "unix ann shop", true},
	{"local a,b, shop all trust", "unix ann shop", true},
	{"local a,b all trust", "unix ann shop", false},
	{"local \"a,shop\" all trust", "unix ann shop", false},
	{"local \"shop\" all trust", "unix ann shop", true},
	{"local \"all\" all trust", "unix ann shop", false},
	{"local \"all\" all trust", "unix ann all", true},
	{"local ALL all trust", "unix ann shop", false},
	{"local sameuser all trust", "unix ann ann", true},
	{"local sameuser all trust", "unix ann shop", false},
	{"local \"sameuser\" all trust", "unix ann ann", false},
	{"local \"sameuser\" all trust", "unix ann sameuser", true},
	{"local \"samerole\" all trust", "unix ann samerole", true},
	{"local samehost all trust", "unix ann samehost", true},

	{"local replication all trust", "unix ann shop repl", true},
	{"local all all trust", "unix ann shop repl", false},
	{"local shop all trust", "unix ann shop repl", false},
	{"local sameuser all trust", "unix ann ann repl", false},
	{"local /. all trust", "unix ann replication repl", false},
	{"local \"replication\" all trust", "unix ann replication repl", false},
	{"local \"replication\" all trust", "unix ann replication", true},
	{"local replication all trust", "unix ann replication", false},
	{"local replication all trust", "unix ann shop", false},
	{"local shop,replication all trust", "unix ann x repl", true},
	{"local replication bob trust", "unix ann shop repl", false},

	{"local all ann trust", "unix ann shop", true},
	{"local all ann trust", "unix anne shop", false},
	{"local all bob,ann trust", "unix ann shop", true},
	{"local all \"all\" trust", "unix ann shop", false},
	{"local all sameuser trust", "unix ann ann", false},
	{"local all sameuser trust", "unix sameuser ann", true},
	{"local all replication trust", "unix replication ann", true},
	{"local all \"+g\" trust", "unix +g shop", true},
	{"local all \"@f\" trust", "unix @f shop", true},
	{"local all @ trust", "unix @ shop", true},
	{"local all \"a\"\"b\" trust", "unix a\"b shop", true},
	{"local all \"\" trust", "unix ann shop", false},

	{"local /^sh all trust", "unix ann shop", true},
	{"local /^sh all trust", "unix ann ashop", false},
	{"local /op all trust", "unix ann shop", true},
	{"local \"/^db\\d{2,4}$\" all trust", "unix ann db123", true},
	{"local \"/^db\\d{2,4}$\" all trust", "unix ann db1", false},
	{"local x,/^a$,/^sh,y all trust", "unix ann shop", true},
	{"local all /^(ann|bob)$ trust", "unix bob shop", true},
	{"local all /^(ann|bob)$ trust", "unix eve shop", false},
	{"local all x,\"/^a,b$\" trust", "unix a,b shop", true},
	{"local all / trust", "unix ann shop", true},

	{"host all all 10.0.0.0/8 trust", "tcp:10.1.2.3 ann shop", true},
	{"host all all 10.0.0.0/8 trust", "tcp:11.1.2.3 ann shop", false},
	{"host all all 10.0.0.0 255.0.0.0 trust", "tcp:10.1.2.3 ann shop", true},
	{"host all all 10.0.0.0 255.0.0.0 trust", "tcp:11.1.2.3 ann shop", false},
	{"host all all \"10.0.0.0/8\" trust", "tcp:10.1.2.3 ann shop", true},
	{"host all all 10.0.0.0/8 trust", "tcp:::ffff:10.1.2.3 ann shop", true},
	{"host all all 10.0.0.0/8 trust", "tcp:::1 ann shop", false},
	{"host all all 0.0.0.0/0 trust", "tcp:::1 ann shop", false},
	{"host all all ::/0 trust", "tcp:10.0.0.1 ann shop", false},
	{"host all all ::/0 trust", "tcp:::ffff:10.0.0.1 ann shop", false},
	{"host all all ::1/128 trust", "tcp:::1 ann shop", true},
	{"host all all 2001:db8:: ffff:ffff:: trust", "tcp:2001:db8::7 ann shop", true},
	{"host all all samehost trust", "tcp:127.0.0.1 ann shop", true},
	{"host all all samehost trust", "tcp:127.0.0.9 ann shop", false},
	{"host all all samenet trust", "tcp:127.0.0.9 ann shop", true},
	{"host all all samenet trust", "tcp:224.1.2.3 ann shop", false},

	{"local all all trust # host", "unix ann shop", true},
	{"local shop \\\n  ann \\\n  trust", "unix ann shop", true},
	{"local\tshop,\\\nstore\tann\ttrust\r", "unix ann store", true},
	{"# local all all trust", "unix ann shop", false},
	{"", "unix ann shop", false},
};

static void a_line_is_about_the_clients_that_it_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(single_lines); i++) {
		struct fixture f = read_text(single_lines[i].line);

		if (f.problems.nerrors > 0)
			fail_msg("%s: %s", single_lines[i].line, f.problems.errors.p);
		if ((line_of(f.hba, single_lines[i].client) == 1) != single_lines[i].matches)
			fail_msg("%s: %s", single_lines[i].line, single_lines[i].client);
		done(&f);
	}
}

static void the_first_line_that_matches_wins(void **state)
{
	static const char text[] =
		"local     all          postgres                   peer map=admins\n"
		"local     all          all                        md5\n"
		"# the outside\n"
		"host      all          eve        all             reject\n"
		"hostnossl all          all        10.9.0.0/16     reject\n"
		"host      shop,\\\n"
		"          store        /^web_     10.0.0.0/8      scram-sha-256\n"
		"hostssl   all          all        all             cert map=\"my map\"\n"
		"host      replication  rep        samehost        password\n";
	static const struct {
		const char *client;
		int line;
	} cases[] = {
		{"unix postgres shop", 1},        {"unix ann shop", 2},          {"unix eve shop", 2},
		{"tcp:10.0.0.1 eve shop", 4},     {"tls:::1 eve shop", 4},       {"tcp:10.9.0.1 web_1 shop", 5},
		{"tls:10.9.0.1 web_1 shop", 6},   {"tcp:10.1.0.1 web_1 store", 6}, {"tls:10.1.0.1 ann store", 8},
		{"tcp:10.1.0.1 ann store", 0},    {"tcp:127.0.0.1 rep x repl", 9}, {"unix postgres x repl", 0},
	};
	struct fixture f = read_text(text);

	(void)state;
	if (f.problems.nerrors > 0)
		fail_msg("%s", f.problems.errors.p);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (line_of(f.hba, cases[i].client) != cases[i].line)
			fail_msg("%s: line %d", cases[i].client, line_of(f.hba, cases[i].client));
	}
	assert_string_equal(find(f.hba, "unix postgres shop")->map, "admins");
	assert_string_equal(find(f.hba, "tls:10.1.0.1 ann store")->map, "my map");
	assert_string_equal(find(f.hba, "unix ann shop")->file, "hba.conf");
	done(&f);
}

static void a_method_comes_with_its_options(void **state)
{
	static const struct {
		const char *line, *method, *map, *pam_service, *ldap_options;
	} cases[] = {
		{"local all all trust", "trust", NULL, NULL, NULL},
		{"local all all reject", "reject", NULL, NULL, NULL},
		{"local all all md5", "md5", NULL, NULL, NULL},
		{"local all all password", "password", NULL, NULL, NULL},
		{"local all all scram-sha-256", "scram-sha-256", NULL, NULL, NULL},
		{"local all all peer", "peer", NULL, NULL, NULL},
		{"local all all peer map=m", "peer", "m", NULL, NULL},
		{"local all all peer map=\"a b\" # c", "peer", "a b", NULL, NULL},
		{"local all all peer \"map=a b\"", "peer", "a b", NULL, NULL},
		{"local all all pam", "pam", NULL, NULL, NULL},
		{"local all all pam pamservice=pg", "pam", NULL, "pg", NULL},
		{"local all all ldap ldapserver=h ldapprefix=x # c", "ldap", NULL, NULL, "ldapserver=h ldapprefix=x"},
		{"local all all ldap ldapserver=a  ldapprefix=\"cn=#\" ldapsuffix=\", dc=x\" # c", "ldap", NULL, NULL,
		 "ldapserver=a  ldapprefix=\"cn=#\" ldapsuffix=\", dc=x\""},
		{"local all all ldap ldapurl=\"ldap://h/dc=x?uid?sub\" \\\n ldaptls=1\r\n", "ldap", NULL, NULL,
		 "ldapurl=\"ldap://h/dc=x?uid?sub\"  ldaptls=1"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f = read_text(cases[i].line);
		const struct hba_rule *rule = find(f.hba, "unix ann shop");

		if (rule == NULL)
			fail_msg("%s: %s", cases[i].line, f.problems.errors.p);
		assert_string_equal(hba_method_name(rule->method), cases[i].method);
		assert_string_equal(rule->map != NULL ? rule->map : "-", cases[i].map != NULL ? cases[i].map : "-");
		assert_string_equal(rule->pam_service != NULL ? rule->pam_service : "-",
				    cases[i].pam_service != NULL ? cases[i].pam_service : "-");
		assert_string_equal(rule->ldap_options != NULL ? rule->ldap_options : "-",
				    cases[i].ldap_options != NULL ? cases[i].ldap_options : "-");
		done(&f);
	}
}

#define TYPES "unknown type; accepted: local, host, hostssl, hostnossl"
#define ADDRESSES "no address; accepted: IP/bits, IP and a mask, all, samehost, samenet"
#define MASKS "no mask of this address; accepted: IP/bits, or a mask such as 255.255.0.0 or ffff::"
#define METHODS "unknown method; accepted: trust, reject, md5, password, scram-sha-256, peer, cert, ldap, pam"
#define DATABASES "groups are not known here; accepted: names, all, sameuser, replication, /regular expressions, @files"
#define USERS "groups are not known here; accepted: names, all, /regular expressions, @files"

static void what_is_not_understood_is_an_error_with_its_place(void **state)
{
	static const struct {
		const char *line, *error;
	} cases[] = {
		{"hostgssenc all all all trust", "hostgssenc: " TYPES},
		{"hostnogssenc all all all trust", "hostnogssenc: " TYPES},
		{"include more.conf", "include: " TYPES},
		{"@include", "@include: " TYPES},
		{"LOCAL all all trust", "LOCAL: " TYPES},
		{"local,host all all trust", "the type is a list; accepted: one value"},
		{"local", "the database is missing"},
		{"local all", "the user is missing"},
		{"local all all", "the method is missing"},
		{"host all all", "the address is missing"},
		{"host all all all", "the method is missing"},
		{"host all all 10.0.0.1/8", "the method is missing"},
		{"host all all 10.0.0.1", "the mask is missing"},
		{"local samerole all trust", "samerole: " DATABASES},
		{"local a,samegroup all trust", "samegroup: " DATABASES},
		{"local all +staff trust", "+staff: " USERS},
		{"local all a,+staff trust", "+staff: " USERS},
		{"local /( all trust", "/(: no regular expression: Unmatched ( or \\("},
		{"local all /a*? trust", "/a*?: no regular expression: a quantifier follows another; accepted: * + ? {m,n} by themselves"},
		{"host all all db.example.org trust", "db.example.org: " ADDRESSES},
		{"host all all .example.org trust", ".example.org: " ADDRESSES},
		{"host all all \"all\" trust", "all: " ADDRESSES},
		{"host all all all,samenet trust", "the address is a list; accepted: one value"},
		{"host all all 10.0.0.0/33 trust", "10.0.0.0/33: " MASKS},
		{"host all all 10.0.0.0/ trust", "10.0.0.0/: " MASKS},
		{"host all all 10.0.0.0/8/8 trust", "10.0.0.0/8/8: " MASKS},
		{"host all all 10.0.0.0/255.0.0.0 trust", "10.0.0.0/255.0.0.0: " MASKS},
		{"host all all 10.0.0.0 ffff:: trust", "ffff::: " MASKS},
		{"host all all 10.0.0.0 trust", "trust: " MASKS},
		{"host all all trust", "trust: " ADDRESSES},
		{"local all all 10.0.0.0/8 trust", "10.0.0.0/8: " METHODS},
		{"local all all ident", "ident: " METHODS},
		{"local all all gss", "gss: " METHODS},
		{"local all all radius radiusservers=x", "radius: " METHODS},
		{"local all all Trust", "Trust: " METHODS},
		{"local all all trust,md5", "the method is a list; accepted: one value"},
		{"host all all all peer", "peer: only Unix sockets tell who is there; accepted: in local lines"},
		{"host all all all cert", "cert: only TLS has certificates; accepted: in hostssl lines"},
		{"local all all cert", "cert: only TLS has certificates; accepted: in hostssl lines"},
		{"local all all md5 map=m", "map: not an option of md5; accepted: none"},
		{"local all all peer map=", "map: not an option of peer; accepted: map=NAME"},
		{"local all all peer map", "map: not an option of peer; accepted: map=NAME"},
		{"local all all peer map=m x=y", "x: not an option of peer; accepted: map=NAME"},
		{"local all all pam map=m", "map: not an option of pam; accepted: pamservice=NAME"},
		{"hostssl all all all cert clientcert=verify-full", "clientcert: not an option of cert; accepted: map=NAME"},
		{"hostssl all all all md5 clientcert=verify-ca", "clientcert: not an option of md5; accepted: none"},
		{"local all \"ann trust", "a quote does not end; accepted: \"...\" with \"\" for a quote inside"},
		{"local all all ldap ldapbindpasswd=\"x", "a quote does not end; accepted: \"...\" with \"\" for a quote inside"},
		{"local all @none trust", "@none cannot be read: No such file or directory"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[256], error[256];
		struct fixture f;

		snprintf(text, sizeof(text), "# a comment\n%s\nlocal all all trust\n", cases[i].line);
		snprintf(error, sizeof(error), "hba.conf:2: %s\n", cases[i].error);
		f = read_text(text);
		assert_int_equal(f.problems.nerrors, 1);
		assert_string_equal(f.problems.errors.p, error);
		done(&f);
	}
}

static void all_bad_lines_are_named(void **state)
{
	struct fixture f = read_text("x\nlocal all all \\\n trust x\nlocal all all trust\nlocal all +g md5\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 3);
	assert_non_null(strstr(f.problems.errors.p, "hba.conf:1: "));
	assert_non_null(strstr(f.problems.errors.p, "hba.conf:2: "));
	assert_non_null(strstr(f.problems.errors.p, "hba.conf:5: "));
	done(&f);
}

static void a_password_in_the_wrong_place_is_not_shown(void **state)
{
	static const char *const lines[] = {
		"ldapbindpasswd=hunter2", "host all ldap ldapbindpasswd=hunter2", "local all ldap ldapbindpasswd=hunter2",
		"local all all md5 ldapbindpasswd=hunter2", "host all all 10.0.0.1 ldapbindpasswd=hunter2",
		"local all all ldap ldapbindpasswd=\"hunter2",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct fixture f = read_text(lines[i]);

		assert_int_equal(f.problems.nerrors, 1);
		assert_null(strstr(f.problems.errors.p, "hunter2"));
		done(&f);
	}
}

static void files_hold_names_one_by_one_or_many_a_line(void **state)
{
	struct fixture f;

	(void)state;
	tempdir_write("users", "ann bob, carl # comment\n\n\"dan d\"\n/^web_\n@more\n\"all\"\n");
	tempdir_write("more", "eve\n");
	tempdir_write("none", "# nobody\n");
	f = read_text("local shop frank,@users,gus trust\nlocal @more all trust\nlocal all @none trust\n"
		      "local all @\"more\",hal trust\n");
	if (f.problems.nerrors > 0)
		fail_msg("%s", f.problems.errors.p);
	assert_int_equal(line_of(f.hba, "unix frank shop"), 1);
	assert_int_equal(line_of(f.hba, "unix gus shop"), 1);
	assert_int_equal(line_of(f.hba, "unix ann shop"), 1);
	assert_int_equal(line_of(f.hba, "unix carl shop"), 1);
	assert_int_equal(line_of(f.hba, "unix web_7 shop"), 1);
	assert_int_equal(line_of(f.hba, "unix eve shop"), 1);
	assert_int_equal(line_of(f.hba, "unix all shop"), 1);
	assert_int_equal(line_of(f.hba, "unix zoe shop"), 0);
	assert_int_equal(line_of(f.hba, "unix zoe eve"), 2);
	assert_int_equal(line_of(f.hba, "unix eve x"), 4);
	assert_int_equal(line_of(f.hba, "unix hal x"), 4);
	done(&f);
}

static void errors_in_a_file_of_names_name_that_file(void **state)
{
	struct fixture f;

	(void)state;
	tempdir_write("users", "ann\n+staff\n");
	tempdir_write("loop", "@loop\n");
	f = read_text("local all @users trust\nlocal all @loop trust\n");
	assert_string_equal(f.problems.errors.p, "users:2: +staff: " USERS "\n"
			    "loop:1: @loop: files name each other too deep; accepted: 10 levels\n");
	done(&f);
}

static void a_file_of_names_is_sought_beside_the_one_that_names_it(void **state)
{
	struct arena *arena = arena_new();
	struct conf_problems problems;
	char path[128];
	struct hba *hba;

	(void)state;
	conf_problems_init(&problems);
	tempdir_write("users", "ann\n");
	snprintf(path, sizeof(path), "%s/%s", tempdir, tempdir_write("hba.conf", "local all @users trust\n"));
	assert_int_equal(chdir("/"), 0);
	hba = hba_read(path, arena, &problems);
	assert_int_equal(chdir(tempdir), 0);
	assert_int_equal(problems.nerrors, 0);
	assert_int_equal(line_of(hba, "unix ann shop"), 1);
	hba_free(hba);
	conf_problems_fini(&problems);
	arena_free(arena);
}

static void without_rules_or_a_known_address_nobody_gets_in(void **state)
{
	const struct addr unknown = {0};
	struct hba_request request = {.peer = &unknown, .user = SLICE_LIT("ann"), .database = SLICE_LIT("shop")};
	struct fixture f = read_text("host all all 10.0.0.0/8 reject\nhost all all all trust\n");
	struct hba *missing;

	(void)state;
	assert_null(hba_find(f.hba, &request));
	request.peer = NULL;
	assert_null(hba_find(f.hba, &request));
	assert_null(find(NULL, "unix ann shop"));
	missing = hba_read("missing.conf", f.arena, &f.problems);
	assert_null(find(missing, "unix ann shop"));
	assert_string_equal(f.problems.errors.p, "missing.conf: auth_hba_file cannot be read: No such file or directory\n");
	hba_free(missing);
	hba_free(NULL);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_about_the_clients_that_it_says),
		cmocka_unit_test(the_first_line_that_matches_wins),
		cmocka_unit_test(a_method_comes_with_its_options),
		cmocka_unit_test(what_is_not_understood_is_an_error_with_its_place),
		cmocka_unit_test(all_bad_lines_are_named),
		cmocka_unit_test(a_password_in_the_wrong_place_is_not_shown),
		cmocka_unit_test(files_hold_names_one_by_one_or_many_a_line),
		cmocka_unit_test(errors_in_a_file_of_names_name_that_file),
		cmocka_unit_test(a_file_of_names_is_sought_beside_the_one_that_names_it),
		cmocka_unit_test(without_rules_or_a_known_address_nobody_gets_in),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
