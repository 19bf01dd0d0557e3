/*
 * Listening sockets that another process has opened: the one that runs so far
 * (a takeover), or the service manager (socket activation).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/str.h"

/* More than any list of addresses has, and what fits into one message between processes. */
#define INHERITED_MAX 253

struct inherited {
	int fds[INHERITED_MAX];          /* -1: taken */
	size_t n;
};

/*
 * Makes them non-blocking. False, and *error, when one is no stream socket that listens: it must not be taken for
 * one of ours, and whoever passed it meant something else.
 */
bool inherited_check(const struct inherited *i, struct strbuf *error);

/* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC when the kernel does not say. */
int inherited_family(int fd);

/* The socket bound to this address, which is the caller's from then on; -1: there is none. */
int inherited_take(struct inherited *i, const struct sockaddr *sa, socklen_t len);

/* Closes those that nobody has taken. */
void inherited_close(struct inherited *i);
