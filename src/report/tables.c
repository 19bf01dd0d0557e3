#include "report/tables.h"

const struct table *const tables[TABLE_COUNT] = {
#define X(symbol, help) &table_##symbol,
	TABLES(X)
#undef X
};

const char *const table_help[TABLE_COUNT] = {
#define X(symbol, help) help,
	TABLES(X)
#undef X
};

const struct table *table_find(struct slice name)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (slice_is_nocase(name, tables[i]->name))
			return tables[i];
	}
	return NULL;
}
