#include "mkauth/mkauth_password.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bsd/readpassphrase.h>

#include "base/sys.h"

bool mkauth_password_ask(const char *prompt, struct mkauth_password *password)
{
	return readpassphrase(prompt, password->text, sizeof(password->text), RPP_ECHO_OFF | RPP_REQUIRE_TTY) != NULL;
}

static const char *ask_twice(struct mkauth_password *password)
{
	struct mkauth_password again;
	const char *wrong = NULL;

	if (!mkauth_password_ask("Password: ", password) || !mkauth_password_ask("Once more: ", &again))
		wrong = "no password";
	else if (strcmp(password->text, again.text) != 0)
		wrong = "the two are not the same";
	sys_wipe(&again, sizeof(again));
	return wrong;
}

static const char *read_line(struct mkauth_password *password)
{
	size_t n;

	/* Its buffer would keep a copy. */
	setvbuf(stdin, NULL, _IONBF, 0);
	if (fgets(password->text, sizeof(password->text), stdin) == NULL)
		return "no password on standard input";
	n = strcspn(password->text, "\n");
	if (n + 1 == sizeof(password->text))
		return "the password is too long";
	password->text[n] = '\0';
	return NULL;
}

const char *mkauth_password_take(struct mkauth_password *password)
{
	const char *wrong = isatty(STDIN_FILENO) ? ask_twice(password) : read_line(password);

	if (wrong == NULL && password->text[0] == '\0')
		wrong = "the password is empty";
	return wrong;
}
