/*
 * Asks PAM whether a user may log in: authentication and account management.
 * Blocks. For the processes of auth/helper.
 */
#pragma once
#include <stdbool.h>

#include "auth/external.h"

/* False: built without PAM, and all it answers is EXTERNAL_UNAVAILABLE. */
bool pam_is_supported(void);

/* confdir: where the service's file is, instead of the system's place; NULL: there. */
void pam_verify(const struct external_login *login, const char *confdir, struct external_answer *answer);
