/*
 * What both exchanges, with clients and with servers, have in common.
 */
#pragma once
#include "base/str.h"

enum auth_step {
	AUTH_SHORT,          /* the message is not all here: call again with all of it */
	AUTH_CONTINUE,       /* taken; what was appended to out is to be sent, the next message to be waited for */
	AUTH_OK,             /* done; what was appended to out is still to be sent */
	AUTH_FAILED,         /* done; nothing was appended; the error says why */
};

/* The longest message taken, without its header; as PostgreSQL. */
#define AUTH_MESSAGE_MAX 65535

struct auth_error {
	const char *sqlstate;
	char text[192];
	const char *detail, *hint;   /* static; NULL: none */
};

/* Drops what a failed step appended before it failed. */
static inline void auth_take_back(struct strbuf *out, size_t n)
{
	if (out->p == NULL)
		return;
	out->n = n;
	out->p[n] = '\0';
}
