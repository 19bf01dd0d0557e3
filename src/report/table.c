#include "report/table.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

uint32_t column_oid(enum column_type type)
{
	static const uint32_t oids[] = {
#define X(name, oid, size) [COLUMN_##name] = (oid),
		COLUMN_TYPES(X)
#undef X
	};

	return oids[type];
}

int16_t column_size(enum column_type type)
{
	static const int16_t sizes[] = {
#define X(name, oid, size) [COLUMN_##name] = (size),
		COLUMN_TYPES(X)
#undef X
	};

	return sizes[type];
}

struct cell cell_time(uint64_t monotonic_us)
{
	return (struct cell){.kind = CELL_TIME, .number = clock_wall_of(monotonic_us)};
}

/* How the times of a minute read: what stands before and behind the seconds. */
struct minute {
	time_t begin;
	char head[24], zone[32];     /* an empty head: not known yet */
};

/*
 * The last hour's are kept. Finding out costs more than the rest of a row, and ten thousand rows ask for the same few
 * minutes again and again. No zone changes its clocks within a minute.
 */
static const struct minute *minute_from(time_t begin)
{
	static struct minute known[64];
	struct minute *m = &known[(uint64_t)begin / 60 % (sizeof(known) / sizeof(known[0]))];
	struct tm tm = {0};

	if (m->begin == begin && m->head[0] != '\0')
		return m;
	m->begin = begin;
	localtime_r(&begin, &tm);
	strftime(m->head, sizeof(m->head), "%Y-%m-%d %H:%M:", &tm);
	if (strftime(m->zone, sizeof(m->zone), " %Z", &tm) == 0)
		m->zone[0] = '\0';
	return m;
}

static void print_time(int64_t us, struct strbuf *out)
{
	time_t seconds = (time_t)(us / (int64_t)CLOCK_SECOND);
	int second = (int)((seconds % 60 + 60) % 60);
	const struct minute *m = minute_from(seconds - second);

	strbuf_add_str(out, m->head);
	strbuf_add_char(out, (char)('0' + second / 10));
	strbuf_add_char(out, (char)('0' + second % 10));
	strbuf_add_str(out, m->zone);
}

struct slice cell_print(const struct cell *cell, char room[CELL_ROOM])
{
	struct strbuf out;

	if (cell->kind == CELL_TEXT)
		return cell->text;
	strbuf_init_fixed(&out, room, CELL_ROOM);
	if (cell->kind == CELL_TIME)
		print_time(cell->number, &out);
	else if (cell->kind == CELL_RATIO)
		strbuf_addf(&out, "%lld.%04lld", (long long)(cell->number / CELL_RATIO_ONE),
			    (long long)(cell->number % CELL_RATIO_ONE));
	else
		strbuf_add_int(&out, cell->number);
	return strbuf_slice(&out);
}

bool table_tell(const struct table *table, const struct report *r, struct row_sink *sink)
{
	struct table_place place = {0};
	enum told told;

	if (table->rows != NULL)
		return table->rows(r, sink);
	do {
		told = table->piece(r, &place, UINT_MAX, sink);
	} while (told == TOLD_SOME);
	table_leave(&place);
	return told == TOLD_ALL;
}

void table_leave(struct table_place *place)
{
	free(place->notes);
	free(place->kept);
	*place = (struct table_place){0};
}
