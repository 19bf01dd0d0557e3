#include "admin/visitor.h"

#include <stdlib.h>

#include "admin/console.h"
#include "proto/out.h"

static struct console *console_of(const struct client *c)
{
	return (struct console *)c->hub->console;
}

struct visitor *visitor_find(const struct client *c)
{
	struct visitor *v;

	TAILQ_FOREACH(v, &console_of(c)->visitors, link)
		if (v->client == c)
			return v;
	return NULL;
}

struct visitor *visitor_get(struct client *c)
{
	struct visitor *v = visitor_find(c);

	if (v != NULL)
		return v;
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return NULL;
	v->console = console_of(c);
	v->client = c;
	v->stream.client = c;
	TAILQ_INSERT_HEAD(&v->console->visitors, v, link);
	return v;
}

void visitor_forget(struct visitor *v)
{
	streams_forget(&v->console->streams, &v->stream);
	telling_end(&v->shown);
	extended_free(v);
	TAILQ_REMOVE(&v->console->visitors, v, link);
	free(v);
}

struct request visitor_request(struct visitor *v, struct slice sql, const struct statement *statement,
			       struct strbuf *out)
{
	return (struct request){
		.hub = v->client->hub,
		.client = v->client,
		.is_admin = v->client->is_admin,
		.report = &v->console->report,
		.actions = v->console->actions,
		.waits = &v->console->waits,
		.successor = &v->console->successor,
		.sql = sql,
		.statement = statement,
		.out = out,
	};
}

void visitor_ready(struct visitor *v, struct strbuf *out)
{
	if (!v->is_in_block)
		extended_close_portals(v);
	out_ready_for_query(out, v->is_in_block ? 'T' : 'I');
}
