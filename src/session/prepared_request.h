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

/* The message goes with another name of its statement; the rest of it as it is. */
void prepared_put_head(struct request_pass *pass, const struct msg *m, const struct prepare_head *h, struct slice name);

/* The same with a name that is no statement's; errors speak of it by the client's. The server must be set up. */
enum prepared_verdict prepared_put_as(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				      const char *alias);

/* A simple Query that is a statement which proto/sql knows. (prepared_sql.c) */
enum prepared_verdict prepared_sql_query(struct request_pass *pass, const struct msg *m, const struct sql *sql);

/*
 * The same again, which was to wait for what was put ahead of it. PREPARED_TAKEN: that has failed, and the query with
 * it. PREPARED_FORWARD: nothing is in its way any more. (prepared_sql.c)
 */
enum prepared_verdict prepared_sql_query_again(struct request_pass *pass, const struct msg *m);

/* A Bind or Describe of a statement whose text is one of those. */
enum prepared_verdict prepared_sql_use(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       const struct stmt_named *named);

/* A Bind, of whatever statement: what its portal was before counts no more. */
void prepared_sql_rebind(struct request_pass *pass, const struct prepare_head *h);

/* An Execute, of a client with a part: what was bound so counts now, if it succeeds. */
enum prepared_verdict prepared_sql_execute(struct request_pass *pass, const struct msg *m);
