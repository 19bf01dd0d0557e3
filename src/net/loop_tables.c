#include "net/loop_tables.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>

#include "base/log.h"

#define LARGE_TABLE 32768

/* libev rounds the double of a size up to pages. */
#define ROUNDING 16384

static void *reserve;
static size_t reserve_size;
static size_t largest;

/* It is not touched before it is used, so that most of it is none of our memory. */
void loop_tables_renew(void)
{
	size_t wanted = 2 * largest + ROUNDING;

	if (reserve_size >= wanted)
		return;
	free(reserve);
	reserve = malloc(wanted);
	reserve_size = reserve != NULL ? wanted : 0;
}

/* The reserve in the place of a table; NULL when it is too small. */
static void *take_reserve(void *table, size_t size)
{
	void *larger = reserve;
	size_t before = table != NULL ? malloc_usable_size(table) : 0;

	if (size > reserve_size) {
		log_fatal("out of memory: the event loop needs %zu bytes", size);
		return NULL;
	}
	log_warning("out of memory: the event loop's reserve of %zu bytes is used up", reserve_size);
	if (before > 0)
		memcpy(larger, table, before < size ? before : size);
	free(table);
	reserve = NULL;
	reserve_size = 0;
	return larger;
}

/* What large tables have outgrown would stay with us as holes, together as large as the tables themselves. */
static void *table_realloc(void *table, long asked)
{
	size_t size = (size_t)asked;
	void *larger;

	if (size == 0) {
		free(table);
		return NULL;
	}
	larger = realloc(table, size);
	if (larger == NULL)
		larger = take_reserve(table, size);
	if (size > largest)
		largest = size;
	if (size >= LARGE_TABLE)
		malloc_trim(0);
	return larger;
}

void loop_tables_use(void)
{
	ev_set_allocator(table_realloc);
	loop_tables_renew();
}

void loop_tables_free(void)
{
	free(reserve);
	reserve = NULL;
	reserve_size = largest = 0;
}
