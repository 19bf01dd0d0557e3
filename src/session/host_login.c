#include "session/host_login.h"

#include "session/pool_secret.h"

static const char *plain_password(const struct conf *conf, const char *user)
{
	const struct userlist_entry *entry = userlist_find(conf->userlist, slice_of(user));

	return entry != NULL && entry->type == SECRET_PLAIN ? entry->secret : NULL;
}

/* What a client has shown in the clear serves as well as what a file has. */
static const char *learnt_password(const struct pool *pool)
{
	const struct credentials c = pool_secret_credentials(pool);

	return c.type == SECRET_PLAIN ? c.secret : NULL;
}

bool host_login_find(const struct hub *hub, const struct database *db, struct connection_target *target)
{
	const struct conf *conf = registry_conf(hub->registry);
	const char *auth_user = conf_effective_string(conf, SETTING_auth_user, db->conf);
	const struct pool *pool = database_next_pool(db, NULL);

	if (db->conf->user != NULL) {
		target->user = db->conf->user;
		target->password = db->conf->password;
	} else if (auth_user[0] != '\0') {
		target->user = auth_user;
	} else if (pool != NULL) {
		target->user = pool->user->name->text;
		target->password = learnt_password(pool);
	} else {
		return false;
	}
	if (target->password == NULL)
		target->password = plain_password(conf, target->user);
	return true;
}
