#include "auth/support.h"

#include "auth/ldap.h"
#include "auth/pam.h"

static void require(bool is_supported, bool is_by_type, bool is_by_rule, const char *name, const struct conf *conf,
		    struct conf_problems *problems)
{
	if (is_supported || (!is_by_type && !is_by_rule))
		return;
	conf_error(problems, (struct conf_place){is_by_type ? conf->s.conffile : conf->s.auth_hba_file, 0},
		   "authentication by %s is asked for, but this program was built without it", name);
}

void auth_support_check(const struct conf *conf, struct conf_problems *problems)
{
	require(pam_is_supported(), conf->s.auth_type == AUTH_TYPE_PAM, hba_uses(conf->hba, HBA_PAM), "PAM", conf,
		problems);
	require(ldap_is_supported(), conf->s.auth_type == AUTH_TYPE_LDAP, hba_uses(conf->hba, HBA_LDAP), "LDAP", conf,
		problems);
}
