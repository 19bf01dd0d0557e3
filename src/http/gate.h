/*
 * Logins over HTTP, where each request brings its name and password anew, and
 * checking a password takes a millisecond or two of the only thread.
 *
 * Who was let in is remembered, by an HMAC of what was sent, until the
 * configuration changes. Anything else is checked, one in 50 ms, whoever sends
 * how many; the others stand in line, suspended. The answer to a failed one is
 * held back for auth_failure_delay, or for as long as the connection may take.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <ev.h>
#include <stdint.h>

#include "http/access.h"
#include "http/engine.h"
#include "session/hub.h"

#define GATE_REMEMBERED 64
#define GATE_DIGEST_SIZE 32

struct gate_ticket;

struct gate {
	struct hub *hub;
	uint8_t key[GATE_DIGEST_SIZE];
	struct {
		uint8_t digest[GATE_DIGEST_SIZE];
		char user[CONF_USER_NAME_MAX + 1]; /* "": none */
	} remembered[GATE_REMEMBERED];
	unsigned next_place;
	TAILQ_HEAD(gate_line, gate_ticket) line; /* those to be checked */
	struct gate_line refused;        /* those whose answer is held back */
	ev_timer turn;                   /* active: the next check is not due yet */
};

void gate_init(struct gate *gate, struct hub *hub);

/* All requests that wait go on, and are refused. */
void gate_fini(struct gate *gate);

enum gate_answer {
	GATE_NONE,                       /* the request brings no login */
	GATE_KNOWN,                      /* *guest is who it is; he may have no access */
	GATE_WAITS,                      /* it is suspended, and comes again */
};
enum gate_answer gate_login(struct gate *gate, struct exchange *x, struct guest *guest);

/* The exchange is over. */
void gate_forget(struct exchange *x);

/* The configuration has changed. */
void gate_forget_all(struct gate *gate);
