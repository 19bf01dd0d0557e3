/*
 * What differs between two snapshots, in lines for the log.
 */
#include "conf/conf.h"

/* Two texts of an entry, either of which may be NULL: nothing is said. */
static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void tell_values(const char *owner, const char *key, const struct strbuf *old, const struct strbuf *new,
			struct strbuf *lines)
{
	strbuf_addf(lines, "%s%s changed from '%s' to '%s'\n", owner, key, old->n > 0 ? old->p : "",
		    new->n > 0 ? new->p : "");
}

static void tell_settings(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	struct strbuf before, after;

	strbuf_init(&before);
	strbuf_init(&after);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = setting_by_rank(i);

		if (setting_equal(&old->s, &new->s, id))
			continue;
		strbuf_reset(&before);
		strbuf_reset(&after);
		setting_print(&old->s, id, &before);
		setting_print(&new->s, id, &after);
		tell_values("", setting_info(id)->name, &before, &after, lines);
	}
	strbuf_fini(&before);
	strbuf_fini(&after);
}

/* --- entries --- */

/* One entry as it was and as it is, and what the lines about it begin with. */
struct compared {
	const char *owner;
	struct strbuf *lines;
};

static void compare_text(const struct compared *c, const char *key, const char *old, const char *new)
{
	if (!same_text(old, new))
		strbuf_addf(c->lines, "%s%s changed from '%s' to '%s'\n", c->owner, key, old != NULL ? old : "",
			    new != NULL ? new : "");
}

/* Which may hold a password. */
static void compare_secret(const struct compared *c, const char *key, const char *old, const char *new)
{
	if (!same_text(old, new))
		strbuf_addf(c->lines, "%s%s changed\n", c->owner, key);
}

static void print_override(const struct conf_overrides *o, enum setting_id id, struct strbuf *out)
{
	struct setting_value value;

	if (!o->is_set[id]) {
		strbuf_add_str(out, "inherited");
		return;
	}
	value = overrides_value(o, id);
	strbuf_add_char(out, '\'');
	setting_print_value(id, &value, out);
	strbuf_add_char(out, '\'');
}

static void compare_overrides(const struct compared *c, const struct conf_overrides *old,
			      const struct conf_overrides *new)
{
	for (int i = 0; i < SETTING_ENTITY_COUNT; i++) {
		enum setting_id id = (enum setting_id)i;

		if (overrides_equal(old, new, id))
			continue;
		strbuf_addf(c->lines, "%s%s changed from ", c->owner, overrides_key(id));
		print_override(old, id, c->lines);
		strbuf_add_str(c->lines, " to ");
		print_override(new, id, c->lines);
		strbuf_add_char(c->lines, '\n');
	}
}

static void print_hosts(const struct conf_host *hosts, size_t n, struct strbuf *out)
{
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out, "%s%s:%d", i > 0 ? "," : "", hosts[i].host, hosts[i].port);
}

static void compare_hosts(const struct compared *c, const struct conf_database *old, const struct conf_database *new)
{
	struct strbuf before, after;

	strbuf_init(&before);
	strbuf_init(&after);
	print_hosts(old->hosts, old->nhosts, &before);
	print_hosts(new->hosts, new->nhosts, &after);
	if (!slice_eq(strbuf_slice(&before), strbuf_slice(&after)))
		tell_values(c->owner, "host", &before, &after, c->lines);
	strbuf_fini(&before);
	strbuf_fini(&after);
}

static const char *parameter_of(const struct conf_database *db, const char *name)
{
	for (size_t i = 0; i < db->nparameters; i++) {
		if (strcmp(db->parameters[i].name, name) == 0)
			return db->parameters[i].value;
	}
	return NULL;
}

static void compare_parameters(const struct compared *c, const struct conf_database *old,
			       const struct conf_database *new)
{
	for (size_t i = 0; i < old->nparameters; i++)
		compare_text(c, old->parameters[i].name, old->parameters[i].value,
			     parameter_of(new, old->parameters[i].name));
	for (size_t i = 0; i < new->nparameters; i++) {
		if (parameter_of(old, new->parameters[i].name) == NULL)
			compare_text(c, new->parameters[i].name, NULL, new->parameters[i].value);
	}
}

static void compare_database(const struct conf_database *old, const struct conf_database *new, struct strbuf *lines)
{
	char owner[CONF_DATABASE_NAME_MAX + 16];
	const struct compared c = {owner, lines};
	struct strbuf text;

	strbuf_init_fixed(&text, owner, sizeof(owner));
	strbuf_addf(&text, "database %s: ", new->name);
	compare_hosts(&c, old, new);
	compare_text(&c, "dbname", old->dbname, new->dbname);
	compare_text(&c, "user", old->user, new->user);
	compare_secret(&c, "password", old->password, new->password);
	compare_secret(&c, "connect_query", old->connect_query, new->connect_query);
	compare_parameters(&c, old, new);
	compare_overrides(&c, &old->overrides, &new->overrides);
}

static void tell_databases(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	for (const struct conf_database *db = old->databases; db != NULL; db = db->next) {
		if (conf_find_database(new, slice_of(db->name)) == NULL)
			strbuf_addf(lines, "database %s: removed\n", db->name);
	}
	for (const struct conf_database *db = new->databases; db != NULL; db = db->next) {
		const struct conf_database *before = conf_find_database(old, slice_of(db->name));

		if (before != NULL)
			compare_database(before, db, lines);
		else
			strbuf_addf(lines, "database %s: added\n", db->name);
	}
}

/* An entry of a user that is not there is one in which nothing is set. */
static void compare_user(const char *name, const struct conf_user *old, const struct conf_user *new,
			 struct strbuf *lines)
{
	static const struct conf_overrides none;
	char owner[CONF_USER_NAME_MAX + 16];
	const struct compared c = {owner, lines};
	struct strbuf text;

	strbuf_init_fixed(&text, owner, sizeof(owner));
	strbuf_addf(&text, "user %s: ", name);
	compare_overrides(&c, old != NULL ? &old->overrides : &none, new != NULL ? &new->overrides : &none);
}

static void tell_users(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	for (const struct conf_user *user = old->users; user != NULL; user = user->next) {
		if (conf_find_user(new, slice_of(user->name)) == NULL)
			compare_user(user->name, user, NULL, lines);
	}
	for (const struct conf_user *user = new->users; user != NULL; user = user->next)
		compare_user(user->name, conf_find_user(old, slice_of(user->name)), user, lines);
}

static const struct conf_peer *find_peer(const struct conf *conf, int id)
{
	const struct conf_peer *peer = conf->peers;

	while (peer != NULL && peer->id != id)
		peer = peer->next;
	return peer;
}

static void compare_peer(const struct conf_peer *old, const struct conf_peer *new, struct strbuf *lines)
{
	char owner[32];
	const struct compared c = {owner, lines};
	struct strbuf text;

	strbuf_init_fixed(&text, owner, sizeof(owner));
	strbuf_addf(&text, "peer %d: ", new->id);
	compare_text(&c, "host", old->host, new->host);
	if (old->port != new->port)
		strbuf_addf(lines, "%sport changed from '%d' to '%d'\n", owner, old->port, new->port);
	compare_overrides(&c, &old->overrides, &new->overrides);
}

static void tell_peers(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	for (const struct conf_peer *peer = old->peers; peer != NULL; peer = peer->next) {
		if (find_peer(new, peer->id) == NULL)
			strbuf_addf(lines, "peer %d: removed\n", peer->id);
	}
	for (const struct conf_peer *peer = new->peers; peer != NULL; peer = peer->next) {
		const struct conf_peer *before = find_peer(old, peer->id);

		if (before != NULL)
			compare_peer(before, peer, lines);
		else
			strbuf_addf(lines, "peer %d: added\n", peer->id);
	}
}

/* --- files --- */

/* Numbers only: there may be many, and a name beside "another secret" is more than a log should know. */
static void tell_secrets(const struct userlist *old, const struct userlist *new, struct strbuf *lines)
{
	size_t added = 0, removed = 0, changed = 0;

	for (size_t i = 0; i < userlist_count(old); i++)
		removed += userlist_find(new, slice_of(userlist_at(old, i)->name)) == NULL;
	for (size_t i = 0; i < userlist_count(new); i++) {
		const struct userlist_entry *now = userlist_at(new, i);
		const struct userlist_entry *before = userlist_find(old, slice_of(now->name));

		added += before == NULL;
		changed += before != NULL && strcmp(before->secret, now->secret) != 0;
	}
	if (added + removed + changed > 0)
		strbuf_addf(lines, "auth_file: %zu users added, %zu removed, %zu with another secret\n", added, removed,
			    changed);
}

void conf_print_changes(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	tell_settings(old, new, lines);
	tell_databases(old, new, lines);
	tell_users(old, new, lines);
	tell_peers(old, new, lines);
	if (old->userlist != new->userlist)
		tell_secrets(old->userlist, new->userlist, lines);
	if (hba_digest(old->hba) != hba_digest(new->hba))
		strbuf_add_str(lines, "auth_hba_file: its text changed\n");
	if (ident_digest(old->ident) != ident_digest(new->ident))
		strbuf_add_str(lines, "auth_ident_file: its text changed\n");
}
