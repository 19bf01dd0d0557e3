/*
 * Passwords that somebody types or pipes in.
 */
#pragma once
#include <stdbool.h>

/* To be wiped by whoever has it. */
struct mkauth_password {
	char text[1024];
};

/* From the terminal, unseen. False: there is no terminal. */
bool mkauth_password_ask(const char *prompt, struct mkauth_password *password);

/*
 * A new one: typed twice where standard input is a terminal, else its first line. NULL, or what is wrong with it.
 */
const char *mkauth_password_take(struct mkauth_password *password);
