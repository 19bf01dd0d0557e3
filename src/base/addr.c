#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

_Static_assert(sizeof(struct sockaddr_un) <= 128, "struct addr_any has room for a Unix-domain address");

void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa)
{
	memset(a, 0, sizeof(*a));
	a->family = (uint8_t)sa->sa_family;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		a->u.v4 = in->sin_addr;
		a->port = ntohs(in->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		a->u.v6 = in6->sin6_addr;
		a->port = ntohs(in6->sin6_port);
	}
}

void addr_of_accepted(struct addr *a, int fd, const struct sockaddr *sa)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	addr_from_sockaddr(a, sa);
	if (a->family == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
		a->u.pid = (uint32_t)cred.pid;
}

void addr_of_peer(struct addr *a, int fd)
{
	struct addr_any any = {.len = sizeof(any.u)};

	if (getpeername(fd, &any.u.sa, &any.len) == 0)
		addr_of_accepted(a, fd, &any.u.sa);
	else
		memset(a, 0, sizeof(*a));
}

void addr_of_self(struct addr *a, int fd)
{
	struct addr_any any = {.len = sizeof(any.u)};

	memset(a, 0, sizeof(*a));
	if (getsockname(fd, &any.u.sa, &any.len) == 0)
		addr_from_sockaddr(a, &any.u.sa);
}

/* Not inet_ntop(): tables of ten thousand clients are made of these. */
static void print_v4(const struct in_addr *v4, struct strbuf *out)
{
	const uint8_t *bytes = (const uint8_t *)v4;

	for (size_t i = 0; i < sizeof(*v4); i++) {
		if (i > 0)
			strbuf_add_char(out, '.');
		strbuf_add_int(out, bytes[i]);
	}
}

bool addr_is_any(const struct addr *a)
{
	if (a->family == AF_INET)
		return a->u.v4.s_addr == htonl(INADDR_ANY);
	return a->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->u.v6);
}

bool addr_is_loopback(const struct addr *a)
{
	if (a->family == AF_INET)
		return ntohl(a->u.v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return a->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->u.v6);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	/* Bytes that the family does not use are zero. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*) */
	return a->family == b->family && a->port == b->port && memcmp(&a->u, &b->u, sizeof(a->u)) == 0;
}

void addr_print_host(const struct addr *a, struct strbuf *out)
{
	char text[INET6_ADDRSTRLEN];

	switch (a->family) {
	case AF_INET:
		print_v4(&a->u.v4, out);
		break;
	case AF_INET6:
		strbuf_add_str(out, inet_ntop(AF_INET6, &a->u.v6, text, sizeof(text)));
		break;
	case AF_UNIX:
		strbuf_add_str(out, "unix");
		break;
	default:
		strbuf_add_str(out, "(unknown)");
	}
}

void addr_print(const struct addr *a, struct strbuf *out)
{
	if (a->family == AF_INET6)
		strbuf_add_char(out, '[');
	addr_print_host(a, out);
	if (a->family == AF_INET6)
		strbuf_add_char(out, ']');
	if (a->family == AF_UNIX)
		strbuf_addf(out, "(%u)", a->u.pid);
	strbuf_addf(out, ":%u", a->port);
}

bool addr_any_from_ip(struct addr_any *a, const char *text, int port)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->u.in.sin_addr) == 1) {
		a->u.in.sin_family = AF_INET;
		a->len = sizeof(a->u.in);
	} else if (inet_pton(AF_INET6, text, &a->u.in6.sin6_addr) == 1) {
		a->u.in6.sin6_family = AF_INET6;
		a->len = sizeof(a->u.in6);
	} else {
		return false;
	}
	addr_any_set_port(a, port);
	return true;
}

bool addr_any_from_unix(struct addr_any *a, const char *dir, int port)
{
	struct sockaddr_un *un = (void *)&a->u;
	int n;

	memset(a, 0, sizeof(*a));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/.s.PGSQL.%d", dir, port);
	if (n < 0 || (size_t)n >= sizeof(un->sun_path))
		return false;
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
	if (dir[0] == '@') {
		/* The abstract namespace: a leading NUL, and no NUL at the end. */
		un->sun_path[0] = '\0';
		a->len--;
	}
	return true;
}

void addr_any_set_port(struct addr_any *a, int port)
{
	if (a->u.sa.sa_family == AF_INET)
		a->u.in.sin_port = htons((uint16_t)port);
	else if (a->u.sa.sa_family == AF_INET6)
		a->u.in6.sin6_port = htons((uint16_t)port);
}

bool addr_any_eq(const struct addr_any *a, const struct addr_any *b)
{
	return a->len == b->len && memcmp(&a->u, &b->u, a->len) == 0;
}
