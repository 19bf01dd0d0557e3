/*
 * What sessions have to do when a pool, a user, a database or a host comes, changes or goes. `arg` is the pooler.
 */
#pragma once
#include "pool/registry.h"
#include "pooler/state.h"

struct registry_hooks registry_hooks_of(struct pooler *p);

/* For hosts_on_gone() and dns_on_change(). */
void registry_hooks_host_gone(void *arg, struct host *host);
void registry_hooks_addresses_changed(void *arg, const char *host, const struct addr_any *addresses, size_t n);
