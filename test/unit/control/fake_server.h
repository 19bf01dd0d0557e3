/*
 * As much of a PostgreSQL server as the control layer talks to, in a child
 * process on a Unix socket, for one connection at a time. The answer tells
 * what the test wants to know: the secret of a user is "<n>.<m>", asked for as
 * the mth question on the nth connection. Some users' names are orders
 * instead; a question about nobody is asked about whom fake_shared says.
 */
#pragma once
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"

#define FAKE_PORT 5432

static char fake_directory[] = "/tmp/pgsluice-fake-XXXXXX";
static char fake_path[64];
static int fake_asked;                   /* a byte comes here for each question that reached the server */
static pid_t fake_pid;

/* What the test and all its servers see. */
static struct fake_shared {
	char login[16];                  /* an order for logins: "refuse", "password" */
	char user[16];                   /* for questions without a parameter */
	char row[2][16];                 /* the answer about "role" */
	int delay_us;                    /* of that answer */
	int leaves;                      /* so many of those answers are their connections' last */
	volatile int nconnections, nquestions;
} *fake_shared;

static inline bool fake_read(int fd, void *p, size_t n)
{
	for (char *at = p; n > 0;) {
		ssize_t got = read(fd, at, n);

		if (got <= 0)
			return false;
		at += got;
		n -= (size_t)got;
	}
	return true;
}

/* A message without its type: its body, NUL behind it; -1 at the end. */
static inline int fake_read_body(int fd, char *body, size_t room)
{
	uint32_t n;

	if (!fake_read(fd, &n, 4) || (n = ntohl(n)) < 4 || n - 4 >= room || !fake_read(fd, body, n - 4))
		return -1;
	body[n - 4] = '\0';
	return (int)n - 4;
}

static inline void fake_add(struct strbuf *out, char type, const void *body, size_t n)
{
	uint32_t length = htonl((uint32_t)n + 4);

	strbuf_add_char(out, type);
	strbuf_add(out, &length, 4);
	strbuf_add(out, body, n);
}

#define FAKE_ADD(out, type, literal) fake_add(out, type, literal, sizeof(literal) - 1)

static inline void fake_add_row(struct strbuf *out, const char *user, const char *secret)
{
	struct strbuf row;
	uint32_t n = htonl((uint32_t)strlen(user)), m = htonl((uint32_t)strlen(secret));

	FAKE_ADD(out, 'T', "\0\2a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
			   "b\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
	strbuf_init(&row);
	strbuf_add(&row, "\0\2", 2);
	strbuf_add(&row, &n, 4);
	strbuf_add_str(&row, user);
	strbuf_add(&row, &m, 4);
	strbuf_add_str(&row, secret);
	fake_add(out, 'D', row.p, row.n);
	strbuf_fini(&row);
	FAKE_ADD(out, 'C', "SELECT 1\0");
}

/* False: the connection is to be cut. */
static inline bool fake_answer(int fd, const char *user, const char *startup, int nconnection, int nquestion)
{
	struct strbuf out;
	char secret[64];
	bool ok;

	snprintf(secret, sizeof(secret), "%d.%d", nconnection, nquestion);
	if (strcmp(user, "cut") == 0)
		return false;
	if (strcmp(user, "hang") == 0)
		pause();
	if (strcmp(user, "slow") == 0)
		usleep(200 * 1000);
	if (strcmp(user, "role") == 0)
		usleep((useconds_t)fake_shared->delay_us);
	strbuf_init(&out);
	FAKE_ADD(&out, '1', "");
	FAKE_ADD(&out, '2', "");
	if (strcmp(user, "error") == 0)
		FAKE_ADD(&out, 'E', "SERROR\0C42P01\0Mno such table\0\0");
	else if (strcmp(user, "copy") == 0)
		FAKE_ADD(&out, 'H', "\0\0\1\0\0");
	else if (strcmp(user, "transaction") == 0)
		FAKE_ADD(&out, 'C', "BEGIN\0");
	else if (strcmp(user, "fatal") == 0)
		FAKE_ADD(&out, 'E', "SFATAL\0C57P01\0Mgoing down\0\0");
	else if (strcmp(user, "role") == 0)
		fake_add_row(&out, fake_shared->row[0], fake_shared->row[1]);
	else
		fake_add_row(&out, user, strcmp(user, "startup") == 0 ? startup : secret);
	if (strcmp(user, "fatal") != 0)
		fake_add(&out, 'Z', strcmp(user, "transaction") == 0 ? "T" : "I", 1);
	ok = write(fd, out.p, out.n) == (ssize_t)out.n;
	strbuf_fini(&out);
	return ok && strcmp(user, "fatal") != 0 && (strcmp(user, "role") != 0 || fake_shared->leaves-- <= 0);
}

#define FAKE_SEND(fd, literal)                                                      \
	do {                                                                        \
		if (write(fd, literal, sizeof(literal) - 1) != sizeof(literal) - 1) \
			_exit(1);                                                   \
	} while (0)

/* The startup parameters as "name=value,...". */
static inline void fake_welcome(int fd, char *startup, size_t room)
{
	int n = fake_read_body(fd, startup, room);
	bool is_name = true;

	if (n < 4)
		return;
	memmove(startup, startup + 4, (size_t)n - 3);
	n -= 4;
	for (int i = 0; i + 2 < n; i++) {
		if (startup[i] != '\0')
			continue;
		startup[i] = is_name ? '=' : ',';
		is_name = !is_name;
	}
	if (strcmp(fake_shared->login, "refuse") == 0)
		FAKE_SEND(fd, "E\0\0\0\x22SFATAL\0C57P03\0Mnot yet ready\0\0");
	else if (strcmp(fake_shared->login, "password") == 0)
		FAKE_SEND(fd, "R\0\0\0\x08\0\0\0\3");
	else
		FAKE_SEND(fd, "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I");
}

static inline void fake_serve(int fd, int asked, int nconnection)
{
	char type, body[4096], startup[4096], user[1025] = "";
	int nquestion = 0;

	fake_welcome(fd, startup, sizeof(startup));
	while (fake_read(fd, &type, 1) && fake_read_body(fd, body, sizeof(body)) >= 0) {
		/* Bind: two empty names, no formats, one parameter or none, its length. */
		if (type == 'B' && body[5] == 1)
			snprintf(user, sizeof(user), "%.*s", (unsigned char)body[9], body + 10);
		else if (type == 'B')
			snprintf(user, sizeof(user), "%s", fake_shared->user);
		if (type != 'S')
			continue;
		fake_shared->nquestions++;
		if (write(asked, "", 1) != 1 || !fake_answer(fd, user, startup, nconnection, ++nquestion))
			return;
	}
}

static inline void fake_run(int listener, int asked)
{
	for (int n = 1;; n++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		fake_shared->nconnections++;
		fake_serve(fd, asked, n);
		close(fd);
	}
}

/* A server at fake_path. */
static inline int fake_spawn(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[2];

	if (pipe(fds) != 0)
		return -1;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", fake_path);
	if (bind(listener, (struct sockaddr *)&un, sizeof(un)) != 0 || listen(listener, 100) != 0)
		return -1;
	fake_pid = fork();
	if (fake_pid == 0)
		fake_run(listener, fds[1]);
	close(listener);
	close(fds[1]);
	fake_asked = fds[0];
	return fake_pid > 0 ? 0 : -1;
}

static inline int fake_start(void)
{
	snprintf(fake_directory, sizeof(fake_directory), "/tmp/pgsluice-fake-XXXXXX");
	fake_shared = mmap(NULL, sizeof(*fake_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fake_shared == MAP_FAILED || mkdtemp(fake_directory) == NULL)
		return -1;
	snprintf(fake_path, sizeof(fake_path), "%s/.s.PGSQL.%d", fake_directory, FAKE_PORT);
	return fake_spawn();
}

/* From now on nobody answers at the socket; fake_spawn() begins anew. */
static inline void fake_kill(void)
{
	if (fake_pid == 0)
		return;
	kill(fake_pid, SIGKILL);
	waitpid(fake_pid, NULL, 0);
	close(fake_asked);
	unlink(fake_path);
	fake_pid = 0;
}

/* From now on nobody answers at the socket, and nobody hears of it. */
static inline void fake_stop(void)
{
	fake_kill();
	if (fake_shared == NULL)
		return;
	munmap(fake_shared, sizeof(*fake_shared));
	fake_shared = NULL;
	rmdir(fake_directory);
}
