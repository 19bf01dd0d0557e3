#include "report/stats_line.h"

#include "report/subjects.h"

void stats_line_print(const struct hub *hub, struct strbuf *out)
{
	struct stats_history h;
	struct stats a;

	history_of_all(hub, &h);
	stats_average(&h.before_last, &h.last, (uint64_t)hub_settings(hub)->stats_period, &a);
#define N(name) (unsigned long long)a.name
	strbuf_addf(out,
		    "stats: %llu xacts/s, %llu queries/s, %llu client parses/s, %llu server parses/s, %llu binds/s, "
		    "in %llu B/s, out %llu B/s, xact %llu us, query %llu us, wait %llu us",
		    N(xact_count), N(query_count), N(client_parse_count), N(server_parse_count), N(bind_count),
		    N(bytes_received), N(bytes_sent), N(xact_time), N(query_time), N(wait_time));
#undef N
}

void status_line_print(const struct hub *hub, struct strbuf *out)
{
	unsigned nclients = 0, nwaiting = 0, nservers = 0, nactive = 0;

	for (struct pool *p = registry_next_pool(hub->registry, NULL); p != NULL;
	     p = registry_next_pool(hub->registry, p)) {
		nclients += p->nclients;
		nwaiting += p->nwaiting;
		nservers += pool_server_count(p);
		nactive += p->nservers[POOL_SERVER_ACTIVE];
	}
	if (hub->shutdown != SHUTDOWN_NOT)
		strbuf_add_str(out, "shutting down, ");
	else if (hub->pause != PAUSE_NOT)
		strbuf_add_str(out, hub->pause == PAUSE_SUSPEND ? "suspended, " : "paused, ");
	strbuf_addf(out, "%u clients, %u waiting, %u servers, %u in use; ", nclients, nwaiting, nservers, nactive);
	stats_line_print(hub, out);
}
