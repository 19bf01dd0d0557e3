#include "session/slow_log.h"

#include "base/clock.h"

void slow_log_tell_wait(const struct server *s)
{
	const struct pool *pool = s->slot.pool;
	const struct log_field fields[] = {{.key = "wait_us", .number = (int64_t)s->waited_us},
					   {.key = "servers", .number = pool_server_count(pool)},
					   {.key = "waiting", .number = pool->nwaiting},
					   {0}};

	client_log_line(s->client, (struct log_line){.level = LOG_LEVEL_LOG, .fields = fields},
			"slow wait for a server connection: %.3fs (servers=%u, waiting=%u)",
			(double)s->waited_us / CLOCK_SECOND, pool_server_count(pool), pool->nwaiting);
}

void slow_log_tell_transaction(const struct server *s, uint64_t took_us)
{
	uint32_t pid = server_backend_pid(s);
	const struct log_field fields[] = {{.key = "duration_us", .number = (int64_t)took_us},
					   {.key = "wait_us", .number = (int64_t)s->waited_us},
					   {.key = "queries", .number = s->xact_queries},
					   {.key = "server_pid", .number = pid},
					   {0}};
	const struct log_line line = {.level = LOG_LEVEL_LOG, .fields = fields};
	static const char format[] = "slow transaction: duration=%.3fs, wait=%.3fs, queries=%u, server_pid=%u";
	double duration = (double)took_us / CLOCK_SECOND, wait = (double)s->waited_us / CLOCK_SECOND;

	/* The client may have gone in the middle of it. */
	if (s->client != NULL)
		client_log_line(s->client, line, format, duration, wait, s->xact_queries, pid);
	else
		server_log_line(s, line, format, duration, wait, s->xact_queries, pid);
}
