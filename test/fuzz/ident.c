/* auth_ident_file, with its expressions: the first line of an input asks, "map system-user user". */
#include "base/arena.h"
#include "conf/ident.h"
#include "files.h"
#include "fuzz.h"

/* Ends in a NUL: the sanitizer looks for one behind the texts of regexec(). */
static struct slice next_word(struct slice *line, struct arena *arena)
{
	struct slice word = {"", 0};

	slice_split(line, ' ', &word);
	return slice_of(arena_copy(arena, word));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	struct slice line = {(const char *)data, end == NULL ? 0 : (size_t)(end - data)}, map, system_user, user;
	struct arena *arena = arena_new();
	struct conf_problems problems;
	struct ident *ident;

	conf_problems_init(&problems);
	ident = ident_read(files_put(0, data + line.n, size - line.n), arena, &problems);
	must((problems.nerrors == 0) == (problems.errors.n == 0));
	map = next_word(&line, arena);
	system_user = next_word(&line, arena);
	user = next_word(&line, arena);
	ident_allows(ident, map.p, system_user, user);
	must(ident_allows(ident, NULL, user, user));
	ident_free(ident);
	conf_problems_fini(&problems);
	arena_free(arena);
	return 0;
}
