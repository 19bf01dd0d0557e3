#include "admin/extended.h"

#include <stdlib.h>

#include "admin/console.h"
#include "admin/plan.h"
#include "admin/reply.h"
#include "admin/visitor.h"
#include "proto/out.h"

/* Of one client. Drivers keep up to some hundred statements, and close the oldest. */
#define STATEMENTS_MAX 512
#define PORTALS_MAX 64

/* Of a statement and of names, which are kept: far more than any command needs. */
#define TEXT_MAX 1024

struct prepared {
	LIST_ENTRY(prepared) link;
	struct plan plan;
	char *sql;                       /* in the memory of the struct, as is the name */
	char *name;                      /* "": the unnamed one */
};

struct portal {
	LIST_ENTRY(portal) link;
	struct plan plan;
	struct telling telling;          /* if there is a table */
	bool is_done;                    /* if there is none: it has been run */
	char *sql;
	char *name;
};

/* ------------------------------------------------------------------ errors */

/* All up to the next Sync is skipped. */
static void fail(struct visitor *v, struct strbuf *out, const char *sqlstate, const char *message, const char *hint)
{
	reply_failure(v->client, out, sqlstate, message, NULL, hint);
	v->extended.is_skipping = true;
}

/* What is wrong with the statement or portal of this name; nothing is skipped for it. */
static void reply_about(struct visitor *v, struct strbuf *out, const char *sqlstate, const char *kind,
			struct slice name, const char *what)
{
	char message[TEXT_MAX + 128];
	struct strbuf text;

	strbuf_init_fixed(&text, message, sizeof(message));
	if (name.n == 0)
		strbuf_addf(&text, "unnamed %s %s", kind, what);
	else
		strbuf_addf(&text, "%s \"%.*s\" %s", kind, (int)(name.n < TEXT_MAX ? name.n : TEXT_MAX), name.p, what);
	reply_failure(v->client, out, sqlstate, message, NULL, NULL);
}

static void fail_about(struct visitor *v, struct strbuf *out, const char *sqlstate, const char *kind,
		       struct slice name, const char *what)
{
	reply_about(v, out, sqlstate, kind, name, what);
	v->extended.is_skipping = true;
}

static void fail_for_memory(struct visitor *v, struct strbuf *out)
{
	fail(v, out, OUT_OF_MEMORY, "out of memory", NULL);
}

static void fail_for_format(struct visitor *v, struct strbuf *out)
{
	fail(v, out, PROTOCOL_VIOLATION, "invalid message format", NULL);
}

/* ------------------------------------------------------------------ what a client has */

static struct prepared *find_statement(const struct visitor *v, struct slice name)
{
	struct prepared *s;

	LIST_FOREACH(s, &v->extended.statements, link)
		if (slice_is(name, s->name))
			return s;
	return NULL;
}

static struct portal *find_portal(const struct visitor *v, struct slice name)
{
	struct portal *p;

	LIST_FOREACH(p, &v->extended.portals, link)
		if (slice_is(name, p->name))
			return p;
	return NULL;
}

static void drop_statement(struct visitor *v, struct prepared *s)
{
	if (s == NULL)
		return;
	LIST_REMOVE(s, link);
	v->extended.nstatements--;
	free(s);
}

static void drop_portal(struct visitor *v, struct portal *p)
{
	if (p == NULL)
		return;
	LIST_REMOVE(p, link);
	v->extended.nportals--;
	telling_end(&p->telling);
	free(p);
}

/* Both texts with a NUL, behind a struct of this size; where they are goes to *name and *sql. */
static void *new_with_texts(size_t size, struct slice name, struct slice sql, char **name_at, char **sql_at)
{
	char *object = calloc(1, size + name.n + sql.n + 2);

	if (object == NULL)
		return NULL;
	*name_at = object + size;
	memcpy(*name_at, name.p, name.n);
	*sql_at = *name_at + name.n + 1;
	memcpy(*sql_at, sql.p, sql.n);
	return object;
}

static bool new_statement(struct visitor *v, struct slice name, struct slice sql, const struct plan *plan)
{
	char *name_at, *sql_at;
	struct prepared *s = new_with_texts(sizeof(*s), name, sql, &name_at, &sql_at);

	if (s == NULL)
		return false;
	s->name = name_at;
	s->sql = sql_at;
	s->plan = *plan;
	LIST_INSERT_HEAD(&v->extended.statements, s, link);
	v->extended.nstatements++;
	return true;
}

/* It outlives its statement. */
static bool new_portal(struct visitor *v, struct slice name, const struct prepared *of, binary_columns binary)
{
	char *name_at, *sql_at;
	struct portal *p = new_with_texts(sizeof(*p), name, slice_of(of->sql), &name_at, &sql_at);

	if (p == NULL)
		return false;
	p->name = name_at;
	p->sql = sql_at;
	p->plan = of->plan;
	if (p->plan.table != NULL)
		telling_init(&p->telling, p->plan.table, binary);
	LIST_INSERT_HEAD(&v->extended.portals, p, link);
	v->extended.nportals++;
	return true;
}

void extended_forget_unnamed(struct visitor *v)
{
	drop_statement(v, find_statement(v, SLICE_LIT("")));
	drop_portal(v, find_portal(v, SLICE_LIT("")));
}

void extended_close_portals(struct visitor *v)
{
	while (!LIST_EMPTY(&v->extended.portals))
		drop_portal(v, LIST_FIRST(&v->extended.portals));
}

void extended_deallocate_all(struct visitor *v)
{
	while (!LIST_EMPTY(&v->extended.statements))
		drop_statement(v, LIST_FIRST(&v->extended.statements));
}

void extended_free(struct visitor *v)
{
	extended_close_portals(v);
	extended_deallocate_all(v);
}

bool extended_deallocate(struct visitor *v, struct slice name, struct strbuf *out)
{
	struct prepared *s = find_statement(v, name);

	if (s == NULL) {
		reply_about(v, out, NO_SUCH_STATEMENT, "prepared statement", name, "does not exist");
		return false;
	}
	drop_statement(v, s);
	return true;
}

static void fail_for_statement(struct visitor *v, struct strbuf *out, struct slice name)
{
	fail_about(v, out, NO_SUCH_STATEMENT, "prepared statement", name, "does not exist");
}

static void fail_for_portal(struct visitor *v, struct strbuf *out, struct slice name)
{
	fail_about(v, out, NO_SUCH_PORTAL, "portal", name, "does not exist");
}

/* ------------------------------------------------------------------ Parse */

static bool may_prepare(struct visitor *v, struct slice name, struct slice sql, const struct plan *plan,
			struct strbuf *out)
{
	const struct request rq = visitor_request(v, sql, &plan->statement, out);

	if (plan_has_parameters(plan)) {
		fail(v, out, FEATURE_NOT_SUPPORTED, "commands of the admin console take no parameters",
		     "Write the value into the command.");
	} else if (plan_is_bad(plan)) {
		command_refuse(&rq);
		v->extended.is_skipping = true;
	} else if (name.n > TEXT_MAX / 2 || sql.n > TEXT_MAX) {
		fail(v, out, PROGRAM_LIMIT_EXCEEDED, "prepared statement or its name is too long", NULL);
	} else if (name.n > 0 && find_statement(v, name) != NULL) {
		fail_about(v, out, STATEMENT_EXISTS, "prepared statement", name, "already exists");
	} else if (v->extended.nstatements >= STATEMENTS_MAX) {
		fail(v, out, PROGRAM_LIMIT_EXCEEDED, "too many prepared statements", "Close or DEALLOCATE some.");
	} else {
		return true;
	}
	return false;
}

static void take_parse(struct visitor *v, struct cursor *c, struct strbuf *out)
{
	struct slice name = cursor_string(c), sql = cursor_string(c);
	unsigned ntypes = cursor_u16(c);
	struct plan plan;

	cursor_bytes(c, ntypes * sizeof(uint32_t));
	if (c->bad || cursor_left(c) > 0) {
		fail_for_format(v, out);
		return;
	}
	if (name.n == 0)
		drop_statement(v, find_statement(v, name));
	plan_make(v->client, sql, &plan);
	if (!may_prepare(v, name, sql, &plan, out))
		return;
	if (new_statement(v, name, sql, &plan))
		out_simple(out, '1');
	else
		fail_for_memory(v, out);
}

/* ------------------------------------------------------------------ Bind */

/* The list of format codes of the results; those of the parameters, and these themselves, there are none. */
struct bound {
	struct slice portal, statement;
	unsigned nparameters, nformats;
	struct slice formats;            /* big-endian words */
};

static bool read_bind(struct cursor *c, struct bound *b)
{
	b->portal = cursor_string(c);
	b->statement = cursor_string(c);
	cursor_bytes(c, cursor_u16(c) * sizeof(uint16_t));
	b->nparameters = cursor_u16(c);
	for (unsigned i = 0; i < b->nparameters && !c->bad; i++) {
		uint32_t n = cursor_u32(c);

		if (n != UINT32_MAX)
			cursor_bytes(c, n);
	}
	b->nformats = cursor_u16(c);
	b->formats = cursor_bytes(c, b->nformats * sizeof(uint16_t));
	return !c->bad && cursor_left(c) == 0;
}

/* One format for all columns, or one for each. False: the client has been told what is wrong. */
static bool read_formats(struct visitor *v, const struct bound *b, const struct table *table, binary_columns *binary,
			 struct strbuf *out)
{
	struct cursor c = cursor_of((const uint8_t *)b->formats.p, b->formats.n);
	size_t ncolumns = table == NULL ? 0 : table->ncolumns;

	*binary = 0;
	for (unsigned i = 0; i < b->nformats; i++) {
		unsigned format = cursor_u16(&c);

		if (format > 1) {
			fail(v, out, INVALID_PARAMETER_VALUE, "unsupported format code", NULL);
			return false;
		}
		if (format == 1 && i < TELLING_COLUMNS_MAX)
			*binary |= (binary_columns)1 << i;
	}
	if (b->nformats == 1)
		*binary = *binary == 0 ? 0 : ~(binary_columns)0;
	else if (b->nformats > 1 && table != NULL && b->nformats != ncolumns) {
		fail(v, out, PROTOCOL_VIOLATION, "bind message has another number of result formats than the result has columns",
		     NULL);
		return false;
	}
	return true;
}

static void take_bind(struct visitor *v, struct cursor *c, struct strbuf *out)
{
	struct bound b;
	const struct prepared *s;
	binary_columns binary;

	if (!read_bind(c, &b)) {
		fail_for_format(v, out);
		return;
	}
	s = find_statement(v, b.statement);
	if (s == NULL)
		fail_for_statement(v, out, b.statement);
	else if (b.nparameters > 0)
		fail(v, out, PROTOCOL_VIOLATION, "bind message supplies parameters, but the prepared statement requires none",
		     "Commands of the admin console take no parameters.");
	else if (b.portal.n > 0 && find_portal(v, b.portal) != NULL)
		fail_about(v, out, PORTAL_EXISTS, "portal", b.portal, "already exists");
	else if (b.portal.n > TEXT_MAX / 2 || v->extended.nportals >= PORTALS_MAX)
		fail(v, out, PROGRAM_LIMIT_EXCEEDED, "too many portals, or the name of one is too long", NULL);
	else if (read_formats(v, &b, s->plan.table, &binary, out)) {
		if (b.portal.n == 0)
			drop_portal(v, find_portal(v, b.portal));
		if (new_portal(v, b.portal, s, binary))
			out_simple(out, '2');
		else
			fail_for_memory(v, out);
	}
}

/* ------------------------------------------------------------------ Describe, Close */

static void describe(const struct table *table, binary_columns binary, struct strbuf *out)
{
	if (table == NULL)
		out_simple(out, 'n');
	else
		telling_header(table, binary, out);
}

static void describe_statement(struct visitor *v, struct slice name, struct strbuf *out)
{
	const struct prepared *s = find_statement(v, name);
	size_t mark;

	if (s == NULL) {
		fail_for_statement(v, out, name);
		return;
	}
	mark = out_begin(out, 't');
	out_u16(out, 0);
	out_end(out, mark);
	describe(s->plan.table, 0, out);
}

static void describe_portal(struct visitor *v, struct slice name, struct strbuf *out)
{
	const struct portal *p = find_portal(v, name);

	if (p == NULL)
		fail_for_portal(v, out, name);
	else
		describe(p->plan.table, p->telling.binary, out);
}

/* A message that says 'S' for a statement or 'P' for a portal, and a name. 0: neither, and the client has been told. */
static char read_kind(struct visitor *v, struct cursor *c, struct slice *name, struct strbuf *out)
{
	char kind = (char)cursor_u8(c);

	*name = cursor_string(c);
	if (!c->bad && cursor_left(c) == 0 && (kind == 'S' || kind == 'P'))
		return kind;
	fail_for_format(v, out);
	return 0;
}

static void take_describe(struct visitor *v, struct cursor *c, struct strbuf *out)
{
	struct slice name;
	char kind = read_kind(v, c, &name, out);

	if (kind == 'S')
		describe_statement(v, name, out);
	else if (kind == 'P')
		describe_portal(v, name, out);
}

static void take_close(struct visitor *v, struct cursor *c, struct strbuf *out)
{
	struct slice name;
	char kind = read_kind(v, c, &name, out);

	if (kind == 0)
		return;
	if (kind == 'S')
		drop_statement(v, find_statement(v, name));
	else
		drop_portal(v, find_portal(v, name));
	out_simple(out, '3');
}

/* ------------------------------------------------------------------ Execute */

void extended_executed(struct visitor *v, bool is_good)
{
	v->extended.is_executing = false;
	if (!is_good)
		v->extended.is_skipping = true;
}

static void run(struct visitor *v, struct portal *p, struct strbuf *out)
{
	size_t mark = out->n;

	if (p->is_done) {
		fail_about(v, out, NOT_IN_PREREQUISITE_STATE, "portal", slice_of(p->name), "cannot be run");
		return;
	}
	p->is_done = true;
	v->extended.is_executing = true;
	if (plan_run(v, &p->plan, slice_of(p->sql), out))
		extended_executed(v, !reply_has_error(out, mark));
}

void extended_told(struct visitor *v, enum stream_end how, struct strbuf *out)
{
	v->extended.telling = NULL;
	switch (how) {
	case STREAM_ALL:
		out_command_complete(out, "SHOW");
		break;
	case STREAM_LIMIT:
		out_simple(out, 's');
		break;
	case STREAM_CANCELLED:
		fail(v, out, QUERY_CANCELED, "canceling statement due to user request", NULL);
		break;
	case STREAM_OUT_OF_MEMORY:
		fail_for_memory(v, out);
		break;
	}
}

static void take_execute(struct visitor *v, struct cursor *c, struct strbuf *out)
{
	struct slice name = cursor_string(c);
	uint32_t most = cursor_u32(c);
	struct portal *p = find_portal(v, name);

	if (c->bad || cursor_left(c) > 0) {
		fail_for_format(v, out);
		return;
	}
	if (p == NULL) {
		fail_for_portal(v, out, name);
		return;
	}
	console_count_query(v->console);
	if (p->plan.table == NULL) {
		run(v, p, out);
		return;
	}
	v->extended.telling = p;
	streams_begin(&v->console->streams, &v->stream, &p->telling, most, out);
}

/* ------------------------------------------------------------------ all of them */

void extended_take(struct visitor *v, const struct msg *m, struct strbuf *out)
{
	struct cursor c = msg_cursor(m);

	if (m->type == 'S') {
		v->extended.is_skipping = false;
		visitor_ready(v, out);
		return;
	}
	if (v->extended.is_skipping)
		return;
	switch (m->type) {
	case 'P':
		take_parse(v, &c, out);
		break;
	case 'B':
		take_bind(v, &c, out);
		break;
	case 'D':
		take_describe(v, &c, out);
		break;
	case 'E':
		take_execute(v, &c, out);
		break;
	case 'C':
		take_close(v, &c, out);
		break;
	default:
		/* Flush: what there is to say has been said. */
		break;
	}
}
