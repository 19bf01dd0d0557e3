/*
 * A login whose password somebody else checks, PAM or a directory: what is
 * asked and what is answered.
 *
 * Whoever checks may block for long, so it happens in the processes of
 * auth/helper, and nothing that includes pam.h or ldap.h runs in the pooler's
 * own process.
 */
#pragma once
#include <stdint.h>

enum external_kind { EXTERNAL_PAM, EXTERNAL_LDAP };

struct external_login {
	enum external_kind kind;
	const char *target; /* PAM: the service; LDAP: options that ldap_options_parse() accepts */
	const char *user;
	const char *password;
	const char *remote_host; /* "": not known */
};

/* An answer that nobody has filled in lets nobody in. */
enum external_verdict {
	EXTERNAL_UNAVAILABLE, /* nobody could be asked */
	EXTERNAL_REFUSED,     /* this user with this password may not log in */
	EXTERNAL_ACCEPTED,
};

struct external_answer {
	enum external_verdict verdict;
	uint32_t delay_us; /* a refusal is to be told no sooner than this */
	char why[256];	   /* for the log, not for the client; "" when accepted */
};

/* Checks a login, however long it takes. The answer is all zero before. */
typedef void external_verify_fn(const struct external_login *login, struct external_answer *answer);
