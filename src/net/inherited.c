#include "net/inherited.h"

#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys.h"

static bool is_listening(int fd)
{
	int type = 0, listens = 0;
	socklen_t n = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_STREAM)
		return false;
	n = sizeof(listens);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens != 0;
}

static bool name_of(int fd, struct addr_any *a)
{
	memset(a, 0, sizeof(*a));
	a->len = sizeof(a->u);
	return getsockname(fd, &a->u.sa, &a->len) == 0 && a->len <= sizeof(a->u);
}

int inherited_family(int fd)
{
	struct addr_any a;

	return name_of(fd, &a) ? a.u.sa.sa_family : AF_UNSPEC;
}

bool inherited_check(const struct inherited *i, struct strbuf *error)
{
	for (size_t k = 0; k < i->n; k++) {
		int family = inherited_family(i->fds[k]);
		bool is_known = family == AF_INET || family == AF_INET6 || family == AF_UNIX;

		if (!is_known || !is_listening(i->fds[k]) || !sys_set_nonblocking(i->fds[k])) {
			strbuf_addf(error, "descriptor %d that was passed is no stream socket that listens", i->fds[k]);
			return false;
		}
	}
	return true;
}

/* Of a path the kernel gives back the length it was bound with, which may or may not count the NUL. */
static bool is_same_path(const struct sockaddr *a, const struct sockaddr *b)
{
	const char *p = ((const struct sockaddr_un *)a)->sun_path, *q = ((const struct sockaddr_un *)b)->sun_path;

	return p[0] != '\0' && strncmp(p, q, sizeof(((const struct sockaddr_un *)a)->sun_path)) == 0;
}

static bool is_same_v4(const struct sockaddr *a, const struct sockaddr *b)
{
	const struct sockaddr_in *p = (const struct sockaddr_in *)a, *q = (const struct sockaddr_in *)b;

	return p->sin_port == q->sin_port && p->sin_addr.s_addr == q->sin_addr.s_addr;
}

static bool is_same_v6(const struct sockaddr *a, const struct sockaddr *b)
{
	const struct sockaddr_in6 *p = (const struct sockaddr_in6 *)a, *q = (const struct sockaddr_in6 *)b;

	return p->sin6_port == q->sin6_port && p->sin6_scope_id == q->sin6_scope_id &&
	       memcmp(&p->sin6_addr, &q->sin6_addr, sizeof(p->sin6_addr)) == 0;
}

static bool is_bound_to(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct addr_any a;

	if (!name_of(fd, &a) || a.u.sa.sa_family != sa->sa_family)
		return false;
	switch (sa->sa_family) {
	case AF_INET:
		return is_same_v4(&a.u.sa, sa);
	case AF_INET6:
		return is_same_v6(&a.u.sa, sa);
	case AF_UNIX:
		return is_same_path(&a.u.sa, sa) || (a.len == len && memcmp(&a.u.sa, sa, len) == 0);
	default:
		return false;
	}
}

int inherited_take(struct inherited *i, const struct sockaddr *sa, socklen_t len)
{
	for (size_t k = 0; k < i->n; k++) {
		int fd = i->fds[k];

		if (fd < 0 || !is_bound_to(fd, sa, len))
			continue;
		i->fds[k] = -1;
		return fd;
	}
	return -1;
}

void inherited_close(struct inherited *i)
{
	for (size_t k = 0; k < i->n; k++)
		if (i->fds[k] >= 0)
			close(i->fds[k]);
	i->n = 0;
}
