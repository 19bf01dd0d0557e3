#include "conf/file_modes.h"

#include <sys/stat.h>

#include "conf/ldap_options.h"
#include "conf/names.h"

/* What is in a file, and so who may not read it. */
enum content { CONTENT_RULES, CONTENT_PASSWORDS, CONTENT_KEY };

/* What others may not do; a key's file may be read by the group of root only. */
static mode_t forbidden(enum content content, bool is_roots)
{
	switch (content) {
	case CONTENT_RULES:
		return S_IWGRP | S_IWOTH;
	case CONTENT_PASSWORDS:
		return S_IWGRP | S_IRWXO;
	case CONTENT_KEY:
		break;
	}
	return is_roots ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
}

static const char *fault(mode_t excess, enum content content)
{
	if (excess & (S_IWGRP | S_IWOTH))
		return "others can change it";
	return content == CONTENT_KEY ? "others can read the private key in it" : "others can read the passwords in it";
}

static void check(const char *file, enum content content, struct conf_problems *problems)
{
	struct stat st;
	mode_t mode, excess;

	if (file == NULL || file[0] == '\0' || stat(file, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	mode = st.st_mode & 07777;
	excess = mode & forbidden(content, st.st_uid == 0);
	if (excess != 0)
		conf_warning(problems, (struct conf_place){file, 0}, "mode %04o: %s: chmod %04o %s", (unsigned)mode,
			     fault(excess, content), (unsigned)(mode & ~forbidden(content, st.st_uid == 0)), file);
}

static bool has_secret(const struct userlist *list)
{
	for (size_t i = 0; i < userlist_count(list); i++)
		if (userlist_at(list, i)->secret[0] != '\0')
			return true;
	return false;
}

/* Each file with entries that have a password, once: an included one may stand between parts of another. */
static void check_passwords(const struct conf *conf, struct names *checked, struct conf_problems *problems)
{
	const char *options = conf->origins[SETTING_auth_ldap_options].file;

	if (options != NULL && ldap_options_have_password(conf->s.auth_ldap_options)) {
		check(options, CONTENT_PASSWORDS, problems);
		names_add(checked, options, checked);
	}
	for (const struct conf_database *db = conf->databases; db != NULL; db = db->next) {
		if (db->password == NULL || db->at.file == NULL || names_find(checked, slice_of(db->at.file)) != NULL)
			continue;
		check(db->at.file, CONTENT_PASSWORDS, problems);
		names_add(checked, db->at.file, checked);
	}
}

void file_modes_check(const struct conf *conf, struct conf_problems *problems)
{
	struct arena *scratch = arena_new();
	struct names *checked = names_new(scratch);

	check_passwords(conf, checked, problems);
	if (names_find(checked, slice_of(conf->s.conffile)) == NULL)
		check(conf->s.conffile, CONTENT_RULES, problems);
	check(conf->s.auth_file, has_secret(conf->userlist) ? CONTENT_PASSWORDS : CONTENT_RULES, problems);
	check(conf->s.auth_hba_file, hba_has_password(conf->hba) ? CONTENT_PASSWORDS : CONTENT_RULES, problems);
	check(conf->s.auth_ident_file, CONTENT_RULES, problems);
	check(conf->s.client_tls_key_file, CONTENT_KEY, problems);
	check(conf->s.server_tls_key_file, CONTENT_KEY, problems);
	check(conf->s.http_tls_key_file, CONTENT_KEY, problems);
	arena_free(scratch);
}
