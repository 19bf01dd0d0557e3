#include "http/respond.h"

#include "base/json.h"

/* Nothing is kept, framed, guessed at or told to others. */
static const struct {
	const char *name, *value;
} common_headers[] = {
	{"Cache-Control", "no-store"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Referrer-Policy", "no-referrer"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
};

/* Of what is no page. */
#define NO_POLICY "default-src 'none'; frame-ancestors 'none'"

/* A header more; the response is ended, and NULL, if that fails. */
static void add_header(struct MHD_Response **r, const char *name, const char *value)
{
	if (*r == NULL || MHD_add_response_header(*r, name, value) == MHD_YES)
		return;
	MHD_destroy_response(*r);
	*r = NULL;
}

/* Ends the response, which may be NULL. */
static enum MHD_Result queue(struct exchange *x, unsigned status, const char *type, const char *policy,
			     struct MHD_Response *r)
{
	enum MHD_Result result;

	add_header(&r, "Content-Type", type);
	add_header(&r, "Content-Security-Policy", policy);
	for (size_t i = 0; i < sizeof(common_headers) / sizeof(common_headers[0]); i++)
		add_header(&r, common_headers[i].name, common_headers[i].value);
	if (r == NULL)
		return MHD_NO;
	result = MHD_queue_response(x->connection, status, r);
	MHD_destroy_response(r);
	return result;
}

static struct MHD_Response *copy(struct slice text)
{
	return MHD_create_response_from_buffer(text.n, (void *)(uintptr_t)text.p, MHD_RESPMEM_MUST_COPY);
}

enum MHD_Result respond_text(struct exchange *x, unsigned status, const char *type, struct slice text)
{
	return queue(x, status, type, NO_POLICY, copy(text));
}

enum MHD_Result respond_built(struct exchange *x, unsigned status, const char *type, struct strbuf *text)
{
	enum MHD_Result result = text->failed ? respond_error(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory") :
						respond_text(x, status, type, strbuf_slice(text));

	strbuf_fini(text);
	return result;
}

enum MHD_Result respond_pieces(struct exchange *x, const char *type, struct pieces *p, struct pieces_budget *budget)
{
	struct MHD_Response *r = p == NULL ? NULL : pieces_response(p, budget);

	if (r == NULL)
		return respond_error(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
	/* The library ends the body that it does not send, too. */
	if (strcmp(x->method, MHD_HTTP_METHOD_HEAD) == 0)
		add_header(&r, MHD_HTTP_HEADER_CONNECTION, "close");
	return queue(x, MHD_HTTP_OK, type, NO_POLICY, r);
}

/* With one more header, unless `name` is NULL. */
static enum MHD_Result refuse(struct exchange *x, unsigned status, const char *message, const char *name,
			      const char *value)
{
	char room[256];
	struct MHD_Response *r;
	struct strbuf text;
	struct json j;

	strbuf_init_fixed(&text, room, sizeof(room));
	json_init(&j, &text);
	json_object_begin(&j);
	json_key(&j, "error");
	json_string(&j, slice_of(message));
	json_object_end(&j);
	r = copy(strbuf_slice(&text));
	if (name != NULL)
		add_header(&r, name, value);
	return queue(x, status, TYPE_JSON, NO_POLICY, r);
}

enum MHD_Result respond_error(struct exchange *x, unsigned status, const char *message)
{
	return refuse(x, status, message, NULL, NULL);
}

enum MHD_Result respond_unauthorized(struct exchange *x)
{
	return refuse(x, MHD_HTTP_UNAUTHORIZED, "log in as one of admin_users or stats_users",
		      MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"pgsluice\", charset=\"UTF-8\"");
}

enum MHD_Result respond_not_allowed(struct exchange *x, const char *allowed)
{
	return refuse(x, MHD_HTTP_METHOD_NOT_ALLOWED, "the path does not have this method", MHD_HTTP_HEADER_ALLOW,
		      allowed);
}

enum MHD_Result respond_see(struct exchange *x, const char *path)
{
	struct MHD_Response *r = copy((struct slice){"", 0});

	add_header(&r, MHD_HTTP_HEADER_LOCATION, path);
	return queue(x, MHD_HTTP_SEE_OTHER, TYPE_TEXT, NO_POLICY, r);
}

enum MHD_Result respond_page(struct exchange *x, struct slice page, const char *policy)
{
	return queue(x, MHD_HTTP_OK, "text/html; charset=utf-8", policy,
		     MHD_create_response_from_buffer(page.n, (void *)(uintptr_t)page.p, MHD_RESPMEM_PERSISTENT));
}
