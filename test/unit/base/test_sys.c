#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

static void random_bytes_differ_from_call_to_call(void **state)
{
	unsigned char a[256] = {0}, b[256] = {0};
	int zeros = 0;

	(void)state;
	sys_random(a, sizeof(a));
	sys_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t i = sizeof(a) - 16; i < sizeof(a); i++)
		zeros += a[i] == 0;
	/* The end is filled as well: sixteen zeros are as likely as never. */
	assert_true(zeros < 16);
}

static void random_bytes_stay_within_their_room(void **state)
{
	unsigned char p[6] = {1, 0, 0, 0, 0, 2};

	(void)state;
	sys_random(p + 1, 4);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[5], 2);
	sys_random(p, 0);
}

static void no_bytes_are_given_out_twice_however_many_are_asked_for(void **state)
{
	unsigned char all[1000];
	size_t at = 0;

	(void)state;
	for (size_t n = 1; at + n <= sizeof(all); at += n, n = n % 32 + 7)
		sys_random(all + at, n);
	/* That eight of them recur by chance is as likely as never. */
	for (size_t i = 0; i + 16 <= at; i++)
		assert_null(memmem(all + i + 8, at - i - 8, all + i, 8));
}

static void a_child_process_has_bytes_of_its_own(void **state)
{
	unsigned char ours[16], childs[16];
	int ends[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	/* Some are left over that both would have. */
	sys_random(ours, 1);
	child = fork();
	if (child == 0) {
		sys_random(childs, sizeof(childs));
		_exit(write(ends[1], childs, sizeof(childs)) == sizeof(childs) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(read(ends[0], childs, sizeof(childs)), sizeof(childs));
	sys_random(ours, sizeof(ours));
	assert_memory_not_equal(ours, childs, sizeof(ours));
	close(ends[0]);
	close(ends[1]);
}

static void wiped_memory_is_zero(void **state)
{
	char secret[] = "correct horse";
	static const char zeros[sizeof(secret)];

	(void)state;
	sys_wipe(secret, sizeof(secret));
	assert_memory_equal(secret, zeros, sizeof(secret));
}

static void the_limit_of_files_is_raised_as_far_as_it_goes(void **state)
{
	struct rlimit was, low;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = (struct rlimit){.rlim_cur = 64, .rlim_max = was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(sys_raise_nofile(100), 100);
	assert_int_equal(sys_raise_nofile(SIZE_MAX), was.rlim_max);
	setrlimit(RLIMIT_NOFILE, &was);
}

static void the_limit_of_files_is_never_lowered(void **state)
{
	struct rlimit was;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(sys_raise_nofile(1), was.rlim_cur);
}

static void core_dumps_need_to_be_allowed(void **state)
{
	struct rlimit limit;

	(void)state;
	sys_allow_core_dumps(false);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 0);
	sys_allow_core_dumps(true);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_true(limit.rlim_cur == limit.rlim_max);
}

static void a_descriptor_becomes_non_blocking_and_keeps_its_other_flags(void **state)
{
	int fd = open("/dev/null", O_WRONLY | O_APPEND), flags;

	(void)state;
	assert_true(sys_set_nonblocking(fd));
	flags = fcntl(fd, F_GETFL);
	assert_true(flags & O_NONBLOCK);
	assert_true(flags & O_APPEND);
	close(fd);
	assert_false(sys_set_nonblocking(-1));
}

static void memory_that_is_taken_and_touched_counts(void **state)
{
	const size_t much = 64 * 1024 * 1024;
	struct sys_memory before = sys_memory(), after;
	char *p = malloc(much);

	(void)state;
	assert_non_null(p);
	memset(p, 1, much);
	after = sys_memory();
	assert_true(before.resident > 0 && before.resident <= before.size);
	assert_true(after.resident >= before.resident + much / 2);
	assert_true(after.size >= before.size + much / 2);
	free(p);
}

static void zeroed_memory_is_zero_though_it_held_something_before(void **state)
{
	enum { SIZE = 200 };
	uint8_t *p = malloc(SIZE);

	(void)state;
	assert_non_null(p);
	memset(p, 1, SIZE);
	free(p);
	p = sys_zeroed(SIZE);
	assert_non_null(p);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(p[i], 0);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_bytes_differ_from_call_to_call),
		cmocka_unit_test(random_bytes_stay_within_their_room),
		cmocka_unit_test(no_bytes_are_given_out_twice_however_many_are_asked_for),
		cmocka_unit_test(a_child_process_has_bytes_of_its_own),
		cmocka_unit_test(wiped_memory_is_zero),
		cmocka_unit_test(zeroed_memory_is_zero_though_it_held_something_before),
		cmocka_unit_test(the_limit_of_files_is_raised_as_far_as_it_goes),
		cmocka_unit_test(the_limit_of_files_is_never_lowered),
		cmocka_unit_test(core_dumps_need_to_be_allowed),
		cmocka_unit_test(a_descriptor_becomes_non_blocking_and_keeps_its_other_flags),
		cmocka_unit_test(memory_that_is_taken_and_touched_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
