#include "admin/operate.h"

#include <errno.h>
#include <stdlib.h>

#include "admin/answers.h"
#include "control/auth_query.h"
#include "session/pause.h"
#include "session/suspend.h"
#include "session/sweep.h"

static const char *argument_of(const struct request *rq)
{
	return rq->statement->argument;
}

static bool has_argument(const struct request *rq)
{
	return argument_of(rq)[0] != '\0';
}

/* "PAUSE command issued", "PAUSE 'db' command issued". */
static void note(const struct request *rq, const char *name)
{
	if (has_argument(rq))
		request_log(rq, "%s '%s' command issued", name, argument_of(rq));
	else
		request_log(rq, "%s command issued", name);
}

/* The database that the command is for, an automatic one if need be. NULL: an error was answered. */
static struct database *find_database(const struct request *rq, const char *not_for_admin)
{
	struct slice name = slice_of(argument_of(rq));
	struct database *db;

	if (hub_is_console(name)) {
		answer_error_about(rq, INVALID_CATALOG_NAME, not_for_admin);
		return NULL;
	}
	db = registry_database(rq->hub->registry, name);
	if (db == NULL)
		answer_error_about(rq, INVALID_CATALOG_NAME, "no such database: %s");
	return db;
}

/* --- PAUSE, SUSPEND, RESUME --- */

/* The client, if it is one, is answered when what is begun now is complete. False: it has got an error. */
static bool begin(const struct request *rq, enum wait_kind kind, bool is_own)
{
	if (rq->client == NULL || waits_add(rq->waits, rq->client, kind, argument_of(rq), is_own))
		return true;
	answer_error(rq, OUT_OF_MEMORY, "out of memory", NULL);
	return false;
}

static bool is_shutting_down(const struct request *rq)
{
	return rq->hub->shutdown != SHUTDOWN_NOT;
}

static bool pause_whole(const struct request *rq)
{
	struct hub *hub = rq->hub;

	if (hub->pause != PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	note(rq, "PAUSE");
	if (!begin(rq, WAIT_PAUSE, true))
		return true;
	pause_all(hub);
	return false;
}

static bool pause_one(const struct request *rq)
{
	struct hub *hub = rq->hub;
	struct database *db;

	if (hub->pause == PAUSE_SUSPEND)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	db = find_database(rq, "cannot pause admin db: %s");
	if (db == NULL)
		return true;
	note(rq, "PAUSE");
	if (!begin(rq, WAIT_PAUSE_DATABASE, !db->is_paused))
		return true;
	pause_database(hub, db);
	return false;
}

bool command_pause(const struct request *rq)
{
	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	return has_argument(rq) ? pause_one(rq) : pause_whole(rq);
}

bool command_suspend(const struct request *rq)
{
	struct hub *hub = rq->hub;

	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	if (hub->pause != PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	if (pause_has_database(hub))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "cannot suspend with paused databases", NULL);
	note(rq, "SUSPEND");
	if (!begin(rq, WAIT_SUSPEND, true))
		return true;
	suspend_all(hub);
	return false;
}

static bool resume_whole(const struct request *rq)
{
	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	if (rq->hub->pause == PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is not paused/suspended", NULL);
	note(rq, "RESUME");
	pause_resume_all(rq->hub);
	return answer_done(rq, "RESUME");
}

static bool resume_one(const struct request *rq)
{
	struct hub *hub = rq->hub;
	struct slice name = slice_of(argument_of(rq));
	struct database *db = registry_find_database(hub->registry, name);

	if (db == NULL && !hub_is_console(name))
		return answer_error_about(rq, INVALID_CATALOG_NAME, "no such database: %s");
	if (db == NULL || !db->is_paused)
		return answer_error_about(rq, NOT_IN_PREREQUISITE_STATE, "database %s is not paused");
	note(rq, "RESUME");
	pause_resume_database(hub, db);
	return answer_done(rq, "RESUME");
}

bool command_resume(const struct request *rq)
{
	return has_argument(rq) ? resume_one(rq) : resume_whole(rq);
}

/* --- KILL, KILL_CLIENT --- */

static bool kill_whole(const struct request *rq)
{
	struct hub *hub = rq->hub;

	if (hub->pause != PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	note(rq, "KILL");
	pause_all(hub);
	sweep_kill(hub, NULL);
	return answer_done(rq, "KILL");
}

static bool kill_one(const struct request *rq)
{
	struct hub *hub = rq->hub;
	struct database *db;

	if (hub->pause == PAUSE_SUSPEND)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	db = find_database(rq, "cannot kill admin db: %s");
	if (db == NULL)
		return true;
	note(rq, "KILL");
	pause_database(hub, db);
	sweep_kill(hub, db);
	return answer_done(rq, "KILL");
}

/* Nothing of theirs is opened again before RESUME. */
bool command_kill(const struct request *rq)
{
	return has_argument(rq) ? kill_one(rq) : kill_whole(rq);
}

/* Digits and nothing else, in the base that they are written in: an id is decimal, a pointer has 0x in front. */
static bool read_client(const char *text, unsigned long long *number, bool *is_pointer)
{
	char *end;

	*is_pointer = strncmp(text, "0x", 2) == 0;
	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*number = strtoull(text, &end, *is_pointer ? 16 : 10);
	return errno == 0 && *end == '\0';
}

/* One that asks for a cancel is nobody's session. Pointers are only compared. */
static struct client *find_client(const struct hub *hub, unsigned long long number, bool is_pointer)
{
	struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if ((is_pointer ? (uintptr_t)c : c->id) == number && c->state != CLIENT_CLOSED &&
		    c->state != CLIENT_CANCEL)
			return c;
	return NULL;
}

/* Clients by what SHOW CLIENTS calls them, in the column id or in ptr. */
bool command_kill_client(const struct request *rq)
{
	unsigned long long number;
	struct client *c;
	bool is_pointer;

	if (!read_client(argument_of(rq), &number, &is_pointer))
		return answer_error(rq, INVALID_PARAMETER_VALUE, "invalid client pointer supplied",
				    "Accepted: a client's id or ptr, as SHOW CLIENTS has them.");
	c = find_client(rq->hub, number, is_pointer);
	if (c == NULL)
		return answer_error(rq, UNDEFINED_OBJECT, "client not found", NULL);
	note(rq, "KILL_CLIENT");
	answer_done(rq, "KILL_CLIENT");
	client_close(c, CLOSE_KILL_CLIENT);
	return c != rq->client;
}

/* --- DISABLE, ENABLE --- */

/* The answers of both name what is wrong with the same words. */
static bool set_disabled(const struct request *rq, const char *name, bool is_disabled)
{
	struct database *db;

	if (!has_argument(rq))
		return answer_error(rq, SYNTAX_ERROR, "a database is required", NULL);
	db = find_database(rq, "cannot disable admin db: %s");
	if (db == NULL)
		return true;
	note(rq, name);
	db->is_disabled = is_disabled;
	return answer_done(rq, name);
}

bool command_disable(const struct request *rq)
{
	return set_disabled(rq, "DISABLE", true);
}

bool command_enable(const struct request *rq)
{
	return set_disabled(rq, "ENABLE", false);
}

/* --- RECONNECT, WAIT_CLOSE --- */

bool command_reconnect(const struct request *rq)
{
	struct hub *hub = rq->hub;
	struct database *db = NULL;

	if (has_argument(rq)) {
		db = find_database(rq, "cannot reconnect admin db: %s");
		if (db == NULL)
			return true;
	} else {
		auth_queries_close_idle(hub->auth_queries);
	}
	note(rq, "RECONNECT");
	sweep_retire_servers(hub, db, SERVER_END_RECONNECT);
	return answer_done(rq, "RECONNECT");
}

bool command_wait_close(const struct request *rq)
{
	if (has_argument(rq) && find_database(rq, "cannot wait in admin db: %s") == NULL)
		return true;
	note(rq, "WAIT_CLOSE");
	return !begin(rq, WAIT_RETIRED, false);
}
