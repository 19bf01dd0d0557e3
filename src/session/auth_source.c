#include "session/auth_source.h"

#include "base/log.h"

static const struct conf_database *find(const struct conf *conf, struct slice name)
{
	const struct conf_database *db = conf_find_database(conf, name);

	return db != NULL ? db : conf_find_database(conf, SLICE_LIT("*"));
}

bool auth_source_for(const struct hub *hub, const struct atom *database, struct auth_query_source *source)
{
	const struct conf *conf = registry_conf(hub->registry);
	const struct conf_database *db = database == NULL ? NULL : find(conf, atom_slice(database));
	const char *user = conf_effective_string(conf, SETTING_auth_user, db);
	const char *name = conf_effective_string(conf, SETTING_auth_dbname, db);
	const char *query = conf_effective_string(conf, SETTING_auth_query, db);
	const struct userlist_entry *entry;

	if (user[0] == '\0')
		return false;
	if (name[0] != '\0')
		db = find(conf, slice_of(name));
	else if (database != NULL)
		name = database->text;
	if (db == NULL && name[0] == '\0')
		return false;
	if (db == NULL) {
		log_warning("auth_query cannot be asked: database \"%s\" is not configured", name);
		return false;
	}
	entry = userlist_find(conf->userlist, slice_of(user));
	*source = (struct auth_query_source){
		.hosts = db->hosts,
		.nhosts = db->nhosts,
		.dbname = db->dbname != NULL ? db->dbname : name,
		.user = user,
		.secret = entry == NULL ? NULL : entry->secret,
		.secret_type = entry == NULL ? SECRET_NONE : entry->type,
		.query = query,
	};
	return true;
}
