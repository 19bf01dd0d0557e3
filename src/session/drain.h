/*
 * SHUTDOWN DRAIN: an end at which no transaction is cut.
 *
 *   announced   hub->is_ready is false, for those who choose where to connect to; everybody is served as ever, new
 *               clients too, for shutdown_delay
 *   paced       the TCP sockets are closed. A client that comes to the end of a transaction (in session mode too) is
 *               to leave; those that are between two are sent away, one after the other over shutdown_pace
 *   rest        all have had their turn, and whoever logs in only now is refused. Replication streams end: nothing in
 *               them is a better moment, and whoever reads one goes on elsewhere from where it was. What is left are
 *               transactions, and clients that wait for a server or read what they have been sent
 *   over        by shutdown_deadline, counted from the beginning: whoever is left is cut off
 *
 * Whoever was connected in time and logs in while the others have their turn is
 * about to ask for something: it leaves at the end of that, or is sent away with
 * the rest.
 *
 * A client that is to leave is told in answer to what it says next, nothing of
 * which is run, or when it has said nothing for a moment. It is not told right
 * behind the end of its transaction: libpq takes an error that comes along with
 * ReadyForQuery for a notice, and does not report it as the end of the connection.
 * What a client sends while it is being told is not run either. So a client that
 * gets 57P01 in the place of a first answer may repeat all of it.
 *
 * A client that waits for a server has asked for something and is served first,
 * unless PAUSE holds its database: nobody could undo that now. One that has not
 * read all of an answer is sent away when it has.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct client;
struct hub;

enum drain_phase { DRAIN_NOT, DRAIN_ANNOUNCED, DRAIN_PACED, DRAIN_REST, DRAIN_OVER };

/* In the hub; all zero: no drain. */
struct drain {
	enum drain_phase phase;
	ev_timer turn, deadline;
	uint64_t began_at, paced_at, pace_us;
	size_t nclients, nvisited;       /* when the pace began, and since */
	uint32_t next;                   /* index of the client whose turn is next */
};

/* From shutdown_begin(); without the announcement if the sockets are another process's already. */
void drain_begin(struct hub *hub, bool is_replaced);

/* Another mode has taken over, or the program ends; all zero is allowed. */
void drain_stop(struct hub *hub);

/* A client logs in: whether it may. */
bool drain_admits(struct client *c);

/*
 * For a client that is at the end of a transaction, or has read its answer only now: it is to leave, if the drain has got
 * so far. A replication stream is closed.
 */
void drain_look(struct client *c);
