#include "pool/host.h"

#include <stdio.h>
#include <stdlib.h>

struct hosts {
	struct host *by_key;
	void (*on_gone)(void *arg, struct host *host);
	void *arg;
	struct pool_queue unsuited;
};

struct hosts *hosts_new(void)
{
	struct hosts *hosts = calloc(1, sizeof(*hosts));

	if (hosts != NULL)
		TAILQ_INIT(&hosts->unsuited);
	return hosts;
}

void hosts_free(struct hosts *hosts)
{
	free(hosts);
}

void hosts_on_gone(struct hosts *hosts, void (*fn)(void *arg, struct host *host), void *arg)
{
	hosts->on_gone = fn;
	hosts->arg = arg;
}

struct pool_queue *hosts_unsuited(struct hosts *hosts)
{
	return &hosts->unsuited;
}

static struct host *add(struct hosts *hosts, const char *name, int port, const char *key, size_t n)
{
	struct host *host = calloc(1, sizeof(*host) + n + 1);

	if (host == NULL)
		return NULL;
	memcpy(host->key, key, n);
	host->name = atom_get(slice_of(name));
	if (host->name != NULL)
		HASH_ADD_KEYPTR(hh, hosts->by_key, host->key, n, host);
	if (!HASH_HAS(host)) {
		atom_unref(&host->name);
		free(host);
		return NULL;
	}
	host->table = hosts;
	host->port = port;
	TAILQ_INIT(&host->blocked);
	return host;
}

struct host *hosts_find(const struct hosts *hosts, struct slice key)
{
	struct host *host;

	HASH_FIND(hh, hosts->by_key, key.p, key.n, host);
	return host;
}

struct host *host_ref(struct hosts *hosts, const char *name, int port)
{
	struct host *host = NULL;
	struct strbuf key;

	strbuf_init(&key);
	strbuf_addf(&key, "%s:%d", name, port);
	if (!key.failed) {
		host = hosts_find(hosts, strbuf_slice(&key));
		if (host == NULL)
			host = add(hosts, name, port, key.p, key.n);
	}
	strbuf_fini(&key);
	return host == NULL ? NULL : host_again(host);
}

struct host *host_again(struct host *host)
{
	host->refs++;
	return host;
}

static void free_host(struct host *host)
{
	struct hosts *hosts = host->table;

	while (!TAILQ_EMPTY(&host->blocked))
		pool_unblock(TAILQ_FIRST(&host->blocked));
	if (hosts->on_gone != NULL)
		hosts->on_gone(hosts->arg, host);
	HASH_DEL(hosts->by_key, host);
	failure_clear(&host->failure);
	atom_unref(&host->name);
	free(host);
}

void host_unref(struct host **host)
{
	struct host *h = *host;

	*host = NULL;
	if (h != NULL && --h->refs == 0)
		free_host(h);
}

struct host *hosts_next(const struct hosts *hosts, const struct host *previous)
{
	return previous == NULL ? hosts->by_key : previous->hh.next;
}

const char *host_state_text(const struct host *host)
{
	static const char *const texts[] = {
#define X(name, text) [BREAKER_##name] = text,
		BREAKER_STATES(X)
#undef X
	};
	if (!host->breaker.is_open && host->breaker.nfailures > 0)
		return "failing";
	return texts[breaker_state(&host->breaker)];
}

const char *host_role_text(const struct host *host)
{
	static const char *const texts[] = {
#define X(name, text) [HOST_##name] = text,
		HOST_ROLES(X)
#undef X
	};
	return texts[host->role];
}

bool host_suits(const struct host *host, enum target_session_attrs attrs)
{
	if (host->role == HOST_UNKNOWN)
		return true;
	switch (attrs) {
	case TARGET_READ_WRITE:
		return host->role == HOST_PRIMARY && !host->is_read_only;
	case TARGET_READ_ONLY:
		return host->role == HOST_STANDBY || host->is_read_only;
	case TARGET_PRIMARY:
		return host->role == HOST_PRIMARY;
	case TARGET_STANDBY:
		return host->role == HOST_STANDBY;
	case TARGET_ANY:
	case TARGET_PREFER_STANDBY:
		break;
	}
	return true;
}
