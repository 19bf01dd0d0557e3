/* What a server owes, for any order of messages that the two sides send. */
#include "fuzz.h"
#include "proto/owed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct owed owed;

	owed_init(&owed);
	for (size_t i = 0; i + 1 < size; i += 2) {
		uint64_t first = owed.first, next = owed_next(&owed);
		bool is_ours = (data[i] & 1) != 0;

		if (is_ours)
			must(owed_sent(&owed, (char)data[i + 1]));
		else if (!owed_reply(&owed, (char)data[i + 1]))
			break;
		/* Indices only go up, and a reply makes none. */
		must(owed.first >= first && owed_next(&owed) >= next);
		must(is_ours || owed_next(&owed) == next);
		must(!owed_is_clear(&owed) || owed.n == 0);
	}
	owed_fini(&owed);
	return 0;
}
