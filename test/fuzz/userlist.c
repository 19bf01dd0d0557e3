/* auth_file, and the verifiers in it. */
#include "conf/userlist.h"
#include "files.h"
#include "fuzz.h"
#include "proto/scram.h"

static void look_at(struct userlist *list)
{
	for (size_t i = 0; i < userlist_count(list); i++) {
		const struct userlist_entry *e = userlist_at(list, i), *found = userlist_find(list, slice_of(e->name));
		struct scram_keys keys;

		must(found != NULL && strcmp(found->name, e->name) == 0);
		must(secret_type_of(e->secret) == e->type);
		if (e->type != SECRET_SCRAM)
			continue;
		must(scram_verifier_parse(slice_of(e->secret), &keys));
		scram_keys_fini(&keys);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new();
	struct userlist *list = userlist_new(arena);
	struct conf_problems problems;

	conf_problems_init(&problems);
	userlist_read(list, files_put(0, data, size), &problems);
	must(problems.nerrors == 0 || problems.errors.n > 0);
	look_at(list);
	conf_problems_fini(&problems);
	arena_free(arena);
	return 0;
}
