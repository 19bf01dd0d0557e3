/* Whether a text is one PREPARE, EXECUTE, DEALLOCATE or DISCARD ALL. */
#include "fuzz.h"
#include "proto/sql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct sql sql;

	sql_read((struct slice){text, size}, &sql);
	must(sql.name_len <= SQL_NAME_MAX && strlen(sql.name) == sql.name_len);
	must(sql.name_at <= sql.name_end && sql.name_end <= sql.end && sql.end <= size);
	if (sql.verb == SQL_OTHER) {
		must(sql.end == 0 && sql.name_len == 0);
		return 0;
	}
	/* A look at any beginning of it must not have ruled it out. */
	for (size_t n = 0; n <= size; n++)
		must(sql_is_candidate(text, n));
	/* And what stands behind the last word is nothing. */
	{
		struct sql again;

		sql_read((struct slice){text, sql.end}, &again);
		must(again.verb == sql.verb && strcmp(again.name, sql.name) == 0 && again.end == sql.end);
	}
	return 0;
}
