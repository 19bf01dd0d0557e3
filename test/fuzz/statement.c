/* The console's grammar. */
#include "admin/statement.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct statement s;

	statement_parse((struct slice){(const char *)data, size}, &s);
	must(strnlen(s.command, sizeof(s.command)) < sizeof(s.command));
	must(strnlen(s.argument, sizeof(s.argument)) < sizeof(s.argument));
	must(strnlen(s.entry, sizeof(s.entry)) < sizeof(s.entry));
	must(strnlen(s.value, sizeof(s.value)) < sizeof(s.value));
	must(s.kind != STATEMENT_COMMAND || s.command[0] != '\0');
	return 0;
}
