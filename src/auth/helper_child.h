/*
 * A process that answers logins: the child's side of auth/helper, and the
 * frames that parent and child exchange.
 *
 * Both are the same program, so numbers cross the socket as they are. A request is its length (32 bits, of what follows), its
 * kind and four texts ended by a NUL; the answer is a struct external_answer.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "auth/external.h"
#include "base/str.h"

/* The longest request taken: a password may fill a message of the protocol. */
#define HELPER_REQUEST_MAX ((size_t)128 * 1024)

struct helper_child_options {
	external_verify_fn *verify; /* NULL: PAM and LDAP, as they are built in */
	const char *pam_confdir;    /* NULL: the system's */
};

/* False when it is too long, or without memory. */
bool helper_request_write(struct strbuf *out, const struct external_login *login);

/* The program's first argument when it is such a process; a second one is options->pam_confdir. */
#define HELPER_CHILD_ARGUMENT "--auth-helper"

/*
 * For a process just forked, its signals blocked. Lets go of all that it has
 * inherited, and executes the program anew, since what modules can be made to
 * do is not to be done with the secrets in the parent's memory at hand. With
 * options->verify, which only this image knows, goes on in it.
 */
_Noreturn void helper_child_run(int fd, pid_t parent, const struct helper_child_options *options);

/* The program anew: answers requests from the socket until that is closed or the parent has died. */
_Noreturn void helper_child_main(const char *pam_confdir);
