/*
 * LISTS, MEM, STATE, CLOSE_REASONS, PROCESS: how the process is doing.
 */
#include "report/tables.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "report/readiness.h"
#include "report/subjects.h"

/* --- LISTS --- */

#define LISTS_COLUMNS(X)                   \
	X(list, TEXT, cell_text(list))     \
	X(items, INT4, cell_number((int64_t)items))

static void lists_row(struct row_sink *sink, const char *list, size_t items)
{
	const struct cell cells[] = {LISTS_COLUMNS(TABLE_CELL)};

	sink->on_row(sink, cells);
}

static size_t count_peers(const struct conf *conf)
{
	size_t n = 0;

	for (const struct conf_peer *p = conf->peers; p != NULL; p = p->next)
		n++;
	return n;
}

static bool lists_rows(const struct report *r, struct row_sink *sink)
{
	const struct hub *hub = r->hub;
	size_t npeers = count_peers(registry_conf(hub->registry));
	struct dns_figures dns;

	dns_figures(hub->dns, &dns);
	lists_row(sink, "databases", subjects_count(&subject_databases, hub));
	lists_row(sink, "users", subjects_count(&subject_users, hub));
	lists_row(sink, "peers", npeers);
	lists_row(sink, "pools", subjects_count(&subject_pools, hub));
	lists_row(sink, "peer_pools", npeers);
	lists_row(sink, "free_clients", slab_capacity(hub->clients) - slab_used(hub->clients));
	lists_row(sink, "used_clients", slab_used(hub->clients));
	lists_row(sink, "login_clients", hub->nlogins);
	lists_row(sink, "free_servers", slab_capacity(hub->servers) - slab_used(hub->servers));
	lists_row(sink, "used_servers", slab_used(hub->servers));
	lists_row(sink, "dns_names", dns.names);
	lists_row(sink, "dns_zones", dns.zones);
	lists_row(sink, "dns_queries", dns.queries);
	lists_row(sink, "dns_pending", dns.pending);
	return true;
}

static const struct column lists_columns[] = {LISTS_COLUMNS(TABLE_COLUMN)};
const struct table table_lists = TABLE("LISTS", lists_columns, lists_rows);

/* --- MEM --- */

/* Of things that differ in size, size is their mean. */
struct memory {
	const char *name;
	size_t size, used, free, total;
};

#define MEM_COLUMNS(X)                                   \
	X(name, TEXT, cell_text(m->name))                \
	X(size, INT4, cell_number((int64_t)m->size))     \
	X(used, INT4, cell_number((int64_t)m->used))     \
	X(free, INT4, cell_number((int64_t)m->free))     \
	X(memtotal, INT4, cell_number((int64_t)m->total))

static void mem_row(struct row_sink *sink, const struct memory *m)
{
	const struct cell cells[] = {MEM_COLUMNS(TABLE_CELL)};

	sink->on_row(sink, cells);
}

static void tell_slab_memory(struct row_sink *sink, const struct slab *slab)
{
	struct memory m = {
		.name = slab_name(slab),
		.size = slab_object_size(slab),
		.used = slab_used(slab),
		.free = slab_capacity(slab) - slab_used(slab),
		.total = slab_capacity(slab) * slab_object_size(slab),
	};

	mem_row(sink, &m);
}

static size_t mean(size_t total, size_t n)
{
	return n == 0 ? 0 : total / n;
}

static void tell_buffers(struct row_sink *sink, const struct bufpool *pool)
{
	struct bufpool_figures f;
	struct memory m = {.name = "iobuf_cache"};

	bufpool_figures(pool, &f);
	m.used = f.lent;
	m.free = f.kept;
	m.total = f.lent_bytes + f.kept_bytes;
	m.size = mean(m.total, m.used + m.free);
	mem_row(sink, &m);
}

static bool mem_rows(const struct report *r, struct row_sink *sink)
{
	struct memory atoms = {"atom_cache", mean(atom_memory(), atom_count()), atom_count(), 0, atom_memory()};

	tell_slab_memory(sink, r->hub->servers);
	tell_slab_memory(sink, r->hub->clients);
	tell_buffers(sink, r->hub->loop->bufs);
	mem_row(sink, &atoms);
	return true;
}

static const struct column mem_columns[] = {MEM_COLUMNS(TABLE_COLUMN)};
const struct table table_mem = TABLE("MEM", mem_columns, mem_rows);

/* --- STATE --- */

#define STATE_COLUMNS(X)                  \
	X(key, TEXT, cell_text(key))      \
	X(value, TEXT, cell_text(is_so ? "yes" : "no"))

static void state_row(struct row_sink *sink, const char *key, bool is_so)
{
	const struct cell cells[] = {STATE_COLUMNS(TABLE_CELL)};

	sink->on_row(sink, cells);
}

static bool state_rows(const struct report *r, struct row_sink *sink)
{
	/* Waiting for servers means that none is given out any more, which is what a pause is. */
	bool is_paused = r->hub->pause == PAUSE_ALL || r->hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS;
	bool is_suspended = r->hub->pause == PAUSE_SUSPEND;

	state_row(sink, "active", !is_paused && !is_suspended);
	state_row(sink, "paused", is_paused);
	state_row(sink, "suspended", is_suspended);
	return true;
}

static const struct column state_columns[] = {STATE_COLUMNS(TABLE_COLUMN)};
const struct table table_state = TABLE("STATE", state_columns, state_rows);

/* --- CLOSE_REASONS --- */

#define CLOSE_REASONS_COLUMNS(X)                                 \
	X(reason, TEXT, cell_text(info->symbol))                 \
	X(sqlstate, TEXT, cell_text(info->sqlstate))             \
	X(message, TEXT, cell_text(info->text))                  \
	X(clients, INT8, cell_number((int64_t)hub->closes[i]))

/* Every reason there is, with how many clients were closed for it. */
static bool close_reasons_rows(const struct report *r, struct row_sink *sink)
{
	const struct hub *hub = r->hub;

	for (size_t i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = &close_reasons[i];
		const struct cell cells[] = {CLOSE_REASONS_COLUMNS(TABLE_CELL)};

		sink->on_row(sink, cells);
	}
	return true;
}

static const struct column close_reasons_columns[] = {CLOSE_REASONS_COLUMNS(TABLE_COLUMN)};
const struct table table_close_reasons = TABLE("CLOSE_REASONS", close_reasons_columns, close_reasons_rows);

/* --- PROCESS --- */

#define PROCESS_COLUMNS(X)                \
	X(key, TEXT, cell_text(key))      \
	X(value, INT8, cell_number(value))

static void process_row(struct row_sink *sink, const char *key, int64_t value)
{
	sink->on_row(sink, (const struct cell[]){PROCESS_COLUMNS(TABLE_CELL)});
}

static int64_t microseconds(const struct timeval *t)
{
	return (int64_t)t->tv_sec * (int64_t)CLOCK_SECOND + t->tv_usec;
}

/* Where not one more can be opened, all that may be are. */
static void count_without_looking(int64_t *n)
{
	struct rlimit files;

	if (errno == EMFILE && getrlimit(RLIMIT_NOFILE, &files) == 0)
		*n = (int64_t)files.rlim_cur;
}

/*
 * Counts on, no more than `most` of them; false: there are more. The kernel
 * takes microseconds for each. (One is open for the sake of the counting.)
 */
static bool count_descriptors(struct table_place *place, unsigned most, int64_t *n)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e = NULL;

	if (dir == NULL) {
		count_without_looking(n);
		return true;
	}
	seekdir(dir, (long)place->at);
	while (most-- > 0 && (e = readdir(dir)) != NULL)
		*n += e->d_name[0] != '.';
	place->at = (uint64_t)telldir(dir);
	closedir(dir);
	return e == NULL;
}

static void tell_process(const struct report *r, struct row_sink *sink, int64_t ndescriptors)
{
	const struct sys_memory memory = sys_memory();
	struct rusage usage;
	struct rlimit files;

	getrusage(RUSAGE_SELF, &usage);
	process_row(sink, "pid", getpid());
	process_row(sink, "ready", readiness(r->hub, false, NULL));
	process_row(sink, "draining", r->hub->shutdown == SHUTDOWN_DRAIN);
	process_row(sink, "memory_short", r->hub->memory.is_short);
	process_row(sink, "start_time_us", clock_wall_of(r->hub->started_at));
	process_row(sink, "cpu_us", microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime));
	if (memory.resident != 0) {
		process_row(sink, "virtual_memory_bytes", (int64_t)memory.size);
		process_row(sink, "resident_memory_bytes", (int64_t)memory.resident);
	}
	process_row(sink, "open_fds", ndescriptors);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		process_row(sink, "max_fds", (int64_t)files.rlim_cur);
}

static enum told process_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	int64_t *n = place->notes;

	if (n == NULL)
		n = place->notes = calloc(1, sizeof(*n));
	if (n == NULL)
		return TOLD_OUT_OF_MEMORY;
	if (!count_descriptors(place, most, n))
		return TOLD_SOME;
	tell_process(r, sink, *n);
	return TOLD_ALL;
}

static const struct column process_columns[] = {PROCESS_COLUMNS(TABLE_COLUMN)};
const struct table table_process = TABLE_IN_PIECES("PROCESS", process_columns, process_piece);
