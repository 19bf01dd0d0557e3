/*
 * Socket addresses, in 20 bytes: an IPv4 or IPv6 address and port, or a
 * Unix-domain peer, of which only the process id is worth keeping.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

struct addr {
	uint8_t family;          /* AF_INET, AF_INET6, AF_UNIX; 0 unknown */
	uint16_t port;           /* host order; 0 for AF_UNIX */
	union {
		struct in_addr v4;
		struct in6_addr v6;
		uint32_t pid;    /* AF_UNIX: of the peer, 0 unknown */
	} u;
};

/* A socket address by itself, long enough for all three families. */
struct addr_any {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		char room[128];  /* sizeof(struct sockaddr_un), rounded up */
	} u;
};

void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa);

/* Of a peer at the other end of fd, whose socket address the kernel has told; a Unix-domain peer is known by its pid. */
void addr_of_accepted(struct addr *a, int fd, const struct sockaddr *sa);

/* The peer's and our own address of a connected socket; family 0 when the kernel does not say. */
void addr_of_peer(struct addr *a, int fd);
void addr_of_self(struct addr *a, int fd);

/* 0.0.0.0 or ::, where a socket listens on every address. */
bool addr_is_any(const struct addr *a);

/* 127.0.0.0/8 or ::1. */
bool addr_is_loopback(const struct addr *a);

bool addr_eq(const struct addr *a, const struct addr *b);

/* "10.0.0.7", "::1", "unix". */
void addr_print_host(const struct addr *a, struct strbuf *out);

/* As log lines have it: "10.0.0.7:5121", "[::1]:5121", "unix(4711):0". */
void addr_print(const struct addr *a, struct strbuf *out);

/* A numeric IPv4 or IPv6 address; false if the text is none. */
bool addr_any_from_ip(struct addr_any *a, const char *text, int port);

/* "<dir>/.s.PGSQL.<port>", "@name" for the abstract namespace; false if it is too long. */
bool addr_any_from_unix(struct addr_any *a, const char *dir, int port);

void addr_any_set_port(struct addr_any *a, int port);
bool addr_any_eq(const struct addr_any *a, const struct addr_any *b);
