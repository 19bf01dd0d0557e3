/*
 * All that a TLS context is made of, read and hashed: options that come to the
 * same, over files with the same contents, have the same hash.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "net/tls.h"

#define TLS_RECIPE_HASH_SIZE 32

/* What is asked of the peer's certificate: that is what the modes come to once TLS is on. */
enum tls_verify { CHECK_NOTHING, CHECK_IF_GIVEN, CHECK_CHAIN, CHECK_CHAIN_AND_NAME };

/* p is NULL when there is none. */
struct tls_file {
	char *p;
	size_t n;
};

struct tls_recipe {
	enum tls_role role;
	enum tls_verify verify;
	struct tls_options options; /* no pointer is NULL; the caller's texts */
	struct tls_file ca, cert, key;
	uint8_t hash[TLS_RECIPE_HASH_SIZE];
};

/* False, with a text, when settings contradict each other or a file cannot be read; tls_recipe_fini() even then. */
bool tls_recipe_init(struct tls_recipe *r, enum tls_role role, const struct tls_options *options, struct strbuf *error);

/* Wipes the files. */
void tls_recipe_fini(struct tls_recipe *r);
