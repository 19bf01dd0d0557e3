#include "pooler/endings.h"

#include "base/log.h"
#include "session/shutdown.h"

void endings_on_quiet(void *arg)
{
	struct pooler *p = arg;

	if (shutdown_is_complete(&p->hub))
		loop_stop(p->hub.loop);
	console_look(&p->console);
}

static void begin_to_end(struct pooler *p, enum shutdown_mode mode)
{
	shutdown_begin(&p->hub, mode, false);
	notify_stopping(&p->notify);
}

void endings_shut_down(void *arg, enum admin_shutdown how)
{
	struct pooler *p = arg;

	switch (how) {
	case ADMIN_SHUTDOWN_IMMEDIATE:
		notify_stopping(&p->notify);
		loop_stop(p->hub.loop);
		break;
	case ADMIN_SHUTDOWN_WAIT_FOR_SERVERS:
		begin_to_end(p, SHUTDOWN_WAIT_FOR_SERVERS);
		break;
	case ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS:
		begin_to_end(p, SHUTDOWN_WAIT_FOR_CLIENTS);
		break;
	case ADMIN_SHUTDOWN_DRAIN:
		begin_to_end(p, SHUTDOWN_DRAIN);
		break;
	}
}

static enum shutdown_mode mode_of_term(const struct pooler *p)
{
	switch (hub_settings(&p->hub)->shutdown_mode) {
	case SHUTDOWN_MODE_WAIT_FOR_SERVERS:
		return SHUTDOWN_WAIT_FOR_SERVERS;
	case SHUTDOWN_MODE_DRAIN:
		return SHUTDOWN_DRAIN;
	default:
		return SHUTDOWN_WAIT_FOR_CLIENTS;
	}
}

void endings_hand_over(void *arg, uint32_t pid)
{
	struct pooler *p = arg;

	log_info("process %u has taken over, shutting down", pid);
	listeners_hand_over(p->hub.listeners);
	if (p->hub.http_listeners != NULL)
		listeners_hand_over(p->hub.http_listeners);
	p->options.on_handed_over(p->options.arg);
	notify_replaced(&p->notify, (pid_t)pid);
	shutdown_begin(&p->hub, mode_of_term(p), true);
}

void endings_terminate(struct pooler *p)
{
	static const char *const plans[] = {
		[SHUTDOWN_WAIT_FOR_SERVERS] = "waiting for all servers to be released",
		[SHUTDOWN_WAIT_FOR_CLIENTS] = "waiting for all clients to disconnect",
		[SHUTDOWN_DRAIN] = "sending all clients away",
	};
	enum shutdown_mode mode = mode_of_term(p);

	log_info("got SIGTERM, shutting down, %s", plans[mode]);
	begin_to_end(p, mode);
}
