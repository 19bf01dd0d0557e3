/*
 * c-ares on the loop: its sockets, its timer, and the two questions that are
 * asked of it. What the answers mean is the callers' business.
 */
#pragma once
#include <ares.h>

#include "net/loop.h"

struct dns_channel;

/* resolv_conf: "" for the system's. NULL, and *error a static text, when c-ares cannot be set up. */
struct dns_channel *dns_channel_new(struct loop *loop, const char *resolv_conf, const char **error);

/* Ends the queries under way: their callbacks come now, with ARES_EDESTRUCTION. NULL is allowed. */
void dns_channel_free(struct dns_channel *c);

/*
 * The addresses of a host, of either family. Each calls fn once; before it
 * returns when no name server has to be asked, as for names of the hosts file.
 */
void dns_channel_ask_addresses(struct dns_channel *c, const char *host, ares_addrinfo_callback fn, void *arg);

/* The SOA record of a whole name, one to which no search list is applied. */
void dns_channel_ask_soa(struct dns_channel *c, const char *name, ares_callback fn, void *arg);
