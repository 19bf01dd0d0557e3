/*
 * What only the login of a client needs, and how its three parts follow each
 * other: client_startup.c reads the first packet, client_authenticate.c finds
 * out whether it is who it says, client_welcome.c lets it in. For these files
 * only; the others see client.h.
 */
#pragma once
#include "auth/client_auth.h"
#include "auth/external.h"
#include "auth/helper.h"
#include "session/client.h"

/* Why the login is refused. */
struct login_failure {
	enum close_reason why;
	char text[192];
};

struct client_login {
	struct atom *user, *database;
	bool is_console;
	struct strbuf startup;           /* replication: the parameters of the startup packet, raw */
	enum auth_type type;             /* of the exchange below */
	struct client_auth *auth;        /* the exchange of passwords, where we check them */
	struct strbuf last_word;         /* of that exchange: goes with the welcome, see client_login_send() */
	struct auth_query_ticket *query; /* while auth_query is asked */
	char *looked_up;                 /* the secret that it found */
	bool was_looked_up, is_vouched;  /* auth_query was asked; somebody else says who it is */
	bool awaits_resume;              /* auth_query is asked when the database's pause is over */
	bool is_external;                /* PAM or LDAP checks */
	enum external_kind kind;
	char *target;                    /* PAM's service, LDAP's options */
	char *password;                  /* given in the clear, and accepted */
	struct auth_helper_ticket *helper;
	struct login_failure failure;    /* while auth_failure_delay holds it back */
};

/* From the startup packet to the first authentication request, or to the end. */
void client_authenticate(struct client *c);

/* A message of the exchange arrived. */
size_t client_authenticate_bytes(struct client *c, const uint8_t *p, size_t n);

/*
 * Sends the last message of an exchange that went well, if there is one. It is kept back to leave together with the
 * welcome; a client that is not welcomed at once gets it before anything else that it is told.
 */
void client_login_send(struct client *c);

/* The messages that greet, with what a server has told; the client's parameters are `params` from then on. */
void client_login_greet(struct client *c, const struct strbuf *welcome, struct paramset *params);

/* It is who it says: it is let in, or told why not. */
void client_authenticated(struct client *c);
