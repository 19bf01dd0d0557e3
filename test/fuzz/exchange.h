/*
 * What the exchanges of a login have in common, with a client and with a
 * server: who it is, and what is said line by line.
 */
#pragma once
#include "auth/keys.h"
#include "base/str.h"
#include "fuzz.h"
#include "world/chance.h"

#define USER "ann"
#define PASSWORD "secret"
#define PASSWORD_AS_MD5 "md55a9d8fe95b3a5ccf1e1c4a8a41d4d9a0"
#define ITERATIONS 8

/* As long as a hash of a certificate. */
#define CHANNEL_BINDING SLICE_LIT("0123456789abcdef0123456789abcdef")

struct talk {
	struct keycache *keys;
	struct strbuf heard;             /* the last message from the other side, whole */
	struct strbuf said;
};

static inline void talk_begin(struct talk *t, uint8_t seed)
{
	chance_begin(seed);
	t->keys = keycache_new(4);
	must(t->keys != NULL);
	strbuf_init(&t->heard);
	strbuf_init(&t->said);
}

static inline void talk_end(struct talk *t)
{
	strbuf_fini(&t->heard);
	strbuf_fini(&t->said);
	keycache_free(&t->keys);
	chance_end();
}

/* The next line with something in it; false at the end. */
static inline bool talk_next(struct slice *lines, struct slice *line)
{
	while (slice_split(lines, '\n', line))
		if (line->n > 0)
			return true;
	return false;
}
