/*
 * A name server on a loopback port, for tests of what asks one: it knows one
 * set of addresses for whatever name, and one zone.
 */
#pragma once
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/addr.h"

#include "../conf/tempdir.h"
#include "turning.h"

static struct {
	ev_io io;
	int port;
	const char *ip;                  /* of type A, separated by commas; NULL: the name does not exist */
	const char *zone;                /* whose SOA record is told; NULL: none is */
	const char *alias;               /* a name that is an alias of one elsewhere; NULL: none */
	bool is_silent, fails;
	unsigned ttl, alias_ttl, serial;
	unsigned nqueries;               /* of addresses, of both types */
	unsigned nsoa;                   /* of zones */
	char soa_asked[8][256];          /* their names */
} server;

/* What it was asked while it was silent. */
static struct {
	struct {
		struct addr_any from;
		uint8_t p[512];
		size_t size;
	} asked[8];
	size_t n;
} held;

/* Port 53 is not everybody's to listen on, and c-ares takes no other from resolv.conf: its connect() is led here. */
int connect_here(int fd, const struct sockaddr *sa, socklen_t n) __asm__("connect");
int connect_here(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct addr_any a = {.len = n};

	memcpy(&a.u, sa, n);
	addr_any_set_port(&a, server.port);
	return (int)syscall(SYS_connect, fd, &a.u.sa, a.len);
}

/* Appends to the message that is being made, and counts a record in the header when told where. */
static struct {
	uint8_t p[4096];
	size_t n;
} reply;

static inline void add_bytes(const void *p, size_t n)
{
	memcpy(reply.p + reply.n, p, n);
	reply.n += n;
}

static inline void add_domain(const char *name)
{
	while (*name != '\0') {
		const char *dot = strchrnul(name, '.');
		uint8_t n = (uint8_t)(dot - name);

		add_bytes(&n, 1);
		add_bytes(name, n);
		name = *dot == '.' ? dot + 1 : dot;
	}
	add_bytes("", 1);
}

/* Count: where in the header records of this section are counted; owner NULL: the name asked for. */
static inline void add_record(size_t count, const char *owner, unsigned type, unsigned ttl, const void *data, size_t n)
{
	const uint8_t head[] = {0, (uint8_t)type, 0, 1, 0, 0, (uint8_t)(ttl >> 8), (uint8_t)ttl, 0, (uint8_t)n};

	reply.p[count + 1]++;
	if (owner == NULL)
		add_bytes("\xc0\x0c", 2);
	else
		add_domain(owner);
	add_bytes(head, sizeof(head));
	add_bytes(data, n);
}

static inline void add_addresses(const char *owner)
{
	struct slice list = slice_of(server.ip), piece;

	while (slice_split(&list, ',', &piece)) {
		char text[64];
		struct in_addr a;

		snprintf(text, sizeof(text), "%.*s", (int)piece.n, piece.p);
		inet_pton(AF_INET, text, &a);
		add_record(6, owner, ns_t_a, server.ttl, &a, sizeof(a));
	}
}

static inline void add_soa(size_t count)
{
	const uint32_t numbers[] = {htonl(server.serial), 0, 0, 0, 0};
	uint8_t data[22] = {0, 0};

	memcpy(data + 2, numbers, sizeof(numbers));
	add_record(count, server.zone, ns_t_soa, 60, data, sizeof(data));
}

static inline void answer_soa(const char *name)
{
	size_t n = strlen(name), nzone = server.zone == NULL ? 0 : strlen(server.zone);

	snprintf(server.soa_asked[server.nsoa++ % 8], sizeof(server.soa_asked[0]), "%s", name);
	if (server.alias != NULL && strcmp(name, server.alias) == 0)
		add_record(6, NULL, ns_t_cname, 60, "\4else\5where", 12);
	else if (nzone > 0 && n >= nzone && strcasecmp(name + n - nzone, server.zone) == 0)
		add_soa(n == nzone ? 6 : 8);
}

static inline void answer_addresses(const char *name, unsigned type)
{
	const char *owner = NULL;

	server.nqueries++;
	if (server.ip == NULL) {
		reply.p[3] = 0x83;
		return;
	}
	if (server.alias != NULL && strcmp(name, server.alias) == 0) {
		add_record(6, NULL, ns_t_cname, server.alias_ttl, "\4else\5where", 12);
		owner = "else.where";
	}
	if (type == ns_t_a)
		add_addresses(owner);
}

static inline void answer(const uint8_t *p, size_t n)
{
	char name[256] = "";
	size_t q = 12;

	for (; q < n && p[q] != 0; q += p[q] + 1u) {
		strncat(name, (const char *)p + q + 1, p[q]);
		strcat(name, ".");
	}
	name[strlen(name) - 1] = '\0';
	q += 5;
	reply.n = 0;
	add_bytes(p, q);
	reply.p[2] = 0x81;
	reply.p[3] = server.fails ? 0x82 : 0x80;
	memset(reply.p + 6, 0, 6);
	if (server.fails)
		server.nqueries++;
	else if (p[q - 3] == ns_t_soa)
		answer_soa(name);
	else
		answer_addresses(name, p[q - 3]);
}

static inline void on_query(EV_P_ ev_io *io, int events)
{
	uint8_t p[512];
	struct addr_any from = {.len = sizeof(from.u)};
	ssize_t n = recvfrom(io->fd, p, sizeof(p), 0, &from.u.sa, &from.len);

	(void)loop;
	(void)events;
	if (n < 17)
		return;
	answer(p, (size_t)n);
	if (!server.is_silent) {
		sendto(io->fd, reply.p, reply.n, 0, &from.u.sa, from.len);
	} else if (held.n < sizeof(held.asked) / sizeof(held.asked[0])) {
		held.asked[held.n].from = from;
		held.asked[held.n].size = (size_t)n;
		memcpy(held.asked[held.n++].p, p, (size_t)n);
	}
}

/* Answers late what has not been answered while it was silent. */
static inline void answer_held(void)
{
	for (size_t i = 0; i < held.n; i++) {
		answer(held.asked[i].p, held.asked[i].size);
		sendto(server.io.fd, reply.p, reply.n, 0, &held.asked[i].from.u.sa, held.asked[i].from.len);
	}
	held.n = 0;
}

static inline void start_server(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct addr_any a;
	struct addr self;

	addr_any_from_ip(&a, "127.0.0.1", 0);
	if (bind(fd, &a.u.sa, a.len) != 0)
		abort();
	addr_of_self(&self, fd);
	memset(&server, 0, sizeof(server));
	held.n = 0;
	server.port = self.port;
	server.ttl = 60;
	ev_io_init(&server.io, on_query, fd, EV_READ);
	ev_io_start(loop->ev, &server.io);
	tempdir_write("resolv.conf", "nameserver 127.0.0.1\noptions retrans:300 retry:1 timeout:1 attempts:1\n");
}

static inline void stop_server(void)
{
	ev_io_stop(loop->ev, &server.io);
	close(server.io.fd);
}
