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

static void print_time(int64_t us, struct strbuf *out)
{
	time_t seconds = (time_t)(us / (int64_t)CLOCK_SECOND);
	char text[CELL_ROOM];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm);
	strbuf_add_str(out, text);
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
		strbuf_addf(&out, "%lld", (long long)cell->number);
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
	*place = (struct table_place){0};
}
