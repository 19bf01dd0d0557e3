/*
 * How the program ends when it is not at once: who is still let in, who is
 * sent away and when, and when nothing is left to wait for.
 */
#pragma once
#include "session/hub.h"

/*
 * Begins to end the program. One that ends already may go over to a mode that
 * is sooner over: in order, to wait for clients, to drain, to wait for servers.
 * is_replaced: another process has the listening sockets and takes the new
 * clients, so they are closed at once.
 */
void shutdown_begin(struct hub *hub, enum shutdown_mode mode, bool is_replaced);

/* The TCP sockets are closed; the Unix socket stays open for the console. Once only. */
void shutdown_close_door(struct hub *hub);

/* Nothing is left to wait for: whoever is still connected may be cut off. */
bool shutdown_is_complete(const struct hub *hub);

/* A client logs in: whether it may. */
bool shutdown_admits(struct client *c);
