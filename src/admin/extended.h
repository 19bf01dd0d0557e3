/*
 * The extended query protocol on the console (PostgreSQL manual, 55.2.3):
 * statements, portals and their messages, with PostgreSQL's rules and
 * SQLSTATEs. There are no parameters.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>

#include "admin/streams.h"
#include "base/str.h"
#include "proto/msg.h"

struct visitor;

struct extended {
	LIST_HEAD(, prepared) statements;
	LIST_HEAD(, portal) portals;
	unsigned nstatements, nportals;
	struct portal *telling;          /* whose rows are on their way */
	bool is_executing;               /* the command under way came by Execute */
	bool is_skipping;                /* there was an error: nothing is looked at before the Sync */
};

/* A whole message, Parse to Sync: appends the reply, or has it follow. */
void extended_take(struct visitor *v, const struct msg *m, struct strbuf *out);

/* A command that came by Execute has been answered. */
void extended_executed(struct visitor *v, bool is_good);

/* The rows that an Execute asked for have been told. */
void extended_told(struct visitor *v, enum stream_end how, struct strbuf *out);

/* A simple query ends the statement and the portal without names. */
void extended_forget_unnamed(struct visitor *v);
void extended_close_portals(struct visitor *v);

/* False: there is no such statement, and the client has been told. */
bool extended_deallocate(struct visitor *v, struct slice name, struct strbuf *out);
void extended_deallocate_all(struct visitor *v);
void extended_free(struct visitor *v);
