/*
 * The admin console: what sessions know as a database without servers
 * (session/hub.h, struct console_ops).
 */
#pragma once
#include <bsd/sys/queue.h>

#include "admin/commands.h"
#include "admin/streams.h"
#include "admin/waits.h"
#include "pool/stats.h"
#include "report/table.h"
#include "session/hub.h"

struct console {
	struct console_ops ops;          /* first: it is recovered from a client's hub->console */
	const struct admin_actions *actions;
	struct report report;            /* what SHOW shows; other presentations may read it too */
	struct stats_history stats;      /* of the console; turned by the root, as those of the pools are */
	struct waits waits;
	uint64_t successor;              /* see struct request */
	struct streams streams;
	TAILQ_HEAD(, visitor) visitors;
};

/* Makes this the hub's console. Both it and the actions outlive the hub's use. */
void console_init(struct console *console, struct hub *hub, const struct admin_actions *actions);

/* At the end of the program; one that is all zero is allowed. */
void console_fini(struct console *console);

/* One more has been answered, for the statistics. */
void console_count_query(struct console *console);

/* What a command waits for may have happened. */
void console_look(struct console *console);
