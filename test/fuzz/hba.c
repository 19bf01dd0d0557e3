/* auth_hba_file: the first line of an input asks who comes, "user database address"; the rest are the rules. */
#include <arpa/inet.h>

#include "base/arena.h"
#include "conf/hba.h"
#include "files.h"
#include "fuzz.h"

/* Ends in a NUL: the sanitizer looks for one behind the texts of regexec(). */
static struct slice next_word(struct slice *line, struct arena *arena)
{
	struct slice word = {"", 0};

	slice_split(line, ' ', &word);
	return slice_of(arena_copy(arena, word));
}

static void ask(const struct hba *hba, struct slice line, struct arena *arena)
{
	struct hba_request request = {.is_unix = true};
	struct addr_any from;
	struct slice address;
	struct addr peer;

	request.user = next_word(&line, arena);
	request.database = next_word(&line, arena);
	address = next_word(&line, arena);
	if (addr_any_from_ip(&from, address.p, 5432)) {
		addr_from_sockaddr(&peer, &from.u.sa);
		request.peer = &peer;
		request.is_unix = false;
		request.is_tls = address.n % 2 == 0;
	}
	hba_find(hba, &request);
	request.is_replication = true;
	hba_find(hba, &request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	struct slice first = {(const char *)data, end == NULL ? 0 : (size_t)(end - data)};
	struct arena *arena = arena_new();
	struct conf_problems problems;
	struct hba *hba;

	conf_problems_init(&problems);
	hba = hba_read(files_put(0, data + first.n, size - first.n), arena, &problems);
	must((problems.nerrors == 0) == (problems.errors.n == 0));
	ask(hba, first, arena);
	for (int method = HBA_TRUST; method <= HBA_PAM; method++)
		hba_uses(hba, (enum hba_method)method);
	hba_free(hba);
	conf_problems_fini(&problems);
	arena_free(arena);
	return 0;
}
