/*
 * What the console keeps of a client: made when it first says something.
 */
#pragma once
#include <bsd/sys/queue.h>

#include "admin/commands.h"
#include "admin/extended.h"
#include "admin/streams.h"
#include "session/client.h"

struct console;

struct visitor {
	TAILQ_ENTRY(visitor) link;
	struct console *console;
	struct client *client;
	struct stream stream;            /* the rows of a reply that is under way */
	struct telling shown;            /* what it tells, if a simple query asked for it */
	bool is_in_block;                /* BEGIN was said; it means nothing, but is told with ReadyForQuery */
	struct extended extended;
};

/* NULL: has said nothing yet. */
struct visitor *visitor_find(const struct client *c);

/* The same, made at need; NULL when out of memory. */
struct visitor *visitor_get(struct client *c);
void visitor_forget(struct visitor *v);

struct request visitor_request(struct visitor *v, struct slice sql, const struct statement *statement,
			       struct strbuf *out);

/* ReadyForQuery, and what ends with it. */
void visitor_ready(struct visitor *v, struct strbuf *out);
