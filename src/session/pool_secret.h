/*
 * What the logins of a pool's clients have taught about logging in to its
 * servers. It is kept in memory only, for this user on this database, wiped
 * when it goes, and holds only as long as the stored secret that it was proved
 * against is the same. A pool with a forced user learns nothing: its secret is
 * the configuration's.
 */
#pragma once
#include "auth/server_auth.h"
#include "pool/pool.h"

struct pool_secret {
	char *looked_up;                 /* the secret that auth_query found last; NULL: none */
	char *password;                  /* given in the clear and accepted; NULL: none */
	struct scram_keys keys;          /* with client_key, from the user's own proof */
	bool has_keys;
	char *basis;                     /* the stored secret that password and keys fit; "" when nothing is stored */
};

/* What one login has taught; NULL: nothing of the kind. */
struct pool_lesson {
	const char *looked_up, *password;
	const struct scram_keys *keys;
};

/* Takes a lesson in. When it is news, failures met with the old knowledge count no more. */
void pool_secret_learn(struct pool *pool, const struct pool_lesson *lesson);

/* The server has refused what was known: it is forgotten. */
void pool_secret_forget(struct pool_secret *secret);

/* What can be shown to a server of the pool; texts live as long as what they were learnt from. */
struct credentials pool_secret_credentials(const struct pool *pool);
