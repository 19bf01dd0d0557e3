#include "process/notify_socket.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

bool notify_socket_open(struct notify_socket *s, const char *name)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&s->to.u;
	size_t n = strlen(name);

	memset(s, 0, sizeof(*s));
	s->fd = -1;
	if ((name[0] != '/' && name[0] != '@') || n >= sizeof(to->sun_path))
		return false;
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, name, n);
	if (name[0] == '@')
		to->sun_path[0] = '\0';
	s->to.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return s->fd >= 0;
}

static void forget_oldest(struct notify_socket *s)
{
	free(s->owed[0]);
	s->nowed--;
	memmove(s->owed, s->owed + 1, s->nowed * sizeof(s->owed[0]));
}

void notify_socket_close(struct notify_socket *s)
{
	while (s->nowed > 0)
		forget_oldest(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* False: there is no room. A manager that cannot be reached at all is told nothing, and nothing waits for it. */
static bool try_to_send(const struct notify_socket *s, const char *text)
{
	return sendto(s->fd, text, strlen(text), MSG_NOSIGNAL, &s->to.u.sa, s->to.len) >= 0 || errno != EAGAIN;
}

bool notify_socket_settle(struct notify_socket *s)
{
	while (s->nowed > 0 && try_to_send(s, s->owed[0]))
		forget_oldest(s);
	return s->nowed == 0;
}

static void owe(struct notify_socket *s, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return;
	if (s->nowed == NOTIFY_OWED_MAX)
		forget_oldest(s);
	s->owed[s->nowed++] = copy;
}

void notify_socket_say(struct notify_socket *s, const char *text)
{
	if (!notify_socket_settle(s) || !try_to_send(s, text))
		owe(s, text);
}

void notify_socket_mention(struct notify_socket *s, const char *text)
{
	if (notify_socket_settle(s))
		(void)try_to_send(s, text);
}
