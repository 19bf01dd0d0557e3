#include "http/routes.h"

#include "base/json.h"
#include "http/exposition.h"
#include "http/health.h"
#include "http/page.h"
#include "http/request_json.h"
#include "http/respond.h"
#include "http/table_json.h"
#include "report/readiness.h"
#include "report/tables.h"

/* One request that may be answered. */
struct call {
	struct site *site;
	struct exchange *x;
	const struct guest *guest;
	const char *rest;                /* of the path, behind the route's */
};

/* --- health --- */

static enum MHD_Result livez(const struct call *c)
{
	return respond_text(c->x, MHD_HTTP_OK, TYPE_TEXT, SLICE_LIT("ok\n"));
}

static enum MHD_Result readyz(const struct call *c)
{
	bool in_detail = c->guest->access != ACCESS_NONE, is_ready;
	struct strbuf text;

	strbuf_init(&text);
	is_ready = readiness(c->site->hub, in_detail, &text);
	strbuf_add_str(&text, is_ready ? "ok\n" : "\n");
	return respond_built(c->x, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TYPE_TEXT, &text);
}

static enum MHD_Result health(const struct call *c)
{
	struct strbuf out;

	strbuf_init(&out);
	health_print(c->site->report, &out);
	return respond_built(c->x, MHD_HTTP_OK, TYPE_JSON, &out);
}

/* --- figures --- */

static enum MHD_Result metrics(const struct call *c)
{
	return respond_pieces(c->x, EXPOSITION_CONTENT_TYPE, exposition_new(c->site->report), &c->site->budget);
}

static bool may_see(const struct guest *g, const struct table *table)
{
	return g->access == ACCESS_ADMIN || !table->is_for_admins;
}

static enum MHD_Result list_tables(const struct call *c)
{
	struct strbuf out;
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out);
	json_array_begin(&j);
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (may_see(c->guest, tables[i]))
			json_string(&j, slice_of(tables[i]->name));
	json_array_end(&j);
	return respond_built(c->x, MHD_HTTP_OK, TYPE_JSON, &out);
}

static enum MHD_Result show_table(const struct call *c)
{
	const struct table *table = table_find(slice_of(c->rest));

	if (table == NULL)
		return respond_error(c->x, MHD_HTTP_NOT_FOUND, "no such table");
	if (!may_see(c->guest, table))
		return respond_error(c->x, MHD_HTTP_FORBIDDEN, "the table is for those named in admin_users");
	return respond_pieces(c->x, TYPE_JSON, table_json_rows(table, c->site->report), &c->site->budget);
}

static enum MHD_Result pools(const struct call *c)
{
	return respond_pieces(c->x, TYPE_JSON, table_json_objects(&table_pools, c->site->report), &c->site->budget);
}

static enum MHD_Result page(const struct call *c)
{
	return respond_page(c->x, page_text(), c->site->page_policy.p);
}

/* --- commands --- */

static enum MHD_Result session(const struct call *c)
{
	const struct guest *g = c->guest;
	bool is_admin = g->access == ACCESS_ADMIN;
	char token[ORIGIN_TOKEN_SIZE];
	struct strbuf out;
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out);
	json_object_begin(&j);
	json_key(&j, "user");
	if (g->user[0] == '\0')
		json_null(&j);
	else
		json_string(&j, slice_of(g->user));
	json_key(&j, "access");
	json_string(&j, is_admin ? SLICE_LIT("admin") : SLICE_LIT("look"));
	json_key(&j, "csrf_token");
	if (is_admin && origin_token(c->site->token_key, g->user, token))
		json_string(&j, slice_of(token));
	else
		json_null(&j);
	json_object_end(&j);
	return respond_built(c->x, MHD_HTTP_OK, TYPE_JSON, &out);
}

static enum MHD_Result respond_refusal(const struct call *c, const struct http_result *result)
{
	struct strbuf out;
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out);
	json_object_begin(&j);
	json_key(&j, "error");
	json_string(&j, slice_of(result->message));
	json_key(&j, "sqlstate");
	json_string(&j, slice_of(result->sqlstate));
	json_object_end(&j);
	return respond_built(c->x, MHD_HTTP_CONFLICT, TYPE_JSON, &out);
}

static enum MHD_Result run_command(const struct call *c, struct slice sql)
{
	const struct http_actions *a = c->site->actions;
	char who[CONF_USER_NAME_MAX + 80];
	struct http_result result;
	struct strbuf text;

	strbuf_init_fixed(&text, who, sizeof(who));
	strbuf_addf(&text, "http %s@", c->guest->user);
	addr_print(&c->x->visit->peer, &text);
	a->run_command(a->arg, sql, who, &result);
	switch (result.outcome) {
	case HTTP_COMMAND_DONE:
		return respond_text(c->x, MHD_HTTP_OK, TYPE_JSON, SLICE_LIT("{\"result\":\"done\"}"));
	case HTTP_COMMAND_BEGUN:
		return respond_text(c->x, MHD_HTTP_ACCEPTED, TYPE_JSON, SLICE_LIT("{\"result\":\"begun\"}"));
	case HTTP_COMMAND_REFUSED:
		break;
	}
	return respond_refusal(c, &result);
}

static enum MHD_Result commands(const struct call *c)
{
	const char *fault = origin_fault(c->x, c->site->token_key, c->guest->user);
	enum MHD_Result result;
	struct strbuf sql;

	if (fault != NULL)
		return respond_error(c->x, MHD_HTTP_FORBIDDEN, fault);
	strbuf_init(&sql);
	if (request_json_member(strbuf_slice(&c->x->body), "command", &sql))
		result = run_command(c, strbuf_slice(&sql));
	else
		result = respond_error(c->x, MHD_HTTP_BAD_REQUEST, "the body is not {\"command\": \"...\"}");
	strbuf_fini(&sql);
	return result;
}

/* For visitors who may look as they are: here the browser asks them who they are, and says so from then on. */
static enum MHD_Result login(const struct call *c)
{
	return c->guest->user[0] == '\0' ? respond_unauthorized(c->x) : respond_see(c->x, "/");
}

/* --- all of them --- */

struct route {
	const char *path;                /* with a slash at its end: all that begins so */
	enum access who;
	/* One of the two is NULL. */
	enum MHD_Result (*get)(const struct call *c);
	enum MHD_Result (*post)(const struct call *c);
};

/* What an orchestrator asks is told to everybody: it has no password, and learns a state and no names. */
static const struct route routes[] = {
	{"/", ACCESS_LOOK, page, NULL},
	{"/api/commands", ACCESS_ADMIN, NULL, commands},
	{"/api/health", ACCESS_LOOK, health, NULL},
	{"/api/pools", ACCESS_LOOK, pools, NULL},
	{"/api/session", ACCESS_LOOK, session, NULL},
	{"/api/tables", ACCESS_LOOK, list_tables, NULL},
	{"/api/tables/", ACCESS_LOOK, show_table, NULL},
	{"/livez", ACCESS_NONE, livez, NULL},
	{"/login", ACCESS_LOOK, login, NULL},
	{"/metrics", ACCESS_LOOK, metrics, NULL},
	{"/readyz", ACCESS_NONE, readyz, NULL},
};

static bool fits(const struct route *r, const char *path)
{
	size_t n = strlen(r->path);

	return strcmp(path, r->path) == 0 || (n > 1 && r->path[n - 1] == '/' && strncmp(path, r->path, n) == 0);
}

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (fits(&routes[i], path))
			return &routes[i];
	return NULL;
}

static bool is_method(const struct exchange *x, const char *method)
{
	return strcmp(x->method, method) == 0;
}

/* HEAD is a GET of which the library leaves the body out. */
static enum MHD_Result respond_as(const struct call *c, const struct route *r)
{
	bool is_get = is_method(c->x, MHD_HTTP_METHOD_GET) || is_method(c->x, MHD_HTTP_METHOD_HEAD);

	if (c->guest->access < r->who && c->guest->user[0] != '\0')
		return respond_error(c->x, MHD_HTTP_FORBIDDEN, "this is for those named in admin_users");
	if (c->guest->access < r->who)
		return respond_unauthorized(c->x);
	if (r->get != NULL)
		return is_get ? r->get(c) : respond_not_allowed(c->x, "GET, HEAD");
	return is_method(c->x, MHD_HTTP_METHOD_POST) ? r->post(c) : respond_not_allowed(c->x, "POST");
}

/*
 * False: it has to wait. What is for everybody waits for no check. Who is
 * refused a login is nobody, not even an anonymous visitor.
 */
static bool identify(struct site *site, const struct route *r, struct exchange *x, struct guest *guest)
{
	*guest = (struct guest){.access = ACCESS_NONE};
	if (r->who == ACCESS_NONE) {
		guest->access = access_anonymous(site->hub, x);
		return true;
	}
	switch (gate_login(&site->gate, x, guest)) {
	case GATE_WAITS:
		return false;
	case GATE_NONE:
		guest->access = access_anonymous(site->hub, x);
		break;
	case GATE_KNOWN:
		break;
	}
	return true;
}

enum MHD_Result route(struct site *site, struct exchange *x)
{
	const struct route *r = find_route(x->path);
	struct call c = {.site = site, .x = x};
	struct guest guest;

	if (r == NULL)
		return respond_error(x, MHD_HTTP_NOT_FOUND, "no such path");
	if (x->is_body_too_long)
		return respond_error(x, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too long");
	if (!identify(site, r, x, &guest))
		return MHD_YES;
	c.guest = &guest;
	c.rest = x->path + strlen(r->path);
	return respond_as(&c, r);
}
