/*
 * The command line: what to do, and with which configuration.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ares.h>
#include <ev.h>
#include <microhttpd.h>
#include <openssl/crypto.h>

#include "auth/helper_child.h"
#include "base/log.h"
#include "base/sys.h"
#include "capacity_check.h"
#include "conf/conf.h"
#include "conf/differences.h"
#include "options.h"
#include "pooler/pooler.h"
#include "process/daemon.h"
#include "process/notify.h"
#include "process/takeover.h"
#include "top/top.h"

#define MAX_ASSIGNMENTS 256

struct arguments {
	bool daemon, check, capacity, takes_over;
	const char *user;                /* NULL: as the configuration says */
	const char *file;
	struct conf_assignment assignments[MAX_ASSIGNMENTS];
	struct inherited inherited;      /* listening sockets of another process */
	struct pidfh *pid;               /* NULL: none, or another process's */
	struct pooler_options pooler;
};

static void print_version(void)
{
	printf("%s\n", POOLER_VERSION_TEXT);
	printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
	printf("adns: c-ares %s\n", ares_version(NULL));
	printf("tls: %s\n", OpenSSL_version(OPENSSL_VERSION));
	printf("http: libmicrohttpd %s\n", MHD_get_version());
	if (notify_library() != NULL)
		printf("systemd: %s\n", notify_library());
}

static void print_settings(void)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting_info *info = setting_info(setting_by_rank(i));

		printf("%s = %s\n", info->name, info->default_text);
	}
}

/* `name=value`, cut in place. */
static bool take_assignment(struct arguments *a, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == NULL || equals == text) {
		fprintf(stderr, "-c %s: expected NAME=VALUE\n", text);
		return false;
	}
	if (a->pooler.nassignments == MAX_ASSIGNMENTS) {
		fprintf(stderr, "-c: more than %d assignments\n", MAX_ASSIGNMENTS);
		return false;
	}
	*equals = '\0';
	a->assignments[a->pooler.nassignments++] = (struct conf_assignment){.name = text, .value = equals + 1};
	return true;
}

enum way { WAY_RUN, WAY_DONE, WAY_WRONG };

static enum way take_option(struct arguments *a, int option, const char *program)
{
	switch (option) {
	case 'c':
		return take_assignment(a, optarg) ? WAY_RUN : WAY_WRONG;
	case OPTION_CHECK:
		a->check = true;
		return WAY_RUN;
	case OPTION_CAPACITY:
		a->capacity = true;
		return WAY_RUN;
	case 'd':
		a->daemon = true;
		return WAY_RUN;
	case 'q':
		a->pooler.quiet = true;
		return WAY_RUN;
	case 'R':
		a->takes_over = true;
		return WAY_RUN;
	case OPTION_SETTINGS:
		print_settings();
		return WAY_DONE;
	case 'u':
		a->user = optarg;
		return WAY_RUN;
	case 'v':
		a->pooler.verbose++;
		return WAY_RUN;
	case 'V':
		print_version();
		return WAY_DONE;
	case 'h':
		options_print_usage(program, stdout);
		return WAY_DONE;
	default:
		fprintf(stderr, "Try \"%s --help\" for more information.\n", program);
		return WAY_WRONG;
	}
}

static enum way take_arguments(struct arguments *a, int argc, char **argv)
{
	struct options_getopt forms;
	enum way way = WAY_RUN;
	int option;

	options_for_getopt(&forms);
	a->pooler.assignments = a->assignments;
	while (way == WAY_RUN && (option = getopt_long(argc, argv, forms.letters, forms.names, NULL)) != -1)
		way = take_option(a, option, argv[0]);
	if (way != WAY_RUN)
		return way;
	if (optind + 1 != argc) {
		fprintf(stderr, "Need exactly one config file. Try \"%s --help\" for more information.\n", argv[0]);
		return WAY_WRONG;
	}
	a->file = argv[optind];
	return WAY_RUN;
}

static void print_lines(const struct strbuf *lines, FILE *out)
{
	fputs(lines->n > 0 ? lines->p : "out of memory\n", out);
}

static struct conf *load(const struct arguments *a)
{
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = pooler_load(a->file, &a->pooler, &problems);
	if (a->check && conf != NULL) {
		pooler_check_tls(conf, &problems);
		differences_tell(conf, a->file, &problems);
	}
	if (problems.nwarnings > 0 && !a->pooler.quiet)
		print_lines(&problems.warnings, stderr);
	if (problems.nerrors == 0 && problems.notes.n > 0 && !a->pooler.quiet)
		print_lines(&problems.notes, stdout);
	if (problems.nerrors > 0)
		print_lines(&problems.errors, stderr);
	if (problems.nerrors > 0)
		conf_unref(&conf);
	if (a->check && conf != NULL)
		printf("%s: ok\n", a->file);
	conf_problems_fini(&problems);
	return conf;
}

/* The user of the command line, then of the file; never root. */
static bool become_user(const struct arguments *a, const struct settings *s, struct strbuf *error)
{
	const char *user = a->user != NULL ? a->user : s->user;

	if (user[0] != '\0' && !daemon_become(user, error))
		return false;
	if (getuid() != 0)
		return true;
	strbuf_add_str(error, "PgBouncer should not run as root: name another user with -u or the setting `user`");
	return false;
}

static bool take_pidfile(struct arguments *a, const struct settings *s, struct strbuf *error)
{
	if (s->pidfile[0] != '\0')
		a->pid = daemon_pidfile_open(s->pidfile, error);
	return s->pidfile[0] == '\0' || a->pid != NULL;
}

/* Another process has taken over: the file is its own, and to be locked by it. */
static void leave_pidfile(void *arg)
{
	struct arguments *a = arg;

	daemon_pidfile_leave(a->pid);
	a->pid = NULL;
}

/* Asks the running process for its sockets, if there is one. False: there is, and they are not to be had. */
static bool begin_takeover(struct arguments *a, const struct settings *s, struct takeover **t, struct strbuf *error)
{
	switch (takeover_begin(t, s->unix_socket_dir, (int)s->listen_port, &a->inherited, error)) {
	case TAKEOVER_BEGUN:
		return true;
	case TAKEOVER_ALONE:
		log_info("no running process found, starting without one");
		return take_pidfile(a, s, error);
	case TAKEOVER_FAILED:
		break;
	}
	return false;
}

/* The other process lets go. False: it does not, and goes on. */
static bool finish_takeover(struct arguments *a, const struct settings *s, struct takeover **t, struct pooler *p,
			    struct strbuf *error)
{
	struct strbuf why;
	bool may_go_on;

	if (*t == NULL)
		return true;
	strbuf_init(&why);
	switch (takeover_finish(t, &why)) {
	case TAKEOVER_DONE:
		log_info("taken over from the process that ran before");
		break;
	case TAKEOVER_UNSURE:
		log_error("taking over all the same: %s", why.failed ? "" : why.p);
		break;
	case TAKEOVER_REFUSED:
		strbuf_add_slice(error, strbuf_slice(&why));
		break;
	}
	may_go_on = error->n == 0;
	strbuf_fini(&why);
	if (!may_go_on)
		return false;
	pooler_own_sockets(p);
	/* Clients are being accepted: for want of a file nobody is to be refused. */
	strbuf_init(&why);
	if (!take_pidfile(a, s, &why))
		log_error("%s", why.p);
	strbuf_fini(&why);
	return true;
}

static struct pooler *make_pooler(struct arguments *a, struct conf *conf, struct strbuf *error)
{
	struct conf *settings = conf_ref(conf);
	struct takeover *t = NULL;
	struct pooler *p = NULL;

	if (!a->takes_over || begin_takeover(a, &conf->s, &t, error))
		p = pooler_new(conf, &a->pooler, error);
	else
		conf_unref(&conf);
	inherited_close(&a->inherited);
	if (p != NULL && !finish_takeover(a, &settings->s, &t, p, error)) {
		pooler_free(p);
		p = NULL;
	}
	takeover_abort(&t);
	conf_unref(&settings);
	return p;
}

static int run(struct arguments *a, struct conf *conf, struct strbuf *error)
{
	struct pooler *p;

	if (!pooler_configure_log(&conf->s, &a->pooler, error)) {
		conf_unref(&conf);
		return 1;
	}
	p = make_pooler(a, conf, error);
	if (p == NULL)
		return 1;
	if (a->pid != NULL)
		daemon_pidfile_write(a->pid);
	log_info("process up: %s, libev %d.%d, adns: c-ares %s, tls: %s", POOLER_VERSION_TEXT, ev_version_major(),
		 ev_version_minor(), ares_version(NULL), OpenSSL_version(OPENSSL_VERSION));
	daemon_ready();
	pooler_run(p);
	log_info("shutdown complete");
	pooler_free(p);
	return 0;
}

static bool is_possible(const struct arguments *a, const struct settings *s, struct strbuf *error)
{
	if (a->daemon && s->pidfile[0] == '\0')
		strbuf_add_str(error, "daemon needs pidfile configured");
	else if (a->takes_over && s->unix_socket_dir[0] == '\0')
		strbuf_add_str(error, "-R needs unix_socket_dir: the running process is asked over its Unix socket");
	return error->n == 0;
}

/* The sockets of a .socket unit. They are known by the process id, so before there is another process. */
static bool take_sockets(struct arguments *a, struct strbuf *error)
{
	notify_sockets(&a->inherited);
	a->pooler.inherited = &a->inherited;
	a->pooler.take_all = a->inherited.n > 0;
	if (a->takes_over && a->inherited.n > 0)
		strbuf_add_str(error, "-R: the service manager has passed sockets, there is nothing to take over");
	return error->n == 0 && inherited_check(&a->inherited, error);
}

static int start(struct arguments *a, struct conf *conf, struct strbuf *error)
{
	int status;

	if (is_possible(a, &conf->s, error) && become_user(a, &conf->s, error) && take_sockets(a, error) && !a->takes_over)
		take_pidfile(a, &conf->s, error);
	if (error->n == 0 && a->daemon && !daemon_start())
		strbuf_add_str(error, "cannot start a background process");
	if (error->n > 0) {
		conf_unref(&conf);
		return 1;
	}
	if (a->daemon)
		a->pooler.quiet = true;
	a->pooler.on_handed_over = leave_pidfile;
	a->pooler.arg = a;
	status = run(a, conf, error);
	daemon_pidfile_remove(a->pid);
	return status;
}

/* What the log would say is in the report. */
static int check_capacity(struct conf *conf)
{
	const struct log_options nowhere = {.quiet = true};
	const char *error;

	log_configure(&nowhere, &error);
	return (int)capacity_check(conf, stdout);
}

static int serve(int argc, char **argv)
{
	struct arguments *a = calloc(1, sizeof(*a));
	enum way way = a == NULL ? WAY_WRONG : take_arguments(a, argc, argv);
	int status = way == WAY_DONE ? 0 : 1;
	struct strbuf error;
	struct conf *conf;

	strbuf_init(&error);
	if (way == WAY_RUN && a->capacity)
		status = CAPACITY_CHECK_UNKNOWN;
	if (way == WAY_RUN && (conf = load(a)) != NULL) {
		if (a->check) {
			conf_unref(&conf);
			status = 0;
		} else if (a->capacity) {
			status = check_capacity(conf);
		} else {
			signal(SIGPIPE, SIG_IGN);
			status = start(a, conf, &error);
		}
	}
	if (a == NULL || error.failed)
		fprintf(stderr, "%s: out of memory\n", argv[0]);
	else if (error.n > 0)
		fprintf(stderr, "%s: %s\n", argv[0], error.p);
	strbuf_fini(&error);
	log_flush();
	log_close();
	free(a);
	return status;
}

int main(int argc, char **argv)
{
	/* Before there is a password in memory; the setting core_dumps is read later. */
	sys_allow_core_dumps(false);
	if (argc > 1 && strcmp(argv[1], HELPER_CHILD_ARGUMENT) == 0)
		helper_child_main(argv[2]);
	if (argc > 1 && strcmp(argv[1], "top") == 0)
		return top_main(argc - 1, argv + 1, POOLER_VERSION_TEXT);
	return serve(argc, argv);
}
