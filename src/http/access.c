#include "http/access.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/client_auth.h"
#include "base/sys.h"
#include "proto/out.h"

/* --- without logging in --- */

/* Without the port behind it, and the brackets around an IPv6 address. */
static struct slice host_name(const char *host)
{
	struct slice name = slice_of(host);
	size_t n;

	if (name.n > 0 && name.p[0] == '[') {
		n = strcspn(name.p, "]");
		return (struct slice){name.p + 1, n - 1};
	}
	name.n = strcspn(host, ":");
	return name;
}

/* By any other name the page of a stranger would be asking, whose name leads here (DNS rebinding). */
static bool is_called_by_own_name(struct exchange *x)
{
	const char *host = engine_header(x, MHD_HTTP_HEADER_HOST);
	struct addr_any a;
	struct addr addr;
	char name[64];

	/* Of HTTP/1.0, and of no browser. */
	if (host == NULL)
		return true;
	snprintf(name, sizeof(name), "%.*s", (int)host_name(host).n, host_name(host).p);
	if (slice_is_nocase(slice_of(name), "localhost"))
		return true;
	if (!addr_any_from_ip(&a, name, 0))
		return false;
	addr_from_sockaddr(&addr, &a.u.sa);
	return addr_is_loopback(&addr);
}

static bool is_forwarded(struct exchange *x)
{
	return engine_header(x, "Forwarded") != NULL || engine_header(x, "X-Forwarded-For") != NULL ||
	       engine_header(x, "Via") != NULL;
}

enum access access_anonymous(const struct hub *hub, struct exchange *x)
{
	if (hub_settings(hub)->http_allow_anonymous)
		return ACCESS_LOOK;
	if (addr_is_loopback(&x->visit->peer) && addr_is_loopback(&x->visit->self) && is_called_by_own_name(x) &&
	    !is_forwarded(x))
		return ACCESS_LOOK;
	return ACCESS_NONE;
}

/* --- logging in --- */

enum access access_of_user(const struct hub *hub, const char *user)
{
	const struct settings *s = hub_settings(hub);

	if (slice_in_list(slice_of(s->admin_users), slice_of(user), false))
		return ACCESS_ADMIN;
	return slice_in_list(slice_of(s->stats_users), slice_of(user), false) ? ACCESS_LOOK : ACCESS_NONE;
}

/* The exchange of a client that is asked for its password in the clear. */
static bool is_password(struct client_auth *auth, const char *password)
{
	uint32_t n = (uint32_t)strlen(password) + 1;
	struct msg m = {.type = 'p', .len = n, .have = n, .body = (const uint8_t *)password};
	struct strbuf out;
	bool ok;

	strbuf_init(&out);
	ok = client_auth_start(auth, &out) == AUTH_CONTINUE && client_auth_step(auth, &m, &out) == AUTH_OK;
	strbuf_fini(&out);
	return ok;
}

static bool verify(struct hub *hub, const char *user, const char *password)
{
	const struct conf *conf = registry_conf(hub->registry);
	const struct client_auth_params params = {
		.type = AUTH_TYPE_PLAIN,
		.user = slice_of(user),
		.entry = userlist_find(conf->userlist, slice_of(user)),
		.mock_type = hub->mock_type,
		.mock_key = hub->mock_key,
		.scram_iterations = (int)conf->s.scram_iterations,
		.keys = hub->keys,
	};
	struct client_auth *auth = client_auth_new(&params);
	bool ok = auth != NULL && is_password(auth, password);

	client_auth_free(&auth);
	return ok;
}

void access_check_password(struct hub *hub, struct exchange *x, struct guest *guest)
{
	char *password = NULL, *user = MHD_basic_auth_get_username_password(x->connection, &password);

	*guest = (struct guest){.access = ACCESS_NONE};
	if (user != NULL && password != NULL && strlen(user) < sizeof(guest->user) && verify(hub, user, password)) {
		snprintf(guest->user, sizeof(guest->user), "%s", user);
		guest->access = access_of_user(hub, user);
	}
	if (password != NULL)
		sys_wipe(password, strlen(password));
	MHD_free(password);
	MHD_free(user);
}
