/*
 * What a PostgreSQL server says of its connection slots: how many there are,
 * how many are kept for some, how many are in use and by which applications.
 */
#pragma once
#include <libpq-fe.h>
#include <stdbool.h>

/* The applications with the most connections; the others are in the sum only. */
#define CAPACITY_USES 20

/* The server cuts an application_name to this, with the NUL. */
#define CAPACITY_NAME_SIZE 64

struct capacity_use {
	char application_name[CAPACITY_NAME_SIZE];
	unsigned count;
};

struct capacity_answer {
	unsigned max_connections;
	unsigned superuser_reserved;
	unsigned reserved;               /* for members of pg_use_reserved_connections, from PostgreSQL 16 on; else 0 */
	unsigned in_use;                 /* by clients, the one that asked left out */
	unsigned nuses;
	struct capacity_use uses[CAPACITY_USES]; /* the most first */
};

/* The question; it needs no privilege. */
extern const char capacity_question[];

/* Reads the reply to it. False: it is something else, *answer is undefined. */
bool capacity_read_answer(struct capacity_answer *answer, const PGresult *result);
