#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/textfile.h"
#include "tempdir.h"

static void lines_end_with_lf_or_crlf_or_the_text(void **state)
{
	struct slice text = SLICE_LIT("a\r\n\nb"), line;

	(void)state;
	assert_true(textfile_line(&text, &line) && slice_is(line, "a"));
	assert_true(textfile_line(&text, &line) && slice_is(line, ""));
	assert_true(textfile_line(&text, &line) && slice_is(line, "b"));
	assert_false(textfile_line(&text, &line));
}

static void a_file_is_read_whole(void **state)
{
	static char big[200001];
	struct arena *arena = arena_new();
	struct slice text;
	const char *error;

	(void)state;
	memset(big, 'x', sizeof(big));
	tempdir_write_bytes("big", big, sizeof(big));
	assert_true(textfile_read("big", arena, &text, &error));
	assert_true(slice_eq(text, (struct slice){big, sizeof(big)}));
	tempdir_write("empty", "");
	assert_true(textfile_read("empty", arena, &text, &error));
	assert_int_equal(text.n, 0);
	arena_free(arena);
}

static void a_pipe_is_read_whole(void **state)
{
	static char big[60000];
	struct arena *arena = arena_new();
	struct slice text;
	const char *error;
	char name[32];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	memset(big, 'p', sizeof(big));
	assert_int_equal(write(fds[1], big, sizeof(big)), sizeof(big));
	close(fds[1]);
	snprintf(name, sizeof(name), "/dev/fd/%d", fds[0]);
	assert_true(textfile_read(name, arena, &text, &error));
	assert_int_equal(text.n, sizeof(big));
	close(fds[0]);
	arena_free(arena);
}

static void what_cannot_be_read_says_why(void **state)
{
	struct arena *arena = arena_new();
	struct slice text;
	const char *error;

	(void)state;
	assert_false(textfile_read("nothing", arena, &text, &error));
	assert_string_equal(error, "No such file or directory");
	assert_false(textfile_read(".", arena, &text, &error));
	assert_string_equal(error, "Is a directory");
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_end_with_lf_or_crlf_or_the_text),
		cmocka_unit_test(a_file_is_read_whole),
		cmocka_unit_test(a_pipe_is_read_whole),
		cmocka_unit_test(what_cannot_be_read_says_why),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
