/*
 * max_memory: what the process may take, as the kernel counts it (resident).
 *
 * Above it nobody new is let in but to the console, and whoever is about to
 * log in gives way to the next (session/admission.h). An eighth above it, the
 * clients are closed for whom most is kept: results that they do not read,
 * messages that do not end, prepared statements. All others go on.
 *
 * What has been given back to the C library and not to the system is given
 * back to that before anybody is refused.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;

/* In the hub; all zero: no bound. */
struct memory_guard {
	ev_timer timer;
	size_t used;                     /* bytes, when it was last looked at */
	bool is_short;                   /* nobody new is let in */
	uint64_t trimmed_at, logged_at;
};

/* At the start, and when another configuration is in force. */
void memory_guard_set_up(struct hub *hub);
void memory_guard_stop(struct hub *hub);
