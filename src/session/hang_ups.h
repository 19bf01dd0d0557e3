/*
 * Clients that are not read from while they wait, because they have said more
 * than can be looked at now. Their end would not be noticed before it is their
 * turn: they would keep their place in the queue, and others out. So it is
 * looked at once a second whether they have hung up; then what they had still
 * said is read, which is no more than the kernel holds already, and with it
 * the end.
 *
 * Costs nothing where nobody is held back so.
 */
#pragma once
#include <ev.h>
#include <stddef.h>

struct client;
struct hub;
struct held_back;

/* In the hub; all zero: nobody. */
struct hang_ups {
	ev_timer timer;
	struct held_back *clients;
	size_t n, room;
};

/* The client is not read from until conn_resume(), unless it is known to have hung up. */
void hang_ups_hold_back(struct client *c);

void hang_ups_stop(struct hub *hub);
