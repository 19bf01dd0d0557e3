/*
 * Who asks over HTTP, and what he may: basic authentication against auth_file,
 * for the users of admin_users and stats_users. auth_type has no say: whoever
 * has no secret there cannot log in.
 *
 * Without logging in, one may look who comes from this machine, to an address
 * of its loopback, by its name or number and not through a proxy that says
 * that it is one; or anybody, with http_allow_anonymous. Nobody is an admin
 * without logging in.
 */
#pragma once
#include "http/engine.h"
#include "session/hub.h"

enum access { ACCESS_NONE, ACCESS_LOOK, ACCESS_ADMIN };

struct guest {
	enum access access;
	char user[CONF_USER_NAME_MAX + 1]; /* "": has not logged in */
};

/* What may be done without logging in. */
enum access access_anonymous(const struct hub *hub, struct exchange *x);

/* Of somebody who has proved who he is. */
enum access access_of_user(const struct hub *hub, const char *user);

/* With the name and password of the request. Takes as long for unknown users as for known ones. */
void access_check_password(struct hub *hub, struct exchange *x, struct guest *guest);
