/*
 * Listening sockets, TCP and Unix-domain.
 */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/str.h"
#include "net/loop.h"

struct listeners;

struct listen_options {
	const char *addresses;           /* comma list of IPs or names; "*" for all; "" for no TCP */
	int port;
	int backlog;
	bool reuseport;
	int defer_accept;                /* seconds; 0 off */
	const char *unix_dir;            /* "" for none, "@name" in the abstract namespace */
	int unix_mode;
	const char *unix_group;          /* "" to leave the group alone */
};

/* A new client's socket, non-blocking. Whoever is called owns it. */
typedef void accept_fn(void *arg, int fd, bool is_unix);

/* Opens all or none; then *error says what failed. Names are resolved here, once, at start. */
struct listeners *listeners_open(struct loop *loop, const struct listen_options *options, accept_fn *fn, void *arg,
				 struct strbuf *error);

/* Accepts nobody until listeners_resume(): who comes waits in the kernel's queue. */
void listeners_suspend(struct listeners *l);
void listeners_resume(struct listeners *l);

/* Stops accepting on the TCP sockets; those in the kernel's queue are refused with the sockets' end. */
void listeners_close_tcp(struct listeners *l);
void listeners_close(struct listeners **l);

/* Options of a TCP connection, taken by clients' and servers' sockets alike; 0 leaves the system's value. */
struct tcp_options {
	bool keepalive;
	int keepidle, keepintvl, keepcnt;
	int user_timeout_ms;
	int socket_buffer;
};
void tcp_apply(int fd, const struct tcp_options *options);
