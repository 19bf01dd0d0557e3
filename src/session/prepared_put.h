/*
 * What is put between a client's messages on their way to the server, and
 * noted as under way. Out of memory is noted in the pass (has_failed).
 */
#pragma once
#include "session/prepared.h"

/* Names on servers that are no statement's of the registry. */
#define ALIAS_TAKEN STMT_NAME_PREFIX "taken"     /* always exists when it is put: for a name that is in use */
#define ALIAS_DROPPED STMT_NAME_PREFIX "dropped" /* the same, for one that is to be dropped */
#define ALIAS_UNKNOWN STMT_NAME_PREFIX "unknown" /* never exists */
#define ALIAS_FULL STMT_NAME_PREFIX "full"       /* as `taken`, for one more than max_client_prepared_statements */
#define ALIAS_LARGE STMT_NAME_PREFIX "large"     /* the same, for more memory than PREPARED_MEMORY_MAX */
#define ALIAS_SQL STMT_NAME_PREFIX "sql"         /* a PREPARE of ours that runs by the extended protocol */
#define ALIAS_RUN STMT_NAME_PREFIX "run"         /* the same of the client's, and an EXECUTE and DEALLOCATE */
#define ALIAS_PORTAL STMT_NAME_PREFIX "portal"   /* no client's portal */

/* What the statements of one client may take, their texts with them, as if nobody else had them. */
#define PREPARED_MEMORY_MAX ((size_t)128 * 1024 * 1024)

/* What goes in the place of another statement's name, with a text so long, if the client may not have one more; or NULL. */
const char *prepared_refusal(const struct client *c, size_t size);

/* So many operations may be under way more at the end of one request than at its beginning. */
#define PUT_OPS_MAX 64

/* Notes a message as sent; returns its index. */
uint64_t prepared_put_note(struct request_pass *pass, char type);

/* The message is the next to be noted: what it changes. References become the operation's. */
struct stmt_op *prepared_put_op(struct request_pass *pass, enum stmt_op_kind kind, uint64_t index);

/* The statement goes from the server. */
void prepared_put_close(struct request_pass *pass, struct stmt *stmt);

/* The unnamed statements of server and client are these from the message of this index on. */
void prepared_note_unnamed(struct request_pass *pass, uint64_t index, uint64_t of_server, uint64_t of_client);

/* The unnamed statement goes from the server. */
void prepared_put_close_unnamed(struct request_pass *pass);

/* The message of this index is a DEALLOCATE ALL or DISCARD ALL: neither client nor server has any statement behind it. */
void prepared_put_all_lost(struct request_pass *pass, uint64_t index);

/* The message of this index gives the server a statement that it lacks. */
struct stmt_op *prepared_put_has(struct request_pass *pass, uint64_t index, struct stmt *stmt);

/* The server gets a statement that it lacks. */
void prepared_put_parse(struct request_pass *pass, struct stmt *stmt);

/* What rows it returns there is asked for, and seen by us alone. */
void prepared_put_describe(struct request_pass *pass, struct stmt *stmt);

/* All that was sent is answered, and needs no Sync for it. */
void prepared_put_flush(struct request_pass *pass);

/* The same as its unnamed statement. */
void prepared_put_parse_unnamed(struct request_pass *pass, struct stmt *stmt);

/* An empty statement of that name, in the place of any that had it. */
void prepared_put_alias(struct request_pass *pass, const char *alias);

/* The same with a text, in pieces. Returns the operation of the Parse, whose reply is dropped. */
struct stmt_op *prepared_put_text(struct request_pass *pass, const char *alias, const struct slice *text, size_t n);

/*
 * A portal gets a statement of that name in the place of the one it has: an
 * error if there is no such portal. `rest` is what stands in a Bind behind the
 * names.
 */
void prepared_put_bind_anew(struct request_pass *pass, struct slice portal, const char *alias, struct slice rest);

/* A message that succeeds and does nothing, for one of the client's; its reply is what `reply` says. */
uint64_t prepared_put_nothing(struct request_pass *pass);

/* Of what was put, nothing is skipped with what follows. Only where no message of the client's waits for its Sync. */
void prepared_put_sync(struct request_pass *pass);

/* A Sync whose answer is the client's, as if it had sent it. */
void prepared_put_clients_sync(struct request_pass *pass);

/*
 * Makes room for one more statement on the server. PREPARED_FORWARD: there is
 * room. PREPARED_WAIT: which could go is uncertain.
 */
enum prepared_verdict prepared_make_room(struct request_pass *pass);

/* Sees to it that the server has the statement, in its present version. The same answers. */
enum prepared_verdict prepared_ensure(struct request_pass *pass, struct stmt *stmt);

/*
 * The client calls a statement so from now on, or none (NULL), if the message
 * of that index succeeds.
 */
struct stmt_op *prepared_put_name(struct request_pass *pass, uint64_t index, struct slice name, struct stmt *stmt);
