#include "session/pool_secret.h"

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "session/server.h"

static void forget_proofs(struct pool_secret *p)
{
	sys_wipe_text(&p->password);
	sys_wipe_text(&p->basis);
	scram_keys_fini(&p->keys);
	p->has_keys = false;
}

void pool_secret_forget(struct pool_secret *p)
{
	forget_proofs(p);
	sys_wipe_text(&p->looked_up);
}

static const struct userlist_entry *entry_of(const struct pool *pool)
{
	const struct conf *conf = registry_conf(pool_session(pool)->hub->registry);

	return userlist_find(conf->userlist, atom_slice(pool->user->name));
}

/* The secret that is stored of the user now: in auth_file, else what auth_query found. NULL: none. */
static const char *stored_secret(const struct pool *pool)
{
	const struct userlist_entry *entry = entry_of(pool);

	return entry != NULL ? entry->secret : pool_session(pool)->secret.looked_up;
}

static bool is_basis(const struct pool_secret *p, const char *secret)
{
	return p->basis != NULL && strcmp(p->basis, secret == NULL ? "" : secret) == 0;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_news(const struct pool *pool, const struct pool_lesson *lesson)
{
	const struct pool_secret *p = &pool_session(pool)->secret;

	return !is_same_text(p->looked_up, lesson->looked_up) || !is_basis(p, stored_secret(pool)) ||
	       (lesson->password != NULL && !is_same_text(p->password, lesson->password)) ||
	       (lesson->keys != NULL && !p->has_keys);
}

void pool_secret_learn(struct pool *pool, const struct pool_lesson *lesson)
{
	struct pool_secret *p = &pool_session(pool)->secret;
	const char *secret;

	if (pool->database->conf->user != NULL || !is_news(pool, lesson))
		return;
	sys_wipe_text(&p->looked_up);
	if (lesson->looked_up != NULL)
		p->looked_up = strdup(lesson->looked_up);
	secret = stored_secret(pool);
	if (!is_basis(p, secret)) {
		forget_proofs(p);
		p->basis = strdup(secret == NULL ? "" : secret);
	}
	if (lesson->password != NULL) {
		sys_wipe_text(&p->password);
		p->password = strdup(lesson->password);
	}
	if (lesson->keys != NULL) {
		p->keys = *lesson->keys;
		p->has_keys = true;
	}
	pool_session_try_again(pool);
}

/* A forced user's secret: only what the files say, whatever a client of that name has taught. */
static struct credentials forced_credentials(const struct pool *pool)
{
	const struct conf_database *db = pool->database->conf;
	const struct userlist_entry *entry = entry_of(pool);
	struct credentials c = {.user = pool->user->name->text};

	if (db->password != NULL) {
		c.secret = db->password;
		c.type = secret_type_of(db->password);
	} else if (entry != NULL) {
		c.secret = entry->secret;
		c.type = entry->type;
	}
	return c;
}

struct credentials pool_secret_credentials(const struct pool *pool)
{
	const struct pool_secret *p = &pool_session(pool)->secret;
	const char *secret = stored_secret(pool);
	struct credentials c = {.user = pool->user->name->text, .secret = secret};

	if (pool->database->conf->user != NULL)
		return forced_credentials(pool);
	if (secret != NULL)
		c.type = secret_type_of(secret);
	if (!is_basis(p, secret))
		return c;
	if (p->has_keys)
		c.keys = &p->keys;
	/* A password answers whatever a server may ask; a hash of it answers one question. */
	if (p->password != NULL && c.type != SECRET_PLAIN) {
		c.secret = p->password;
		c.type = SECRET_PLAIN;
	}
	return c;
}
