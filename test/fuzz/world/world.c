#include "world.h"

#include <errno.h>
#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "../files.h"
#include "../fuzz.h"
#include "chance.h"

enum { POOLER_PORT = 6432, SERVER_PORT = 5432 };

enum { FILE_INI, FILE_USERS, FILE_HBA };

/* Time between two turns while time passes, at most. */
#define STEP_US (WORLD_SECOND / 2)

static const char *folder(void)
{
	static char name[64];

	if (name[0] == '\0')
		snprintf(name, sizeof(name), "@pgsluice-fuzz-%d", (int)getpid());
	return name;
}

/* A setting whose value is a file of these contents; none for NULL. */
static void add_file(struct strbuf *ini, const char *setting, unsigned number, const char *content)
{
	if (content != NULL)
		strbuf_addf(ini, "\n%s = %s\n", setting, files_put(number, content, strlen(content)));
}

const char *world_write_conf(const char *ini, const char *users, const char *hba)
{
	struct strbuf text;
	const char *mark, *name;

	strbuf_init(&text);
	for (; (mark = strstr(ini, "@@")) != NULL; ini = mark + 2) {
		strbuf_add(&text, ini, (size_t)(mark - ini));
		strbuf_add_str(&text, folder());
	}
	strbuf_add_str(&text, ini);
	add_file(&text, "auth_file", FILE_USERS, users);
	add_file(&text, "auth_hba_file", FILE_HBA, hba);
	name = files_put(FILE_INI, text.p, text.n);
	strbuf_fini(&text);
	return name;
}

struct conf *world_conf(const char *ini, const char *users, const char *hba)
{
	const char *name = world_write_conf(ini, users, hba);
	struct conf_problems problems;
	struct conf *conf;

	fuzz_quietly();
	conf_problems_init(&problems);
	conf = pooler_load(name, &(struct pooler_options){.quiet = true}, &problems);
	if (conf == NULL)
		fprintf(stderr, "%s", problems.errors.p);
	must(conf != NULL);
	conf_problems_fini(&problems);
	return conf;
}

static int listen_as_server(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct addr_any a;

	must(addr_any_from_unix(&a, folder(), SERVER_PORT));
	must(fd >= 0 && bind(fd, &a.u.sa, a.len) == 0 && listen(fd, 128) == 0);
	return fd;
}

/* The process that takes over is told its own socket is gone, too; it is no concern here. */
static void on_handed_over(void *arg)
{
	(void)arg;
}

void world_open(struct world *w, struct conf *conf, uint64_t seed)
{
	const struct pooler_options options = {
		.quiet = true, .inherited = &(struct inherited){.n = 0}, .on_handed_over = on_handed_over,
	};
	struct strbuf error;

	fuzz_quietly();
	chance_begin(seed);
	w->servers = listen_as_server();
	strbuf_init(&error);
	w->pooler = pooler_new(conf_ref(conf), &options, &error);
	if (w->pooler == NULL)
		fprintf(stderr, "%s\n", error.p);
	must(w->pooler != NULL);
	strbuf_fini(&error);
}

void world_close(struct world *w)
{
	pooler_free(w->pooler);
	close(w->servers);
	chance_end();
}

void world_turn(void)
{
	ev_run(ev_default_loop(0), EVRUN_NOWAIT);
}

void world_pass(uint64_t us)
{
	while (us > 0) {
		uint64_t step = us < STEP_US ? us : STEP_US;

		chance_pass(step);
		world_turn();
		us -= step;
	}
}

int world_connect(const struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct addr_any a;

	(void)w;
	must(fd >= 0 && addr_any_from_unix(&a, folder(), POOLER_PORT));
	if (connect(fd, &a.u.sa, a.len) == 0)
		return fd;
	close(fd);
	return -1;
}

int world_accept(const struct world *w)
{
	return accept4(w->servers, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void world_send(int fd, const void *p, size_t n)
{
	if (n > 0)
		send(fd, p, n, MSG_NOSIGNAL);
}

bool world_receive(int fd, struct strbuf *to)
{
	static char room[65536];
	ssize_t n;

	while ((n = recv(fd, room, sizeof(room), 0)) > 0)
		strbuf_add(to, room, (size_t)n);
	return n < 0 && errno == EAGAIN;
}
