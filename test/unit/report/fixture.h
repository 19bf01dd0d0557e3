/*
 * A hub without sockets: a configuration, its registry and empty tables of
 * clients and servers.
 */
#pragma once
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "control/auth_query.h"
#include "pool/applications.h"
#include "pool/registry.h"
#include "pool/stmts.h"
#include "proto/params.h"
#include "session/client.h"
#include "session/server.h"

#include "../conf/tempdir.h"

static struct hub hub;

static inline bool accept_pool(void *arg, struct pool *pool)
{
	(void)arg;
	pool->session = calloc(1, sizeof(struct pool_session));
	return pool->session != NULL;
}

static inline void free_session(void *arg, struct pool *pool)
{
	(void)arg;
	free(pool->session);
}

static inline bool accept_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
	return true;
}

static inline void ignore_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
}

static inline void ignore_database(void *arg, struct database *db)
{
	(void)arg;
	(void)db;
}

/* The configuration of the given text; the test program fails without it. */
static inline struct conf *fixture_conf(const char *ini)
{
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("test.ini", ini), NULL, 0, &problems);
	if (conf == NULL) {
		fprintf(stderr, "%s\n", problems.errors.p);
		abort();
	}
	conf_problems_fini(&problems);
	return conf;
}

static inline void fixture_open(const char *ini)
{
	static const struct registry_hooks hooks = {
		.on_pool = accept_pool,
		.on_pool_freed = free_session,
		.on_user = accept_user,
		.on_user_freed = ignore_user,
		.on_database_changed = ignore_database,
		.on_database_removed = ignore_database,
		.on_auto_database = ignore_database,
	};
	static const struct listen_options nowhere = {.addresses = "", .unix_dir = "", .unix_group = ""};
	struct strbuf problem;
	const char *error;

	hub = (struct hub){
		.registry = registry_new(fixture_conf(ini), &hooks),
		.clients = slab_new("client_cache", sizeof(struct client)),
		.servers = slab_new("server_cache", sizeof(struct server)),
		.params = params_new("", &error),
		.stmts = stmts_new(),
		.loop = loop_new(),
	};
	hub.dns = dns_new(hub.loop, &(struct dns_options){.resolv_conf = ""}, &error);
	hub.auth_queries = auth_queries_new(hub.loop, hub.dns, &(struct auth_query_options){0});
	if (hub.registry == NULL || hub.params == NULL || hub.stmts == NULL || hub.dns == NULL || hub.auth_queries == NULL)
		abort();
	hub.no_params = paramset_empty(hub.params);
	hub.applications = applications_new(hub.params, 50);
	TAILQ_INIT(&hub.cancels);
	strbuf_init(&problem);
	hub.listeners = listeners_open(hub.loop, &nowhere, NULL, NULL, &problem);
	if (hub.listeners == NULL)
		abort();
}

static inline void fixture_close(void)
{
	struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub.clients, &i)) != NULL)
		paramset_unref(hub.params, &c->params);
	slab_free(hub.clients);
	slab_free(hub.servers);
	paramset_unref(hub.params, &hub.no_params);
	applications_free(&hub.applications);
	params_free(hub.params);
	stmts_free(&hub.stmts);
	registry_free(hub.registry);
	auth_queries_free(hub.auth_queries);
	dns_free(hub.dns);
	listeners_close(&hub.listeners);
	loop_free(hub.loop);
}

static inline struct pool *fixture_pool(const char *database, const char *user)
{
	struct database *db = registry_database(hub.registry, slice_of(database));

	return registry_pool(hub.registry, db, registry_user(hub.registry, slice_of(user)));
}

/* A client in some state, without a socket. */
static inline struct client *fixture_client(enum client_state state, const char *database, const char *user)
{
	struct client *c = slab_take(hub.clients);

	c->hub = &hub;
	c->id = ++hub.last_id;
	c->state = (uint8_t)state;
	c->conn.io.fd = -1;
	c->params = paramset_ref(hub.no_params);
	c->user = user == NULL ? NULL : registry_user(hub.registry, slice_of(user));
	c->database = database == NULL ? NULL : registry_database(hub.registry, slice_of(database));
	if (c->user != NULL)
		c->user->nconsoles += client_is_on_console(c);
	return c;
}

static inline struct server *fixture_server(struct pool *pool, enum pool_server_state state)
{
	struct server *s = slab_take(hub.servers);

	s->hub = &hub;
	s->id = ++hub.last_id;
	s->conn.io.fd = -1;
	s->phase = SERVER_READY;
	s->host = pool->database->hosts[0];
	pool_server_join(pool, &s->slot, clock_us());
	pool_server_enter(&s->slot, state);
	return s;
}
