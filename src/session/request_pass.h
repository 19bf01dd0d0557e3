/*
 * One pass over the bytes that a client has sent: runs of messages leave for
 * its server straight from the read buffer; where some of them are rewritten
 * or others put between them, the pieces are gathered, so that what is small
 * still leaves in one write.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct client;

#define PASS_STAGE_SIZE 4096

struct request_pass {
	struct client *client;
	const uint8_t *p;
	size_t n;
	size_t run, pos;         /* [run, pos) is to be forwarded, behind what is staged */
	size_t recorded;         /* up to there the bytes are recorded (session/prepared.h) */
	size_t nstage;
	bool is_tracked;         /* the client's prepared statements follow it */
	bool has_failed;         /* out of memory for what was put: both ends have to be closed */
	uint8_t stage[PASS_STAGE_SIZE];
};

/* The stage is left as it is: clearing it would cost more than most messages. */
static inline void pass_begin(struct request_pass *pass, struct client *c, const uint8_t *p, size_t n)
{
	pass->client = c;
	pass->p = p;
	pass->n = n;
	pass->is_tracked = pass->has_failed = false;
	pass->run = pass->pos = pass->recorded = pass->nstage = 0;
}

/* Puts bytes of our own behind what is there. The client must have a server. */
void pass_put(struct request_pass *pass, const void *p, size_t n);

static inline void pass_put_slice(struct request_pass *pass, struct slice s)
{
	pass_put(pass, s.p, s.n);
}

/* The next n bytes of the client's are not forwarded: something else was put in their place. */
void pass_skip(struct request_pass *pass, size_t n);

/* Sends it all. Without a server it is dropped (what is left over of a COPY). */
void pass_flush(struct request_pass *pass);
