#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"

static const char name[] = "a name";

struct entry {
	int key;
	UT_hash_handle hh;
};

/* As another process of this program has it: the hash of the name. */
static uint64_t elsewhere(const char *program)
{
	uint64_t hash = 0;
	int fds[2], status;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execl("/proc/self/exe", program, "--hash", (char *)NULL);
		_exit(1);
	}
	assert_int_equal(read(fds[0], &hash, sizeof(hash)), sizeof(hash));
	waitpid(child, &status, 0);
	close(fds[0]);
	close(fds[1]);
	return hash;
}

static int tell_hash(void)
{
	uint64_t hash = siphash_here(name, sizeof(name));

	return write(STDOUT_FILENO, &hash, sizeof(hash)) == sizeof(hash) ? 0 : 1;
}

static void a_text_has_one_hash_in_a_process_and_another_in_the_next(void **state)
{
	char copy[sizeof(name)];

	(void)state;
	memcpy(copy, name, sizeof(name));
	assert_true(siphash_here(name, sizeof(name)) == siphash_here(copy, sizeof(copy)));
	assert_true(elsewhere("first") != siphash_here(name, sizeof(name)));
	assert_true(elsewhere("second") != elsewhere("third"));
}

static void tables_hash_under_that_key(void **state)
{
	struct entry *table = NULL, e = {.key = 7};

	(void)state;
	HASH_ADD_INT(table, key, &e);
	assert_true(HASH_HAS(&e));
	assert_int_equal(e.hh.hashv, (unsigned)siphash_here(&e.key, sizeof(e.key)));
	HASH_DEL(table, &e);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_has_one_hash_in_a_process_and_another_in_the_next),
		cmocka_unit_test(tables_hash_under_that_key),
	};

	if (argc == 2 && strcmp(argv[1], "--hash") == 0)
		return tell_hash();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
