/*
 * The command line of pgsluice-mkauth.
 */
#pragma once
#include <stddef.h>

struct mkauth_args {
	const char *conninfo;      /* a database's name, a connection string or a URI; NULL: libpq's environment holds */
	const char *output;        /* NULL: standard output */
	const char **users;        /* only these; on the heap, its owner frees it */
	size_t nusers;             /* 0: all who can log in */
	const char *hash;          /* whose password is to be hashed; NULL: the roles are read */
	const char *method;        /* of hashing; NULL: the server's password_encryption */
};

enum mkauth_way { MKAUTH_RUN, MKAUTH_DONE, MKAUTH_WRONG };

/* What is wrong is told on standard error. The texts stay argv's. */
enum mkauth_way mkauth_args_take(struct mkauth_args *args, int argc, char **argv, const char *version);
