/* Connection strings, and the options of an LDAP login, which look much the same. */
#include "conf/connstr.h"
#include "conf/ldap_options.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = {(const char *)data, size}, rest = text;
	struct arena *arena = arena_new();
	enum connstr_step step;
	struct connstr_pair pair;
	struct ldap_options options;
	const char *why = NULL;
	struct strbuf error;

	while ((step = connstr_next(&rest, arena, &pair, &why)) == CONNSTR_PAIR) {
		must(pair.key.n > 0 && pair.value.p[pair.value.n] == '\0');
		must(rest.n < size);
	}
	must(step == CONNSTR_END || why != NULL);
	strbuf_init(&error);
	must(ldap_options_parse(text, arena, &options, &error) || error.n > 0);
	strbuf_fini(&error);
	arena_free(arena);
	return 0;
}
