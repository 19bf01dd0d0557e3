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
