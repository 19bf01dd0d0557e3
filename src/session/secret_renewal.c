#include "session/secret_renewal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "control/auth_query.h"
#include "session/auth_source.h"

struct secret_renewal {
	struct pool *pool;
	struct auth_query_ticket *ticket;
	char *old_secret;
	struct failure refusal;
};

void secret_renewal_free(struct secret_renewal **renewal)
{
	struct secret_renewal *r = *renewal;

	*renewal = NULL;
	if (r == NULL)
		return;
	if (r->ticket != NULL)
		auth_query_cancel(r->ticket);
	sys_wipe_text(&r->old_secret);
	failure_clear(&r->refusal);
	free(r);
}

static bool is_new(const struct secret_renewal *r, const struct auth_query_answer *answer)
{
	return answer->result == AUTH_QUERY_FOUND && answer->secret != NULL && r->old_secret != NULL &&
	       strcmp(answer->secret, r->old_secret) != 0;
}

static void on_answer(void *arg, const struct auth_query_answer *answer)
{
	struct secret_renewal *r = arg;
	struct pool *pool = r->pool;
	struct pool_session *ps = pool_session(pool);
	const struct failure *f = &r->refusal;
	const struct close_error e = {.sqlstate = failure_text(f->sqlstate),
				      .message = f->message == NULL ? "login failed" : f->message->text,
				      .detail = failure_text(f->detail),
				      .hint = failure_text(f->hint)};

	r->ticket = NULL;
	pool->backoff.retry_at = 0;
	if (is_new(r, answer)) {
		const struct pool_lesson lesson = {.looked_up = answer->secret};

		pool_secret_learn(pool, &lesson);
		secret_renewal_free(&ps->renewal);
		pool_session_fill(pool);
		return;
	}
	pool_session_refused(pool, clock_us(), &e, true);
	secret_renewal_free(&ps->renewal);
}

/* Only what auth_query found can be asked for again. */
static const char *renewable_secret(const struct hub *hub, const struct pool *pool)
{
	if (pool->database->conf->user != NULL ||
	    userlist_find(registry_conf(hub->registry)->userlist, atom_slice(pool->user->name)) != NULL)
		return NULL;
	return pool_session(pool)->secret.looked_up;
}

bool secret_renewal_begin(struct pool *pool, const struct close_error *error)
{
	struct pool_session *ps = pool_session(pool);
	const char *secret = renewable_secret(ps->hub, pool);
	struct slice user = atom_slice(pool->user->name);
	struct auth_query_source source;
	struct auth_query_ticket *ticket;
	struct secret_renewal *r;

	if (ps->renewal != NULL)
		return true;
	if (secret == NULL || ps->is_renewed || !auth_source_for(ps->hub, pool->database->name, &source))
		return false;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return false;
	r->pool = pool;
	r->old_secret = strdup(secret);
	failure_set(&r->refusal, error->sqlstate, error->message, error->detail, error->hint, true);
	ps->renewal = r;
	ps->is_renewed = true;
	/* No other attempt is to be made with what was refused; the answer ends this. */
	pool->backoff.retry_at = clock_us() + (uint64_t)hub_settings(ps->hub)->client_login_timeout + CLOCK_SECOND;
	pool_secret_forget(&ps->secret);
	auth_query_forget(ps->hub->auth_queries, &source, user);
	ticket = auth_query_ask(ps->hub->auth_queries, &source, user, on_answer, r);
	/* Answered at once: r is gone already. */
	if (ticket != NULL)
		r->ticket = ticket;
	return true;
}
