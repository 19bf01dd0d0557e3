#include "http/health.h"

#include "base/clock.h"
#include "base/json.h"
#include "report/readiness.h"

/* Of all pools. */
static void put_counts(struct json *j, const struct hub *hub)
{
	unsigned nservers = 0, nwaiting = 0, npools = 0;
	uint64_t longest = 0, now = clock_us();

	for (struct pool *p = registry_next_pool(hub->registry, NULL); p != NULL;
	     p = registry_next_pool(hub->registry, p), npools++) {
		uint64_t wait = pool_maxwait_us(p, now);

		nservers += pool_open_count(p);
		nwaiting += p->nwaiting + p->nlogins;
		longest = wait > longest ? wait : longest;
	}
	json_key(j, "pools");
	json_integer(j, npools);
	json_key(j, "clients");
	json_integer(j, hub->nclients);
	json_key(j, "waiting");
	json_integer(j, nwaiting);
	json_key(j, "longest_wait_us");
	json_integer(j, (int64_t)longest);
	json_key(j, "servers");
	json_integer(j, nservers);
}

static void put_hosts(struct json *j, const struct hub *hub)
{
	const struct hosts *hosts = registry_hosts(hub->registry);
	unsigned nhosts = 0, ndown = 0;

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h), nhosts++)
		ndown += breaker_state(&h->breaker) != BREAKER_CLOSED;
	json_key(j, "hosts");
	json_integer(j, nhosts);
	json_key(j, "hosts_down");
	json_integer(j, ndown);
}

void health_print(const struct report *report, struct strbuf *out)
{
	const struct hub *hub = report->hub;
	struct strbuf why;
	struct json j;
	bool is_ready;

	strbuf_init(&why);
	json_init(&j, out);
	is_ready = readiness(hub, true, &why);
	json_object_begin(&j);
	json_key(&j, "status");
	json_string(&j, is_ready ? SLICE_LIT("ok") : SLICE_LIT("unavailable"));
	json_key(&j, "reason");
	if (is_ready)
		json_null(&j);
	else
		json_string(&j, strbuf_slice(&why));
	json_key(&j, "version");
	json_string(&j, slice_of(report->version));
	json_key(&j, "uptime_us");
	json_integer(&j, (int64_t)(clock_us() - hub->started_at));
	put_counts(&j, hub);
	put_hosts(&j, hub);
	json_object_end(&j);
	out->failed = out->failed || why.failed;
	strbuf_fini(&why);
}
