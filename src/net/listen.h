/*
 * Listening sockets, TCP and Unix-domain.
 */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/str.h"
#include "net/inherited.h"
#include "net/loop.h"

struct listeners;

struct listen_options {
	const char *addresses;           /* comma list of IPs or names; "*" for all; "" for no TCP */
	int port;
	int backlog;
	bool reuseport;
	int defer_accept;                /* seconds; 0 off, and off with reuseport */
	const char *unix_dir;            /* "" for none, "@name" in the abstract namespace */
	int unix_mode;
	const char *unix_group;          /* "" to leave the group alone */
	/*
	 * Sockets to listen on in the place of opening them (NULL: none); the caller closes those that are left. Taken are
	 * those with the addresses above, and the others opened; or with take_all, as the service manager means it,
	 * all of them, and of the addresses above counts only the kind, TCP or Unix, that none of them is of.
	 */
	struct inherited *inherited;
	bool take_all;
};

/* A new client. */
struct accepted {
	int fd;                          /* non-blocking; whoever is called owns it */
	bool is_unix;
	bool has_options;                /* those of listeners_set_tcp() that a socket inherits */
	struct addr peer, own_end;
};

typedef void accept_fn(void *arg, const struct accepted *accepted);

/*
 * Opens all or none; then *error says what failed. Names are resolved here,
 * once, at start. Sockets that were inherited are shared until
 * listeners_own() says otherwise.
 */
struct listeners *listeners_open(struct loop *loop, const struct listen_options *options, accept_fn *fn, void *arg,
				 struct strbuf *error);

/* Accepts nobody until listeners_resume(): who comes waits in the kernel's queue. */
void listeners_suspend(struct listeners *l);
void listeners_resume(struct listeners *l);

/*
 * Of shared sockets only the descriptors are closed: who waits in the kernel's
 * queue is the other process's, and so is a Unix socket's file. They are ours
 * alone from now on; they are another process's from now on, and ours closed.
 */
void listeners_own(struct listeners *l);
void listeners_hand_over(struct listeners *l);

/* The descriptors, as many as fit; returns how many there are. */
size_t listeners_descriptors(const struct listeners *l, int *fds, size_t max);

/*
 * Stops listening on the TCP sockets, having accepted who waits in the kernel's queue: with the socket's end they would
 * be refused. With reuseport other processes are there for those who come next, but the kernel does not know until
 * the socket is gone who is not to be given to it: their first packets are dropped for a quarter of a second, in
 * which those who are half way in get all the way. They are sent again a second later, and taken by the others.
 * on_closed(arg of listeners_open()) is called when that is over, and not at all when it did not have to be.
 */
void listeners_close_tcp(struct listeners *l, void (*on_closed)(void *arg));

/* listeners_close_tcp() goes on. NULL is allowed. */
bool listeners_are_closing(const struct listeners *l);

void listeners_close(struct listeners **l);

/* Options of a TCP connection, taken by clients' and servers' sockets alike; 0 leaves the system's value. */
struct tcp_options {
	bool keepalive;
	int keepidle, keepintvl, keepcnt;
	int user_timeout_ms;
	int socket_buffer;
};
void tcp_apply(int fd, const struct tcp_options *options);

/*
 * The same for those who are accepted from now on: what nearly everybody has set (no delay, keepalive) the listening
 * sockets pass on, at no system call for each; tcp_apply_accepted() does the rest.
 */
void listeners_set_tcp(struct listeners *l, const struct tcp_options *options);
void tcp_apply_accepted(const struct accepted *accepted, const struct tcp_options *options);
