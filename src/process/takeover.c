#include "process/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/msg.h"
#include "proto/out.h"
#include "proto/startup.h"

#define STEP_SECONDS 10

/* The owner's name, and the database, of the console of PgBouncer too. */
#define CONSOLE SLICE_LIT("pgbouncer")

/* The console's answers are short. */
#define MESSAGE_MAX 65536

#define TAG "TAKEOVER"

struct takeover {
	int fd;
	struct strbuf in;
	size_t at;                       /* where the next message begins */
	struct inherited *sockets;       /* NULL: none are expected */
};

/* ------------------------------------------------------------------ bytes and descriptors */

static bool send_all(const struct takeover *t, const struct strbuf *b)
{
	size_t done = 0;

	while (!b->failed && done < b->n) {
		ssize_t n = send(t->fd, b->p + done, b->n - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return !b->failed;
}

static void keep_descriptor(struct takeover *t, int fd)
{
	if (t->sockets == NULL || t->sockets->n == INHERITED_MAX)
		close(fd);
	else
		t->sockets->fds[t->sockets->n++] = fd;
}

static void keep_descriptors(struct takeover *t, struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			keep_descriptor(t, fd);
		}
	}
}

/* More bytes, and what comes with them. False: errno; 0 is the end of the stream. */
static bool receive(struct takeover *t)
{
	char room[4096];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(INHERITED_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = room, .iov_len = sizeof(room)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
	ssize_t n;

	do
		n = recvmsg(t->fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		errno = n == 0 ? 0 : errno;
		return false;
	}
	keep_descriptors(t, &m);
	strbuf_add(&t->in, room, (size_t)n);
	errno = ENOMEM;
	return !t->in.failed;
}

/* The next message, whole. False, and *error: there will be none. */
static bool next_message(struct takeover *t, struct msg *m, struct strbuf *error)
{
	for (;;) {
		enum peek peek = msg_peek((const uint8_t *)t->in.p + t->at, t->in.n - t->at, MESSAGE_MAX, m);

		if (peek == PEEK_OK && m->have == m->len) {
			t->at += MSG_HEADER_SIZE + m->len;
			return true;
		}
		if (peek == PEEK_BAD) {
			strbuf_add_str(error, "what answers on the Unix socket does not speak the protocol");
			return false;
		}
		if (!receive(t)) {
			strbuf_addf(error, "the running process does not answer: %s",
				    errno == 0 ? "it has closed the connection" : strerror(errno));
			return false;
		}
	}
}

/* ------------------------------------------------------------------ the exchange */

enum answer { ANSWER_GOOD, ANSWER_ERROR, ANSWER_NONE };

static enum answer refused(const struct msg *m, struct strbuf *error)
{
	struct error_fields f;

	msg_error_fields(m, &f);
	strbuf_add_str(error, "the running process refuses: ");
	strbuf_add_slice(error, f.message);
	return ANSWER_ERROR;
}

/* Up to ReadyForQuery; *tag is that of a CommandComplete. */
static enum answer read_answer(struct takeover *t, char *tag, size_t room, struct strbuf *error)
{
	struct msg m;

	for (;;) {
		struct cursor c;

		if (!next_message(t, &m, error))
			return ANSWER_NONE;
		c = msg_cursor(&m);
		switch (m.type) {
		case 'E':
			return refused(&m, error);
		case 'R':
			if (cursor_u32(&c) == 0)
				break;
			strbuf_add_str(error, "the running process asks for a password: it belongs to another user");
			return ANSWER_ERROR;
		case 'C':
			snprintf(tag, room, "%.*s", (int)m.have, (const char *)m.body);
			break;
		case 'Z':
			return ANSWER_GOOD;
		}
	}
}

static enum answer ask(struct takeover *t, const struct strbuf *request, char *tag, size_t room, struct strbuf *error)
{
	tag[0] = '\0';
	if (send_all(t, request))
		return read_answer(t, tag, room, error);
	strbuf_addf(error, "the running process cannot be asked: %s", strerror(errno));
	return ANSWER_NONE;
}

static enum answer command(struct takeover *t, const char *sql, char *tag, size_t room, struct strbuf *error)
{
	struct strbuf request;
	enum answer answer;

	strbuf_init(&request);
	out_query(&request, sql);
	answer = ask(t, &request, tag, room, error);
	strbuf_fini(&request);
	return answer;
}

static enum answer login(struct takeover *t, struct strbuf *error)
{
	struct strbuf request;
	enum answer answer;
	char tag[32];
	size_t mark;

	strbuf_init(&request);
	mark = startup_begin(&request);
	startup_add_param(&request, SLICE_LIT("user"), CONSOLE);
	startup_add_param(&request, SLICE_LIT("database"), CONSOLE);
	startup_end(&request, mark);
	answer = ask(t, &request, tag, sizeof(tag), error);
	strbuf_fini(&request);
	return answer;
}

/* All that were sent have come: a process out of descriptors would get fewer. */
static bool has_all(const struct takeover *t, const char *tag, struct strbuf *error)
{
	char expected[32];

	snprintf(expected, sizeof(expected), TAG " %zu", t->sockets->n);
	if (t->sockets->n > 0 && strcmp(tag, expected) == 0)
		return true;
	strbuf_addf(error, "the running process has passed %zu sockets and says \"%s\"", t->sockets->n, tag);
	return false;
}

static bool get_sockets(struct takeover *t, struct strbuf *error)
{
	char tag[32];

	return login(t, error) == ANSWER_GOOD && command(t, "TAKEOVER", tag, sizeof(tag), error) == ANSWER_GOOD &&
	       has_all(t, tag, error) && inherited_check(t->sockets, error);
}

/* A connected socket; -1 with errno. */
static int connect_to(const char *unix_dir, int port)
{
	const struct timeval timeout = {.tv_sec = STEP_SECONDS};
	struct addr_any a;
	int fd, saved;

	if (!addr_any_from_unix(&a, unix_dir, port)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, &a.u.sa, a.len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void end(struct takeover **t)
{
	close((*t)->fd);
	strbuf_fini(&(*t)->in);
	free(*t);
	*t = NULL;
}

enum takeover_begun takeover_begin(struct takeover **t, const char *unix_dir, int port, struct inherited *sockets,
				   struct strbuf *error)
{
	int fd = connect_to(unix_dir, port);

	*t = NULL;
	if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED))
		return TAKEOVER_ALONE;
	if (fd < 0) {
		strbuf_addf(error, "cannot connect to %s/.s.PGSQL.%d: %s", unix_dir, port, strerror(errno));
		return TAKEOVER_FAILED;
	}
	*t = calloc(1, sizeof(**t));
	if (*t == NULL) {
		close(fd);
		strbuf_add_str(error, "out of memory");
		return TAKEOVER_FAILED;
	}
	(*t)->fd = fd;
	(*t)->sockets = sockets;
	strbuf_init(&(*t)->in);
	if (get_sockets(*t, error)) {
		(*t)->sockets = NULL;
		return TAKEOVER_BEGUN;
	}
	end(t);
	inherited_close(sockets);
	return TAKEOVER_FAILED;
}

enum takeover_end takeover_finish(struct takeover **t, struct strbuf *error)
{
	char tag[32];
	enum answer answer = command(*t, "TAKEOVER DONE", tag, sizeof(tag), error);

	end(t);
	switch (answer) {
	case ANSWER_GOOD:
		return TAKEOVER_DONE;
	case ANSWER_ERROR:
		return TAKEOVER_REFUSED;
	case ANSWER_NONE:
		break;
	}
	return TAKEOVER_UNSURE;
}

void takeover_abort(struct takeover **t)
{
	if (*t != NULL)
		end(t);
}
