/*
 * What is done to many sessions at once, by the operator or by a reload.
 */
#pragma once
#include "session/hub.h"
#include "session/server_ends.h"

/*
 * New connections are wanted in the place of these: idle ones go now, busy ones
 * when they are released, for that reason. NULL: of all databases.
 */
void sweep_retire_servers(struct hub *hub, const struct database *db, enum server_end why);

/* Servers that were to go and that clients have still. NULL: of all databases. */
bool sweep_has_retired(const struct hub *hub, const struct database *db);

/*
 * A host name has other addresses now: the same for servers that were reached
 * through it and are at none of these. Those that are still logging in go too.
 */
void sweep_retire_vanished(struct hub *hub, const char *host, const struct addr_any *addresses, size_t n);

/* What these two have left goes as far as it may now: where server_fast_close has been set, clients' sessions too. */
void sweep_close_retired(struct hub *hub);

/* The database is gone: its clients are told, its servers end. */
void sweep_remove_database(struct hub *hub, const struct database *db);

/* Clients and servers end now, whatever they are at. NULL: of all databases. Logins without a pool yet go on. */
void sweep_kill(struct hub *hub, const struct database *db);

/* Clients that have no transaction under way (in session mode: no server) are told that the program ends. */
void sweep_close_idle_clients(struct hub *hub);

/* Idle servers end. */
void sweep_close_idle_servers(struct hub *hub);

/* Everything ends, now. */
void sweep_close_all(struct hub *hub);

/* Servers that no client has and that do nothing for one, those that log in included, end. NULL: of all databases. */
void sweep_close_free_servers(struct hub *hub, const struct database *db, enum server_end why);

/* Servers that clients have, or that work for them. NULL: of all databases. */
unsigned sweep_busy_servers(const struct hub *hub, const struct database *db);

/* Idle servers end where there are more than a bound, or their pool's size, allows that has been lowered. */
void sweep_close_excess(struct hub *hub);

/* Opens what pools want, and makes the pools of forced users that want servers even without clients. */
void sweep_fill_pools(struct hub *hub);
