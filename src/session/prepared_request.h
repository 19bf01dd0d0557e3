/*
 * What the two halves of looking at a tracked client's messages share: the
 * protocol's own statements (prepared_request.c) and SQL's (prepared_sql.c).
 */
#pragma once
#include "proto/prepare.h"
#include "session/prepared.h"

/*
 * What the client's name means to it now: *named, NULL if nothing.
 * PREPARED_WAIT: that hangs on what has not been answered yet.
 */
enum prepared_verdict prepared_look_up(struct request_pass *pass, struct slice name, const struct stmt_named **named);

/* No statement of the client's, yet a name that one of the registry could have on servers. */
bool prepared_is_guarded(struct slice name);

/* The client's spelling of a name that was exchanged for another one; NULL when out of memory, which is noted. */
struct atom *prepared_spelling(struct request_pass *pass, struct slice name);

/* A Parse, whose text may be another one than the client's. */
struct parse_text {
	struct slice rest;       /* the query and what follows it in the message */
	struct stmt *needs;      /* a statement that the server must have to run it; no reference is taken over */
	/* What was exchanged in it, as in struct stmt_op; neither statement nor alias: the text is the client's. */
	struct stmt *stmt;
	const char *alias;
	struct slice name;
	uint32_t at;
	int32_t shift;
};
enum prepared_verdict prepared_parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				     const struct parse_text *text);

/* The same for a Parse whose text is one of the statements that proto/sql knows. (prepared_sql.c) */
enum prepared_verdict prepared_sql_parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
					 const struct sql *sql);

/* A simple Query that is one of them. */
enum prepared_verdict prepared_sql_query(struct request_pass *pass, const struct msg *m, const struct sql *sql);

/* An Execute: what was parsed so in this batch counts, if it succeeds. */
void prepared_sql_execute(struct request_pass *pass);
